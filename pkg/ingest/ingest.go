// Package ingest checks what agents send, stores it once, and hands probe results on to be judged beside the commit.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// skewLimit is the difference of clocks from which stamps are moved to the collector's time (DOMAIN 4.4: its time rules).
const skewLimit = 5 * time.Second

// Store keeps reports; durable is called once the outcome is on disk.
type Store interface {
	Append(ctx context.Context, s tsdb.Stream, r metric.Report, durable func(tsdb.Outcome, error)) error
}

// Judge turns one round of a check into what changed.
type Judge interface {
	Observe(now time.Time, agent string, r check.Result) []symptom.Symptom
}

// Options is what a Receiver works with.
type Options struct {
	Store    Store
	Judge    Judge
	Sink     func(context.Context, []symptom.Symptom)     // takes what changed; called at once, before the commit
	Assigned func(agent, check string) bool               // whether the plan gives the check to the agent
	Unproven func(check.Result) bool                      // whether a round that failed says nothing of the service; may be nil
	Heard    func(agent string, h uplink.Hello)           // learns of every greeting; may be nil
	Reports  func(agent string, at time.Time)             // learns that an agent reported; may be nil
	Leaves   func(agent string, at time.Time, why string) // learns that an agent ends on purpose; may be nil

	Now        func() time.Time // default time.Now
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Receiver is the collector's uplink.Receiver, uplink.Hearer, uplink.Seer and uplink.Leaver.
type Receiver struct {
	o       Options
	metrics *metrics

	mu   sync.Mutex
	skew map[string]time.Duration // by agent, only where it matters

	labels sync.Map // of *streamLabels, by agent
}

// New makes a receiver.
func New(o Options) *Receiver {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Receiver{o: o, metrics: newMetrics(o.Registerer), skew: map[string]time.Duration{}}
}

// Heard remembers how far an agent's clock is off.
func (r *Receiver) Heard(agent string, h uplink.Hello) {
	r.mu.Lock()
	if h.Skew.Abs() > skewLimit {
		r.skew[agent] = h.Skew
	} else {
		delete(r.skew, agent)
	}
	r.mu.Unlock()
	if r.o.Heard != nil {
		r.o.Heard(agent, h)
	}
}

// Seen takes an agent that was told to come back later for alive.
func (r *Receiver) Seen(agent string, at time.Time) {
	if r.o.Reports != nil {
		r.o.Reports(agent, at)
	}
}

// Leaves passes on that an agent ends on purpose.
func (r *Receiver) Leaves(agent string, at time.Time, why string) {
	if r.o.Leaves != nil {
		r.o.Leaves(agent, at, why)
	}
}

func (r *Receiver) offset(agent string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return -r.skew[agent]
}

// Receive judges the results at once and stores the reports; durable follows when the last of them is on disk.
func (r *Receiver) Receive(ctx context.Context, agent string, b uplink.Batch, durable func(error)) error {
	if err := sane(b); err != nil {
		r.metrics.refused.WithLabelValues(agent, "malformed").Inc()
		return err
	}
	now, offset := r.o.Now(), r.offset(agent)
	if r.o.Reports != nil {
		r.o.Reports(agent, now)
	}
	r.judge(ctx, now, agent, offset, b.Results)
	return r.store(ctx, agent, offset, r.weighed(b), durable)
}

// verdicts are the series of which figures make up and down.
var verdicts = []string{metric.ProbeSuccess, metric.StepSuccess}

// weighed is the batch without the verdicts of rounds that say nothing of their service.
func (r *Receiver) weighed(b uplink.Batch) uplink.Batch {
	if r.o.Unproven == nil {
		return b
	}
	for _, res := range b.Results {
		if res.Request != "" || res.Control || !r.o.Unproven(res) {
			continue
		}
		reports := slices.Clone(b.Reports)
		for i, rep := range reports {
			if rep.Kind == metric.KindProbe+res.Check && rep.At.Equal(res.At) {
				reports[i].Samples = slices.DeleteFunc(slices.Clone(rep.Samples), func(s metric.Sample) bool { return slices.Contains(verdicts, s.Series.Name) })
			}
		}
		b.Reports = reports
	}
	return b
}

// judge hands each result on; what the plan does not give to this agent is not believed.
func (r *Receiver) judge(ctx context.Context, now time.Time, agent string, offset time.Duration, results []check.Result) {
	for _, res := range results {
		if !r.o.Assigned(agent, res.Check) {
			r.metrics.refused.WithLabelValues(agent, "not_assigned").Inc()
			continue
		}
		r.metrics.results.WithLabelValues(string(res.Outcome())).Inc()
		res = moved(res, offset)
		if ahead := res.At.Sub(now); ahead > skewLimit { // its clock has jumped since it was last compared
			res = moved(res, -ahead) // or no later round would count until that time has come
		}
		if found := r.o.Judge.Observe(now, agent, res); len(found) > 0 {
			r.o.Sink(ctx, found)
		}
	}
}

// moved is the result in the collector's time.
func moved(res check.Result, offset time.Duration) check.Result {
	if offset == 0 {
		return res
	}
	res.At = res.At.Add(offset)
	attempts := make([]check.Attempt, len(res.Attempts))
	for i, a := range res.Attempts {
		a.Start = a.Start.Add(offset)
		attempts[i] = a
	}
	res.Attempts = attempts
	return res
}

// store appends each report and calls durable when all are done with. A refusal by the store is final and counted:
// the agent must not send it again.
func (r *Receiver) store(ctx context.Context, agent string, offset time.Duration, b uplink.Batch, durable func(error)) error {
	if len(b.Reports) == 0 {
		durable(nil)
		return nil
	}
	urgent := slices.ContainsFunc(b.Results, func(r check.Result) bool { return r.First().Outcome != check.OK })
	wait := &pending{left: len(b.Reports), durable: durable}
	for _, rep := range b.Reports {
		rep.Agent = agent
		rep.At = rep.At.Add(offset)
		s := r.stream(agent, rep)
		s.Urgent = urgent
		err := r.o.Store.Append(ctx, s, rep, func(o tsdb.Outcome, err error) {
			r.count(agent, o, err)
			wait.done(err)
		})
		if err != nil {
			r.count(agent, 0, err)
			wait.done(err)
		}
	}
	return nil
}

// pending waits for the reports of one batch.
type pending struct {
	mu      sync.Mutex
	left    int
	err     error
	durable func(error)
}

func (p *pending) done(err error) {
	p.mu.Lock()
	p.left--
	if errors.Is(err, tsdb.ErrNoSpace) { // the disk may have room again: the agent is to wait, not to knock at once
		err = fmt.Errorf("%w: %w", uplink.ErrBusy, err)
	}
	if err != nil {
		p.err = err
	}
	last, err := p.left == 0, p.err
	p.mu.Unlock()
	if last {
		p.durable(err)
	}
}

func (r *Receiver) count(agent string, o tsdb.Outcome, err error) {
	switch {
	case err != nil:
		r.metrics.failed.Inc()
	case o == tsdb.Stored:
		r.metrics.stored.Inc()
	case o == tsdb.Duplicate:
		r.metrics.duplicates.Inc()
	default:
		r.metrics.refused.WithLabelValues(agent, outcomeNames[o]).Inc()
		r.o.Logger.Warn("report refused", "agent", agent, "reason", outcomeNames[o])
	}
}

var outcomeNames = map[tsdb.Outcome]string{
	tsdb.TooOld: "too_old", tsdb.Future: "future", tsdb.SameTime: "same_time",
	tsdb.BadSeries: "bad_series", tsdb.SeriesLimit: "series_limit", tsdb.StreamLimit: "stream_limit",
}

// stream names the report's stream. Identity labels come from the certificate: every series gets agent, who reported;
// the host's own also instance, while a check's series have their target as instance.
func (r *Receiver) stream(agent string, rep metric.Report) tsdb.Stream {
	known, ok := r.labels.Load(agent)
	if !ok { // agents are enrolled, so there are only so many
		known, _ = r.labels.LoadOrStore(agent, &streamLabels{
			host:  []metric.Label{{Name: "agent", Value: agent}, {Name: "instance", Value: agent}, {Name: "job", Value: "node"}},
			probe: []metric.Label{{Name: "agent", Value: agent}, {Name: "job", Value: "probe"}},
		})
	}
	s := tsdb.Stream{Agent: agent, Kind: rep.Kind, Every: rep.Every, Labels: known.(*streamLabels).probe}
	if rep.Kind == metric.KindHost {
		s.Labels = known.(*streamLabels).host
	}
	return s
}

// streamLabels are the labels that all streams of an agent have.
type streamLabels struct{ host, probe []metric.Label }

// owned says whether stream sets a label.
func owned(name string, isProbe bool) bool {
	return name == "agent" || name == "job" || name == "instance" && !isProbe
}

var outcomes = []check.Outcome{check.OK, check.Slow, check.Fail, check.Unknown}

// sane refuses what no agent of ours sends.
func sane(b uplink.Batch) error {
	for _, rep := range b.Reports {
		name, isProbe := strings.CutPrefix(rep.Kind, metric.KindProbe)
		if rep.Kind != metric.KindHost && (!isProbe || !check.ValidName(name)) {
			return fmt.Errorf("report of kind %.80q: want host or probe/<check>", rep.Kind)
		}
		for i := range rep.Samples {
			s := &rep.Samples[i].Series
			for _, l := range s.Labels {
				if owned(l.Name, isProbe) {
					return fmt.Errorf("series %s: label %s is the collector's to set", s.Name, l.Name)
				}
			}
		}
	}
	for _, res := range b.Results {
		if len(res.Attempts) == 0 {
			return fmt.Errorf("result of check %.80q without an attempt", res.Check)
		}
		for _, a := range res.Attempts {
			if !slices.Contains(outcomes, a.Outcome) {
				return fmt.Errorf("result of check %.80q with outcome %.40q", res.Check, a.Outcome)
			}
		}
	}
	return nil
}
