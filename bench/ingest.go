package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"xunjian/bench/load"
)

// ingestArea is what a sample costs the receiver at full speed: ours from 1,000 streams with acknowledgements after the
// fsync, theirs by remote write, a sample of each series in turn. Theirs get as many samples as ours took.
func ingestArea(ctx context.Context, o options) ([]figure, error) {
	rec, err := readRecording()
	if err != nil {
		return nil, err
	}
	hosts := max(20, int(1000*o.share))
	window := min(o.window, 10*time.Second)
	ours, err := playAgents(ctx, options{bin: o.bin, warm: 2 * time.Second, window: window}, scaleOptions{
		agents: hosts, inflight: 8, config: o.scale.config,
	})
	if err != nil {
		return nil, err
	}
	fmt.Printf("# ours: %v\n", ours)
	ticks := max(10, ours.Samples/hosts/len(rec.series))
	const warm = 8 // ticks, in which the series are made
	begin := time.Now().Add(-time.Duration(warm+ticks) * step).Truncate(step)
	d := dataset{recording: rec, hosts: hosts, ticks: warm + ticks, first: begin, stride: 1}
	var out []figure
	for name, start := range map[string]func(context.Context, string) (*peer, error){"prometheus": startPrometheus, "victoria": startVictoria} {
		cpu, peak, err := remoteWriteCost(ctx, start, d, warm)
		if err != nil {
			return nil, err
		}
		out = append(out,
			figure{"tsdb.ingest_cpu", "µs", name, ours.CPUPerSample() / 1e3, cpu},
			figure{"tsdb.ingest_rss", "MB", name, float64(ours.Peak) / 1e6, peak})
	}
	return out, nil
}

// remoteWriteCost is the CPU of a sample in µs, without the first ticks, and the most memory in MB.
func remoteWriteCost(ctx context.Context, start func(context.Context, string) (*peer, error), d dataset, warm int) (cpu, peak float64, err error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	p, err := start(ctx, dir)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if err := feed(ctx, p.url+p.write, d, 0, warm, 1, 2); err != nil {
		return 0, 0, err
	}
	before, err := load.UsageOf(p.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := feed(ctx, p.url+p.write, d, warm, d.ticks, 1, 2); err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // what it does after the answer belongs to it
		return 0, 0, err
	}
	after, err := load.UsageOf(p.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	n := (d.ticks - warm) * d.hosts * len(d.series)
	fmt.Printf("# %s: %d samples in %v, %.2f cores\n", filepath.Base(p.name), n, time.Since(begin).Round(time.Millisecond), (after.CPU-before.CPU).Seconds()/time.Since(begin).Seconds())
	return float64((after.CPU - before.CPU).Nanoseconds()) / 1e3 / float64(n), float64(after.Peak) / 1e6, nil
}
