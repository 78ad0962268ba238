package rule

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"

	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
	"xunjian/pkg/query"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
)

const (
	interval = 15 * time.Second
	slack    = 3 * interval // a group starts within two intervals, and then what it sees is up to one old
)

// rig is a manager over the real store, into which a goroutine writes the current values as an agent would.
type rig struct {
	t      *testing.T
	db     *tsdb.DB
	engine *query.Engine
	reg    *prometheus.Registry
	seq    uint64

	mu     sync.Mutex
	values map[string]float64 // by series in text form; NaN where it is not there
	broken error              // what queries and the sink answer
	deaf   error
	heard  []symptom.Symptom
}

func newRig(t *testing.T) *rig {
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, db: db, engine: query.New(query.Options{Store: db}), reg: prometheus.NewRegistry(), values: map[string]float64{}}
}

func (r *rig) query(ctx context.Context, q string, at time.Time) (promql.Vector, error) {
	r.mu.Lock()
	err := r.broken
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.engine.QueryFunc()(ctx, q, at)
}

func (r *rig) sink(_ context.Context, found []symptom.Symptom) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf != nil {
		return r.deaf
	}
	r.heard = append(r.heard, found...)
	return nil
}

func (r *rig) options(files ...string) Options {
	r.reg = prometheus.NewRegistry()
	return Options{
		Files: files, Interval: interval, Queryable: r.engine.Queryable(), Query: r.query, Sink: r.sink, Registerer: r.reg,
		Appendable: query.NewAppendable(query.AppendOptions{Store: r.db}),
	}
}

