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

// restartArea is how long it takes from the start of the collector's process to its first acknowledgement, with an hour of
// 1,000 agents in the journal that is in no block yet.
func restartArea(ctx context.Context, o options) ([]figure, error) {
	rec, err := readRecording(recordingFile)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
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
		return nil, err
	}
	s, err := openStore(series, d.first, tsdb.Options{BlockRows: 2 * ticks, BlockSpan: 3 * time.Hour})
	if err != nil {
		return nil, err
	}
	err = s.fill(ctx, d, 0, ticks)
	held := s.Stats()
	if err := errors.Join(err, s.end()); err != nil {
		return nil, err
	}
	c, err := load.Start(ctx, load.Options{Bin: o.bin, Dir: dir, Agents: 1}) // makes the agent and reads the journal once
	if err != nil {
		return nil, err
	}
	c.Kill()
	var times []time.Duration
	for range 5 {
		took, err := firstAck(ctx, c, d)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	fmt.Printf("# %d rows of %d streams open, journal %.0f MB: first acknowledgement after %v\n", held.HeadRows, held.Streams, float64(held.JournalBytes)/1e6, times)
	return []figure{{"tsdb.restart", "s", "bar", quantile(times, 0.5).Seconds(), 1}}, nil
}

// firstAck starts the collector, has an agent knock until it is let in, and kills the collector once a report is acknowledged.
func firstAck(ctx context.Context, c *load.Server, d dataset) (took time.Duration, err error) {
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
		return 0, err
	}
	c.Kill()
	if took == 0 {
		return 0, errors.New("no acknowledgement within a minute")
	}
	return took, nil
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
