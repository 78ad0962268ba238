package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// sizeArea weighs what a day of the recording takes on disk, ours after the day merge and theirs after their own, on three
// data sets: whole is our file without free pages (as compaction or a backup leaves it), file is as the merge left it,
// with the pages of the small blocks that the next day's will use.
func sizeArea(ctx context.Context, o options) ([]figure, error) {
	rec, err := readRecording()
	if err != nil {
		return nil, err
	}
	hosts := max(5, int(100*o.share))
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
	day := dataset{recording: rec, hosts: hosts, ticks: 5760, first: noon.Add(step), stride: 1}
	late := day
	late.name, late.jitter, late.ticks = "_jitter", 3, 5759 // the last one must not fall into the next day
	real15 := day
	real15.name, real15.stride, real15.ticks = "_real15s", 15, len(rec.rows)/15
	var out []figure
	for _, d := range []dataset{day, late, real15} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		figures, err := sizeOf(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("data set %q: %w", "regular"+d.name, err)
		}
		out = append(out, figures...)
	}
	return out, nil
}

func sizeOf(ctx context.Context, d dataset) (out []figure, err error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ours, err := ourSizes(ctx, filepath.Join(dir, "series"), d)
	if err != nil {
		return nil, err
	}
	n := float64(d.samples())
	fmt.Printf("# ours%s: samples %.4f, aggregates %.4f, whole %.4f, as the merge left the file %.4f B a sample\n", d.name, ours.samples/n, ours.aggregate/n, ours.whole/n, ours.file/n)
	for _, p := range []struct {
		name  string
		start func(context.Context, string) (*peer, error)
		weigh func(context.Context, *peer) (sizes, error)
	}{{"prometheus", startPrometheus, prometheusSizes}, {"victoria", startVictoria, victoriaSizes}} {
		theirs, err := peerSizes(ctx, dir, d, p.start, p.weigh)
		if err != nil {
			return nil, err
		}
		out = append(out,
			figure{"tsdb.whole_bytes_per_sample" + d.name, "B", p.name, ours.whole / n, theirs.whole / n},
			figure{"tsdb.file_bytes_per_sample" + d.name, "B", p.name, ours.file / n, theirs.whole / n},
			figure{"tsdb.bytes_per_sample" + d.name, "B", p.name, ours.samples / n, theirs.samples / n})
	}
	return out, nil
}

func peerSizes(ctx context.Context, dir string, d dataset, start func(context.Context, string) (*peer, error), weigh func(context.Context, *peer) (sizes, error)) (z sizes, err error) {
	p, err := start(ctx, dir)
	if err != nil {
		return z, err
	}
	defer p.stop()
	if err := feed(ctx, p.url+p.write, d, 0, d.ticks, 60, 2); err != nil {
		return z, err
	}
	return weigh(ctx, p)
}
