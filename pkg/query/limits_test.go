package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// heap is a store with more samples of "much" than anyone may hold, and one of "little". What is read of much waits in
// the middle until it may go on.
type heap struct {
	Store
	goOn chan struct{}
}

func (heap) RawSince() int64                                            { return 0 }
func (heap) LabelValues(string, int64, int64, ...tsdb.Matcher) []string { return nil }

func (heap) Series(int64, int64, ...tsdb.Matcher) []metric.Series { return nil }

func (h heap) Select(ctx context.Context, _, to int64, ms ...tsdb.Matcher) iter.Seq2[tsdb.Samples, error] {
	return func(yield func(tsdb.Samples, error) bool) {
		if ms[0].Value == "little" {
			yield(tsdb.Samples{Series: metric.New("little"), T: []int64{to}, V: []float64{1}}, nil)
			return
		}
		t := make([]int64, 200_000)
		for i := range t {
			t[i] = to - int64(len(t)-i)
		}
		v := make([]float64, len(t))
		for i := range 100 {
			if i == 10 {
				select {
				case <-h.goOn:
				case <-ctx.Done():
					yield(tsdb.Samples{}, ctx.Err())
					return
				}
			}
			if !yield(tsdb.Samples{Series: metric.New("much", "i", fmt.Sprint(i)), T: t, V: v}, nil) {
				return
			}
		}
	}
}

// TestLargeQueries: of queries that read much one works at a time, those that wait leave their turn to small ones, and
// no more wait than can be borne. Rules do not wait for any of them.
func TestLargeQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := heap{goOn: make(chan struct{})}
		c := DefaultConfig()
		c.Concurrency, c.Timeout = 2, time.Minute
		e := New(Options{Store: h, Config: c})
		ask := func(expr string) error {
			_, err := e.Instant(context.Background(), expr, time.UnixMilli(1e12))
			return err
		}
		const large = "count(avg_over_time(much[30m]))"
		var mu sync.Mutex
		var faults []error
		var wg sync.WaitGroup
		for range 1 + maxWaiting {
			wg.Go(func() {
				err := ask(large)
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, err)
			})
		}
		synctest.Wait()
		if n := len(e.lanes.one); n != 1 {
			t.Errorf("%d large queries at work, want 1", n)
		}
		if err := ask(large); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		began := time.Now()
		for name, err := range map[string]error{"a small query": ask("little"), "a small range": ask("avg_over_time(little[30m])")} {
			if err != nil || time.Since(began) > 0 {
				t.Errorf("%s: %v after %s", name, err, time.Since(began))
			}
		}
		if v, err := e.QueryFunc()(context.Background(), "little", time.UnixMilli(1e12)); err != nil || len(v) != 1 {
			t.Errorf("a rule: %v, %v", v, err)
		}
		close(h.goOn)
		wg.Wait()
		if len(faults) != 1+maxWaiting || errors.Join(faults...) != nil {
			t.Errorf("large queries: %v", faults)
		}
		if len(e.lanes.one) != 0 || len(e.lanes.small) != 0 || e.lanes.waiting.Load() != 0 {
			t.Error("a turn was not given back")
		}
	})
}

// TestCancelled: whoever goes away, or comes too late, stops the work and gives the turn back.
func TestCancelled(t *testing.T) {
	for name, expr := range map[string]string{"worked out": "avg_over_time(much[30m])", "loaded": "idelta(much[30m])"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := DefaultConfig()
				c.Timeout = 10 * time.Second
				e := New(Options{Store: heap{goOn: make(chan struct{})}, Config: c})
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Second, cancel)
				began := time.Now()
				_, err := e.Instant(ctx, expr, time.UnixMilli(1e12))
				if _, ok := errors.AsType[promql.ErrQueryCanceled](err); !ok && !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
					t.Errorf("cancelled: %v after %s", err, time.Since(began))
				}
				began = time.Now()
				_, err = e.Instant(context.Background(), expr, time.UnixMilli(1e12))
				if _, ok := errors.AsType[promql.ErrQueryTimeout](err); !ok && !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != c.Timeout {
					t.Errorf("too late: %v after %s", err, time.Since(began))
				}
				if len(e.lanes.one) != 0 || len(e.lanes.small) != 0 {
					t.Error("a turn was not given back")
				}
			})
		})
	}
}

// TestReadingIsBounded: what is not held is bounded too.
func TestReadingIsBounded(t *testing.T) {
	goOn := make(chan struct{})
	close(goOn)
	c := DefaultConfig()
	c.MaxScan = 10_000_000
	e := New(Options{Store: heap{goOn: goOn}, Config: c})
	_, err := e.Instant(t.Context(), "avg_over_time(much[30m])", time.UnixMilli(1e12))
	if !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), "10000000 samples") {
		t.Errorf("20 million samples: %v", err)
	}
	if _, err = e.Instant(t.Context(), "idelta(much[30m])", time.UnixMilli(1e12)); err == nil {
		t.Error("20 million samples were held")
	} else if _, ok := errors.AsType[promql.ErrTooManySamples](err); !ok {
		t.Errorf("20 million samples held: %v", err)
	}
	if _, err := e.QueryFunc()(t.Context(), "idelta(much[30m])", time.UnixMilli(1e12)); err == nil {
		t.Error("a rule held 20 million samples")
	}
}

