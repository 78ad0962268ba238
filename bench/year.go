package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"xunjian/bench/load"
	"xunjian/pkg/tsdb"
)

// yearOptions are the flags of the area tsdb-year.
type yearOptions struct {
	hosts, days, retain int
	retainAggregates    int // 0: as long as the store does by itself
}

func (o yearOptions) store() tsdb.Options {
	const day = 24 * time.Hour
	return tsdb.Options{Retain: time.Duration(o.retain) * day, RetainRollup: time.Duration(o.retainAggregates) * day}
}

// year is a run of many days through the whole store: journal, small blocks, day merge, retention.
type year struct {
	dataset
	yearOptions
	*ownStore
	merges     []time.Duration
	disk       []time.Duration // what the disk takes for as much as a day dropped writes, right after each
	total      tsdb.MergeStats
	full, last tsdb.Space // when retention begins to drop, and at the end
	mark       tsdb.Stats // when the last days told of began
	told       int        // the day before them
}

// yearArea writes day after day at the speed of the machine, every report through Append, and drops what is older than the
// retention. The file is weighed when it is full for the first time, and at the end.
func yearArea(ctx context.Context, o options) (_ []figure, err error) {
	rec, err := readRecording()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	y := &year{yearOptions: o.year}
	first := time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC).Add(step)
	y.dataset = dataset{recording: rec, hosts: y.yearOptions.hosts, ticks: y.days * dayTicks, first: first, stride: 1}
	if y.ownStore, err = openStore(dir, first, y.store()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.end()) }()
	begin := time.Now()
	before, err := load.UsageOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	y.mark = y.Stats()
	for day := range y.days {
		if err := y.pass(ctx, day); err != nil {
			return nil, fmt.Errorf("day %d: %w", day+1, err)
		}
	}
	if _, err = y.settle(ctx, y.dataset); err != nil {
		return nil, err
	}
	after, err := load.UsageOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	fmt.Printf("# %d hosts, %d days with %d kept: %.4g samples in %v, %.3f µs of a core each\n", y.yearOptions.hosts, y.days, y.retain,
		float64(y.samples()), time.Since(begin).Round(time.Second), (after.CPU-before.CPU).Seconds()*1e6/float64(y.samples()))
	y.tellWritten(float64(after.Written - before.Written))
	figures := y.figures()
	times, err := y.readTimes(ctx)
	return append(figures, times...), err
}

// pass writes a day, and merges the day before once it has been over for long enough.
func (y *year) pass(ctx context.Context, day int) error {
	const morning = 3 * 60 * 4 // ticks until three o'clock
	for _, part := range [][2]int{{0, morning}, {morning, dayTicks}} {
		if err := y.fill(ctx, y.dataset, day*dayTicks+part[0], day*dayTicks+part[1]); err != nil {
			return err
		}
		if part[0] > 0 {
			continue
		}
		if err := y.flushed(ctx); err != nil {
			return err
		}
		one, err := y.Merge(ctx)
		if err != nil {
			return err
		}
		y.total = addMerge(y.total, one)
		if one.Days > 0 {
			y.merges = append(y.merges, one.MergeTime)
		}
		if len(one.Drops) > 0 {
			took, err := syncTwice(filepath.Join(y.dir, "probe"))
			if err != nil {
				return err
			}
			y.disk = append(y.disk, took)
		}
	}
	if n := day + 1; n%10 == 0 || n == min(y.retain, y.days) || n == y.days {
		return y.checkpoint(n)
	}
	return nil
}

// syncTwice writes to a file of its own as bbolt does in a small transaction: some pages and then one that leads to them,
// each waited for. What it takes is the disk's doing and its other users'.
func syncTwice(path string) (time.Duration, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	begin := time.Now()
	for _, size := range []int{128 << 10, 4 << 10} {
		if _, err := f.WriteAt(make([]byte, size), 0); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("sync %s: %w", path, err)
		}
	}
	return time.Since(begin), nil
}

