package promapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// presence is the newest sample of a series within the lookback.
type presence struct {
	labels labels.Labels
	at     int64
	value  float64
}

// federate shows the newest samples of the series that match[] asks for, as Prometheus' page of that name does.
// Native histograms have no place in the text format and are left out.
func (a *api) federate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	c := &call{Request: r, params: params{Values: r.URL.Query()}, now: time.Now()}
	sets := c.matchers()
	var all []presence
	f, leave := c.fault, func() {}
	if f == nil {
		leave, f = c.wait(a.reads, a.Bounds.Timeout)
	}
	if f == nil {
		defer leave()
		all, f = a.presences(c, sets)
	}
	a.metrics.count(FederatePath, f)
	if f != nil {
		http.Error(w, f.err.Error(), cmp.Or(f.status, statuses[f.kind]))
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	s := newSink(w, r)
	defer s.done()
	if err := writePresences(s, format, all); err != nil {
		panic(http.ErrAbortHandler) // half an exposition must not pass for a whole one
	}
}

func (a *api) presences(c *call, sets [][]*labels.Matcher) (out []presence, f *fault) {
	from, to := timestamp.FromTime(c.now.Add(-a.Bounds.Lookback)), timestamp.FromTime(c.now)
	q, err := a.Engine.Queryable().Querier(from, to)
	if err != nil {
		return nil, faultOf(err)
	}
	defer q.Close()
	var found []storage.SeriesSet
	for _, ms := range sets {
		found = append(found, q.Select(c.Context(), true, &storage.SelectHints{Start: from, End: to}, ms...))
	}
	set := storage.NewMergeSeriesSet(found, 0, storage.ChainedSeriesMerge)
	var it chunkenc.Iterator
	for set.Next() {
		p, last := presence{labels: set.At().Labels()}, chunkenc.ValNone
		it = set.At().Iterator(it)
		for k := it.Next(); k != chunkenc.ValNone; k = it.Next() {
			if last = k; k == chunkenc.ValFloat {
				p.at, p.value = it.At()
			}
		}
		if err := it.Err(); err != nil {
			return nil, faultOf(err)
		}
		if last == chunkenc.ValFloat && !value.IsStaleNaN(p.value) {
			out = append(out, p)
		}
	}
	if err := set.Err(); err != nil {
		return nil, faultOf(err)
	}
	slices.SortStableFunc(out, func(a, b presence) int {
		return strings.Compare(a.labels.Get(model.MetricNameLabel), b.labels.Get(model.MetricNameLabel))
	})
	return out, nil
}

// writePresences writes one family after the other. A series without an instance gets an empty one, so that the
// scraper does not put its own in its place.
func writePresences(s *sink, format expfmt.Format, all []presence) error {
	enc := expfmt.NewEncoder(sinkWriter{s}, format)
	for len(all) > 0 {
		name := all[0].labels.Get(model.MetricNameLabel)
		f := &dto.MetricFamily{Name: &name, Type: dto.MetricType_UNTYPED.Enum()}
		for len(all) > 0 && all[0].labels.Get(model.MetricNameLabel) == name {
			f.Metric = append(f.Metric, all[0].metric())
			all = all[1:]
		}
		if name == "" {
			continue
		}
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return s.finish(http.StatusOK)
}

func (p *presence) metric() *dto.Metric {
	m := &dto.Metric{TimestampMs: &p.at, Untyped: &dto.Untyped{Value: &p.value}}
	instance := false
	p.labels.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		instance = instance || l.Name == model.InstanceLabel
		m.Label = append(m.Label, &dto.LabelPair{Name: &l.Name, Value: &l.Value})
	})
	if !instance {
		m.Label = append(m.Label, &dto.LabelPair{Name: new(string(model.InstanceLabel)), Value: new("")})
	}
	return m
}

// sinkWriter writes to a sink.
type sinkWriter struct{ *sink }

func (w sinkWriter) Write(b []byte) (int, error) {
	w.buf = append(w.buf, b...)
	if err := w.spill(); err != nil {
		return 0, err
	}
	return len(b), nil
}
