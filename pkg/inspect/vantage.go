package inspect

import (
	"strconv"
	"strings"
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

	last      check.Result  // newest round
	heard     time.Time     // when it was judged, by the collector's clock
	judged    time.Time     // when the newest one that said something of the service was
	window    []seen        // first answers of the last rounds, newest last
	runs      runs          // answers of the last minutes
	lag       lag           // how those compare with what is usual
	over      time.Duration // the last bar that was known
	lateFrom  time.Time     // first late answer of those that may become a slowness
	restored  bool          // it was told to be slow before a restart
	bad       symptom.Class
	badSince  time.Time // first bad answer of the fault, or of those that may become one
	failFrom  time.Time // first bad answer since the last good one
	badAt     time.Time // when the fault was judged to be one
	asked     time.Time // when others were last asked about it
	hold      time.Time // until then others may answer
	asksAgain bool      // was asked again because the fault lasts
	good      int       // good rounds in a row
	goodFrom  time.Time // first of them
	calmFrom  time.Time // since when answers stay under the slow threshold's share
	gaps      int       // rounds in a row that could not run
	detail    string
}

// seen is what a round's first answer was, and whether asking again could not show otherwise.
type seen struct {
	failed, slow bool
	late, high   bool // by what is usual: over the bar, and over its share below which slowness ends
	alone        bool // nothing was asked again, or not often enough: a budget, or again: 0
}

// skip takes a round that says nothing of the service: an open fault stays open, a good service stays good until it is stale.
func (v *vantage) skip(now time.Time, r check.Result, detail string) {
	v.last, v.heard, v.detail = r, now, detail
	v.gaps++
}

// judge takes one round and updates what the vantage says.
func (v *vantage) judge(now time.Time, r check.Result, b bar, c Config, text *i18n.Printer) {
	first := r.First()
	if r.Outcome() == check.Unknown {
		v.skip(now, r, first.Reason)
		return
	}
	v.last, v.heard, v.judged, v.gaps = r, now, now, 0
	if first.Outcome == check.Fail && first.Trouble == check.Warning { // told beside, and no trouble of the service
		first.Outcome, first.Class = check.OK, ""
		r.Attempts = []check.Attempt{first}
	}
	v.window = append(v.window, seen{failed: first.Outcome == check.Fail, slow: first.Outcome == check.Slow, alone: uncontested(r, v.spec)})
	if len(v.window) > c.SporadicOf {
		v.window = v.window[len(v.window)-c.SporadicOf:]
	}
	v.runs.add(first, v.spec)
	v.weigh(first, b, c)
	if class, detail := v.finding(r, c, text); class != "" {
		if v.bad == "" && r.Confirmed() {
			v.badSince = v.failFrom // a blip with good answers after it was no part of this
		}
		v.turnBad(now, class, first, detail)
		return
	}
	if detail := v.lags(first, b, c, text); detail != "" {
		v.badSince = v.lateFrom
		v.turnBad(now, symptom.Slow, first, detail)
		return
	}
	v.turnGood(r, b, c)
}

// uncontested says that a bad round was not asked again as often as it takes to confirm it, and that what was asked was bad.
func uncontested(r check.Result, spec check.Spec) bool {
	again := check.DefaultAgain
	if spec.Again != nil {
		again = *spec.Again
	}
	if again > 0 && len(r.Attempts) > again {
		return false
	}
	for _, a := range r.Attempts {
		if a.Outcome != check.Fail && a.Outcome != check.Slow {
			return false
		}
	}
	return true
}

// finding is the trouble that this round proves, if any. What proves it, the quickest first:
//
//   - the round itself, when all its attempts were bad: a second, not intervals;
//   - three rounds of five, or the last three, where a check is not asked again (again: 0, a spent budget): DOMAIN's default;
//   - half of the runs of five minutes timed out, or the 95th percentile of two windows of five minutes in a row was over the
//     threshold: that is the trouble of some requests which others, asked again, do not share;
//   - three first answers of five failed though each was good when asked again: a part of the service fails.
func (v *vantage) finding(r check.Result, c Config, text *i18n.Printer) (symptom.Class, string) {
	first := r.First()
	detail := describe(first, text)
	switch {
	case r.Confirmed() && r.Outcome() == check.Slow, v.again0(c, func(s seen) bool { return s.slow }):
		return symptom.Slow, detail
	case r.Confirmed(), v.again0(c, func(s seen) bool { return s.failed }):
		return trouble(first), detail
	}
	if n, of := v.runs.timeouts(); of >= minRuns && 2*n >= of && first.Class == check.ClassTimeout {
		return symptom.Unusable, text.T("inspect.unusable", "n", strconv.Itoa(n), "of", strconv.Itoa(of))
	}
	if p95, slow := v.runs.slow(); slow && v.bad == "" {
		return symptom.Slow, text.T("inspect.slow_windows", "p95", p95.Round(time.Millisecond).String(), "slow", v.spec.Slow.String())
	}
	if n := count(v.window, func(s seen) bool { return s.failed }); n >= c.SporadicBad && first.Outcome == check.Fail {
		return symptom.Partial, text.T("inspect.sporadic", "n", strconv.Itoa(n), "of", strconv.Itoa(len(v.window)), "what", detail)
	}
	return "", ""
}