// torn is a store that panics in the middle of a read.
type torn struct{ heap }

func (torn) Select(context.Context, int64, int64, ...tsdb.Matcher) iter.Seq2[tsdb.Samples, error] {
	return func(func(tsdb.Samples, error) bool) { panic("torn page") }
}

func TestPanicEndsTheQueryAlone(t *testing.T) {
	e := New(Options{Store: torn{}})
	for _, expr := range []string{"avg_over_time(g[30m])", "g"} {
		if _, err := e.Instant(t.Context(), expr, time.UnixMilli(1e12)); err == nil || !strings.Contains(err.Error(), "torn page") {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// many is a store with more series than a list shows.
type many struct{ Store }

func (many) Series(int64, int64, ...tsdb.Matcher) []metric.Series {
	out := make([]metric.Series, maxListed+1)
	for i := range out {
		out[i] = metric.New("m", "i", fmt.Sprint(i))
	}
	return out
}

func TestListIsBounded(t *testing.T) {
	q, err := New(Options{Store: many{}}).Queryable().Querier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	for limit, want := range map[int]int{0: maxListed, 7: 7} {
		set, n := q.Select(t.Context(), true, &storage.SelectHints{End: 1, Func: "series", Limit: limit}, m), 0
		for set.Next() {
			n++
		}
		if n != want || (limit == 0) != (len(set.Warnings()) == 1) {
			t.Errorf("limit %d: %d series and warnings %v", limit, n, set.Warnings())
		}
	}
}

// TestDroppedSamples: where samples are no longer kept, aggregates answer, and the answer says so unless it is the same.
func TestDroppedSamples(t *testing.T) {
	now := start.Truncate(24 * time.Hour)
	db := openedWith(t, tsdb.Options{
		Linger: -1, BlockRows: 48, FlushEvery: time.Millisecond, FlushBytes: 1, MaxAge: 30 * 24 * time.Hour, MmapSize: 1 << 26,
		Retain: 48 * time.Hour, MergeAfter: time.Millisecond, Now: func() time.Time { return now },
	})
	w := writer{t: t, db: db}
	first := now.Add(-5 * 24 * time.Hour)
	for i := 1; i <= 5*24*60; i++ {
		w.put("web-1", metric.KindHost, i, first.Add(time.Duration(i)*time.Minute), sample("g", float64(i%1440)), sample("c_total", float64(i)), sample("tenths_total", float64(i)/10),
			sample("spiky", float64(i%10/9*1000)))
	}
	w.done.Wait()
	for deadline := time.Now().Add(20 * time.Second); db.RawSince() <= 0 || db.RawSince() < now.Add(-48*time.Hour).UnixMilli(); {
		if _, err := db.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no day was dropped")
		}
	}
	e := New(Options{Store: db})
	for _, tc := range []struct {
		expr   string
		at     time.Duration // before now
		want   string
		marked bool
	}{
		{`avg_over_time(g[4d])`, 24 * time.Hour, `{agent="web-1"} 719.5`, false}, // of whole windows: the same
		{`max_over_time(g[1d])`, 72 * time.Hour, `{agent="web-1"} 1439`, false},
		{`count_over_time(c_total[5d])`, 0, `{agent="web-1"} 7200`, false},
		{`count_over_time(g[1d])`, time.Second, `{agent="web-1"} 1440`, false}, // of samples, all kept
		{`count_over_time(g[4d])`, 24*time.Hour + time.Second, `{agent="web-1"} 5759`, true},
		{`g`, 72 * time.Hour, `g{agent="web-1"} 1150`, true}, // 1436 … 1439 and 0
		{`g`, 71*time.Hour + 55*time.Minute, `g{agent="web-1"} 3`, true},
		{`c_total`, 72 * time.Hour, `c_total{agent="web-1"} 2880`, true},
		{`tenths_total`, 100*time.Hour - 5*time.Minute, `tenths_total{agent="web-1"} 120.5`, true},
		{`c_total`, time.Hour, `c_total{agent="web-1"} 7140`, false},
		{`max_over_time(c_total[4d])`, 0, `{agent="web-1"} 7200`, true},
	} {
		got, err := e.Instant(t.Context(), tc.expr, now.Add(-tc.at))
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		warned := slices.ContainsFunc(got.Warnings, func(s string) bool { return strings.Contains(s, "are no longer kept: 5-minute aggregates were read") })
		if text(got) != tc.want || warned != tc.marked {
			t.Errorf("%s at -%s is %s with warnings %v, want %s, marked %v", tc.expr, tc.at, text(got), got.Warnings, tc.want, tc.marked)
		}
	}
	// Quantiles come from the days' sketches: means of windows would hide a spike of one minute in ten.
	for expr, want := range map[string]float64{
		`quantile_over_time(0.95, spiky[1d])`: 1000, `quantile_over_time(0.5, spiky[2d])`: 0,
		`quantile_over_time(0.5, g[1d])`: 719.5, `quantile_over_time(0.99, g[2d])`: 1424.6,
	} {
		got, err := e.Instant(t.Context(), expr, now.Add(-72*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		p := got.Points()
		if len(p) != 1 || math.Abs(p[0].Value-want) > 0.02*want || len(got.Warnings) == 0 {
			t.Errorf("%s is %v with warnings %v, want about %v", expr, p, got.Warnings, want)
		}
	}
}
