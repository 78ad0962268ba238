package agent

import (
	"context"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/probe"
	"xunjian/pkg/uplink"
)

// How many rounds of checks are under way at a time, whatever the plan holds; more wait in the order in which they came.
// A round is up to three attempts of about 40 KiB each, so both together stay within 20 MiB.
const (
	maxRounds = 128
	maxAsked  = 32 // out of turn: what the collector wants at once does not wait behind a plan of thousands
)

// runner asks one check: on time, at once when the collector wants it, and once a day for what must be refused. Never are
// two of them under way at a time.
type runner struct {
	agent  *Agent
	spec   check.Spec
	text   []byte // the spec as JSON, to see whether a new plan changes it
	prober *probe.Prober
	turn   chan struct{}        // of one, which whoever asks holds; handed on to the runner that follows in a new plan
	well   map[string]time.Time // findings that were told to be well, and when; the turn's
	wrong  time.Duration        // shifts the negative control, so that a fleet's do not fall together
}

func (a *Agent) newRunner(spec check.Spec, text []byte, turn chan struct{}) *runner {
	p, err := probe.New(spec, a.o.Probe)
	if err != nil {
		a.log.Error("check cannot run", "check", spec.Name, "error", err)
		p = probe.Refused(spec, err) // a gap that is told, not silence
	}
	if turn == nil {
		turn = make(chan struct{}, 1)
	}
	h := fnv.New64a()
	h.Write([]byte(a.identity.Name + " " + spec.Name)) // never fails
	return &runner{
		agent: a, spec: spec, text: text, prober: p, turn: turn, well: map[string]time.Time{},
		wrong: time.Duration(h.Sum64() % uint64(controlSpread)),
	}
}

// tick makes the round of a tick.
func (r *runner) tick(ctx context.Context, tick time.Time) {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-r.turn }()
	if r.agent.rounds.Acquire(ctx, 1) != nil {
		return
	}
	defer r.agent.rounds.Release(1)
	result, samples := r.round(ctx, tick)
	if ctx.Err() != nil { // a probe cut off by shutdown says nothing
		return
	}
	r.agent.client.Send(uplink.Batch{
		Reports: []metric.Report{{Kind: metric.KindProbe + r.spec.Name, Every: r.spec.Every, At: tick, Samples: samples}},
		Results: []check.Result{r.thin(result)},
	}, result.First().Outcome != check.OK) // bad news does not wait for company
	if result.First().Outcome == check.OK {
		r.control(ctx)
	}
}

// timed is the check with the periods of the plan in force.
func (r *runner) timed() check.Spec {
	s := r.spec
	s.Periods = *r.agent.periods.Load()
	return s
}

// grid is the interval of the ticks from a time on: that of the check, and a part of it while a period is on or about to begin.
func (r *runner) grid(now time.Time) time.Duration { return r.timed().Grid(now) }

// due says whether a tick of a grid is one at which the check is asked: those that begin a stretch of the pace that the hour
// wants, which neither a restart nor a finer grid moves.
func (r *runner) due(tick time.Time, grid time.Duration) bool {
	pace := r.timed().Pace(tick.In(r.agent.zone.Load()))
	if pace <= grid {
		return pace > 0
	}
	ms := pace.Milliseconds()
	t := tick.UnixMilli() - int64(r.agent.schedule.phase%uint64(ms))
	return t/ms != (t-grid.Milliseconds())/ms
}

// round asks within the budget.
func (r *runner) round(ctx context.Context, at time.Time) (check.Result, []metric.Sample) {
	if r.spec.Budget == 0 {
		result, samples := r.prober.Run(ctx, at)
		return r.doubt(ctx, result, samples)
	}
	day := r.agent.day(at)
	left, err := r.agent.ledger.take(r.spec.Name, day, r.prober.Attempts(), r.spec.Budget)
	if err != nil {
		return r.prober.Skip(at, err)
	}
	result, samples := r.prober.RunAtMost(ctx, at, left)
	r.agent.ledger.give(r.spec.Name, day, left-len(result.Attempts))
	return r.doubt(ctx, result, samples)
}

