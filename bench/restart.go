package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"xunjian/bench/load"
	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// restartArea is how long it takes from the start of the collector's process to its first acknowledgement after an hour of
// 1,000 agents, the last rows of which are in no block yet; and when by some mishap nothing of that hour is.
func restartArea(ctx context.Context, o options) ([]figure, error) {
	var out []figure
	for name, own := range map[string]tsdb.Options{
		"tsdb.restart":          {FlushEvery: time.Minute},
		"tsdb.restart_all_open": {BlockRows: 480, BlockSpan: 3 * time.Hour},
	} {
		took, err := restart(ctx, o, own)
		if err != nil {
			return nil, err
		}
		out = append(out, figure{name, "s", "bar", took.Seconds(), 1})
	}
	return out, nil
}

func restart(ctx context.Context, o options, own tsdb.Options) (time.Duration, error) {
	rec, err := readRecording()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	const ticks = 240
	last := time.Now()
	if midnight := last.UTC().Truncate(24 * time.Hour); last.Sub(midnight) < ticks*step {
		last = midnight.Add(-step) // the end of a day closes what is open
	}
	d := dataset{recording: rec, hosts: max(10, int(1000*o.share)), ticks: ticks, stride: 1, first: last.Add(-ticks * step).Truncate(step)}
	series := filepath.Join(dir, "data", "series")
	if err := os.MkdirAll(filepath.Dir(series), 0o700); err != nil {
		return 0, err
	}
	s, err := openStore(series, d.first, own)
	if err != nil {
		return 0, err
	}
	err = s.fill(ctx, d, 0, ticks)
	held := s.Stats()
	if err := errors.Join(err, s.end()); err != nil {
		return 0, err
	}
	c, err := load.Start(ctx, load.Options{Bin: o.bin, Dir: dir, Agents: 1}) // makes the agent and reads the journal once
	if err != nil {
		return 0, err
	}
	c.Kill()
	var times, cpu []time.Duration
	for range 5 {
		took, used, err := firstAck(ctx, c, d)
		if err != nil {
			return 0, err
		}
		times, cpu = append(times, took.Round(time.Millisecond)), append(cpu, used.Round(time.Millisecond))
	}
	fmt.Printf("# %d rows of %d streams open, journal %.0f MB: first acknowledgement after %v, for which the collector worked %v\n",
		held.HeadRows, held.Streams, float64(held.JournalBytes)/1e6, times, cpu)
	return quantile(times, 0.5), nil
}

// firstAck starts the collector, has an agent knock until it is let in, and kills the collector once a report is
// acknowledged. It also tells the collector's time on a core until then.
func firstAck(ctx context.Context, c *load.Server, d dataset) (took, cpu time.Duration, err error) {
	begin := time.Now()
	ready := make(chan error, 1)
	go func() { ready <- c.Restart(ctx) }()
	for took == 0 && err == nil && time.Since(begin) < time.Minute {
		if e := oneReport(ctx, c, d); e == nil {
			took = time.Since(begin)
		} else {
			err = sleep(ctx, 5*time.Millisecond)
		}
	}
	if err := errors.Join(err, <-ready); err != nil {
		return 0, 0, err
	}
	defer c.Kill()
	if took == 0 {
		return 0, 0, errors.New("no acknowledgement within a minute")
	}
	u, err := load.UsageOf(c.Pid)
	return took, u.CPU, err
}

func oneReport(ctx context.Context, c *load.Server, d dataset) error {
	bare, err := uplink.DialBare(ctx, uplink.ClientOptions{Address: c.GRPC, TLS: c.Agents[0]})
	if err != nil {
		return err
	}
	defer bare.Close()
	r := metric.Report{Kind: metric.KindHost, Every: step, At: time.Now()}
	for i, v := range d.row(nil, 0, 0) {
		r.Samples = append(r.Samples, metric.Sample{Series: d.series[i], Value: v})
	}
	if err := bare.Send(uplink.Batch{Reports: []metric.Report{r}}); err != nil {
		return err
	}
	for {
		acked, refused, err := bare.Recv() // it may have other words first
		if err != nil || refused > 0 {
			return fmt.Errorf("%d reports refused: %w", refused, err)
		}
		if acked > 0 {
			return nil
		}
	}
}
