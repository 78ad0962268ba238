package main

import (
	"context"
	"fmt"
	"time"
)

// quietArea lets everything run while nothing is broken, and counts what was told all the same.
func quietArea(ctx context.Context, o options) ([]figure, error) {
	r, err := newFaultRig(ctx, o, false)
	if err != nil {
		return nil, err
	}
	defer r.end()
	before, err := r.incidents(ctx, "all")
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); time.Since(begin) < o.window; {
		if err := sleep(ctx, min(time.Minute, o.window-time.Since(begin))); err != nil {
			return nil, err
		}
		now, err := r.incidents(ctx, "all")
		if err != nil {
			return nil, err
		}
		for _, i := range now[:max(len(now)-len(before), 0)] {
			fmt.Printf("# after %v: %+v\n", time.Since(begin).Round(time.Second), i)
		}
		before = now
	}
	var checks struct {
		Services []struct {
			Checks []struct{ Check string } `json:"checks"`
		} `json:"services"`
	}
	if err := r.ask(ctx, "/services", &checks); err != nil {
		return nil, err
	}
	n := 0
	for _, s := range checks.Services {
		n += len(s.Checks)
	}
	return []figure{
		{"quiet.minutes", "", "", o.window.Minutes(), 0}, {"quiet.checks", "", "", float64(n), 0}, {"quiet.incidents", "", "", float64(len(before)), 0},
	}, nil
}
