package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// Of the area tsdb-mixed: reports come at an even pace, and a commit waits only a little for company.
const (
	mixedRate   = 500 // reports a second
	mixedAgents = 1000
	mixedLinger = 20 * time.Millisecond
	mixedQuiet  = 10 * time.Second
)

// mixedArea is what else the store does while reports come in: the 99th percentile of acknowledgements beside a day merge
// and a scan of everything, and beside a backup, against the same when nothing else goes on.
func mixedArea(ctx context.Context, o options) (_ []figure, err error) {
	rec, err := readRecording()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	const days = 2 // the first is merged before, the second beside the reports
	d := dataset{recording: rec, hosts: max(5, int(100*o.share)), ticks: days * dayTicks, stride: 1, first: midnight.Add(-days*24*time.Hour + step)}
	s, err := fillDays(ctx, dir, d)
	if err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	s, err = openStore(dir, midnight, tsdb.Options{Linger: mixedLinger, FlushEvery: time.Minute}) // the second day may be merged from now on
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	w := &steadyWriter{ownStore: s, dataset: d, begin: time.Now()}
	stop := w.start(ctx)
	defer stop()
	return w.measure(ctx, dir)
}

// fillDays writes whole days and merges all but the last.
func fillDays(ctx context.Context, dir string, d dataset) (s *ownStore, err error) {
	if s, err = openStore(dir, d.first, tsdb.Options{}); err != nil {
		return nil, err
	}
	for tick := 0; tick <= d.ticks && err == nil; tick += dayTicks {
		if err = s.fill(ctx, d, tick, min(tick+dayTicks, d.ticks+1)); err == nil && tick < d.ticks {
			_, err = s.Merge(ctx)
		}
	}
	if err = errors.Join(err, s.flushed(ctx)); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// steadyWriter appends reports at an even pace and keeps how long each acknowledgement took.
type steadyWriter struct {
	*ownStore
	dataset
	begin time.Time
	fault atomic.Pointer[error]

	mu    sync.Mutex
	times []time.Duration
}

func (w *steadyWriter) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		pace := time.NewTicker(time.Second / mixedRate)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
			if err := w.send(ctx, n); err != nil && ctx.Err() == nil {
				w.fault.Store(&err)
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		wait.Wait()
		w.acks.Wait()
	})
}

func (w *steadyWriter) send(ctx context.Context, n int) error {
	agent := n % mixedAgents
	at := w.advance()
	stream := tsdb.Stream{Agent: fmt.Sprintf("live-%04d", agent), Kind: metric.KindHost, Every: step, Labels: w.owned(agent)}
	r := metric.Report{Boot: 1, Seq: uint64(n/mixedAgents + 1), At: at}
	for c, v := range w.row(nil, agent%w.hosts, n/mixedAgents) {
		r.Samples = append(r.Samples, metric.Sample{Series: w.series[c], Value: v})
	}
	w.acks.Add(1)
	begin := time.Now()
	err := w.Append(ctx, stream, r, func(o tsdb.Outcome, err error) {
		took := time.Since(begin)
		w.mu.Lock()
		w.times = append(w.times, took)
		w.mu.Unlock()
		w.acked(o, err)
	})
	if err != nil {
		w.acks.Done()
	}
	return err
}

// advance moves the store's clock with the real one.
func (w *steadyWriter) advance() time.Time {
	now := time.Now()
	w.clock.Add(now.Sub(w.begin).Milliseconds())
	w.begin = w.begin.Add(now.Sub(w.begin).Truncate(time.Millisecond))
	return time.UnixMilli(w.clock.Load())
}

// during takes the acknowledgements that come while something else goes on.
func (w *steadyWriter) during(name string, do func() error) (p99 time.Duration, err error) {
	w.mu.Lock()
	w.times = w.times[:0]
	w.mu.Unlock()
	begin := time.Now()
	if err := do(); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Printf("# %s: %d acknowledgements in %v, p50 %v, p99 %v, max %v\n", name, len(w.times), time.Since(begin).Round(time.Millisecond),
		quantile(w.times, 0.5), quantile(w.times, 0.99), quantile(w.times, 1))
	if err := w.fault.Load(); err != nil {
		return 0, *err
	}
	if n := w.refused.Load(); n > 0 {
		return 0, fmt.Errorf("%d reports were not stored", n)
	}
	return quantile(w.times, 0.99), nil
}

func (w *steadyWriter) measure(ctx context.Context, dir string) ([]figure, error) {
	if err := sleep(ctx, 3*time.Second); err != nil { // the streams are made in it
		return nil, err
	}
	quiet, err := w.during("quiet", func() error { return sleep(ctx, mixedQuiet) })
	if err != nil {
		return nil, err
	}
	busy, err := w.during("day merge and full scan", func() error { return w.mergeAndScan(ctx) })
	if err != nil {
		return nil, err
	}
	backup, err := w.during("backup", func() error { return w.backup(ctx, dir) })
	if err != nil {
		return nil, err
	}
	return []figure{
		{"tsdb.ack_p99_beside_merge", "ms", "quiet", ms(busy), ms(quiet)},
		{"tsdb.ack_p99_beside_backup", "ms", "quiet", ms(backup), ms(quiet)},
	}, nil
}

// mergeAndScan reads everything again and again while a day is merged, and at least once.
func (w *steadyWriter) mergeAndScan(ctx context.Context) error {
	w.clock.Add((3 * time.Hour).Milliseconds())
	var merged tsdb.MergeStats
	var mergeErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		merged, mergeErr = w.Merge(ctx)
	}()
	scanned := 0
	for busy := true; busy; {
		n, err := w.countRaw(ctx, w.clock.Load(), "job", "node")
		if err != nil {
			<-done
			return err
		}
		scanned += n
		select {
		case <-done:
			busy = false
		default:
		}
	}
	if mergeErr == nil && merged.Days == 0 {
		mergeErr = errors.New("there was nothing to merge")
	}
	fmt.Printf("# merged %d blocks into %d days in %v, scanned %.4g samples\n", merged.HotBlocks, merged.Days, merged.MergeTime.Round(time.Millisecond), float64(scanned))
	return mergeErr
}

// backup copies the store at the rate that the collector's command has by default.
func (w *steadyWriter) backup(ctx context.Context, dir string) error {
	const rate = 32 << 20
	to := filepath.Join(dir, "backup")
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	files, err := w.Backup(ctx, to, &store.Copying{Rate: rate})
	for _, f := range files {
		fmt.Printf("# copied %s, %.1f MB\n", f.Name, float64(f.Size)/1e6)
	}
	return err
}
