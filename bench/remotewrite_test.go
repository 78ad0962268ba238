package main

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/metric"
)

// TestPeersHoldTheData feeds both peers a small data set over remote write, asks for the raw samples back, and weighs the stores.
func TestPeersHoldTheData(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus and VictoriaMetrics")
	}
	rec, err := readRecording()
	if err != nil {
		t.Fatal(err)
	}
	rec = rec.with(metric.New("odd", "long", strings.Repeat("长", 100)), []float64{0, -1, 0.1, 123456.789, 1e15})
	d := dataset{recording: rec, hosts: 3, ticks: 70, first: time.Now().Add(-time.Hour).Truncate(time.Minute), stride: 1, jitter: 3}
	for _, c := range []struct {
		program string
		start   func() (*peer, error)
		weigh   func(*peer) (sizes, error)
	}{
		{"prometheus", func() (*peer, error) { return startPrometheus(t.Context(), t.TempDir()) }, func(p *peer) (sizes, error) { return prometheusSizes(t.Context(), p) }},
		{"victoria-metrics", func() (*peer, error) { return startVictoria(t.Context(), t.TempDir()) }, func(p *peer) (sizes, error) { return victoriaSizes(t.Context(), p) }},
	} {
		t.Run(c.program, func(t *testing.T) {
			if _, err := exec.LookPath(c.program); err != nil {
				if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
					t.Skip(err)
				}
				t.Fatal(err, "(make setup installs it)")
			}
			p, err := c.start()
			if err != nil {
				t.Fatal(err)
			}
			defer p.stop()
			if err := feed(t.Context(), p.url+p.write, d, 0, d.ticks, 20, 2); err != nil {
				t.Fatal(err)
			}
			z, err := c.weigh(p)
			if err != nil {
				t.Fatal(err)
			}
			if per := z.samples / float64(d.samples()); per < 0.3 || per > 8 || z.whole <= z.samples {
				t.Errorf("%v: %.2f bytes a sample", z, per)
			}
			wantRaw(t, p, d, 3)
			wantRaw(t, p, d, len(d.series)-1)
		})
	}
}

// with adds a series whose values go round.
func (r recording) with(s metric.Series, values []float64) recording {
	out := recording{series: append(slices.Clone(r.series), s), rising: append(slices.Clone(r.rising), 0)}
	for i, row := range r.rows {
		out.rows = append(out.rows, append(slices.Clone(row), values[i%len(values)]))
	}
	return out
}

// wantRaw compares every sample of one series of each host with what was sent.
func wantRaw(t *testing.T, p *peer, d dataset, column int) {
	t.Helper()
	q := d.series[column].String() + "[2h]"
	body, err := get(t.Context(), "GET", p.url+"/api/v1/query?query="+url.QueryEscape(q))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Data.Result) != d.hosts {
		t.Fatalf("%d series: %.300s", len(got.Data.Result), body)
	}
	for _, s := range got.Data.Result {
		h, err := strconv.Atoi(s.Metric["instance"][len("host-"):])
		if err != nil || s.Metric["job"] != "node" || len(s.Values) != d.ticks {
			t.Fatalf("%v: %d samples", s.Metric, len(s.Values))
		}
		for i, v := range s.Values {
			value, err := strconv.ParseFloat(v[1].(string), 64)
			if want := d.row(nil, h, i)[column]; err != nil || value != want || v[0].(float64) != float64(d.stamp(h, i))/1000 {
				t.Fatalf("host %d tick %d: %v, want %v", h, i, v, want)
			}
		}
	}
}
