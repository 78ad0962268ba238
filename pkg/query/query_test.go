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

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// start is when the readings of the tests begin: a minute's boundary not long ago, as the store refuses what is old.
var start = time.Now().Truncate(time.Minute).Add(-3 * time.Hour)

// filled is a store with what two hosts and a check have said from start on, every 15 s for an hour:
// a counter that rises by 15·(host number), a gauge that counts readings, a disk that is unmounted half way,
// and a host whose reports stop half way.
func filled(t testing.TB) *tsdb.DB {
	t.Helper()
	db := opened(t)
	w := writer{t: t, db: db}
	for i := range 241 {
		at := start.Add(time.Duration(i) * 15 * time.Second)
		mount := 1.0
		if i > 120 {
			mount = math.NaN()
		}
		w.put("web-1", metric.KindHost, i, at, sample("c_total", float64(15*i)), sample("g", float64(i)), sample("m", mount, "mountpoint", "/mnt"))
		if i <= 120 {
			w.put("web-2", metric.KindHost, i, at, sample("c_total", float64(30*i)), sample("g", float64(-i)))
		}
		w.put("web-1", metric.KindProbe+"login", i, at, sample("probe_success", float64(i%2), "check", "login"))
	}
	w.done.Wait()
	return db
}

func opened(t testing.TB) *tsdb.DB {
	t.Helper()
	return openedWith(t, tsdb.Options{Linger: -1})
}

func openedWith(t testing.TB, o tsdb.Options) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	running(t, db)
	return db
}