// again0 is DOMAIN's default confirmation for rounds that could not confirm themselves: so many of the last, this one among
// them. The last three in a row are three of the last five.
func (v *vantage) again0(c Config, bad func(seen) bool) bool {
	newest := v.window[len(v.window)-1]
	return newest.alone && bad(newest) && count(v.window, func(s seen) bool { return s.alone && bad(s) }) >= c.SporadicBad
}

func count(window []seen, is func(seen) bool) (n int) {
	for _, s := range window {
		if is(s) {
			n++
		}
	}
	return n
}

func (v *vantage) turnBad(now time.Time, class symptom.Class, first check.Attempt, detail string) {
	if v.bad == "" && v.badSince.IsZero() {
		v.badSince = first.Start
	}
	if v.bad == "" {
		v.badAt = now
	}
	v.bad, v.good, v.calmFrom = class, 0, time.Time{}
	v.detail = detail
}

// describe says what one attempt saw, in words: the step, the class and the probe's own reason.
func describe(a check.Attempt, text *i18n.Printer) string {
	if a.Outcome == check.Slow || a.Outcome == check.OK {
		return text.T("inspect.took", "time", a.Duration.Round(time.Millisecond).String())
	}
	what := func(reason string) string {
		return text.T("inspect.what", "class", text.T("inspect.class."+string(a.Class)), "reason", text.Sentence(reason))
	}
	for _, s := range a.Steps {
		if s.Outcome == check.Fail {
			return text.T("inspect.step", "step", s.Name, "what", what(strings.TrimPrefix(a.Reason, s.Name+": ")))
		}
	}
	return what(a.Reason)
}

// turnGood counts the way back: rounds in a row for a fault, time below the threshold for slowness (R15).
func (v *vantage) turnGood(r check.Result, b bar, c Config) {
	first := r.First()
	if first.Outcome == check.Fail { // a blip: good when asked again
		if v.bad == "" && v.badSince.IsZero() {
			v.badSince = first.Start // may become a sporadic fault
		}
		if v.failFrom.IsZero() {
			v.failFrom = first.Start
		}
		v.good = 0
		return
	}
	v.failFrom = time.Time{}
	if v.good == 0 {
		v.goodFrom = first.Start
	}
	v.good++
	switch {
	case v.bad == symptom.Slow && v.stillSlow(first, b, c):
		return
	case v.bad == symptom.Slow && v.calmFrom.IsZero():
		v.calmFrom = first.Start
	}
	over := v.good >= c.RecoverAfter
	if v.bad == symptom.Slow {
		v.goodFrom = v.calmFrom
		over = over && first.Start.Sub(v.calmFrom) >= c.SlowHold
	}
	if v.bad == "" && count(v.window, func(s seen) bool { return s.failed }) == 0 {
		v.badSince = time.Time{}
	}
	if over && v.bad != "" {
		v.forget()
	}
}

// forget leaves nothing of a fault.
func (v *vantage) forget() {
	v.bad, v.badSince, v.failFrom, v.badAt, v.hold, v.asksAgain = "", time.Time{}, time.Time{}, time.Time{}, time.Time{}, false
	v.window, v.runs, v.lag, v.lateFrom, v.restored = v.window[:0], runs{}, lag{}, time.Time{}, false
}

// stale says that a vantage has not spoken for too long to know anything. Outside a check's hours nobody speaks, and what
// was known stays so.
func (b *Board) stale(now time.Time, v *vantage) bool {
	if v.heard.IsZero() {
		return true
	}
	wait, some := b.patience(now, v.spec)
	return some && now.Sub(v.heard) > wait
}

// patience is how long a check may say nothing; none is needed outside its hours.
func (b *Board) patience(now time.Time, spec check.Spec) (wait time.Duration, some bool) {
	pace, before := spec.Pace(now.In(b.zone)), spec.Pace(now.Add(-time.Duration(b.cfg.StaleAfter)*spec.Every).In(b.zone))
	return time.Duration(b.cfg.StaleAfter)*max(pace, before) + spec.Timeout, pace != 0 && before != 0
}