// start runs the manager and the agents until the test ends.
func (r *rig) start(rulesYAML string) *Manager {
	r.t.Helper()
	m, err := New(r.options(write(r.t, r.t.TempDir(), "rules.yml", rulesYAML)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(m)
	return m
}

// run works until stop is called or the test ends.
func (r *rig) run(m *Manager) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	wg.Go(func() {
		for tick := time.NewTicker(interval); ; {
			r.write()
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) write() {
	r.mu.Lock()
	rep := metric.Report{Agent: "a", Boot: 1, Seq: r.seq + 1, Kind: metric.KindHost, Every: interval, At: time.Now()}
	r.seq++
	for _, text := range slices.Sorted(maps.Keys(r.values)) {
		rep.Samples = append(rep.Samples, metric.Sample{Series: series(r.t, text), Value: r.values[text]})
	}
	r.mu.Unlock()
	done := make(chan error, 1)
	err := r.db.Append(context.Background(), tsdb.Stream{Agent: "a", Kind: rep.Kind, Every: interval}, rep, func(o tsdb.Outcome, err error) {
		if err == nil && o != tsdb.Stored {
			err = errors.New(o.String())
		}
		done <- err
	})
	if err == nil {
		err = <-done
	}
	if err != nil {
		r.t.Error(err)
	}
}

func series(t *testing.T, text string) metric.Series {
	l, err := promParser.ParseMetric(text)
	if err != nil {
		t.Error(err)
	}
	var pairs []string
	l.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			pairs = append(pairs, l.Name, l.Value)
		}
	})
	return metric.New(l.Get(model.MetricNameLabel), pairs...)
}

func (r *rig) set(series string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[series] = v
}

func (r *rig) fault(broken, deaf error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken, r.deaf = broken, deaf
}

// after lets time pass and gives what was told meanwhile.
func (r *rig) after(d time.Duration) []symptom.Symptom {
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.heard
	r.heard = nil
	return out
}

// told is the gist of a symptom.
type told struct {
	Key    string
	Level  contract.Level
	Firing bool
	Detail string
}

func gist(found []symptom.Symptom) (out []told) {
	for _, s := range found {
		out = append(out, told{s.Key(), s.Level, s.Firing, s.Detail})
	}
	return out
}

func (r *rig) expect(what string, got []symptom.Symptom, want ...told) {
	r.t.Helper()
	if d := cmp.Diff(want, gist(got), cmpopts.EquateEmpty()); d != "" {
		r.t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

const disk = `
groups:
- name: disk
  rules:
  - alert: Full
    expr: used{instance!=""} >= 85
    for: 1m
    keep_firing_for: 2m
    labels: {level: minor}
    annotations: {summary: '{{ $labels.mountpoint }} 已用 {{ $value }}%', summary_en: '{{ $labels.mountpoint }} at {{ $value }}%'}
  - alert: Full
    expr: used{instance!=""} >= 95
    for: 1m
    labels: {level: general}
    annotations: {summary: '{{ $labels.mountpoint }} 将满'}
`

const (
	data    = `used{agent="db-1",instance="db-1",mountpoint="/data"}`
	dataKey = "host/host/db-1 /data/Full"
)

func TestFromAlertToSymptom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 50)
		m := r.start(disk)
		r.expect("below the line", r.after(10*time.Minute))

		over := time.Now()
		r.set(data, 90)
		r.expect("pending", r.after(50*time.Second))
		if a := m.Alerts(); len(a) != 1 || a[0].State != "pending" {
			t.Errorf("alerts while pending: %+v", a)
		}
		got := r.after(time.Minute)
		r.expect("warning", got, told{dataKey, contract.Minor, true, "/data 已用 90%"})
		within(t, "since", got[0].Since, over, slack)
		within(t, "at", got[0].At, over.Add(time.Minute), slack)
		want := symptom.Symptom{
			Source: symptom.FromRule, Service: "host", Component: "db-1 /data", Class: symptom.Host,
			Level: contract.Minor, Rule: "Full", Detail: "/data 已用 90%", Firing: true,
			Evidence: []symptom.Evidence{{Agent: "db-1", Text: "/data at 90%"}},
		}
		if d := cmp.Diff(want, got[0], cmpopts.IgnoreTypes(time.Time{})); d != "" {
			t.Errorf("symptom (-want +got):\n%s", d)
		}
		if a := m.Alerts(); len(a) != 1 || a[0].State != "firing" || a[0].Value != 90 || a[0].Group != "disk" || a[0].Symptom.Key() != dataKey {
			t.Errorf("alerts while firing: %+v", a)
		}

		r.set(data, 91)
		r.expect("still so", r.after(10*time.Minute))
		r.set(data, 97)
		got = r.after(3 * time.Minute)
		r.expect("worse", got, told{dataKey, contract.General, true, "/data 将满"})
		within(t, "since when worse", got[0].Since, over, slack)
		r.set(data, 90)
		r.expect("better", r.after(3*time.Minute), told{dataKey, contract.Minor, true, "/data 已用 90%"})

		good := time.Now()
		r.set(data, 20)
		r.expect("kept firing", r.after(time.Minute))
		got = r.after(3 * time.Minute)
		r.expect("over", got, told{dataKey, contract.Minor, false, "/data 已用 90%"})
		within(t, "good since", got[0].Since, good, slack)
		within(t, "told over", got[0].At, good.Add(2*time.Minute), slack)
		r.expect("nothing more", r.after(20*time.Minute))
	})
}

func within(t *testing.T, what string, got, from time.Time, slack time.Duration) {
	t.Helper()
	if got.Before(from) || got.After(from.Add(slack)) {
		t.Errorf("%s is %s, want within %s of %s", what, got, slack, from)
	}
}

// TestNoDataIsNoRecovery: a host that dies with a full disk has not made room.
func TestNoDataIsNoRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		r.set(`used{instance="db-2",mountpoint="/data"}`, 10) // others go on reporting
		m := r.start(disk)
		r.expect("firing", r.after(5*time.Minute), told{dataKey, contract.Minor, true, "/data 已用 90%"})

		r.set(data, math.NaN())
		r.expect("silent", r.after(30*time.Minute))
		if a := m.Alerts(); len(a) != 0 {
			t.Errorf("Prometheus' manager still has %v: the test no longer tries what it should", a)
		}
		r.gauge("held", m.metrics.held, 1)

		r.set(data, 90)
		r.expect("back, and as bad", r.after(10*time.Minute))
		r.gauge("held when back", m.metrics.held, 0)

		r.set(data, math.NaN())
		r.expect("silent again", r.after(10*time.Minute)) // while Prometheus' manager still remembers when data ended
		back := time.Now()
		r.set(data, 30)
		got := r.after(3 * time.Minute)
		r.expect("back, and well", got, told{dataKey, contract.Minor, false, "/data 已用 90%"})
		within(t, "good since", got[0].Since, back, slack)
	})
}

