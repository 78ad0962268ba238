package promapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"xunjian/pkg/query"
)

// TestValues: the text of values is Prometheus' own, to the byte.
func TestValues(t *testing.T) {
	l := labels.FromStrings("__name__", "m", "path", "/a\"b\\c<\n数")
	h := &histogram.FloatHistogram{
		Count: 6, Sum: 1.5, ZeroThreshold: 0.25, ZeroCount: 2,
		PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []float64{1, 0},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []float64{3},
	}
	for name, tc := range map[string]struct {
		v    parser.Value
		want string
	}{
		"nothing":    {promql.Vector{}, `[]`},
		"no vector":  {promql.Vector(nil), `[]`},
		"no lines":   {promql.Matrix(nil), `[]`},
		"one sample": {promql.Vector{{Metric: l, T: 1435781451781, F: 0.1}}, `[{"metric":{"__name__":"m","path":"/a\"b\\c<\n数"},"value":[1435781451.781,"0.1"]}]`},
		"two samples": {
			promql.Vector{{T: 1000, F: math.NaN()}, {T: -7, F: math.Inf(-1)}},
			`[{"metric":{},"value":[1,"NaN"]},{"metric":{},"value":[-0.007,"-Inf"]}]`,
		},
		"a line": {
			promql.Matrix{{Floats: []promql.FPoint{{T: 50, F: 1e21}, {T: 60, F: 1e20}, {T: 120_100, F: 1e-7}, {T: 130_000, F: math.Copysign(0, -1)}}}},
			`[{"metric":{},"values":[[0.050,"1e+21"],[0.060,"100000000000000000000"],[120.100,"1e-07"],[130,"-0"]]}]`,
		},
		"a histogram": {
			promql.Vector{{T: 1, H: h}},
			`[{"metric":{},"histogram":[0.001,{"count":"6","sum":"1.5","buckets":[[1,"-1","-0.5","3"],[3,"-0.25","0.25","2"],[0,"1","2","1"]]}]}]`,
		},
		"histograms behind numbers": {
			promql.Matrix{{Floats: []promql.FPoint{{T: 1, F: 2}}, Histograms: []promql.HPoint{{T: 2, H: &histogram.FloatHistogram{}}}}},
			`[{"metric":{},"values":[[0.001,"2"]],"histograms":[[0.002,{"count":"0","sum":"0"}]]}]`,
		},
		"a scalar": {promql.Scalar{T: 1500, V: 1e21}, `[1.5,"1000000000000000000000"]`},
		"a text":   {promql.String{T: 1500, V: "a"}, `[1.5,"a"]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			if err := encodeValue(s, tc.v); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, string(s.buf)); d != "" {
				t.Error("(-want +got)", d)
			}
		})
	}
}

// TestTimesAndDurations reads them as Prometheus does.
func TestTimesAndDurations(t *testing.T) {
	for text, want := range map[string]string{
		"1435781430.781": "2015-07-01T20:10:30.781Z", "2015-07-01T20:10:30.781+08:00": "2015-07-01T12:10:30.781Z", "0": "1970-01-01T00:00:00Z",
		"-1.5": "1969-12-31T23:59:58.5Z", "1e9": "2001-09-09T01:46:40Z", "123.4567": "1970-01-01T00:02:03.457Z",
		"": "", "now": "", "NaN": "", "1e300": "", "+Inf": "", "2015-07-01": "", "-292273086-05-16T16:47:06Z": "-292273086-05-16T16:47:06Z",
	} {
		got, err := parseTime(text)
		if shown := got.UTC().Format(time.RFC3339Nano); err == nil && shown != want || (err != nil) != (want == "") {
			t.Errorf("time %q is %s, %v; want %s", text, shown, err, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"15": 15 * time.Second, "0.5": time.Second / 2, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "-5": -5 * time.Second, "1w": 7 * 24 * time.Hour,
		"": -1, "5 m": -1, "NaN": -1, "1e300": -1, "m": -1,
	} {
		got, err := parseDuration(text)
		if err == nil && got != want || (err != nil) != (want == -1) {
			t.Errorf("duration %q is %s, %v; want %s", text, got, err, want)
		}
	}
}

// knock is one request to a handler.
func knock(t testing.TB, h http.Handler, method, target, form string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestDoors(t *testing.T) {
	origin, err := Origins(`https://grafana\.(example|test)`)
	if err != nil {
		t.Fatal(err)
	}
	h := API(APIOptions{Engine: engine(query.Config{}), Origin: origin, Authorize: func(r *http.Request) bool { return r.Header.Get("X-Token") != "wrong" }})
	for name, tc := range map[string]struct {
		method, target, form string
		header               []string
		code                 int
		body                 string
		want                 map[string]string
	}{
		"a query":                {"GET", "/api/v1/query?query=1", "", nil, 200, `"resultType":"scalar"`, map[string]string{"Content-Type": "application/json"}},
		"a form":                 {"POST", "/api/v1/query", "query=1%2B1", nil, 200, `"2"`, nil},
		"a form and a query":     {"POST", "/api/v1/query?time=5", "query=1%2B1", nil, 200, `[5,"2"]`, nil},
		"another method":         {"DELETE", "/api/v1/query", "", nil, 405, "bad_data", map[string]string{"Allow": "GET, POST, OPTIONS"}},
		"a post where none is":   {"POST", "/api/v1/rules", "", nil, 405, "bad_data", map[string]string{"Allow": "GET, OPTIONS"}},
		"no such path":           {"GET", "/api/v1/nothing", "", nil, 404, `"errorType":"not_found"`, nil},
		"admin":                  {"POST", "/api/v1/admin/tsdb/delete_series", "", nil, 404, "not_found", nil},
		"remote write":           {"POST", "/api/v1/write", "", nil, 404, "not_found", nil},
		"too large a form":       {"POST", "/api/v1/query", "query=" + strings.Repeat("1", maxForm), nil, 413, "bad_data", nil},
		"a form with bad escape": {"POST", "/api/v1/query", "query=%zz", nil, 400, "bad_data", nil},
		"options":                {"OPTIONS", "/api/v1/query_range", "", nil, 204, "", nil},
		"a page of a friend": {
			"GET", "/api/v1/labels", "",
			[]string{"Origin", "https://grafana.test"},
			200, "[]",
			map[string]string{"Access-Control-Allow-Origin": "https://grafana.test"},
		},
		"a page of a stranger": {
			"GET", "/api/v1/labels", "", []string{"Origin", "https://grafana.test.evil"}, 200, "[]", map[string]string{"Access-Control-Allow-Origin": ""},
		},
		"a stranger":             {"GET", "/api/v1/labels", "", []string{"X-Token", "wrong"}, 401, "API token", map[string]string{"WWW-Authenticate": `Basic realm="xunjian", charset="UTF-8"`}},
		"a stranger federate":    {"GET", "/federate", "", []string{"X-Token", "wrong"}, 401, "API token", nil},
		"too many matchers":      {"GET", "/api/v1/series?" + strings.Repeat("match[]=a&", maxMatchers+1), "", nil, 400, "101 match[] are more than 100", nil},
		"a long matcher":         {"GET", "/api/v1/series?match[]=" + strings.Repeat("a", maxMatcher+1), "", nil, 400, "longer than", nil},
		"a long expression":      {"POST", "/api/v1/query", "query=" + strings.Repeat("1", maxExpr+1), nil, 400, "bad_data", nil},
		"too many steps":         {"GET", "/api/v1/query?query=count_over_time(vector(1)[100y:1ms])", "", nil, 422, `"errorType":"execution","error":"query processing would load too many samples`, nil},
		"too many steps inside":  {"GET", "/api/v1/query?query=max_over_time(count_over_time(vector(1)[1m:1ms])[10d:1h])", "", nil, 422, "too many samples", nil},
		"too many steps at once": {"GET", "/api/v1/query_range?query=sum_over_time(vector(1)[1s:1ms])&start=0&end=1e9&step=1e6", "", nil, 422, "too many samples", nil},
		"longer than time":       {"GET", "/api/v1/query?query=sum_over_time(sum_over_time(vector(1)[200y:1y])[200y:1y])", "", nil, 422, "too many samples", nil},
		"steps enough":           {"GET", "/api/v1/query?query=count_over_time(vector(1)[1m:1ms])", "", nil, 200, `"60000"`, nil},
		"a deep query":           {"POST", "/api/v1/query", "query=" + strings.Repeat("(", 7000) + "1" + strings.Repeat(")", 7000), nil, 200, `"1"`, nil},
		"a deep expression":      {"POST", "/api/v1/format_query", "query=" + strings.Repeat("(", 600) + "1" + strings.Repeat(")", 600), nil, 400, "500 deep", nil},
		"a long sum":             {"POST", "/api/v1/parse_query", "query=1" + strings.Repeat("%2B1", 600), nil, 400, "500 deep", nil},
		"an expression":          {"GET", "/api/v1/parse_query?query=sum(a)", "", nil, 200, `"type":"aggregation"`, nil},
		"unused limit":           {"GET", "/api/v1/labels?limit=-1", "", nil, 400, "limit must be non-negative", nil},
		"utf-8 label":            {"GET", "/api/v1/label/U__a_2e_b/values", "", nil, 200, "[]", nil},
		"an impossible label":    {"GET", "/api/v1/label/%ff/values", "", nil, 400, "invalid label name", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := knock(t, h, tc.method, tc.target, tc.form, tc.header...)
			if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tc.code, tc.body)
			}
			for k, v := range tc.want {
				if got := w.Header().Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
		})
	}
}