// running lets a store run until the test ends.
func running(t testing.TB, db *tsdb.DB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func sample(name string, v float64, pairs ...string) metric.Sample {
	return metric.Sample{Series: metric.New(name, pairs...), Value: v}
}

type writer struct {
	t    testing.TB
	db   *tsdb.DB
	done sync.WaitGroup
}

func (w *writer) put(agent, kind string, seq int, at time.Time, samples ...metric.Sample) {
	w.t.Helper()
	w.done.Add(1)
	stream := tsdb.Stream{Agent: agent, Kind: kind, Every: 15 * time.Second, Labels: []metric.Label{{Name: "agent", Value: agent}}}
	r := metric.Report{Agent: agent, Boot: uint64(len(kind)), Seq: uint64(seq + 1), Kind: kind, Every: stream.Every, At: at, Samples: samples}
	err := w.db.Append(context.Background(), stream, r, func(o tsdb.Outcome, err error) {
		if o != tsdb.Stored || err != nil {
			w.t.Errorf("report %s %d: %v, %v", kind, seq, o, err)
		}
		w.done.Done()
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestInstant compares with values worked out by hand. Reading 240 is at 60m, the last of web-2 (120) at 30m.
func TestInstant(t *testing.T) {
	e := New(Options{Store: filled(t)})
	for _, tc := range []struct {
		expr string
		at   time.Duration
		want string
	}{
		{`g`, 10 * time.Minute, `g{agent="web-1"} 40; g{agent="web-2"} -40`},
		{`g`, 10*time.Minute + 14*time.Second, `g{agent="web-1"} 40; g{agent="web-2"} -40`},
		{`g`, -time.Second, ``},
		{`g{agent=~"web-[13]"}`, 10 * time.Minute, `g{agent="web-1"} 40`},
		{`g{agent!="web-1"}`, 10 * time.Minute, `g{agent="web-2"} -40`},
		{`g{agent!~"web-1|x"}`, 10 * time.Minute, `g{agent="web-2"} -40`},
		{`g{nolabel=""}`, 10 * time.Minute, `g{agent="web-1"} 40; g{agent="web-2"} -40`},
		{`{__name__=~"g|m",agent="web-1"}`, 10 * time.Minute, `g{agent="web-1"} 40; m{agent="web-1", mountpoint="/mnt"} 1`},
		{`rate(c_total[5m])`, 20 * time.Minute, `{agent="web-1"} 1; {agent="web-2"} 2`},
		{`increase(c_total{agent="web-2"}[1m])`, 20 * time.Minute, `{agent="web-2"} 120`},
		{`sum(g) by (nothing)`, 20 * time.Minute, `{} 0`},
		{`max_over_time(g{agent="web-1"}[2m])`, 20 * time.Minute, `{agent="web-1"} 80`},
		{`count_over_time(g{agent="web-1"}[1m])`, 20 * time.Minute, `{agent="web-1"} 4`}, // left-open
		{`avg_over_time(probe_success[1h])`, 60 * time.Minute, `{agent="web-1", check="login"} 0.5`},
		{`g offset 10m`, 20 * time.Minute, `g{agent="web-1"} 40; g{agent="web-2"} -40`},
		{`g @ ` + fmt.Sprint(start.Unix()), 20 * time.Minute, `g{agent="web-1"} 0; g{agent="web-2"} 0`},
		{`max_over_time(rate(c_total{agent="web-1"}[1m])[10m:1m])`, 30 * time.Minute, `{agent="web-1"} 1`},
		{`g{agent="web-1"} + on () group_right g{agent="web-2"}`, 10 * time.Minute, `{agent="web-2"} 0`},
		{`timestamp(g{agent="web-1"}) - ` + fmt.Sprint(start.Unix()), 10*time.Minute + 7*time.Second, `{agent="web-1"} 600`},
		{`1 + 1`, 0, `2`},
		{`"text"`, 0, `text`},
		// staleness: web-2 was last heard at 30m, the disk last seen at 30m
		{`g{agent="web-2"}`, 35*time.Minute - time.Millisecond, `g{agent="web-2"} -120`},
		{`g{agent="web-2"}`, 35 * time.Minute, ``},
		{`m`, 30 * time.Minute, `m{agent="web-1", mountpoint="/mnt"} 1`},
		{`m`, 30*time.Minute + 15*time.Second, ``}, // the first report without it ends it
		{`m`, 35 * time.Minute, ``},
		{`absent(m)`, 40 * time.Minute, `{} 1`},
		{`count(last_over_time({__name__=~".+"}[100y]))`, 60 * time.Minute, `{} 6`},
	} {
		got, err := e.Instant(t.Context(), tc.expr, start.Add(tc.at))
		if err != nil {
			t.Errorf("%s at %s: %v", tc.expr, tc.at, err)
			continue
		}
		if d := cmp.Diff(tc.want, text(got)); d != "" {
			t.Errorf("%s at %s (-want +got):\n%s", tc.expr, tc.at, d)
		}
	}
}

// text is an answer on one line, without its stamps.
func text(r Result) string {
	switch v := r.Value.(type) {
	case promql.Vector:
		var out []string
		for _, s := range v {
			out = append(out, fmt.Sprintf("%s %.12g", metricText(s.Metric), s.F))
		}
		slices.Sort(out)
		return strings.Join(out, "; ")
	case promql.Matrix:
		var out []string
		for _, s := range v {
			line := metricText(s.Metric)
			for _, p := range s.Floats {
				line += fmt.Sprintf(" %.12g@%s", p.F, time.UnixMilli(p.T).Sub(start))
			}
			out = append(out, line)
		}
		return strings.Join(out, "; ")
	case promql.Scalar:
		return fmt.Sprint(v.V)
	case promql.String:
		return v.V
	}
	return fmt.Sprintf("%T", r.Value)
}

func metricText(l labels.Labels) string {
	return l.Get(model.MetricNameLabel) + labels.NewBuilder(l).Del(model.MetricNameLabel).Labels().String()
}

func TestRange(t *testing.T) {
	e := New(Options{Store: filled(t)})
	span := Span{start.Add(28 * time.Minute), start.Add(40 * time.Minute), 4 * time.Minute}
	got, err := e.Range(t.Context(), `g{agent="web-2"}`, span)
	if err != nil {
		t.Fatal(err)
	}
	want := `g{agent="web-2"} -112@28m0s -120@32m0s`
	if d := cmp.Diff(want, text(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	other, err := e.Range(t.Context(), `rate(c_total{agent="web-1"}[2m])`, span)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(`{agent="web-1"} 1@28m0s 1@32m0s 1@36m0s 1@40m0s`, text(other)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, text(got)); d != "" { // the engine pools its slices
		t.Errorf("the first answer changed under a second query:\n%s", d)
	}
}

func TestLabels(t *testing.T) {
	e := New(Options{Store: filled(t)})
	q, err := e.Queryable().Querier(start.UnixMilli(), start.Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	web2 := labels.MustNewMatcher(labels.MatchEqual, "agent", "web-2")
	names, _, err := q.LabelNames(t.Context(), nil)
	equal(t, "names", names, err, "__name__", "agent", "check", "mountpoint")
	names, _, err = q.LabelNames(t.Context(), &storage.LabelHints{Limit: 1}, web2)
	equal(t, "names of web-2, one of them", names, err, "__name__")
	values, _, err := q.LabelValues(t.Context(), "__name__", nil, web2)
	equal(t, "metrics of web-2", values, err, "c_total", "g")
	values, _, err = q.LabelValues(t.Context(), "agent", &storage.LabelHints{Limit: 1})
	equal(t, "one agent", values, err, "web-1")
	set := q.Select(t.Context(), true, &storage.SelectHints{Func: "series", Start: start.UnixMilli(), End: start.Add(time.Hour).UnixMilli(), Limit: 2}, web2)
	var series []string
	for set.Next() {
		series = append(series, set.At().Labels().String())
		if set.At().Iterator(nil).Next() != 0 {
			t.Error("a list of series has samples")
		}
	}
	equal(t, "series of web-2", series, set.Err(), `{__name__="c_total", agent="web-2"}`, `{__name__="g", agent="web-2"}`)
	for name, q := range map[string]func() error{
		"names":  func() error { _, _, err := q.LabelNames(t.Context(), nil, bad); return err },
		"values": func() error { _, _, err := q.LabelValues(t.Context(), "x", nil, bad); return err },
		"select": func() error { return q.Select(t.Context(), false, nil, bad).Err() },
	} {
		if q() == nil {
			t.Errorf("%s: a matcher of no known type is taken", name)
		}
	}
}

var bad = &labels.Matcher{Type: 99, Name: "x", Value: "y"}

func equal(t *testing.T, what string, got []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestBadQueries(t *testing.T) {
	e := New(Options{Store: filled(t)})
	hour := Span{start, start.Add(time.Hour), time.Second}
	for name, ask := range map[string]func() error{
		"no expression": func() error { _, err := e.Instant(t.Context(), "sum(", start); return err },
		"too long":      func() error { _, err := e.Instant(t.Context(), strings.Repeat("1+", maxExpr/2)+"1", start); return err },
		"range of text": func() error { _, err := e.Range(t.Context(), `"a"`, hour); return err },
		"no step":       func() error { _, err := e.Range(t.Context(), "g", Span{start, start, 0}); return err },
		"backwards":     func() error { _, err := e.Range(t.Context(), "g", Span{start.Add(1), start, time.Second}); return err },
		"11,001 points": func() error {
			_, err := e.Range(t.Context(), "g", Span{start, start.Add(11_000 * time.Second), time.Second})
			return err
		},
		"experimental()": func() error { _, err := e.Instant(t.Context(), "mad_over_time(g[5m])", start); return err },
	} {
		if err := ask(); !errors.Is(err, ErrBad) {
			t.Errorf("%s: error %v, want ErrBad", name, err)
		}
	}
	if _, err := e.Range(t.Context(), "1", Span{start, start.Add(10_999 * time.Second), time.Second}); err != nil {
		t.Errorf("11,000 points: %v", err)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	c := DefaultConfig()
	c.MaxSamples = 400 // two series of 121 and 241 readings fit, and nothing more does
	e := New(Options{Store: filled(t), Config: c})
	if _, err := e.Instant(t.Context(), "idelta(g[1h1m])", start.Add(time.Hour)); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	for _, expr := range []string{"idelta({agent=~\".+\"}[1h1m])", "idelta(g[1h1m]) + idelta(c_total[1h1m])"} {
		_, err := e.Instant(t.Context(), expr, start.Add(time.Hour))
		if _, ok := errors.AsType[promql.ErrTooManySamples](err); !ok {
			t.Errorf("%s: error %v, want promql.ErrTooManySamples", expr, err)
		}
	}
}

// TestHintsAreHeeded: beside a long range, a plain selector loads no more than its lookback.
func TestHintsAreHeeded(t *testing.T) {
	c := DefaultConfig()
	c.MaxSamples = 300 // 241 and 21 readings; twice 241 would be too many
	e := New(Options{Store: filled(t), Config: c})
	got, err := e.Instant(t.Context(), `idelta(g{agent="web-1"}[1h1m]) + on () c_total{agent="web-1"}`, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if want := "{} 3601"; text(got) != want {
		t.Errorf("got %s, want %s", text(got), want)
	}
}

// TestLongRange reads two days of hourly readings, which takes several looks into the store.
func TestLongRange(t *testing.T) {
	db := opened(t)
	w := writer{t: t, db: db}
	for i := range 49 {
		w.put("web-1", metric.KindHost, i, start.Add(time.Duration(i-48)*time.Hour), sample("c_total", float64(3600*i)), sample("a", 1))
	}
	for i := range 8 {
		w.put(fmt.Sprintf("h%d", 7-i), metric.KindHost, 0, start, sample("a", 1))
	}
	w.done.Wait()
	e := New(Options{Store: db})
	for expr, want := range map[string]string{
		`count_over_time(c_total[2d1m])`:                   `{agent="web-1"} 49`,
		`resets(c_total[2d1m])`:                            `{agent="web-1"} 0`, // that is, in order
		`count_over_time(c_total[30d] offset 1d)`:          `{agent="web-1"} 25`,
		`last_over_time(c_total[1d]) - c_total offset 25h`: `{agent="web-1"} 90000`,
	} {
		got, err := e.Instant(t.Context(), expr, start)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if text(got) != want {
			t.Errorf("%s is %s, want %s", expr, text(got), want)
		}
	}
	q, err := e.Queryable().Querier(start.Add(-time.Hour).UnixMilli(), start.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a")); set.Next(); {
		order = append(order, set.At().Labels().Get("agent"))
	}
	equal(t, "sorted", order, nil, "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "web-1")
}

// slow is a store that answers when told to.
type slow struct {
	Store
	go_ chan struct{}
}

func (s slow) Select(context.Context, int64, int64, ...tsdb.Matcher) iter.Seq2[tsdb.Samples, error] {
	<-s.go_
	return func(func(tsdb.Samples, error) bool) {}
}

func (slow) RawSince() int64 { return 0 }

// TestTurns: people's queries wait for a turn no longer than the timeout, and rules do not wait behind them.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reg := slow{go_: make(chan struct{})}, prometheus.NewRegistry()
		e := New(Options{Store: s, Registerer: reg, Config: Config{MaxSamples: 1000, Timeout: 10 * time.Second, Concurrency: 2, Lookback: time.Minute}})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = e.Instant(context.Background(), "g", time.Now()) })
		}
		synctest.Wait()
		if _, err := e.QueryFunc()(context.Background(), "1", time.Now()); err != nil {
			t.Errorf("a rule: %v", err)
		}
		began := time.Now()
		_, err := e.Instant(context.Background(), "1", time.Now())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("one too many: %v after %s", err, time.Since(began))
		}
		if n := testutil.ToFloat64(e.metrics.queueTimeouts); n != 1 {
			t.Errorf("%v queue timeouts counted", n)
		}
		close(s.go_)
		wg.Wait()
	})
}

func TestConfig(t *testing.T) {
	if err := faults(DefaultConfig()); err != "" {
		t.Errorf("the default is refused: %s", err)
	}
	if got := faults(Config{}); strings.Count(got, "not between") != 4 {
		t.Errorf("faults of nothing: %s", got)
	}
}

func faults(c Config) (out string) {
	c.Validate(func(path, format string, args ...any) { out += path + ": " + fmt.Sprintf(format, args...) + "\n" })
	return out
}

// FuzzInstant: whatever is asked, there is an answer or an error.
func FuzzInstant(f *testing.F) {
	c := DefaultConfig()
	c.MaxSamples, c.Timeout = 100_000, time.Second
	e := New(Options{Store: filled(f), Config: c})
	for _, s := range []string{"g", "sum by (agent) (rate(c_total[5m]))", `{__name__=~"g|m"} offset -5m @ end()`, "g[5m:1m]", "histogram_quantile(0.9, g)", `label_replace(g, "a", "$1", "agent", "(.*)")`, "topk(1, g) or vector(1)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		r, err := e.Instant(t.Context(), expr, start.Add(20*time.Minute))
		if (r.Value == nil) == (err == nil) {
			t.Errorf("%q: answer %v and error %v", expr, r.Value, err)
		}
	})
}