// doubt looks, when a round says that a target cannot be reached, whether it is this host that cannot reach anything. Then the
// samples say nothing of the target either: while nobody hears this host they are all that figures are made of.
func (r *runner) doubt(ctx context.Context, result check.Result, samples []metric.Sample) (check.Result, []metric.Sample) {
	first := result.First()
	if first.Outcome != check.Fail || onThisHost(result.Target) {
		return result, samples
	}
	switch first.Class {
	case check.ClassDNS, check.ClassConnect, check.ClassTimeout:
		result.Cut = r.agent.reach.fault(ctx, first.Class)
	}
	if result.Cut != "" && result.CutOff() {
		samples = r.prober.Blind(result)
	}
	return result, samples
}

// onThisHost says whether a target, a URL or an address, is reached without any network.
func onThisHost(target string) bool {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		target, _, _ = strings.Cut(rest, "/")
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// now answers the collector, which wants the check asked at once. When the check is being asked anyway it says nothing:
// that answer is on its way. The answer goes without samples, whose grid is that of the ticks.
func (r *runner) now(ctx context.Context, request string) {
	select {
	case r.turn <- struct{}{}:
	default:
		return
	}
	defer func() { <-r.turn }()
	if r.agent.asked.Acquire(ctx, 1) != nil {
		return
	}
	defer r.agent.asked.Release(1)
	result, _ := r.round(ctx, time.Now().Truncate(time.Millisecond))
	if ctx.Err() != nil {
		return
	}
	r.unwell(result)
	result.Request = request
	r.agent.client.Send(uplink.Batch{Results: []check.Result{result}}, true)
}

// control makes the negative control when it is time for it. The caller holds the turn.
func (r *runner) control(ctx context.Context) {
	now := time.Now()
	if !r.prober.Controls() || !r.agent.ledger.controlDue(r.spec.Name, now, r.wrong) {
		return
	}
	if r.spec.Budget > 0 {
		if _, err := r.agent.ledger.take(r.spec.Name, r.agent.day(now), 1, r.spec.Budget); err != nil {
			return // tomorrow
		}
	}
	if err := r.agent.ledger.controlled(r.spec.Name, now); err != nil {
		r.agent.log.Warn("negative control put off: its time cannot be kept", "check", r.spec.Name, "error", err)
		return
	}
	result := r.prober.Control(ctx, now.Truncate(time.Millisecond))
	if ctx.Err() != nil {
		return
	}
	if result.First().Outcome != check.OK {
		r.agent.ledger.doubtful(r.spec.Name)
	}
	r.agent.client.Send(uplink.Batch{Results: []check.Result{result}}, true)
}

// wellAgain is how often it is told that what a finding is about is still well.
const wellAgain = 10 * time.Minute

// unwell notes what a round is to tell, in whichever attempt it was noticed: its end is told as soon as it is well again.
func (r *runner) unwell(result check.Result) {
	for _, a := range result.Attempts {
		for _, f := range a.Findings {
			if f.Level != "" {
				delete(r.well, f.Name)
			}
		}
	}
}

// thin leaves out of a good round what was well the last time too. It is told again now and then, for what the collector
// was told while it was away did not count.
func (r *runner) thin(result check.Result) check.Result {
	defer r.unwell(result) // last: what one attempt found well and the next did not is told well the next time
	a := result.First()
	if len(a.Findings) == 0 {
		return result
	}
	now := time.Now()
	kept := make([]check.Finding, 0, len(a.Findings))
	for _, f := range a.Findings {
		if f.Level == "" {
			if told, ok := r.well[f.Name]; ok && now.Sub(told) < wellAgain {
				continue
			}
			r.well[f.Name] = now
		}
		kept = append(kept, f)
	}
	if a.Outcome != check.OK { // spelt out anyway
		return result
	}
	a.Findings = kept
	result.Attempts = append([]check.Attempt{a}, result.Attempts[1:]...)
	return result
}
