package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// ErrTooManyKept refuses samples of yet another series once AppendOptions.MaxSeries are kept.
var ErrTooManyKept = errors.New("too many series made by rules")

// Sink is the part of tsdb.DB that keeps what rules make.
type Sink interface {
	Append(ctx context.Context, s tsdb.Stream, r metric.Report, durable func(tsdb.Outcome, error)) error
}

// AppendOptions are what an Appendable stands on; zero values stand for the defaults in brackets.
type AppendOptions struct {
	Store      Sink
	Agent      string // under which the store books the series ["collector"]
	MaxSeries  int    // that it keeps at most [20,000]
	Registerer prometheus.Registerer
}

// Appendable keeps the series that rules make, native histograms included, each in a sparse stream of its own.
type Appendable struct {
	o       AppendOptions
	boot    uint64
	metrics *appendMetrics

	mu   sync.Mutex
	seq  uint64
	kept map[string]*kept // by labels; at most o.MaxSeries
}

// kept is one series: its stream, and every part that its samples ever had, so that its schema only ever grows.
type kept struct {
	stream tsdb.Stream
	name   string
	parts  []string                  // in the order in which they came
	place  map[string]int            // in parts
	last   *histogram.FloatHistogram // nil after a number and after a failure
}

// NewAppendable makes an Appendable; each one counts its reports anew under a number drawn at random.
func NewAppendable(o AppendOptions) *Appendable {
	if o.Agent == "" {
		o.Agent = "collector"
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 20_000
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	a := &Appendable{o: o, boot: rand.Uint64(), kept: map[string]*kept{}}
	a.metrics = newAppendMetrics(o.Registerer, a.series)
	return a
}

func (a *Appendable) series() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return float64(len(a.kept))
}

// AppenderV2 collects samples until Commit, which returns when all of them are on disk or ctx is done.
func (a *Appendable) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{a: a, ctx: ctx}
}

// appender is one transaction, of one goroutine.
type appender struct {
	a     *Appendable
	ctx   context.Context //nolint:containedctx // Commit has none, and storage.AppendableV2 gives it here
	batch []row
}

// row is one sample as the store will have it.
type row struct {
	k      *kept
	ms     int64
	values []part
	h      *histogram.FloatHistogram // nil for a number
}

// Append takes one sample. What it refuses at once is a series that is one too many or has no name, and a histogram that makes no sense.
func (p *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram,
	fh *histogram.FloatHistogram, _ storage.AppendV2Options,
) (storage.SeriesRef, error) {
	r := row{ms: t}
	switch {
	case fh != nil:
		if err := fh.Validate(); err != nil {
			return ref, fmt.Errorf("append %s: %w", ls, err)
		}
		r.values, r.h = floatParts(fh), fh.Copy()
	case h != nil:
		if err := h.Validate(); err != nil {
			return ref, fmt.Errorf("append %s: %w", ls, err)
		}
		r.values, r.h = integerParts(h), h.ToFloat(nil)
	default:
		r.values = []part{{partValue, v}}
	}
	if st != 0 {
		r.values = append(r.values, part{partStart, float64(st)})
	}
	var err error
	if r.k, err = p.a.keep(ls); err != nil {
		p.a.metrics.refused.Inc()
		return ref, err
	}
	p.batch = append(p.batch, r)
	return ref, nil
}

// keep finds or makes the record of a series.
func (a *Appendable) keep(ls labels.Labels) (*kept, error) {
	key := string(ls.Bytes(nil))
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.kept[key]; k != nil {
		return k, nil
	}
	if len(a.kept) >= a.o.MaxSeries {
		return nil, fmt.Errorf("append %s: %w: %d are kept", ls, ErrTooManyKept, len(a.kept))
	}
	name := ls.Get(model.MetricNameLabel)
	if name == "" || ls.Has(PartLabel) {
		return nil, fmt.Errorf("append %s: a series needs a name, and no label %s", ls, PartLabel)
	}
	k := &kept{name: name, place: map[string]int{}}
	k.stream = tsdb.Stream{Agent: a.o.Agent, Kind: "rule", Sparse: true, Urgent: true}
	ls.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			k.stream.Labels = append(k.stream.Labels, metric.Label{Name: l.Name, Value: l.Value})
		}
	})
	a.kept[key] = k
	return k, nil
}

