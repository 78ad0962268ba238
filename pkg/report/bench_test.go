package report

import (
	"context"
	"fmt"
	"testing"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/metric"
)

// endless makes samples as they are asked for, so that a month of them need not be held.
type endless struct {
	every time.Duration
	made  int64
}

func (e *endless) Select(ctx context.Context, from, to time.Time, name string, labels map[string]string, fn func(metric.Series, []int64, []float64) error) error {
	if name == seriesSize || name == seriesFree || name == seriesAvail {
		return nil
	}
	of := []metric.Series{metric.New(name, measure.LabelAgent, "a1", measure.LabelCheck, labels[measure.LabelCheck]), metric.New(name, measure.LabelAgent, "a2", measure.LabelCheck, labels[measure.LabelCheck])}
	switch name {
	case seriesCPU:
		of = of[:0]
		for cpu := range 8 {
			of = append(of, metric.New(name, measure.LabelAgent, labels[measure.LabelAgent], "cpu", fmt.Sprint(cpu), "mode", "idle"))
		}
	case seriesMemory, seriesAvailable:
		of = of[:1]
	}
	step := e.every.Milliseconds()
	ts, vs := make([]int64, 0, 4096), make([]float64, 0, 4096)
	for _, s := range of {
		for t := (from.UnixMilli() + step - 1) / step * step; t < to.UnixMilli(); {
			ts, vs = ts[:0], vs[:0]
			for ; t < to.UnixMilli() && len(ts) < cap(ts); t += step {
				ts, vs = append(ts, t), append(vs, float64(t%977)/977+0.001)
			}
			e.made += int64(len(ts))
			if err := fn(s, ts, vs); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// A month at 10 s: four services from two agents, and twenty hosts of eight processors.
func BenchmarkMonth(b *testing.B) {
	cfg, src, month, asOf := sampleMonth(b)
	for i := range src.Checks {
		src.Checks[i].Every = 10 * time.Second
	}
	src.Hosts = nil
	for i := range 20 {
		src.Hosts = append(src.Hosts, Host{Name: fmt.Sprintf("app-%02d", i), Every: 10 * time.Second})
	}
	e := &endless{every: 10 * time.Second}
	src.Samples = e
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(b.Context(), cfg, src, month, asOf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(e.made)/b.Elapsed().Seconds(), "samples/s")
}
