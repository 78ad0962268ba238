package contract

import (
	"slices"
	"time"
)

// StepKind says what a step of a history did to the clocks.
type StepKind string

// The kinds of steps.
const (
	Graded       StepKind = "graded"       // the level was changed
	Acknowledged StepKind = "acknowledged" // a named person took the fault on
	Good         StepKind = "good"         // the first good sample of a run that is still being verified
	Recovered    StepKind = "recovered"    // the first good sample of a run that held
	Failing      StepKind = "failing"      // the run broke, or the fault came back as the same incident
	Paused       StepKind = "paused"       // a proposal awaits consent
	Resumed      StepKind = "resumed"      // the consent, or its refusal, came
	Extended     StepKind = "extended"     // more time was granted, until Until
)

// Step is one thing that moved a clock, at the time when it took effect.
type Step struct {
	Kind  StepKind  `json:"kind"`
	At    time.Time `json:"at"`
	Level Level     `json:"level,omitempty"` // of Graded
	Until time.Time `json:"until,omitzero"`  // of Extended
}

// History is all that the clocks of one incident depend on besides the terms. Steps may stand in any order.
type History struct {
	FaultStart time.Time `json:"fault_start,omitzero"` // first failing sample
	Detected   time.Time `json:"detected,omitzero"`    // confirmed by us
	Reported   time.Time `json:"reported,omitzero"`    // told by a user
	Level      Level     `json:"level"`                // at the opening
	Agreed     Limits    `json:"agreed,omitzero"`      // 约定时间 of a minor fault
	Steps      []Step    `json:"steps,omitempty"`
}

// ClockName is one of the two clocks.
type ClockName string

// The clocks: 响应时间, 恢复时间.
const (
	Response ClockName = "response"
	Recovery ClockName = "recovery"
)

// Breach is a missed deadline of the level whose own limit it was.
type Breach struct {
	Clock ClockName `json:"clock"`
	Level Level     `json:"level"`
	At    time.Time `json:"at"` // the deadline: the last moment that would have met it
}

// ResponseClock runs from the start to the acknowledgement by a person.
type ResponseClock struct {
	Open, Met, Breached bool
	Elapsed             time.Duration
}

// RecoveryClock runs from the start to the first good sample of the run that held; only it pauses.
type RecoveryClock struct {
	Open, Met, Breached bool
	Verifying           bool // stopped for now, until the run holds or breaks
	Waiting             bool // paused
	Raw, Paused, Net    time.Duration
}

// Clocks are both clocks of an incident at one moment. A zero deadline means that there is none.
type Clocks struct {
	Start       time.Time
	Level       Level
	ResponseDue time.Time
	RecoveryDue time.Time // moves on while the clock is paused
	Response    ResponseClock
	Recovery    RecoveryClock
	Breaches    []Breach  // by clock, then time
	Next        time.Time // the next deadline that passes if nothing happens before; zero: none
}

// Start is when the clocks start: the earlier of detection and report, or the fault's own start where the terms say so.
func (t Terms) Start(h History) time.Time {
	start := earlier(h.Detected, h.Reported)
	if t.StartAtFault {
		start = earlier(start, h.FaultStart)
	}
	return start
}

// Assess reads the clocks at now. It depends on its arguments alone, so that asking late, twice or after a restart
// gives the same answer. Steps after now are not seen.
func (t Terms) Assess(h History, now time.Time) Clocks {
	steps := slices.Clone(h.Steps)
	steps = slices.DeleteFunc(steps, func(s Step) bool { return s.At.After(now) })
	slices.SortStableFunc(steps, func(a, b Step) int { return a.At.Compare(b.At) })
	h.Steps = steps
	c := Clocks{Start: t.Start(h), Level: h.Level}
	for _, s := range steps {
		if s.Kind == Graded {
			c.Level = s.Level
		}
	}
	t.response(h, now, &c)
	t.recovery(h, now, &c)
	return c
}

func (t Terms) response(h History, now time.Time, c *Clocks) {
	end := now
	c.Response.Open = true
	if i := slices.IndexFunc(h.Steps, func(s Step) bool { return s.Kind == Acknowledged }); i >= 0 {
		end, c.Response.Open = h.Steps[i].At, false
	}
	r := newRun(t, h, Response)
	r.walk(h.Steps, end)
	c.ResponseDue = r.due()
	if c.Response.Open {
		c.Next = r.next()
	}
	c.Response.Elapsed = max(end.Sub(c.Start), 0)
	c.Response.Breached = len(r.breaches) > 0
	c.Response.Met = !c.Response.Open && !c.Response.Breached
	c.Breaches = append(c.Breaches, r.breaches...)
}

