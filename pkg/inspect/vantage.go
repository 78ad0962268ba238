package inspect

import (
	"strconv"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// maxWindow bounds the rounds that a vantage remembers.
const maxWindow = 64

// vantage is what one agent sees of one check.
type vantage struct {
	spec  check.Spec
	agent string

	last     check.Result // newest round
	heard    time.Time    // when it was judged, by the collector's clock
	window   []bool       // bad first answers of the last rounds, newest last
	bad      symptom.Class
	badSince time.Time // first bad answer of the fault, or of the run that may become one
	good     int       // good rounds in a row
	goodFrom time.Time // first of them
	calmFrom time.Time // since when answers stay under the slow threshold's share
	gaps     int       // rounds in a row that could not run
	detail   string
}

// judge takes one round and updates what the vantage says.
func (v *vantage) judge(now time.Time, r check.Result, c Config, text *i18n.Printer) {
	v.last, v.heard = r, now
	if r.Outcome() == check.Unknown {
		v.gaps++
		v.detail = r.First().Reason
		return // neither good nor bad: an open fault stays open, a good service stays good until it is stale
	}
	v.gaps = 0
	first := r.First()
	v.window = append(v.window, first.Outcome == check.Fail)
	if len(v.window) > c.SporadicOf {
		v.window = v.window[len(v.window)-c.SporadicOf:]
	}
	if class, found := v.finding(r, c); found {
		v.turnBad(class, first, text)
		return
	}
	v.turnGood(r, c)
}

// finding is the trouble that this round proves, if any.
func (v *vantage) finding(r check.Result, c Config) (symptom.Class, bool) {
	if r.Confirmed() {
		if r.Outcome() == check.Slow {
			return symptom.Slow, true
		}
		return trouble(r.First().Class), true
	}
	if n := count(v.window); n >= c.SporadicBad && r.First().Outcome == check.Fail {
		return symptom.Partial, true
	}
	return "", false
}

func count(window []bool) (n int) {
	for _, bad := range window {
		if bad {
			n++
		}
	}
	return n
}

func (v *vantage) turnBad(class symptom.Class, first check.Attempt, text *i18n.Printer) {
	if v.bad == "" && v.badSince.IsZero() {
		v.badSince = first.Start
	}
	v.bad, v.good, v.calmFrom = class, 0, time.Time{}
	v.detail = describe(first, text)
	if class == symptom.Partial && first.Class != check.ClassAuth {
		v.detail = text.T("inspect.sporadic", "n", strconv.Itoa(count(v.window)), "of", strconv.Itoa(len(v.window)), "what", v.detail)
	}
}

// describe says what one attempt saw: the class in words, the probe's own reason as it is.
func describe(a check.Attempt, text *i18n.Printer) string {
	if a.Outcome == check.Slow || a.Outcome == check.OK {
		return text.T("inspect.took", "time", a.Duration.Round(time.Millisecond).String())
	}
	return text.T("inspect.class."+string(a.Class)) + ": " + a.Reason
}

// turnGood counts the way back: rounds in a row for a fault, time below the threshold for slowness (R15).
func (v *vantage) turnGood(r check.Result, c Config) {
	first := r.First()
	if first.Outcome == check.Fail { // a blip: good when asked again
		if v.bad == "" && v.badSince.IsZero() {
			v.badSince = first.Start // may become a sporadic fault
		}
		v.good = 0
		return
	}
	if v.good == 0 {
		v.goodFrom = first.Start
	}
	v.good++
	switch {
	case v.bad == symptom.Slow && first.Duration > time.Duration(float64(v.spec.Slow)*c.SlowRecover):
		v.calmFrom = time.Time{}
		return
	case v.bad == symptom.Slow && v.calmFrom.IsZero():
		v.calmFrom = first.Start
	}
	over := v.good >= c.RecoverAfter
	if v.bad == symptom.Slow {
		v.goodFrom = v.calmFrom
		over = over && first.Start.Sub(v.calmFrom) >= c.SlowHold
	}
	if v.bad == "" && count(v.window) == 0 {
		v.badSince = time.Time{}
	}
	if over && v.bad != "" {
		v.bad, v.badSince = "", time.Time{}
		v.window = v.window[:0]
	}
}

// stale says that the vantage has not spoken for too long to know anything.
func (v *vantage) stale(now time.Time, c Config) bool {
	return v.heard.IsZero() || now.Sub(v.heard) > time.Duration(c.StaleAfter)*v.spec.Every+v.spec.Timeout
}
