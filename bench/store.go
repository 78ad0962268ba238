package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// ownStore is a store of ours at a clock that the bench sets: a year passes as fast as it can be written.
type ownStore struct {
	*tsdb.DB
	dir   string
	clock atomic.Int64 // ms

	acks    sync.WaitGroup
	refused atomic.Int64
	lastErr atomic.Pointer[error]
	end     func() error
}

// openStore opens a store at a time and runs it; unless it is told otherwise it never lingers and writes blocks each second.
func openStore(dir string, at time.Time, o tsdb.Options) (*ownStore, error) {
	s := &ownStore{dir: dir}
	s.clock.Store(at.UnixMilli())
	o.Now = func() time.Time { return time.UnixMilli(s.clock.Load()) }
	o.Linger, o.FlushEvery = cmp.Or(o.Linger, -1), cmp.Or(o.FlushEvery, time.Second)
	db, err := tsdb.Open(dir, o)
	if err != nil {
		return nil, err
	}
	s.DB = db
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	s.end = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, db.Close())
	})
	return s, nil
}

// fill appends the ticks [from, to) of a dataset, each when its time has come, and waits until all are on disk.
func (s *ownStore) fill(ctx context.Context, d dataset, from, to int) error {
	streams := make([]tsdb.Stream, d.hosts)
	for h := range streams {
		streams[h] = tsdb.Stream{Agent: d.host(h), Kind: metric.KindHost, Every: step, Labels: d.owned(h)}
	}
	var row []float64
	for tick := from; tick < to; tick++ {
		s.clock.Store(d.stamp(0, tick) + d.jitter)
		for h := range streams {
			row = d.row(row[:0], h, tick)
			samples := make([]metric.Sample, len(row))
			for c, v := range row {
				samples[c] = metric.Sample{Series: d.series[c], Value: v}
			}
			r := metric.Report{Boot: 1, Seq: uint64(tick + 1), At: time.UnixMilli(d.stamp(h, tick)), Samples: samples}
			s.acks.Add(1)
			if err := s.Append(ctx, streams[h], r, s.acked); err != nil {
				s.acks.Done()
				return err
			}
		}
	}
	s.acks.Wait()
	if n := s.refused.Load(); n > 0 {
		return fmt.Errorf("%d reports were not stored", n)
	}
	if err := s.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *ownStore) acked(o tsdb.Outcome, err error) {
	if err != nil {
		s.lastErr.Store(&err)
	} else if o != tsdb.Stored {
		s.refused.Add(1)
	}
	s.acks.Done()
}

// settle has all days before the present one in the blocks of days; every host must have reported on the present one,
// which closes what was open of the day before.
func (s *ownStore) settle(ctx context.Context, d dataset) (total tsdb.MergeStats, err error) {
	s.clock.Add((3 * time.Hour).Milliseconds())
	for range 1200 {
		one, err := s.Merge(ctx)
		total = addMerge(total, one)
		if err != nil {
			return total, err
		}
		if z := s.Stats(); z.HeadRows <= d.hosts && z.UnflushedBytes == 0 && z.HotBlocks == 0 {
			return total, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return total, err
		}
	}
	return total, fmt.Errorf("rows are still not in days: %+v", s.Stats())
}

func addMerge(a, b tsdb.MergeStats) tsdb.MergeStats {
	a.Days, a.HotBlocks, a.Drops = a.Days+b.Days, a.HotBlocks+b.HotBlocks, append(a.Drops, b.Drops...)
	a.RawBytes, a.DayBytes, a.RollupBytes = a.RawBytes+b.RawBytes, a.DayBytes+b.DayBytes, a.RollupBytes+b.RollupBytes
	a.SketchBytes, a.MergeTime = a.SketchBytes+b.SketchBytes, a.MergeTime+b.MergeTime
	return a
}

// ownSizes weighs a store of ours.
type ownSizes struct {
	sizes             // of a file without free pages
	file      float64 // as the merge left it
	aggregate float64
}

const dayTicks = int(24 * time.Hour / step)

// ourSizes fills a store with a data set of one day through Append, merges the day, and weighs it. The first tick of the
// next day stays in the journal.
func ourSizes(ctx context.Context, dir string, d dataset) (z ownSizes, err error) {
	s, err := openStore(dir, d.first, tsdb.Options{})
	if err != nil {
		return z, err
	}
	if err = s.fill(ctx, d, 0, d.ticks); err == nil {
		err = s.fill(ctx, d, dayTicks, dayTicks+1)
	}
	if err == nil {
		_, err = s.settle(ctx, d)
	}
	if err := errors.Join(err, s.end()); err != nil {
		return z, err
	}
	return weigh(dir)
}

// weigh reads what the buckets of data.db hold, and copies it into a file without free pages.
func weigh(dir string) (z ownSizes, err error) {
	path := filepath.Join(dir, "data.db")
	info, err := os.Stat(path)
	if err != nil {
		return z, err
	}
	z.file = float64(info.Size())
	src, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return z, err
	}
	defer src.Close()
	err = src.View(func(tx *bolt.Tx) error {
		z.samples, z.aggregate = bucketBytes(tx.Bucket([]byte("day"))), bucketBytes(tx.Bucket([]byte("r5")))
		return nil
	})
	if err != nil {
		return z, err
	}
	small := path + ".small"
	dst, err := bolt.Open(small, 0o600, &bolt.Options{NoSync: true, Timeout: time.Second})
	if err != nil {
		return z, err
	}
	defer os.Remove(small)
	dst.AllocSize = os.Getpagesize() // bbolt grows files by 16 MiB otherwise, which is much beside one day
	if err := errors.Join(bolt.Compact(dst, src, 16<<20), dst.Close()); err != nil {
		return z, err
	}
	info, err = os.Stat(small)
	if err == nil {
		z.whole = float64(info.Size())
	}
	return z, err
}

// bucketBytes sums the values of a bucket and of all within it.
func bucketBytes(b *bolt.Bucket) (n float64) {
	if b == nil {
		return 0
	}
	_ = b.ForEach(func(k, v []byte) error { // it has no errors but ours
		if v == nil {
			n += bucketBytes(b.Bucket(k))
		}
		n += float64(len(v))
		return nil
	})
	return n
}