// TestNoOriginByDefault: pages of other sites may not read until they are named.
func TestNoOriginByDefault(t *testing.T) {
	w := knock(t, API(APIOptions{Engine: engine(query.Config{})}), "GET", "/api/v1/labels", "", "Origin", "https://grafana.test")
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" || w.Code != http.StatusOK {
		t.Errorf("%d, Access-Control-Allow-Origin %q", w.Code, got)
	}
}

// TestEmptyAnswersAreLists: Grafana and others take null for a fault.
func TestEmptyAnswersAreLists(t *testing.T) {
	h := API(APIOptions{Engine: engine(query.Config{})})
	for target, want := range map[string]string{
		"/query?query=nothing":                            `{"resultType":"vector","result":[]}`,
		"/query_range?query=nothing&start=1&end=2&step=1": `{"resultType":"matrix","result":[]}`,
		"/query_exemplars?query=a":                        `[]`,
		"/series?match[]=a":                               `[]`,
		"/labels":                                         `[]`,
		"/label/a/values":                                 `[]`,
		"/metadata":                                       `{}`,
		"/targets/metadata":                               `[]`,
		"/rules":                                          `{"groups":[]}`,
		"/alerts":                                         `{"alerts":[]}`,
		"/alertmanagers":                                  `{"activeAlertmanagers":[],"droppedAlertmanagers":[]}`,
		"/targets":                                        `{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{"host":0,"probe":0}}`,
		"/targets?state=dropped":                          `{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{"host":0,"probe":0}}`,
		"/scrape_pools":                                   `{"scrapePools":["host","probe"]}`,
		"/status/walreplay":                               `{"min":0,"max":0,"current":0,"state":"done"}`,
		"/query?query=nothing&limit=3&stats=&lookback_delta=1m": `{"resultType":"vector","result":[]}`,
		"/format_query?query=sum%20by(a)(b)":                    `"sum by (a) (b)"`,
	} {
		w := knock(t, h, "GET", Prefix+target, "")
		if got := w.Body.String(); got != `{"status":"success","data":`+want+`}` || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", target, w.Code, got)
		}
	}
	if w := knock(t, h, "GET", "/api/v1/query_exemplars?query=1", ""); w.Code != http.StatusNoContent {
		t.Errorf("exemplars of a number: %d %s", w.Code, w.Body)
	}
}

