package promapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"xunjian/pkg/metric"
)

// staleNaN is Prometheus' mark of a series' end.
var staleNaN = math.Float64frombits(0x7ff0000000000002)

// remoteWrite gives a Prometheus the hosts' readings as it would have scraped them: where a reading lacks a series that
// the one before had, there is a stale mark.
func (h *hostRecording) remoteWrite(t *testing.T, api string) {
	t.Helper()
	const together = 500
	had := map[string][]float64{}
	for from := 0; from < len(h.readings); from += together {
		samples := map[string][]byte{} // by host and series
		var order []string
		labels := map[string]metric.Series{}
		for _, r := range h.readings[from:min(from+together, len(h.readings))] {
			before := had[r.host]
			for i, v := range r.values {
				if math.IsNaN(v) {
					if before == nil || math.IsNaN(before[i]) {
						continue
					}
					v = staleNaN
				}
				key := r.host + " " + strconv.Itoa(i)
				if samples[key] == nil {
					order = append(order, key)
					labels[key] = h.series[i].With("agent", r.host).With("instance", r.host).With("job", "node")
				}
				samples[key] = protowire.AppendTag(samples[key], 2, protowire.BytesType)
				samples[key] = protowire.AppendBytes(samples[key], protoSample(r.at.UnixMilli(), v))
			}
			had[r.host] = r.values
		}
		var req []byte
		for _, key := range order {
			req = protowire.AppendTag(req, 1, protowire.BytesType)
			req = protowire.AppendBytes(req, append(protoLabels(labels[key]), samples[key]...))
		}
		res, err := http.Post(api+"/api/v1/write", "application/x-protobuf", bytes.NewReader(s2.EncodeSnappy(nil, req)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			t.Fatalf("remote write: %s", res.Status)
		}
	}
}

func protoSample(ms int64, v float64) []byte {
	b := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(v))
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(ms))
}

func protoLabels(s metric.Series) (out []byte) {
	all := append([]metric.Label{{Name: "__name__", Value: s.Name}}, s.Labels...)
	slices.SortFunc(all, func(a, b metric.Label) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range all {
		b := protowire.AppendTag(nil, 1, protowire.BytesType)
		b = protowire.AppendString(b, l.Name)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, l.Value)
		out = protowire.AppendTag(out, 1, protowire.BytesType)
		out = protowire.AppendBytes(out, b)
	}
	return out
}

// both is a Prometheus and our own API over the same data.
type both struct{ theirs, ours, later string }

func newBoth(t *testing.T) both {
	t.Helper()
	program := peer(t, "prometheus")
	h, err := readHosts()
	if err != nil {
		t.Fatal(err)
	}
	b := both{theirs: startPrometheus(t, program, "global: {scrape_interval: 15s}\n", "--web.enable-remote-write-receiver"), ours: h.server(t), later: h.merged(t)}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		status, _, err := fetch(b.theirs+"/-/ready", "")
		if err == nil && status == http.StatusOK {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("prometheus is not ready: %v %v", status, err)
		}
	}
	h.remoteWrite(t, b.theirs)
	return b
}

// ask sends one request to both.
func (b both) ask(path, form string) (theirs, ours answer, err error) {
	var err1, err2 error
	theirs, err1 = askOne(b.theirs+path, form)
	ours, err2 = askOne(b.ours+path, form)
	if err1 != nil {
		return theirs, ours, fmt.Errorf("prometheus: %w", err1)
	}
	return theirs, ours, err2
}