func (r *rig) gauge(what string, g prometheus.Collector, want float64) {
	r.t.Helper()
	if got := testutil.ToFloat64(g); got != want {
		r.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSinkIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		r.fault(nil, errors.New("disk full"))
		m := r.start(disk)
		r.expect("not taken", r.after(5*time.Minute))
		if n := testutil.ToFloat64(m.metrics.sinkFailures); n < 5 {
			t.Errorf("%v sink failures counted", n)
		}
		r.fault(nil, nil)
		r.expect("taken", r.after(slack), told{dataKey, contract.Minor, true, "/data 已用 90%"})
		r.expect("once", r.after(10*time.Minute))
	})
}

func TestFailingQueriesEndNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		r.start(disk)
		r.expect("firing", r.after(5*time.Minute), told{dataKey, contract.Minor, true, "/data 已用 90%"})
		r.fault(errors.New("store is away"), nil)
		r.set(data, 20)
		r.expect("cannot see", r.after(20*time.Minute))
		r.fault(nil, nil)
		r.expect("can see", r.after(5*time.Minute), told{dataKey, contract.Minor, false, "/data 已用 90%"})
	})
}

// TestLimitEndsNothing: over a group's limit Prometheus' manager forgets all of the rule's alerts.
func TestLimitEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.set(data, 90)
		r.set(`used{instance="db-2"}`, 10)
		r.start(strings.Replace(disk, "- name: disk", "- name: disk\n  limit: 1", 1))
		r.expect("firing", r.after(5*time.Minute), told{dataKey, contract.Minor, true, "/data 已用 90%"})
		r.set(`used{instance="db-2"}`, 90)
		r.expect("over the limit", r.after(20*time.Minute))
	})
}

func TestTooManySymptoms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, h := range []string{"a", "b", "c"} {
			r.set(`used{instance="`+h+`"}`, 90)
		}
		m, err := New(r.options(write(t, t.TempDir(), "rules.yml", disk)))
		if err != nil {
			t.Fatal(err)
		}
		m.book.Max = 2
		r.run(m)
		if got := r.after(5 * time.Minute); len(got) != 2 {
			t.Fatalf("%d symptoms told, want 2", len(got))
		}
		if testutil.ToFloat64(m.metrics.refused) == 0 {
			t.Error("the third is dropped in silence")
		}
		for _, h := range []string{"a", "b", "c"} {
			r.set(`used{instance="`+h+`"}`, 10)
		}
		if got := r.after(5 * time.Minute); len(got) < 2 || got[0].Firing || got[1].Firing {
			t.Errorf("afterwards: %v", gist(got))
		}
	})
}

func TestLabelsSayWhere(t *testing.T) {
	for name, tc := range map[string]struct {
		labels labels.Labels
		want   string // key
	}{
		"nothing":      {labels.FromStrings(), "host/host//A"},
		"host":         {labels.FromStrings("instance", "web-1"), "host/host/web-1/A"},
		"mount point":  {labels.FromStrings("instance", "web-1", "mountpoint", "/data", "device", "sda"), "host/host/web-1 /data/A"},
		"device":       {labels.FromStrings("instance", "web-1", "device", "eth0"), "host/host/web-1 eth0/A"},
		"check":        {labels.FromStrings("check", "doc-login", "service", "cloud-doc"), "host/cloud-doc/doc-login/A"},
		"given class":  {labels.FromStrings("class", "warning", "instance", "x"), "warning/host/x/A"},
		"part alone":   {labels.FromStrings("mountpoint", "/"), "host/host///A"},
		"long service": {labels.FromStrings("service", string(make([]byte, 300))), "host/" + string(make([]byte, 256)) + "//A"},
	} {
		l := labels.NewBuilder(tc.labels).Set(labels.AlertName, "A").Labels()
		if got := toSymptom(&rules.Alert{Labels: l}).Key(); got != tc.want {
			t.Errorf("%s: key %q, want %q", name, got, tc.want)
		}
	}
	if got := cut("磁盘已满", 7); got != "磁盘" {
		t.Errorf("cut breaks a character: %q", got)
	}
}