func TestNotes(t *testing.T) {
	h := API(APIOptions{Engine: engine(query.Config{})})
	for q, want := range map[string]string{
		"query=quantile(2,vector(1))":                                                   `"warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]`,
		"query=rate(gauge[5m])%20or%20vector(1)&stats=x":                                `"warnings":["value \"x\" for parameter \"stats\" is deprecated`,
		"query=vector(1)%20or%20label_replace(vector(2),\"a\",\"b\",\"\",\"\")&limit=1": `"warnings":["results truncated due to limit"]`,
		"query=vector(1)&stats=true":                                                    `"stats":{"timings":{`,
	} {
		w := knock(t, h, "GET", "/api/v1/query?"+q, "")
		if !strings.Contains(w.Body.String(), want) || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s, want %s", q, w.Code, w.Body, want)
		}
	}
}

// TestTurns: a query that waits too long is told so, one whose asker is gone is dropped, and a slow reader of a short
// answer holds nobody up.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := query.DefaultConfig()
		c.Concurrency = 1
		e := engine(c)
		h := API(APIOptions{Engine: e, Bounds: c})
		held, err := e.Open(t.Context(), query.Ask{Expr: "1", Start: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if w := knock(t, h, "GET", "/api/v1/query?query=1&timeout=2s", ""); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"errorType":"timeout"`) {
			t.Errorf("waited too long: %d %s", w.Code, w.Body)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/query?query=1", nil)
		w := httptest.NewRecorder()
		time.AfterFunc(time.Second, cancel)
		h.ServeHTTP(w, r)
		if w.Code != statusClosed || !strings.Contains(w.Body.String(), `"errorType":"canceled"`) {
			t.Errorf("gone: %d %s", w.Code, w.Body)
		}
		held.Close()
		held.Close()

		slow := &slowWriter{ResponseRecorder: httptest.NewRecorder(), go_: make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(slow, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=1", nil))
		}()
		synctest.Wait()
		if slow.deadline.IsZero() {
			t.Error("an answer is written without a deadline")
		}
		if w := knock(t, h, "GET", "/api/v1/query?query=2", ""); w.Code != http.StatusOK {
			t.Errorf("beside a slow reader: %d %s", w.Code, w.Body)
		}
		close(slow.go_)
		<-done
	})
}

// slowWriter is a client that takes its time.
type slowWriter struct {
	*httptest.ResponseRecorder
	go_      chan struct{}
	deadline time.Time
}

func (s *slowWriter) Write(b []byte) (int, error) {
	<-s.go_
	return s.ResponseRecorder.Write(b)
}

func (s *slowWriter) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

// TestCallsAreBounded: one network cannot take all the room.
func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := query.DefaultConfig()
		c.Concurrency = 1
		e := engine(c)
		h := API(APIOptions{Engine: e, Bounds: c})
		held, err := e.Open(t.Context(), query.Ask{Expr: "1", Start: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		codes := make(chan int, maxOfOne)
		for range maxOfOne {
			go func() { codes <- knock(t, h, "GET", "/api/v1/query?query=1", "").Code }()
		}
		synctest.Wait()
		w := knock(t, h, "GET", "/api/v1/labels", "")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "unavailable") {
			t.Errorf("one call too many: %d %s", w.Code, w.Body)
		}
		r := httptest.NewRequest(http.MethodGet, "/api/v1/labels", nil)
		r.RemoteAddr = "198.51.100.7:4711"
		other := httptest.NewRecorder()
		if h.ServeHTTP(other, r); other.Code != http.StatusOK {
			t.Errorf("a call from another network: %d %s", other.Code, other.Body)
		}
		held.Close()
		for range maxOfOne {
			if c := <-codes; c != http.StatusOK {
				t.Errorf("a call within the bound: %d", c)
			}
		}
		if w := knock(t, h, "GET", "/api/v1/labels", ""); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d", w.Code)
		}
	})
}

// TestHalfTheTurnsForOne: the others' queries find a turn while one network asks for more than there are.
func TestHalfTheTurnsForOne(t *testing.T) {
	l := newLane(10, 2)
	var leaves []func()
	for range 2 {
		leave, err := l.enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.enter(ctx, "a"); err == nil {
		t.Error("a third place for one network")
	}
	leave, err := l.enter(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, leave := range append(leaves, leave) {
		leave()
		leave()
	}
	if len(l.by) != 0 || len(l.all) != 0 {
		t.Errorf("%d networks remembered, %d places held", len(l.by), len(l.all))
	}
}

func TestNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[2001:db8:1:2:3::9]:80": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[fe80::1%eth0]:1": "fe80::/64", "pipe": "",
	} {
		if got := network(addr); got != want {
			t.Errorf("%s is of %s, want %s", addr, got, want)
		}
	}
}

// TestLongAnswers are streamed, whole in both encodings.
func TestLongAnswers(t *testing.T) {
	h, err := readHosts()
	if err != nil {
		t.Fatal(err)
	}
	server := h.server(t)
	form := url.Values{"query": {`{__name__=~"load.*|memory_bytes|cpu.*"}`}, "start": {unixTime(hostTime(0))}, "end": {unixTime(hostTime(600))}, "step": {"15"}}.Encode()
	_, plain, err := fetch(server+"/api/v1/query_range", form)
	if err != nil {
		t.Fatal(err)
	}
	if len(plain) < 2*maxHeld {
		t.Fatalf("%d bytes are not enough for this test", len(plain))
	}
	req, err := http.NewRequest(http.MethodGet, server+"/api/v1/query_range?"+form, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(b, plain) {
		t.Errorf("%d bytes unpacked, want %d", len(b), len(plain))
	}
	var whole answer
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Error(err)
	}
}

// TestPanicGivesBack: a handler that dies leaves no place behind it.
func TestPanicGivesBack(t *testing.T) {
	a := &api{gate: newGate(1, 1), metrics: newAPIMetrics(prometheus.NewRegistry())}
	func() {
		defer func() { _ = recover() }()
		a.guarded(func(http.ResponseWriter, *http.Request) { panic("x") })(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	if a.gate.in != 0 || len(a.gate.by) != 0 {
		t.Error("the gate still counts it")
	}
}

// FuzzCalls: whatever is asked, the answer is one of Prometheus' kinds, and nothing dies.
func FuzzCalls(f *testing.F) {
	for _, q := range []string{"query=1%2B1&time=5", "match[]=a&start=1&end=2", "query=rate(a[5m])&start=1&end=2&step=1", "limit=1&metric=a", "group_limit=1&group_next_token=x", "query=sum(", "%zz", "stats=all&timeout=1s&lookback_delta=1m&query=a"} {
		for i := range apiRoutes {
			f.Add(uint8(i), q, "a", i%2 == 0)
		}
	}
	c := query.DefaultConfig()
	c.MaxSamples, c.Timeout = 10_000, 5*time.Second
	h := API(APIOptions{Engine: engine(c), Bounds: c})
	f.Fuzz(func(t *testing.T, route uint8, form, name string, post bool) {
		path := strings.Replace(apiRoutes[int(route)%len(apiRoutes)].path, "{name}", url.PathEscape(name), 1)
		r := httptest.NewRequest(http.MethodGet, Prefix+"/x", nil)
		r.URL.Path, r.URL.RawQuery = Prefix+path, form
		if post {
			r = httptest.NewRequest(http.MethodPost, Prefix+"/x", strings.NewReader(form))
			r.URL.Path = Prefix + path
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if kind := w.Header().Get("Content-Type"); kind == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %s", path, form, w.Code, w.Body)
		}
		switch w.Code {
		case 200, 204, 301, 307, 400, 404, 405, 413, 422, 499, 503:
		default:
			t.Errorf("%s %s: %d %s", path, form, w.Code, w.Body)
		}
	})
}

// TestSlowReadersOfLists: what a list is made from is held for few at a time, however slowly they read.
func TestSlowReadersOfLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := func() (out []Target) {
			for range 10_000 {
				out = append(out, Target{Pool: HostPool, URL: strings.Repeat("x", 100)})
			}
			return out
		}
		h := API(APIOptions{Engine: engine(query.Config{}), Targets: many})
		slow := make([]*slowWriter, readsOfOne+1)
		done := make(chan struct{})
		for i := range slow {
			slow[i] = &slowWriter{ResponseRecorder: httptest.NewRecorder(), go_: make(chan struct{})}
			go func() {
				h.ServeHTTP(slow[i], httptest.NewRequest(http.MethodGet, "/api/v1/targets", nil))
				done <- struct{}{}
			}()
		}
		synctest.Wait()
		sending := 0
		for _, s := range slow {
			if !s.deadline.IsZero() {
				sending++
			}
		}
		if sending != readsOfOne {
			t.Errorf("%d long lists are being sent to one network, want %d", sending, readsOfOne)
		}
		r := httptest.NewRequest(http.MethodGet, "/api/v1/labels", nil)
		r.RemoteAddr = "198.51.100.7:4711"
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("a list for another network: %d", w.Code)
		}
		for _, s := range slow {
			close(s.go_)
		}
		for range slow {
			<-done
		}
	})
}