// flushed waits until sealed blocks are in data.db, as they would be after a minute of the real clock.
func (s *ownStore) flushed(ctx context.Context) error {
	for range 1200 {
		if s.Stats().UnflushedBytes == 0 {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("sealed blocks were not written within 12 s")
}

func (y *year) figures() []figure {
	kept := float64(min(y.retain, y.days)) * float64(dayTicks*y.yearOptions.hosts*len(y.series))
	grown := func(size func(tsdb.Space) int64) float64 { return float64(size(y.last)) / float64(size(y.full)) }
	raw, aggregates := y.drops(false), y.drops(true)
	return []figure{
		{"tsdb.year_bytes_per_sample", "B", "bar", float64(y.full.File) / kept, 0.8},
		{"tsdb.year_growth", "", "bar", grown(func(s tsdb.Space) int64 { return s.File }), 1.01},
		{"tsdb.year_growth_days", "", "bar", grown(func(s tsdb.Space) int64 { return s.Days }), 1.01},
		{"tsdb.year_growth_without_aggregates", "", "bar", grown(func(s tsdb.Space) int64 { return s.File - s.Aggregates }), 1.01},
		{"tsdb.year_aggregates_a_day", "MB", "", float64(y.total.RollupBytes) / 1e6 / float64(y.days-1), 0},
		{"tsdb.year_sketches_a_day", "MB", "", float64(y.total.SketchBytes) / 1e6 / float64(y.days-1), 0},
		{"tsdb.year_drop", "ms", "bar", ms(quantile(raw.took, 1)), 20},
		{"tsdb.year_drop_p50", "ms", "bar", ms(quantile(raw.took, 0.5)), 20},
		{"tsdb.year_drop_disk", "ms", "", ms(quantile(raw.disk, 1)), 0},
		{"tsdb.year_drop_disk_p50", "ms", "", ms(quantile(raw.disk, 0.5)), 0},
		{"tsdb.year_drop_rest", "ms", "", ms(quantile(raw.rest, 1)), 0},
		{"tsdb.year_drop_read_p50", "ms", "", ms(quantile(raw.read, 0.5)), 0},
		{"tsdb.year_drop_aggregates", "ms", "", ms(quantile(aggregates.took, 1)), 0},
		{"tsdb.year_disk", "ms", "", ms(quantile(y.disk, 1)), 0},
		{"tsdb.year_disk_p50", "ms", "", ms(quantile(y.disk, 0.5)), 0},
		{"tsdb.year_merge_p50", "ms", "", ms(quantile(y.merges, 0.5)), 0},
		{"tsdb.year_merge_max", "ms", "", ms(quantile(y.merges, 1)), 0},
	}
}

// dropTimes are what days dropped took: reading them ahead, the transaction, its disk and what is left of it.
type dropTimes struct {
	read, took, disk, rest []time.Duration
}

// drops are those of samples or of aggregates.
func (y *year) drops(aggregates bool) (t dropTimes) {
	for _, d := range y.total.Drops {
		if d.Aggregates == aggregates {
			t.read, t.took = append(t.read, d.Read), append(t.took, d.Took)
			t.disk, t.rest = append(t.disk, d.Disk), append(t.rest, d.Took-d.Disk)
		}
	}
	return t
}

// checkpoint weighs the file and says how the days since the last one went, also for a run that is cut short.
func (y *year) checkpoint(day int) (err error) {
	if y.last, err = y.Space(); err != nil {
		return err
	}
	if day == min(y.retain, y.days) {
		y.full = y.last
	}
	now, s := y.Stats(), y.last
	n := float64((day - y.told) * dayTicks * y.yearOptions.hosts * len(y.series))
	took := y.drops(false).took
	took = took[max(0, len(took)-(day-y.told)):]
	mb := func(n int64) float64 { return float64(n) / 1e6 }
	fmt.Printf("# day %d: data.db %.1f MB: days %.1f, aggregates %.1f, small blocks %.1f, free %.1f, not used yet %.1f; written since day %d, B a sample: journal.db %.2f, data.db %.2f; days dropped in %v at most, %v median\n",
		day, mb(s.File), mb(s.Days), mb(s.Aggregates), mb(s.Hot), mb(s.Free), mb(s.Unused), y.told,
		float64(now.JournalWritten-y.mark.JournalWritten)/n, float64(now.DataWritten-y.mark.DataWritten)/n,
		quantile(took, 1).Round(10*time.Microsecond), quantile(took, 0.5).Round(10*time.Microsecond))
	y.mark, y.told = now, day
	return nil
}

// tellWritten sets the pages that were written against what had to be, and beside the kernel's account.
func (y *year) tellWritten(kernel float64) {
	n, z := float64(y.samples()), y.Stats()
	logical := float64(y.total.RawBytes + y.total.DayBytes + y.total.RollupBytes)
	fmt.Printf("# written, B a sample: journal.db %.2f, data.db %.2f; small blocks %.3f, days %.3f, aggregates %.3f: data.db %.2f times those; write_bytes of the process %.2f\n",
		float64(z.JournalWritten)/n, float64(z.DataWritten)/n, float64(y.total.RawBytes)/n, float64(y.total.DayBytes)/n, float64(y.total.RollupBytes)/n,
		float64(z.DataWritten)/logical, kernel/n)
}

// readTimes reads a host's year, and the whole year's aggregates of all, with a warm page cache and without one.
func (y *year) readTimes(ctx context.Context) (out []figure, err error) {
	if err := y.end(); err != nil {
		return nil, err
	}
	at := y.clock.Load()
	for _, warmth := range []string{"cold", "warm"} {
		if warmth == "cold" {
			if err := forget(filepath.Join(y.dir, "data.db")); err != nil {
				return nil, err
			}
		}
		begin := time.Now()
		s, err := openStore(y.dir, time.UnixMilli(at), y.store())
		if err != nil {
			return nil, err
		}
		gb := float64(y.last.File) / 1e9
		out = append(out, figure{"tsdb.year_open_" + warmth, "s/GB", "bar", time.Since(begin).Seconds() / gb, 2})
		for _, read := range []struct {
			name string
			do   func() (int, error)
		}{
			{"host_raw", func() (int, error) { return s.countRaw(ctx, at, "instance", y.host(0)) }},
			{"all_aggregates", func() (int, error) { return s.countWindows(ctx, at, tsdb.NameLabel, "load1") }},
			{"all_raw", func() (int, error) { return s.countRaw(ctx, at, tsdb.NameLabel, "load1") }},
		} {
			if warmth == "cold" {
				if err := forget(filepath.Join(y.dir, "data.db")); err != nil {
					return nil, errors.Join(err, s.end())
				}
			}
			begin := time.Now()
			n, err := read.do()
			if err != nil {
				return nil, errors.Join(err, s.end())
			}
			fmt.Printf("# %s %s: %d values\n", read.name, warmth, n)
			out = append(out, figure{"tsdb.year_" + read.name + "_" + warmth, "ms", "", ms(time.Since(begin)), 0})
		}
		if err := s.end(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *ownStore) countRaw(ctx context.Context, to int64, label, value string) (n int, err error) {
	m, err := tsdb.NewMatcher(tsdb.Equal, label, value)
	if err != nil {
		return 0, err
	}
	for one, err := range s.Select(ctx, 0, to, m) {
		if err != nil {
			return n, err
		}
		n += len(one.T)
	}
	return n, nil
}

func (s *ownStore) countWindows(ctx context.Context, to int64, label, value string) (n int, err error) {
	m, err := tsdb.NewMatcher(tsdb.Equal, label, value)
	if err != nil {
		return 0, err
	}
	to -= to % tsdb.RollupStep
	for one, err := range s.Rollup(ctx, 0, to, m) {
		if err != nil {
			return n, err
		}
		if one.Raw {
			return n, fmt.Errorf("%v has no aggregates", one.Series)
		}
		n += len(one.At)
	}
	return n, nil
}

// forget has the kernel drop a file from its cache; what is mapped and in use stays.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, min(info.Size(), math.MaxInt64), unix.FADV_DONTNEED)
}