func (t Terms) recovery(h History, now time.Time, c *Clocks) {
	end := now
	c.Recovery.Open = true
	for _, s := range h.Steps {
		switch s.Kind {
		case Good:
			end, c.Recovery.Open, c.Recovery.Verifying = s.At, true, true
		case Recovered:
			end, c.Recovery.Open, c.Recovery.Verifying = s.At, false, false
		case Failing:
			end, c.Recovery.Open, c.Recovery.Verifying = now, true, false
		}
	}
	r := newRun(t, h, Recovery)
	r.walk(h.Steps, end)
	c.RecoveryDue = r.due()
	if c.Recovery.Open && !c.Recovery.Verifying && (!r.paused || r.frozen) {
		c.Next = earlier(c.Next, r.next())
	}
	c.Recovery.Waiting = r.paused && c.Recovery.Open && !c.Recovery.Verifying
	c.Recovery.Raw, c.Recovery.Paused = max(end.Sub(c.Start), 0), r.pausedFor
	c.Recovery.Net = c.Recovery.Raw
	if !t.NoPauses {
		c.Recovery.Net -= r.pausedFor
	}
	c.Recovery.Breached = len(r.breaches) > 0
	c.Recovery.Met = !c.Recovery.Open && !c.Recovery.Breached
	c.Breaches = append(c.Breaches, r.breaches...)
}

// run moves one clock from step to step. Each level that the incident has held keeps its own deadline, counted from
// when the incident first weighed that much; those of the present level and of the lighter ones held bind, and the
// earliest of them is due. That is "min(old deadline, escalation + limit)" (R11), and what is missed has a level.
type run struct {
	clock  ClockName
	limits func(Level) time.Duration
	frozen bool // pauses do not move deadlines

	at        time.Time
	level     Level
	own       map[Level]time.Time // deadlines of the levels held; zero: no limit
	since     map[Level]weight    // when the incident first weighed at least that much
	paused    bool
	pausedFor time.Duration
	breaches  []Breach
}

type weight struct {
	at        time.Time
	pausedFor time.Duration // until then
}

func newRun(t Terms, h History, clock ClockName) *run {
	r := &run{clock: clock, frozen: t.NoPauses, at: t.Start(h), own: map[Level]time.Time{}, since: map[Level]weight{}}
	r.limits = func(l Level) time.Duration {
		if clock == Response {
			return t.Limits(l, h.Agreed).Respond
		}
		return t.Limits(l, h.Agreed).Recover
	}
	r.grade(h.Level)
	return r
}

func (r *run) walk(steps []Step, end time.Time) {
	for _, s := range steps {
		if s.At.After(end) {
			break
		}
		r.advance(s.At)
		switch s.Kind {
		case Graded:
			r.grade(s.Level)
		case Paused:
			r.paused = r.clock == Recovery
		case Resumed:
			r.paused = false
		case Extended:
			r.extend(s)
		}
		r.judge() // a level that comes back brings its old deadline, which a pause must not move once it is behind the clock
	}
	r.advance(end)
	slices.SortStableFunc(r.breaches, func(a, b Breach) int { return a.At.Compare(b.At) })
}

// advance lets the clock run, or stand, until to.
func (r *run) advance(to time.Time) {
	if passed := to.Sub(r.at); passed > 0 {
		if r.paused {
			r.pausedFor += passed
		}
		if r.paused && !r.frozen {
			r.shift(passed)
		}
		r.at = to
	}
	r.judge()
}

// judge notes the deadlines behind the clock. Limits are inclusive: a deadline is missed only past it (R4).
func (r *run) judge() {
	for _, l := range Levels {
		if due := r.own[l]; r.binds(l) && due.Before(r.at) && !r.missed(l) {
			r.breaches = append(r.breaches, Breach{r.clock, l, due})
		}
	}
}

func (r *run) shift(d time.Duration) {
	for l, due := range r.own {
		if !due.IsZero() && !r.missed(l) {
			r.own[l] = due.Add(d)
		}
	}
}

func (r *run) grade(l Level) {
	for _, held := range Levels {
		if _, ok := r.since[held]; !ok && !held.Graver(l) {
			r.since[held] = weight{r.at, r.pausedFor}
		}
	}
	r.level = l
	if _, ok := r.own[l]; ok {
		return
	}
	r.own[l] = time.Time{}
	if limit := r.limits(l); limit > 0 {
		r.own[l] = r.since[l].at.Add(limit)
		if !r.frozen {
			r.own[l] = r.own[l].Add(r.pausedFor - r.since[l].pausedFor)
		}
	}
}

// extend grants more time to a general fault's recovery, if it was asked before the old deadline passed (R8).
func (r *run) extend(s Step) {
	old := r.own[General]
	if r.clock == Recovery && r.level == General && !old.IsZero() && !s.At.After(old) && s.Until.After(old) {
		r.own[General] = s.Until
	}
}

func (r *run) binds(l Level) bool {
	due, held := r.own[l]
	return held && !due.IsZero() && !l.Graver(r.level)
}

func (r *run) missed(l Level) bool {
	return slices.ContainsFunc(r.breaches, func(b Breach) bool { return b.Level == l })
}

func (r *run) due() time.Time {
	var due time.Time
	for l, d := range r.own {
		if r.binds(l) {
			due = earlier(due, d)
		}
	}
	return due
}

// next is the earliest deadline that is still to be missed.
func (r *run) next() time.Time {
	var next time.Time
	for l, d := range r.own {
		if r.binds(l) && !r.missed(l) {
			next = earlier(next, d)
		}
	}
	return next
}

// earlier is the earlier of two times of which zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