// answer is an answer of the API, as far as it is to be the same.
type answer struct {
	Code      int             `json:"-"`
	Status    string          `json:"status"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Data      json.RawMessage `json:"data"`
}

func askOne(url, form string) (a answer, err error) {
	code, body, err := fetch(url, form)
	if err != nil {
		return a, err
	}
	return readAnswer(code, body)
}

// same sends a query to both. Most answers are the same to the byte; only of others it matters what the bytes mean.
func (b both) same(path, form string) error {
	code1, body1, err1 := fetch(b.theirs+path, form)
	code2, body2, err2 := fetch(b.ours+path, form)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if code1 == code2 && bytes.Equal(body1, body2) {
		return nil
	}
	theirs, err1 := readAnswer(code1, body1)
	ours, err2 := readAnswer(code2, body2)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return sameAnswer(theirs, ours)
}

func readAnswer(code int, body []byte) (a answer, err error) {
	a.Code = code
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("%d %s: %w", code, body, err)
	}
	return a, nil
}

// TestSameAsPrometheus asks a real Prometheus and our API the same questions over the same data.
func TestSameAsPrometheus(t *testing.T) {
	b := newBoth(t)
	all := questions()
	if len(all) < 500 {
		t.Fatalf("only %d questions", len(all))
	}
	t.Run("questions", func(t *testing.T) { b.sameAnswers(t, all) })
	var third []string
	for i := 0; i < len(all); i += 3 {
		third = append(third, all[i])
	}
	t.Run("questions of merged days", func(t *testing.T) { both{theirs: b.theirs, ours: b.later}.sameAnswers(t, third) })
	t.Run("names", func(t *testing.T) { b.sameNames(t) })
	t.Run("faults", func(t *testing.T) { b.sameFaults(t) })
	t.Run("formats", func(t *testing.T) { b.sameFormats(t) })
}

// moments are those at which instant questions are asked: whole, in a gap, where series vanish, near the end, after it.
var moments = []int{60, 107, 205, 318, 402, 424, 600, 660}

func (b both) sameAnswers(t *testing.T, all []string) {
	type request struct{ path, form string }
	var requests []request
	for i, q := range all {
		const between = 5666 * time.Millisecond // not where a sample lies, nor any range behind it
		at := hostTime(moments[i%len(moments)]).Add(between)
		requests = append(requests, request{"/api/v1/query?time=" + unixTime(at) + "&query=" + url.QueryEscape(q), ""})
		start, end := hostTime(20+i%150).Add(between), hostTime(650).Add(between)
		step := []string{"15", "60", "1m37s", "290"}[i%4]
		if step == "15" { // each a part of the time, for these answers are long
			first := 20 + i*29%450
			start, end = hostTime(first).Add(between), hostTime(first+180).Add(between)
		}
		form := "query=" + url.QueryEscape(q) + "&start=" + unixTime(start) + "&end=" + unixTime(end) + "&step=" + step
		if i%2 == 0 {
			requests = append(requests, request{"/api/v1/query_range", form})
		} else {
			requests = append(requests, request{"/api/v1/query_range?" + form, ""})
		}
	}
	var wg sync.WaitGroup
	work := make(chan request)
	for range 2 {
		wg.Go(func() {
			for r := range work {
				if err := b.same(r.path, r.form); err != nil {
					text, _ := url.QueryUnescape(r.path + " " + r.form)
					t.Errorf("%s\n\t%v", text, err)
				}
			}
		})
	}
	for _, r := range requests {
		work <- r
	}
	close(work)
	wg.Wait()
	t.Logf("%d questions, %d requests", len(all), len(requests))
}

func unixTime(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// found is the data of a query's answer.
type found struct {
	ResultType string
	Result     json.RawMessage
}

type line struct {
	Metric map[string]string
	Value  point
	Values []point
}

type point struct {
	T float64
	V string
}

func (p *point) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[2]any{&p.T, &p.V}) }

func sameAnswer(theirs, ours answer) error {
	if theirs.Code != ours.Code || theirs.Status != ours.Status || theirs.ErrorType != ours.ErrorType {
		return fmt.Errorf("prometheus says %d %s %s %s, we say %d %s %s %s",
			theirs.Code, theirs.Status, theirs.ErrorType, theirs.Error, ours.Code, ours.Status, ours.ErrorType, ours.Error)
	}
	if theirs.Status == "error" {
		return nil
	}
	var a, b found
	if err := json.Unmarshal(theirs.Data, &a); err != nil {
		return err
	}
	if err := json.Unmarshal(ours.Data, &b); err != nil {
		return err
	}
	if a.ResultType != b.ResultType {
		return fmt.Errorf("prometheus gives a %s, we a %s", a.ResultType, b.ResultType)
	}
	if a.ResultType == "scalar" || a.ResultType == "string" {
		var p, q point
		if err := json.Unmarshal(a.Result, &p); err != nil {
			return err
		}
		if err := json.Unmarshal(b.Result, &q); err != nil {
			return err
		}
		return samePoints([]point{p}, []point{q})
	}
	return sameLines(a.Result, b.Result)
}

func sameLines(a, b json.RawMessage) error {
	theirs, err := readLines(a)
	if err != nil {
		return err
	}
	ours, err := readLines(b)
	if err != nil {
		return err
	}
	var faults []string
	for key, p := range theirs {
		q, ok := ours[key]
		if !ok {
			faults = append(faults, "we lack "+key)
		} else if err := samePoints(p, q); err != nil {
			faults = append(faults, key+": "+err.Error())
		}
	}
	for key := range ours {
		if _, ok := theirs[key]; !ok {
			faults = append(faults, "prometheus lacks "+key)
		}
	}
	if faults == nil {
		return nil
	}
	sort.Strings(faults)
	return fmt.Errorf("%d differ: %s", len(faults), strings.Join(faults[:min(3, len(faults))], "; "))
}

func readLines(b json.RawMessage) (map[string][]point, error) {
	var lines []line
	if err := json.Unmarshal(b, &lines); err != nil {
		return nil, err
	}
	out := map[string][]point{}
	for _, l := range lines {
		if l.Values == nil {
			l.Values = []point{l.Value}
		}
		key, err := json.Marshal(l.Metric) // in order of names
		if err != nil {
			return nil, err
		}
		out[string(key)] = l.Values
	}
	return out, nil
}

func samePoints(theirs, ours []point) error {
	for i := range max(len(theirs), len(ours)) {
		switch {
		case i >= len(ours):
			return fmt.Errorf("we end before %v", theirs[i])
		case i >= len(theirs):
			return fmt.Errorf("prometheus ends before %v", ours[i])
		case theirs[i].T != ours[i].T || !sameNumber(theirs[i].V, ours[i].V):
			return fmt.Errorf("prometheus has %v, we have %v", theirs[i], ours[i])
		}
	}
	return nil
}

// sameNumber allows for sums in another order.
func sameNumber(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err1 != nil || err2 != nil || x == y || math.IsNaN(x) && math.IsNaN(y) {
		return a == b || err1 == nil && err2 == nil
	}
	return math.Abs(x-y) <= 1e-9*max(math.Abs(x), math.Abs(y), 1e-3)
}

// sameNames asks for series, names and values.
func (b both) sameNames(t *testing.T) {
	whole := "start=" + unixTime(hostStart) + "&end=" + unixTime(hostTime(660))
	match := func(texts ...string) (s string) {
		for _, m := range texts {
			s += "&match[]=" + url.QueryEscape(m)
		}
		return s
	}
	for _, q := range []string{
		"/series?" + whole + match("load1"), "/series?" + whole + match(`{__name__=~".+"}`),
		"/series?" + whole + match("load1", `memory_bytes{state=~"f.*"}`, `load1{instance="host-1"}`), "/series?" + whole + match("nothing"),
		"/series?" + whole + match(`{instance!="host-1",job="node",mode=""}`),
		"/labels?" + whole, "/labels?" + whole + match("load1"), "/labels?" + whole + match("load1", "cpu_seconds_total"), "/labels?" + whole + match("nothing"),
		"/label/instance/values?" + whole, "/label/__name__/values?" + whole, "/label/__name__/values?" + whole + match(`{instance="host-3"}`),
		"/label/mode/values?" + whole + match("cpu_seconds_total", "load1"), "/label/nothing/values?" + whole, "/label/state/values?" + whole + match(`{state=~"[st].*"}`),
		"/label/job/values", "/labels",
	} {
		path, form, _ := strings.Cut(q, "?")
		requests := [][2]string{{"/api/v1" + q, ""}}
		if form != "" && !strings.HasPrefix(path, "/label/") {
			requests = append(requests, [2]string{"/api/v1" + path, form})
		}
		for _, r := range requests {
			theirs, ours, err := b.ask(r[0], r[1])
			if err != nil {
				t.Errorf("%s %s: %v", r[0], r[1], err)
				continue
			}
			if d := cmp.Diff(listed(t, theirs.Data), listed(t, ours.Data)); d != "" || theirs.Code != ours.Code || len(ours.Data) == 0 {
				t.Errorf("%s %s: %d and %d (-prometheus +ours):\n%s", r[0], r[1], theirs.Code, ours.Code, d)
			}
		}
	}
}

// listed is a JSON list of anything, in an order of its own.
func listed(t *testing.T, b json.RawMessage) (out []string) {
	t.Helper()
	var all []any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	for _, x := range all {
		text, err := json.Marshal(x)
		if err != nil {
			t.Error(err)
		}
		out = append(out, string(text))
	}
	slices.Sort(out)
	return out
}

// sameFaults sends what is wrong; type and code of the fault are to be the same.
func (b both) sameFaults(t *testing.T) {
	for _, q := range []string{
		"/query", "/query?query=", "/query?query=load1%5B", "/query?query=sum(", "/query?query=unknown(load1)", "/query?query=rate(load1)", "/query?query=load1[5m",
		"/query?query=load1&time=yesterday", "/query?query=load1&timeout=soon", "/query?query=load1&time=2026-11-23", "/query?query=load1%20offset", "/query?query={}",
		"/query?query=load1+%2B+on(instance)+memory_bytes&time=" + unixTime(hostTime(60)), "/query?query=label_replace(load1,\"12\",\"\",\"\",\"(\")&time=" + unixTime(hostTime(60)),
		"/query?query=memory_bytes+%2F+ignoring(state)+memory_bytes&time=" + unixTime(hostTime(60)),
		"/query_range", "/query_range?query=load1", "/query_range?query=load1&start=1&end=2", "/query_range?query=load1&start=1&end=2&step=0",
		"/query_range?query=load1&start=1&end=2&step=-5", "/query_range?query=load1&start=2&end=1&step=1", "/query_range?query=load1&start=0&end=20000&step=1",
		"/query_range?query=load1&start=0&end=11000&step=1", "/query_range?query=load1&start=a&end=11000&step=1", "/query_range?query=load1&start=1&end=11000&step=1x",
		"/query_range?query=load1[5m]&start=1&end=2&step=1", "/query_range?query=\"text\"&start=1&end=2&step=1", "/query_range?query=load1&start=1&end=2&step=NaN",
		"/series", "/series?match[]=", "/series?match[]={}", "/series?match[]={a=~%22.*%22}", "/series?match[]=sum(load1)", "/series?match[]=load1&start=x", "/series?match[]=load1&end=x",
		"/labels?start=x", "/labels?match[]={", "/labels?match[]={}", "/label/instance/values?end=x", "/label/instance/values?match[]={",
		"/metadata?limit=x", "/rules?type=other", "/targets/metadata?limit=x", "/targets/metadata?match_target={",
		"/query_exemplars?query=sum(", "/query_exemplars?query=load1&start=5&end=1", "/format_query?query=sum(", "/format_query",
	} {
		theirs, ours, err := b.ask("/api/v1"+strings.ReplaceAll(q, `"`, "%22"), "")
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		if theirs.Code != ours.Code || theirs.ErrorType != ours.ErrorType || theirs.Status != ours.Status {
			t.Errorf("%s: prometheus says %d %s: %s; we say %d %s: %s", q, theirs.Code, theirs.ErrorType, theirs.Error, ours.Code, ours.ErrorType, ours.Error)
		}
	}
}

func (b both) sameFormats(t *testing.T) {
	texts := append([]string{
		`sum by (a,b)(rate(foo{x="y",z!~"q|r"}[5m] offset 1h))/on(a)group_left(c)bar`, `a_rather_long_name_of_a_metric{with="several",labels="that",make="it",longer="than"} + another_one`,
	}, loose...)
	for _, q := range texts {
		if strings.Contains(q, "e-9") || q == "1e30" {
			continue // Prometheus 3 writes the digits out
		}
		theirs, ours, err := b.ask("/api/v1/format_query?query="+url.QueryEscape(q), "")
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		if theirs.Code != ours.Code || string(theirs.Data) != string(ours.Data) {
			var a, b string
			if json.Unmarshal(theirs.Data, &a) == nil && json.Unmarshal(ours.Data, &b) == nil && a == b {
				continue // escaped another way
			}
			t.Errorf("%s: prometheus %d %s, we %d %s", q, theirs.Code, theirs.Data, ours.Code, ours.Data)
		}
	}
}