// Commit hands all samples to the store at once and waits for its word on each.
func (p *appender) Commit() error {
	batch := p.batch
	p.batch = nil
	answers := make(chan error, len(batch)) // room for all: the store must never wait
	var faults []error
	sent := 0
	for _, r := range batch {
		if err := p.a.send(p.ctx, r, answers); err != nil {
			faults = append(faults, err)
			break
		}
		sent++
	}
	for range sent {
		select {
		case err := <-answers:
			if err != nil {
				faults = append(faults, err)
			}
		case <-p.ctx.Done():
			p.a.forget(batch)
			return fmt.Errorf("keep samples of rules: %w", p.ctx.Err())
		}
	}
	if len(faults) > 0 {
		p.a.forget(batch)
		p.a.metrics.failed.Add(float64(len(faults)))
		return fmt.Errorf("keep samples of rules: %d of %d: %w", len(faults), len(batch), faults[0])
	}
	p.a.metrics.stored.Add(float64(len(batch)))
	return nil
}

// forget makes the next histogram of each series say nothing of the one before, which may not be in the store.
func (a *Appendable) forget(batch []row) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range batch {
		r.k.last = nil
	}
}

// Rollback forgets the samples.
func (p *appender) Rollback() error {
	p.batch = nil
	return nil
}

func (a *Appendable) send(ctx context.Context, r row, answers chan<- error) error {
	report := a.report(r)
	name := r.k.name
	err := a.o.Store.Append(ctx, r.k.stream, report, func(o tsdb.Outcome, err error) {
		if err == nil && o != tsdb.Stored {
			err = refusal(o)
		}
		if err != nil {
			err = fmt.Errorf("%s at %d: %w", name, report.At.UnixMilli(), err)
		}
		answers <- err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// report gives a sample its number and its columns: those that it lacks of the series' parts are absent.
func (a *Appendable) report(r row) metric.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := r.k
	if r.h != nil {
		r.values[0].value += float64(2 * int(succession(r.h, k.last)))
	}
	k.last = r.h
	for _, v := range r.values {
		if _, ok := k.place[v.name]; !ok {
			k.place[v.name] = len(k.parts)
			k.parts = append(k.parts, v.name)
		}
	}
	samples := make([]metric.Sample, len(k.parts))
	for i, name := range k.parts {
		s := metric.Series{Name: k.name}
		if name != partValue {
			s.Labels = []metric.Label{{Name: PartLabel, Value: name}}
		}
		samples[i] = metric.Sample{Series: s, Value: tsdb.Absent}
	}
	for _, v := range r.values {
		samples[k.place[v.name]].Value = v.value
	}
	a.seq++
	return metric.Report{Agent: a.o.Agent, Boot: a.boot, Seq: a.seq, Kind: k.stream.Kind, At: time.UnixMilli(r.ms), Samples: samples}
}

// refusal is the store's answer in Prometheus' words, by which rules know what may be passed over.
func refusal(o tsdb.Outcome) error {
	cause := errors.New("not stored")
	switch o {
	case tsdb.TooOld:
		cause = storage.ErrTooOldSample
	case tsdb.Future:
		cause = storage.ErrOutOfBounds
	case tsdb.SameTime, tsdb.Duplicate:
		cause = storage.ErrDuplicateSampleForTimestamp
	}
	return fmt.Errorf("%w: %s", cause, o)
}

type appendMetrics struct{ stored, refused, failed prometheus.Counter }

func newAppendMetrics(reg prometheus.Registerer, series func() float64) *appendMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "xunjian", Subsystem: "query", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "xunjian", Subsystem: "query", Name: "kept_series", Help: "Series made by rules and kept since the start.",
	}, series))
	return &appendMetrics{
		stored:  counter("kept_samples_total", "Samples made by rules and stored."),
		refused: counter("kept_samples_refused_total", "Samples made by rules and refused because there are too many series, or the series has no name."),
		failed:  counter("kept_samples_failed_total", "Samples made by rules that the store did not take."),
	}
}
