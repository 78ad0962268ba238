package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"xunjian/bench/load"
)

// scaleOptions are the flags of the area tsdb-scale.
type scaleOptions struct {
	agents   int
	every    time.Duration // 0: full speed
	inflight int           // at full speed, reports of an agent under way
	before   int           // reports of each agent that fill the heads first
	fill     float64       // of those, reports of all agents a second; 0: full speed
	config   string        // further lines for the collector's configuration
	keep     string        // folder to work in, which stays
}

const linger = 250 * time.Millisecond // the collector's default

// scaleArea plays many agents against a collector and holds what it costs against what is promised for 1,000 agents.
func scaleArea(ctx context.Context, o options) ([]figure, error) {
	r, err := playAgents(ctx, o, o.scale)
	if err != nil {
		return nil, err
	}
	fmt.Printf("# %d agents each %v: %v\n", o.scale.agents, o.scale.every, r)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	cpu, rss := 10.0, 250.0 // for 1,000 agents
	if o.scale.agents > 1000 {
		cpu, rss = 100, 2000 // for 10,000
	}
	figures := []figure{
		{"tsdb.ack_p99", "ms", "bar", ms(r.P99), ms(linger + 50*time.Millisecond)},
		{"tsdb.agents_cpu", "%", "bar", 100 * r.Cores(), cpu},
		{"tsdb.agents_rss", "MB", "bar", float64(r.RSS) / 1e6, rss},
		{"tsdb.written", "B/report", "bar", float64(r.Written) / float64(r.Reports), 2600},
	}
	if o.scale.every == 0 { // nothing is promised but the comparison with the peers
		figures = nil
	}
	return figures, nil
}

// waveArea kills a collector with many agents and sees them come back.
func waveArea(ctx context.Context, o options) ([]figure, error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := load.Restart(ctx, load.Options{Bin: o.bin, Dir: dir, Agents: o.scale.agents, Config: o.scale.config})
	if err != nil {
		return nil, err
	}
	fmt.Printf("# %v\n", w)
	return []figure{{"tsdb.wave_back", "s", "bar", w.Back.Seconds(), 120}}, nil
}

func playAgents(ctx context.Context, o options, s scaleOptions) (r load.Result, err error) {
	rec, err := readRecording()
	if err != nil {
		return r, err
	}
	dir := s.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "xunjian-bench-"); err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
	}
	return load.Run(ctx, load.Options{
		Bin: o.bin, Dir: dir, Agents: s.agents, Every: s.every, Window: s.inflight, Before: s.before, Fill: s.fill, Warm: o.warm, For: o.window,
		Series: rec.series, Row: rec.turn, Config: s.config,
	})
}
