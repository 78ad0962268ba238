package inspect

import (
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/symptom"
)

const (
	settle   = 3 * time.Second // how long a fault that only one vantage sees waits for the other checks of that agent
	patience = time.Second     // beyond the check's timeout, how long an answer is waited for
	tooLong  = 5 * time.Second // but never longer: a page is late by this at most when nobody answers
	lasting  = 15 * time.Minute
)

// question asks others about what a vantage has just judged: another vantage of the check, and the direct check of the
// same thing. A fault has them asked once when it is found, and with each of its rounds as long as nobody else looks on
// time. Those who then saw the fault, or nothing at all, are asked again with the rounds that follow, to see its end.
// Nothing is asked on a clock of its own.
func (b *Board) question(now time.Time, s *service, v *vantage, was symptom.Class) {
	if b.ask == nil || v.last.Request != "" || v.bad == symptom.Slow || credentials(v.last) {
		return
	}
	turned := v.bad != "" && (was == "" || was == symptom.Slow)
	if !turned && now.Sub(v.asked) < v.spec.Every/2 {
		return
	}
	asked := false
	switch others := b.others(v, s); {
	case turned || v.bad != "" && !others.onTime:
		asked = b.ask(v.spec.Name, "", v.agent)
		if v.spec.Direct != "" {
			asked = b.ask(v.spec.Direct, "", "") || asked
		}
	case v.bad == "" && others.again != "":
		asked = b.ask(v.spec.Name, others.again, v.agent)
	}
	if !asked {
		return
	}
	v.asked = now
	if turned {
		v.hold = now.Add(min(v.spec.Timeout+patience, tooLong))
	}
}

// askAgain has whoever found a fault asked once more after a quarter of an hour where the check's own pace is slower: what has
// lasted so long may be graver (messages that are refused, DOMAIN 1.3 M4), and nobody shall wait half an hour to learn it.
func (b *Board) askAgain(now time.Time, s *service) {
	for _, v := range s.vantages {
		if b.ask == nil || v.bad == "" || v.bad == symptom.Slow || v.asksAgain || now.Sub(v.heard) < lasting || credentials(v.last) {
			continue
		}
		if v.spec.Pace(now.In(b.zone)) > lasting {
			v.asksAgain = b.ask(v.spec.Name, v.agent, "")
		}
	}
}

// credentials says that what failed is the account: another vantage would only show it again, and help to lock it.
func credentials(r check.Result) bool {
	for _, a := range r.Attempts {
		if a.Outcome == check.Fail && a.Class == check.ClassAuth && a.Trouble == check.Partial {
			return true
		}
	}
	return false
}

// company is what the other vantages of a check are good for.
type company struct {
	onTime bool   // some look by themselves
	again  string // one that stands by, and last saw a fault or nothing at all
}

func (b *Board) others(v *vantage, s *service) (c company) {
	for _, o := range s.vantages {
		if o == v || o.spec.Name != v.spec.Name {
			continue
		}
		if o.last.Request == "" && v.last.At.Sub(o.last.At) < 2*v.spec.Every {
			c.onTime = true
		} else if o.bad != "" || b.lost(o.agent) {
			c.again = max(c.again, o.agent)
		}
	}
	return c
}

// held says that the finding of one vantage is not told yet: others were asked and may still answer, or they see no trouble
// and it may be this agent that sees nothing, which its other checks will show in a moment.
func (b *Board) held(now time.Time, v *vantage, fresh int) bool {
	switch {
	case v.bad == symptom.Slow:
		return false
	case now.Before(v.badAt.Add(settle)) && b.maybeBlind(v):
		return true
	case !now.Before(v.hold):
		return false
	}
	if v.spec.Direct != "" && !b.directLooked(v) {
		return true
	}
	return fresh == 0 || now.Before(v.badAt.Add(settle)) && b.hasCompany(v.agent)
}

// directLooked says that the direct check of the same thing has been asked since the fault began.
func (b *Board) directLooked(v *vantage) bool {
	spec, ok := b.specs[v.spec.Direct]
	svc := b.find(spec.Service)
	if !ok || svc == nil {
		return true
	}
	for _, o := range svc.vantages {
		if o.spec.Name == spec.Name && o.looked(v.badSince) {
			return true
		}
	}
	return false
}

// elsewhere says that a check's failure is not its own service's: the direct check of the same thing fails too, so that
// what lies between is not to blame (DOMAIN 1.0 rule 7). What is slow directly excuses slowness only.
func (b *Board) elsewhere(now time.Time, s *service, name string, class symptom.Class) bool {
	spec := b.specs[name]
	direct, ok := b.specs[spec.Direct]
	if spec.Direct == "" || !ok || direct.Service == s.Name {
		return false
	}
	svc := b.find(direct.Service)
	if svc == nil {
		return false
	}
	o := b.verdict(now, svc, direct.Name)
	return o.held || o.class != "" && (o.class != symptom.Slow || class == symptom.Slow)
}

// through are the services of the checks that go through a gateway to what a check asks directly.
func (b *Board) through(name string) (out []*service) {
	for _, spec := range b.specs {
		if spec.Direct != name {
			continue
		}
		if s := b.find(spec.Service); s != nil && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
