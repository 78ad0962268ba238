package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

func matcher(t testing.TB, typ MatchType, name, value string) Matcher {
	t.Helper()
	m, err := NewMatcher(typ, name, value)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMatchers(t *testing.T) {
	s := metric.New("up", "job", "node", "note", "a\nb")
	for _, c := range []struct {
		typ         MatchType
		name, value string
		want        bool
	}{
		{Equal, NameLabel, "up", true},
		{Equal, "job", "node", true},
		{Equal, "job", "nod", false},
		{Equal, "none", "", true},
		{NotEqual, "job", "x", true},
		{NotEqual, "job", "node", false},
		{NotEqual, "none", "", false},
		{Regexp, "job", "no", false},
		{Regexp, "job", "no.*", true},
		{Regexp, "job", "x|node", true},
		{Regexp, "none", ".*", true},
		{Regexp, "none", ".+", false},
		{Regexp, "note", "a.b", true},
		{Regexp, NameLabel, "u.", true},
		{NotRegexp, "job", "no", true},
		{NotRegexp, "job", "no.*", false},
		{NotRegexp, "none", ".+", true},
	} {
		if got := matcher(t, c.typ, c.name, c.value).Matches(s); got != c.want {
			t.Errorf("type %d %s %q: %v", c.typ, c.name, c.value, got)
		}
	}
	if _, err := NewMatcher(Regexp, "job", "("); err == nil {
		t.Error("a broken expression was taken")
	}
}

// fleetStore holds three hosts and a probe, each with a few rows.
func fleetStore(t *testing.T) (*DB, func(), time.Time) {
	db, stop := running(t, t.TempDir(), small())
	base := time.Now().Truncate(time.Second)
	for h := range 3 {
		for i := range 20 {
			r := metric.Report{Agent: fmt.Sprint("web", h), Boot: 1, Seq: uint64(i + 1), Kind: "host", At: base.Add(time.Duration(i) * time.Second)}
			for _, mode := range []string{"user", "idle"} {
				r.Samples = append(r.Samples, metric.Sample{Series: metric.New("cpu_total", "mode", mode), Value: float64(h*100 + i)})
			}
			r.Samples = append(r.Samples, metric.Sample{Series: metric.New("load", "instance", "mine"), Value: math.NaN()})
			appendAll(t, db, r)
		}
	}
	return db, stop, base
}

func TestSelectByLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _, base := fleetStore(t)
		list := func(from, to int, ms ...Matcher) string {
			var out []string
			for s, err := range db.Select(t.Context(), base.Add(time.Duration(from)*time.Second).UnixMilli(), base.Add(time.Duration(to)*time.Second).UnixMilli(), ms...) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(s.Series.String(), s.V))
			}
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		for _, c := range []struct {
			name     string
			from, to int
			ms       []Matcher
			want     string
		}{
			{
				"one", 3, 4,
				[]Matcher{matcher(t, Equal, NameLabel, "cpu_total"), matcher(t, Equal, "mode", "user"), matcher(t, Equal, "instance", "web1")},
				`cpu_total{instance="web1",mode="user"}[103 104]`,
			},
			{
				"all hosts", 19, 100,
				[]Matcher{matcher(t, Equal, "mode", "idle")},
				`cpu_total{instance="web0",mode="idle"}[19] cpu_total{instance="web1",mode="idle"}[119] cpu_total{instance="web2",mode="idle"}[219]`,
			},
			{
				"some hosts", 0, 0,
				[]Matcher{matcher(t, Regexp, "instance", "web[02]"), matcher(t, NotEqual, "mode", "idle")},
				`cpu_total{instance="web0",mode="user"}[0] cpu_total{instance="web2",mode="user"}[200]`,
			},
			{"nothing", 50, 100, nil, ""},
			{"absent values", 0, 100, []Matcher{matcher(t, Equal, NameLabel, "load")}, ""},
		} {
			if got := list(c.from, c.to, c.ms...); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
}

func TestLabelLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _, base := fleetStore(t)
		from, to := base.UnixMilli(), base.Add(time.Minute).UnixMilli()
		if got := fmt.Sprint(db.LabelNames(from, to)); got != "[__name__ exported_instance instance mode]" {
			t.Error(got)
		}
		if got := fmt.Sprint(db.LabelValues("instance", from, to)); got != "[web0 web1 web2]" {
			t.Error(got)
		}
		if got := fmt.Sprint(db.LabelValues(NameLabel, from, to, matcher(t, Equal, "instance", "web0"))); got != "[cpu_total load]" {
			t.Error(got)
		}
		if got := fmt.Sprint(db.Series(from, to, matcher(t, Equal, "instance", "web0"))); strings.Count(got, "web0") != 3 {
			t.Error(got)
		}
		if got := db.Series(to, to+1000); len(got) != 0 {
			t.Errorf("series of a time without reports: %v", got)
		}
	})
}

// TestOneSeriesOfTwoStreams: an agent whose interval changed is still one series.
func TestOneSeriesOfTwoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := running(t, t.TempDir(), small())
		base := time.Now().Truncate(time.Second)
		r := report(1, 1, base, 1, 10)
		r2 := report(1, 2, base.Add(time.Second), 2)
		r2.Every = time.Minute
		r3 := report(1, 3, base.Add(2*time.Second), 3)
		r4 := report(1, 4, base, 99) // the same millisecond in the other stream, later
		r4.Every = time.Minute
		wantOutcomes(t, appendAll(t, db, r, r2, r3, r4), Stored, Stored, Stored, Stored)
		wantPoints(t, db, base, "a", "0:1", "1:2", "2:3")
		wantPoints(t, db, base, "b", "0:10", "2:end")
	})
}

func TestSelectStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, stop, _ := fleetStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var last error
		for _, err := range db.Select(ctx, 0, math.MaxInt64) {
			n++
			last = err
			cancel()
		}
		if !errors.Is(last, context.Canceled) || n > 4 {
			t.Errorf("%d series, ended with %v", n, last)
		}
		for range db.Select(t.Context(), 0, math.MaxInt64) {
			break // the iterator must not go on
		}
		stop()
		for _, err := range db.Select(t.Context(), 0, math.MaxInt64) {
			if err == nil {
				continue // from memory
			}
			last = err
		}
		if last == nil {
			t.Error("read a closed store without an error")
		}
	})
}

func TestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), time.Now().Truncate(time.Second)
		db, stop := running(t, dir, small())
		list := func() string {
			var out []string
			if err := db.Last(func(s metric.Series, at int64, v float64) {
				out = append(out, fmt.Sprintf("%v@%d=%v", s, (at-base.UnixMilli())/1000, v))
			}); err != nil {
				t.Fatal(err)
			}
			return strings.Join(out, " ")
		}
		for i := range 8 {
			appendAll(t, db, report(1, uint64(i+1), base.Add(time.Duration(i)*time.Second), float64(i), math.NaN(), 5))
		}
		appendAll(t, db, report(1, 9, base.Add(-time.Hour), 77, 77, 77))
		want := `a{instance="web1"}@7=7 c{instance="web1"}@7=5`
		if got := list(); got != want {
			t.Errorf("last is %s", got)
		}
		time.Sleep(3 * time.Hour)
		stop()
		o := small()
		db, stop = running(t, dir, o)
		if s := db.Stats(); s.HeadRows != 0 {
			t.Fatalf("not all is on disk: %+v", s)
		}
		for range 2 {
			if got := list(); got != want {
				t.Errorf("last after reopening is %s", got)
			}
		}
		stop()
		// without the journal's help
		emptyJournal(t, dir)
		db, _ = running(t, dir, o)
		appendAll(t, db, report(2, 1, time.Now().Add(-6*24*time.Hour), 1)) // older than what the disk has
		if got := list(); got != want {
			t.Errorf("last from data alone is %s", got)
		}
	})
}

// emptyJournal drops all that the journal holds.
func emptyJournal(t *testing.T, dir string) {
	t.Helper()
	b, err := bolt.Open(filepath.Join(dir, journalFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	update(t, b, func(tx *bolt.Tx) error {
		_, err := cutJournal(tx, math.MaxUint64)
		return err
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		o := small()
		o.Registerer = reg
		db, _ := running(t, t.TempDir(), o)
		appendAll(t, db, report(1, 1, time.Now(), 1, 2))
		appendAll(t, db, report(1, 1, time.Now(), 1, 2))
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP xunjian_tsdb_samples_total Values stored, those that stand for absence included.
# TYPE xunjian_tsdb_samples_total counter
xunjian_tsdb_samples_total 2
# HELP xunjian_tsdb_series Series known.
# TYPE xunjian_tsdb_series gauge
xunjian_tsdb_series 2
`), "xunjian_tsdb_samples_total", "xunjian_tsdb_series"); err != nil {
			t.Error(err)
		}
	})
}

func TestWithLabels(t *testing.T) {
	stream := []metric.Label{{Name: "instance", Value: "web1"}, {Name: "job", Value: "node"}}
	for in, want := range map[string]string{
		"plain":                     metric.New("a", "instance", "web1", "job", "node").String(),
		"instance=x":                metric.New("a", "instance", "web1", "job", "node", "exported_instance", "x").String(),
		"instance=x,zone=":          metric.New("a", "instance", "web1", "job", "node", "exported_instance", "x").String(),
		"job=x,zone=b":              metric.New("a", "instance", "web1", "job", "node", "exported_job", "x", "zone", "b").String(),
		"exported_job=y,job=x,z=pq": metric.New("a", "instance", "web1", "job", "node", "exported_job", "y", "exported_exported_job", "x", "z", "pq").String(),
	} {
		s := metric.Series{Name: "a"}
		for _, l := range strings.Split(in, ",") {
			if name, value, ok := strings.Cut(l, "="); ok {
				s.Labels = append(s.Labels, metric.Label{Name: name, Value: value})
			}
		}
		if got := withLabels(cleanSeries(s), stream).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestSeriesOfOneDeviceShareLabels: each has its own labels with the stream's, and those with the same ones hold them once.
func TestSeriesOfOneDeviceShareLabels(t *testing.T) {
	c := newCatalog(Options{}.withDefaults().Limits)
	a, err := c.agent("a")
	if err != nil {
		t.Fatal(err)
	}
	d := streamDef{Agent: "a", Kind: "host", Labels: []metric.Label{{Name: "device", Value: "mine"}, {Name: "job", Value: "node"}}}
	var samples []metric.Sample
	for _, s := range []metric.Series{
		metric.New("reads", "device", "vda"), metric.New("writes", "device", "vda"), metric.New("writes", "device", "vdb"), metric.New("load1"), metric.New("load5"),
	} {
		samples = append(samples, metric.Sample{Series: s})
	}
	if _, out := c.resolve(a, d, samples, nil); out != Stored {
		t.Fatal(out)
	}
	held := map[*metric.Label]string{}
	for _, x := range samples {
		want := withLabels(x.Series, d.Labels)
		e := c.byName[x.Series.Name][0]
		for _, one := range c.byName[x.Series.Name] {
			if one.series.String() == want.String() {
				e = one
			}
		}
		if e.series.String() != want.String() {
			t.Errorf("%s is not there", want)
		}
		held[&e.series.Labels[0]] = want.String()
	}
	if len(held) != 3 {
		t.Errorf("labels are held %d times: %v", len(held), held)
	}
}
