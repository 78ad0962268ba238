package inspect

import (
	"time"

	"xunjian/pkg/check"
)

// Status is a service's state for people.
type Status struct {
	Service check.Service
	State   State
	Since   time.Time // zero until something is known
	Detail  string
	Checks  []CheckStatus
	Unseen  []Unseen // checks at which nobody has looked for long, by name
}

// CheckStatus is the newest round of one check from one agent.
type CheckStatus struct {
	Check, Agent string
	Target       string
	Outcome      check.Outcome // Unknown when the newest round is too old to tell
	Class        check.Class
	Reason       string
	Duration     time.Duration
	Usual        time.Duration // of good answers at this hour, 0 when too little is known
	At           time.Time
	CertExpiry   time.Time
	Steps        []check.Step // of the first attempt, in order; nil for checks of one step
	Findings     []Finding    // of the check, whoever noticed; by name
}

// Finding is what is known beside a check's verdict and not well.
type Finding struct {
	check.Finding
	Since time.Time
}

// Services lists all services in the configuration's order.
func (b *Board) Services(now time.Time) []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Status, 0, len(b.services))
	for _, s := range b.services {
		worst, state, _ := b.weigh(now, s)
		st := Status{Service: s.Service, State: state, Since: s.since, Unseen: b.unseenNow(now, s)}
		if worst != nil {
			st.Detail = worst.Detail
		}
		for _, v := range s.ordered() {
			if v.last.Request != "" && b.stale(now, v) {
				continue // stands by, and was asked a while ago
			}
			st.Checks = append(st.Checks, b.status(now, v))
		}
		out = append(out, st)
	}
	return out
}

func (b *Board) status(now time.Time, v *vantage) CheckStatus {
	a := v.last.First()
	st := CheckStatus{
		Check: v.spec.Name, Agent: v.agent, Target: v.spec.Target, Outcome: v.last.Outcome(), Class: a.Class,
		Reason: a.Reason, Duration: a.Duration, At: v.last.At, CertExpiry: a.CertExpiry, Steps: a.Steps, Findings: b.warnings.of(v.spec.Name),
	}
	if usual, known := b.usualAt(v, v.last.Target, now); known {
		st.Usual = usual
	}
	if v.wasLate() && st.Outcome == check.OK {
		st.Outcome = check.Slow // by what is usual, which its agent does not know
	}
	switch {
	case b.stale(now, v):
		st.Outcome = check.Unknown
	case v.gaps > 0:
		st.Outcome, st.Reason = check.Unknown, v.detail
	}
	return st
}
