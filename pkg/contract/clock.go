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
	Paused       StepKind = "paused"       // the clock waits for what Reason says
	Resumed      StepKind = "resumed"      // what Reason says came
	Extended     StepKind = "extended"     // more time was granted, until Until
	Joined       StepKind = "joined"       // another incident stands for the same fault: both clocks stand, that one's count (R12)
	Left         StepKind = "left"         // it is a fault of its own after all
)

// Reason says why a clock is paused.
type Reason string

// The reasons. Only the first pauses under every contract (R7); the others where the terms say so.
const (
	Consent    Reason = ""            // a proposal awaits the consent of party A (经用户方同意)
	ThirdParty Reason = "third_party" // 第三方
	Upstream   Reason = "upstream"    // 上级平台
)

// Reasons lists all of them.
var Reasons = []Reason{Consent, ThirdParty, Upstream}

// Step is one thing that moved a clock, at the time when it took effect.
type Step struct {
	Kind   StepKind  `json:"kind"`
	At     time.Time `json:"at"`
	Level  Level     `json:"level,omitempty"`  // of Graded
	Until  time.Time `json:"until,omitzero"`   // of Extended
	Reason Reason    `json:"reason,omitempty"` // of Paused and Resumed
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

// ResponseClock runs from the start to the acknowledgement by a person. Its time is working time where the level's clocks
// run in office hours, as that of RecoveryClock.
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
	Provisional bool      // working time of a year whose holidays nobody has announced is in it, or in a deadline to come
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
	h = h.until(now)
	c := Clocks{Start: t.Start(h), Level: h.levelNow()}
	t.response(h, now, &c)
	t.recovery(h, now, &c)
	c.Provisional = t.guessed(h, c, now)
	return c
}

// guessed says that days of a year whose holidays nobody has announced are in the clocks, or in a deadline that is to come.
func (t Terms) guessed(h History, c Clocks, now time.Time) bool {
	general := slices.ContainsFunc(h.Steps, func(s Step) bool { return s.Kind == Graded && s.Level == General })
	if !t.inOffice(General) || h.Level != General && !general {
		return false
	}
	last := latest(now, latest(c.ResponseDue, c.RecoveryDue))
	if end, open, _ := h.recoveryEnd(now); !open {
		at, answered := h.acknowledged()
		if last = latest(end, at); !answered {
			last = latest(now, c.ResponseDue)
		}
	}
	return !t.Working.Known(c.Start, last)
}

// until is the history as it was known to be at now, in the order of time.
func (h History) until(now time.Time) History {
	steps := slices.Clone(h.Steps)
	steps = slices.DeleteFunc(steps, func(s Step) bool { return s.At.After(now) })
	slices.SortStableFunc(steps, func(a, b Step) int { return a.At.Compare(b.At) })
	h.Steps = steps
	return h
}

func (h History) levelNow() Level {
	level := h.Level
	for _, s := range h.Steps {
		if s.Kind == Graded {
			level = s.Level
		}
	}
	return level
}

// acknowledged is when a person took the fault on; false while nobody has.
func (h History) acknowledged() (time.Time, bool) {
	for _, s := range h.Steps {
		if s.Kind == Acknowledged {
			return s.At, true
		}
	}
	return time.Time{}, false
}

func (t Terms) response(h History, now time.Time, c *Clocks) {
	end, done := h.acknowledged()
	if !done {
		end = now
	}
	r := t.run(h, Response, end)
	c.ResponseDue = r.due()
	if c.Response.Open = !done; c.Response.Open && r.running() {
		c.Next = r.next()
	}
	c.Response.Elapsed = t.measure(c.Level, c.Start, end) - t.sum(c.Level, r.away)
	c.Response.Breached = len(r.breaches) > 0
	c.Response.Met = !c.Response.Open && !c.Response.Breached
	c.Breaches = append(c.Breaches, r.breaches...)
}

// recoveryEnd is until when the recovery clock ran by now, and whether it has stopped for good or only to be verified.
func (h History) recoveryEnd(now time.Time) (end time.Time, open, verifying bool) {
	end, open = now, true
	for _, s := range h.Steps {
		switch s.Kind {
		case Good:
			end, open, verifying = s.At, true, true
		case Recovered:
			end, open, verifying = s.At, false, false
		case Failing:
			end, open, verifying = now, true, false
		}
	}
	return end, open, verifying
}

func (t Terms) recovery(h History, now time.Time, c *Clocks) {
	end, open, verifying := h.recoveryEnd(now)
	c.Recovery.Open, c.Recovery.Verifying = open, verifying
	r := t.run(h, Recovery, end)
	c.RecoveryDue = r.due()
	if open && !verifying && r.running() {
		c.Next = earlier(c.Next, r.next())
	}
	c.Recovery.Waiting = r.paused() && open && !verifying
	c.Recovery.Raw = t.measure(c.Level, c.Start, end) - t.sum(c.Level, r.away)
	c.Recovery.Paused = t.sum(c.Level, r.stood)
	c.Recovery.Net = c.Recovery.Raw
	if !t.NoPauses {
		c.Recovery.Net -= c.Recovery.Paused
	}
	c.Recovery.Breached = len(r.breaches) > 0
	c.Recovery.Met = !c.Recovery.Open && !c.Recovery.Breached
	c.Breaches = append(c.Breaches, r.breaches...)
}
