package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"xunjian/bench/load"
	"xunjian/pkg/tsdb"
)

// question is one that is put to all three.
type question struct {
	name, expr string
	span, step time.Duration // of a range query; span 0 is an instant one
	often      int           // times runs that it is asked, for one that takes next to no time
	own        bool          // VictoriaMetrics answers it by rules of its own, so its answer is only near
}

var questions = []question{
	{name: "query_raw_24h", expr: `load1{instance="host-0003"}`, span: 24 * time.Hour, step: step, often: 20},
	{name: "query_avg_7d", expr: `avg_over_time(memory_bytes{state="available"}[1h])`, span: 7 * 24 * time.Hour, step: time.Hour},
	{name: "query_rate_7d", expr: `sum(rate(cpu_seconds_total{mode="user"}[5m]))`, span: 7 * 24 * time.Hour, step: time.Hour, own: true},
	{name: "query_p95_30d", expr: `quantile_over_time(0.95, load1[30d])`},
}

// runs is how often each is asked.
const runs = 20

// server answers PromQL over HTTP.
type server struct {
	name, url, extra, token string
}

// queryArea asks all three the same over HTTP: three series of a hundred hosts over thirty days, 51.8 million samples.
func queryArea(ctx context.Context, o options) (_ []figure, err error) {
	rec, err := readRecording()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const days = 30
	end := time.Now().UTC().Truncate(24 * time.Hour)
	d := dataset{
		recording: rec.pick(`cpu_seconds_total{mode="user"}`, `memory_bytes{state="available"}`, "load1"),
		hosts:     max(5, int(100*o.share)), ticks: days * dayTicks, stride: 1,
		first: end.Add(-days*24*time.Hour + 7*time.Second), // off the grid of queries: whether a window holds its ends does not matter then
	}
	if len(d.series) != 3 {
		return nil, fmt.Errorf("the recording has %d of the three series", len(d.series))
	}
	ours, stop, err := ownServer(ctx, o, dir, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	all := []server{ours}
	for _, start := range []func(context.Context, string) (*peer, error){startPrometheus, startVictoria} {
		p, err := start(ctx, dir)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		if err := p.load(ctx, d); err != nil {
			return nil, err
		}
		all = append(all, server{p.name, p.url, p.query, ""})
	}
	return askAll(ctx, all, end)
}

// ownServer writes the data set through Append and starts a collector over it.
func ownServer(ctx context.Context, o options, dir string, d dataset) (server, func() error, error) {
	begin := time.Now()
	own := filepath.Join(dir, "collector")
	data := filepath.Join(own, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return server{}, nil, err
	}
	s, err := openStore(filepath.Join(data, "series"), d.first, tsdb.Options{})
	if err != nil {
		return server{}, nil, err
	}
	for tick := 0; tick <= d.ticks && err == nil; tick += dayTicks {
		if err = s.fill(ctx, d, tick, min(tick+dayTicks, d.ticks+1)); err == nil {
			_, err = s.Merge(ctx)
		}
	}
	if err == nil {
		_, err = s.settle(ctx, d)
	}
	if err := errors.Join(err, s.end()); err != nil {
		return server{}, nil, err
	}
	fmt.Printf("# ours: %d samples loaded in %v\n", d.samples(), time.Since(begin).Round(time.Second))
	c, err := load.Start(ctx, load.Options{Bin: o.bin, Dir: own})
	if err != nil {
		return server{}, nil, err
	}
	var control struct{ Token string }
	err = await(ctx, func() error { // it is written when the doors are open already
		raw, err := os.ReadFile(filepath.Join(data, "control.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &control)
	})
	if err != nil {
		return server{}, nil, errors.Join(err, c.Stop())
	}
	return server{"ours", "http://" + c.Web, "", control.Token}, c.Stop, nil
}

// load feeds a peer and waits until it has nothing left to do.
func (p *peer) load(ctx context.Context, d dataset) error {
	begin := time.Now()
	if err := feed(ctx, p.url+p.write, d, 0, d.ticks, 120, 2); err != nil {
		return err
	}
	if p.query != "" {
		if _, err := victoriaSizes(ctx, p); err != nil {
			return err
		}
	}
	for calm := 0; calm < 3; calm++ {
		before, err := p.usage()
		if err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
		now, err := p.usage()
		if err != nil {
			return err
		}
		if now.cpu-before.cpu > 100*time.Millisecond {
			calm = -1
		}
	}
	fmt.Printf("# %s: %d samples loaded in %v\n", p.name, d.samples(), time.Since(begin).Round(time.Second))
	return nil
}

// askAll compares the answers, then the times, everybody in turn so that what disturbs one disturbs all.
func askAll(ctx context.Context, all []server, end time.Time) (out []figure, err error) {
	var room bytes.Buffer
	for _, q := range questions {
		var first answer
		for i, s := range all {
			got, err := s.answer(ctx, q, end)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", q.name, s.name, err)
			}
			if i == 0 {
				first = got
				fmt.Printf("# %s: %d series, %d points\n", q.name, len(got), got.points())
				continue
			}
			tolerance := 1e-6
			if q.own && s.extra != "" {
				tolerance = 0.05
			}
			if err := first.differs(got, tolerance); err != nil {
				return nil, fmt.Errorf("%s: ours and %s: %w", q.name, s.name, err)
			}
		}
		times := make([][]time.Duration, len(all))
		for range runs * max(1, q.often) {
			for i, s := range all {
				begin := time.Now()
				if _, err := s.ask(ctx, q, end, &room); err != nil {
					return nil, err
				}
				times[i] = append(times[i], time.Since(begin))
			}
		}
		for i, peer := range []string{"prometheus", "victoria"} {
			out = append(out, figure{"tsdb." + q.name, "ms", peer, ms(quantile(times[0], 0.5)), ms(quantile(times[i+1], 0.5))})
		}
	}
	return out, nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// quantile is the smallest of the durations that at least the share q of them does not exceed.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// ask puts the question and takes the whole answer into room.
func (s server) ask(ctx context.Context, q question, end time.Time, room *bytes.Buffer) ([]byte, error) {
	v := url.Values{"query": {q.expr}}
	path := "/api/v1/query"
	if q.span > 0 {
		path = "/api/v1/query_range"
		v.Set("start", strconv.FormatInt(end.Add(-q.span).Unix(), 10))
		v.Set("end", strconv.FormatInt(end.Unix(), 10))
		v.Set("step", strconv.Itoa(int(q.step.Seconds())))
	} else {
		v.Set("time", strconv.FormatInt(end.Unix(), 10))
	}
	page := s.url + path + "?" + v.Encode()
	if s.extra != "" {
		page += "&" + s.extra
	}
	return getAs(ctx, http.MethodGet, page, s.token, room)
}

// answer holds values by series and by second.
type answer map[string]map[float64]float64

func (s server) answer(ctx context.Context, q question, end time.Time) (answer, error) {
	body, err := s.ask(ctx, q, end, new(bytes.Buffer))
	if err != nil {
		return nil, err
	}
	var got struct {
		Status string
		Data   struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return nil, err
	}
	out := answer{}
	for _, r := range got.Data.Result {
		points := map[float64]float64{}
		if r.Values == nil {
			r.Values = [][2]any{r.Value}
		}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if points[at], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, fmt.Errorf("value %v: %w", v, err)
			}
		}
		out[r.Metric["instance"]] = points
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no series: %.300s", body)
	}
	return out, nil
}

func (a answer) points() (n int) {
	for _, p := range a {
		n += len(p)
	}
	return n
}

// differs says where two answers are further apart than a share of the value.
func (a answer) differs(b answer, tolerance float64) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d series", len(a), len(b))
	}
	for name, points := range a {
		if len(points) != len(b[name]) {
			return fmt.Errorf("%s has %d and %d points", name, len(points), len(b[name]))
		}
		for at, v := range points {
			w, ok := b[name][at]
			if !ok || math.Abs(v-w) > tolerance*math.Max(math.Abs(v), math.Abs(w)) {
				return fmt.Errorf("%s at %v: %v and %v", name, at, v, w)
			}
		}
	}
	return nil
}
