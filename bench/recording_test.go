package main

import (
	"slices"
	"testing"
	"time"

	"xunjian/pkg/metric"
)

func named(name string) func(metric.Series) bool {
	return func(s metric.Series) bool { return s.Name == name }
}

// TestReplayNeverRepeats: a counter never falls, a value never gets digits that were not recorded, and no hour comes twice in a day.
func TestReplayNeverRepeats(t *testing.T) {
	rec, err := readRecording()
	if err != nil {
		t.Fatal(err)
	}
	for _, stride := range []int{1, 15} {
		d := dataset{recording: rec, hosts: 7, ticks: 5760 / stride, first: time.Unix(1_700_000_000, 0), stride: stride}
		const host = 4
		var before, now []float64
		seen := map[float64]int{} // by what has passed in forks and context switches, which never stand still for an hour
		for tick := range d.ticks {
			before, now = now, d.row(before[:0], host, tick)
			for c, scale := range rec.rising {
				if scale > 0 && tick > 0 && now[c] < before[c] {
					t.Fatalf("stride %d tick %d: %s falls from %v to %v", stride, tick, rec.series[c], before[c], now[c])
				}
			}
			seen[now[slices.IndexFunc(rec.series, named("context_switches_total"))]]++
		}
		if len(seen) < d.ticks*9/10 {
			t.Errorf("stride %d: %d different counts in %d ticks", stride, len(seen), d.ticks)
		}
	}
	rows := dataset{recording: rec, hosts: 1, stride: 1}
	n := len(rec.rows)
	cpu := slices.IndexFunc(rec.series, named("cpu_seconds_total"))
	ahead := rows.row(nil, 0, 1)[cpu] - rows.row(nil, 0, 0)[cpu]
	back := rows.row(nil, 0, 2*n-1)[cpu] - rows.row(nil, 0, 2*n-2)[cpu]
	if d := ahead - back; d > 1e-9 || d < -1e-9 {
		t.Errorf("the first second's difference is %v forward and %v back", ahead, back)
	}
	if again := rows.row(nil, 0, 2*n)[cpu]; again != rows.row(nil, 0, 2*n-1)[cpu] {
		t.Errorf("a new lap starts at %v", again)
	}
}
