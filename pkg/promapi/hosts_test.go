package promapi

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/metric"
	"xunjian/pkg/query"
	"xunjian/pkg/recording"
	"xunjian/pkg/tsdb"
)

// The hosts' readings begin not long ago, for neither store takes what is old. Their stamps lie 457 ms behind a full
// second and all questions at other parts of a second, so that no sample ever lies on the edge of a range or of the
// lookback, which Prometheus 2 counts in and Prometheus 3 does not.
const (
	hostRows  = 640
	hostEvery = 15 * time.Second
	hostStamp = 457 * time.Millisecond
)

var hostStart = time.Now().Truncate(time.Hour).Add(-3 * time.Hour)

func hostTime(row int) time.Time { return hostStart.Add(hostStamp + time.Duration(row)*hostEvery) }

// hostReading is one report of one host; NaN where it lacks a series.
type hostReading struct {
	host   string
	at     time.Time
	values []float64
}

// hostRecording is an hour of a real host, told by several hosts at other phases.
type hostRecording struct {
	series   []metric.Series
	readings []hostReading // in order of time
}

var readHosts = sync.OnceValues(func() (*hostRecording, error) {
	hour, err := recording.Load()
	if err != nil {
		return nil, err
	}
	out := &hostRecording{series: slices.Clone(hour.Series)}
	out.tell(hour.Rows)
	return out, nil
})

// column finds a series that no label tells from others.
func (h *hostRecording) column(name string) int {
	return slices.IndexFunc(h.series, func(s metric.Series) bool { return s.Name == name })
}

// buckets are made from a counter, for histogram_quantile.
var buckets = []string{"0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}

// tell lets seven hosts have lived through the recording, each with a fate of its own.
func (h *hostRecording) tell(rows [][]float64) {
	recorded := len(h.series)
	for _, le := range buckets {
		h.series = append(h.series, metric.New("request_seconds_bucket", "le", le, "path", "/"))
	}
	for row := range hostRows {
		for host := range 7 {
			name := fmt.Sprintf("host-%d", host)
			values := append([]float64(nil), rows[(row*5+host*211)%len(rows)]...)
			base := rows[(row*5)%len(rows)][h.column("forks_total")]
			for i := range buckets {
				values = append(values, math.Floor(base*float64(i+1)*float64(i+2)/60))
			}
			if h.befall(host, row, recorded, values) {
				h.readings = append(h.readings, hostReading{name, hostTime(row), values})
			}
		}
	}
}

// befall changes what a host says, or says that it is not heard.
func (h *hostRecording) befall(host, row, recorded int, values []float64) (heard bool) {
	set := func(prefix string, v func(old float64) float64) {
		for i, s := range h.series {
			if strings.HasPrefix(s.Name, prefix) {
				values[i] = v(values[i])
			}
		}
	}
	gone := func(float64) float64 { return math.NaN() }
	switch host {
	case 1: // two gaps, one shorter and one longer than the lookback
		return !(row > 100 && row < 112 || row > 300 && row < 345)
	case 2: // restarts: its counters begin anew
		if row >= 250 {
			for i, s := range h.series[:recorded] {
				if strings.HasSuffix(s.Name, "_total") {
					values[i] = math.Mod(values[i], 1000)
				}
			}
		}
	case 3: // a disk is unmounted for a time, another for good
		if row >= 200 && row < 320 {
			set("filesystem_", gone)
		}
		if row >= 400 {
			set("disk_", gone)
		}
	case 4: // dies
		return row < 380
	case 5: // takes its leave: the last report lacks everything but one series
		if row >= 420 {
			set("", gone)
			values[h.column("load1")] = 1
		}
		return row <= 420
	case 6: // flaps
		if row%40 >= 35 {
			set("probe_", gone)
		}
		set("load1", func(v float64) float64 { return v - float64(row%7) })
	}
	return true
}

// openStore runs a store until stop is called or the test ends.
func openStore(t testing.TB, dir string, o tsdb.Options) (db *tsdb.DB, stop func()) {
	t.Helper()
	o.Linger = -1
	db, err := tsdb.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return db, stop
}

// server is our API over the hosts' readings, stored as agents would have sent them.
func (h *hostRecording) server(t testing.TB) string {
	t.Helper()
	db, _ := openStore(t, t.TempDir(), tsdb.Options{})
	h.store(t, db)
	return serve(t, db)
}

// merged is the same some days later, when the store has merged the days and made aggregates of them.
func (h *hostRecording) merged(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	db, stop := openStore(t, dir, tsdb.Options{})
	h.store(t, db)
	stop()
	later := func() time.Time { return time.Now().Add(3 * 24 * time.Hour) }
	db, _ = openStore(t, dir, tsdb.Options{Now: later, BlockSpan: time.Second, FlushEvery: 100 * time.Millisecond})
	days := 0
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		stats, err := db.Merge(t.Context())
		days += stats.Days
		if err != nil {
			t.Fatal(err)
		}
		if s := db.Stats(); days > 0 && s.HotBlocks == 0 && s.HeadRows == 0 {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("not all is merged: %+v", db.Stats())
		}
	}
	return serve(t, db)
}

