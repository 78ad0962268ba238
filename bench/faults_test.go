package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"xunjian/pkg/simulator"
)

// Every fault of every door of the simulator has its expectation, so that none is left out of the table.
func TestEveryFaultIsExpected(t *testing.T) {
	s, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	resp, err := http.Get(s.URL(simulator.Control) + "/services")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doors []door
	if err := json.NewDecoder(resp.Body).Decode(&doors); err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		if !slices.Contains(doorsOrder, d.Name) {
			t.Errorf("door %s is not tried", d.Name)
		}
		for _, mode := range d.Modes {
			want, ok := expected[d.Name][mode]
			if mode != simulator.OK && !ok {
				t.Errorf("%s %s: nothing is expected", d.Name, mode)
			}
			if ok && (len(want.told) == 0) == (want.check == "") {
				t.Errorf("%s %s: want either incidents or a check that says why there are none", d.Name, mode)
			}
		}
		for mode := range expected[d.Name] {
			if !slices.Contains(d.Modes, mode) {
				t.Errorf("%s has no fault %s", d.Name, mode)
			}
		}
	}
	made := 0
	for _, s := range shards(faultOptions{}) {
		made += len(s.modes)
	}
	total := 0
	for _, modes := range expected {
		total += len(modes)
	}
	if made != total {
		t.Errorf("%d of %d faults are made", made, total)
	}
}