// serve is our API over a store.
func serve(t testing.TB, db *tsdb.DB) string {
	reg := prometheus.NewRegistry()
	engine := query.New(query.Options{Store: db, Registerer: reg})
	s := httptest.NewServer(API(APIOptions{Engine: engine, Own: reg, Registerer: reg, Version: "test"}))
	t.Cleanup(s.Close)
	return s.URL
}

func (h *hostRecording) store(t testing.TB, db *tsdb.DB) {
	t.Helper()
	var stored sync.WaitGroup
	for i, r := range h.readings {
		stream := tsdb.Stream{Agent: r.host, Kind: metric.KindHost, Every: hostEvery, Labels: []metric.Label{
			{Name: "agent", Value: r.host}, {Name: "instance", Value: r.host}, {Name: "job", Value: "node"},
		}}
		rep := metric.Report{Agent: r.host, Boot: 1, Seq: uint64(i + 1), Kind: metric.KindHost, Every: hostEvery, At: r.at}
		for k, v := range r.values {
			rep.Samples = append(rep.Samples, metric.Sample{Series: h.series[k], Value: v})
		}
		stored.Add(1)
		err := db.Append(t.Context(), stream, rep, func(o tsdb.Outcome, err error) {
			if err != nil || o != tsdb.Stored {
				t.Errorf("report of %s: %v, %v", r.host, o, err)
			}
			stored.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	stored.Wait()
}

// fetch asks one of the APIs; form makes it a POST.
func fetch(url, form string) (status int, body []byte, err error) {
	var res *http.Response
	if form == "" {
		res, err = http.Get(url)
	} else {
		res, err = http.Post(url, "application/x-www-form-urlencoded", strings.NewReader(form))
	}
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(res.Body).WriteTo(&b); err != nil {
		return 0, nil, err
	}
	return res.StatusCode, []byte(b.String()), nil
}

// engine is a real one over a store without anything in it.
func engine(c query.Config) *query.Engine {
	return query.New(query.Options{Store: nothing{}, Config: c})
}

// nothing is a store without series.
type nothing struct{}

func (nothing) Select(context.Context, int64, int64, ...tsdb.Matcher) iter.Seq2[tsdb.Samples, error] {
	return func(func(tsdb.Samples, error) bool) {}
}
func (nothing) Series(int64, int64, ...tsdb.Matcher) []metric.Series       { return nil }
func (nothing) LabelNames(int64, int64, ...tsdb.Matcher) []string          { return nil }
func (nothing) LabelValues(string, int64, int64, ...tsdb.Matcher) []string { return nil }
func (nothing) RawSince() int64                                            { return 0 }

func (nothing) Sketches(context.Context, int64, int64, ...tsdb.Matcher) iter.Seq2[tsdb.DaySketch, error] {
	return func(func(tsdb.DaySketch, error) bool) {}
}

func (nothing) Rollup(context.Context, int64, int64, ...tsdb.Matcher) iter.Seq2[tsdb.Windows, error] {
	return func(func(tsdb.Windows, error) bool) {}
}
