package inspect

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// An answer is slow as well when it takes many times what is usual at its hour (R15), though the agent, which knows the
// check's own threshold only, found it good. Agents stand at different distances, so each is held against its own past, and
// one without a past has no such threshold.
//
// What is usual is a median, so it is medians that are held against it. Answers have a tail: where one in twenty is late for
// no reason, three of five are so by chance six times a day at a pace of ten seconds, and the 95th percentile of a window
// nearly always. So most answers of five minutes must be late, in two windows in a row, which even a tail of one in five does
// not do in a thousand years. A check with too few answers for windows is slow when all but one of its last five are late
// (sporadic_of): at a pace of five minutes chance does that with one late in twenty every five months, with one in fifty never.
// Failures are no answers.

// Usual says how long good answers to a check take as a rule, where an agent asks a target, in the hour of the day in which a
// moment lies; false when too little is known. It is called with the board locked and must return at once.
type Usual func(check, agent, target string, at time.Time) (time.Duration, bool)

// Usual tells the board what is usual from now on. Until it is first called nothing is known, and slowness that was told
// before a restart does not end.
func (b *Board) Usual(u Usual) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.usual = u
}

// bar is what an answer is held against beside the check's own threshold.
type bar struct {
	usual time.Duration // 0: not known, and nothing is late
	over  time.Duration // what takes longer is late; 0: nothing is
	often bool          // enough answers come for windows
	waits bool          // what is usual is not known yet, and a slowness from before the restart may have been told by it
}

func (b bar) late(d time.Duration) bool { return b.usual > 0 && d > b.over }

// bar is the one for an answer that began at a time. In an hour of which too little is known a slowness that is open is held
// against the last bar there was: it has not ended for that.
func (b *Board) bar(v *vantage, target string, at time.Time) (out bar) {
	at = at.In(b.zone)
	out.often = cmp.Or(v.spec.Pace(at), v.spec.Every) <= span/minRuns
	factor := b.factor(v.spec)
	if factor == 0 {
		return out
	}
	if usual, known := b.usualAt(v, target, at); known {
		out.usual = max(usual, 1)
		v.over = max(b.cfg.SlowUsualFloor, time.Duration(factor*float64(usual)))
	}
	if out.usual > 0 || v.bad == symptom.Slow {
		out.over = v.over
	}
	out.waits = v.restored && b.usual == nil
	return out
}

// factor is how many times the usual is slow, 0 when none is: the check's own, else everybody's.
func (b *Board) factor(spec check.Spec) float64 {
	if spec.SlowUsual != nil {
		return *spec.SlowUsual
	}
	return b.cfg.SlowUsual
}

func (b *Board) usualAt(v *vantage, target string, at time.Time) (time.Duration, bool) {
	if b.usual == nil {
		return 0, false
	}
	return b.usual(v.spec.Name, v.agent, target, at)
}

// lag is how long good answers took, in windows of five minutes.
type lag struct {
	from   time.Time // of the window in hand
	whole  bool      // it was seen from its beginning
	took   []time.Duration
	late   int           // of them
	row    int           // whole windows in a row in which most were late
	median time.Duration // of the last of these
	again  bool          // the window in hand has just begun after one that was one too many
}

func (l *lag) add(a check.Attempt, b bar) {
	l.again = false
	if begin := a.Start.Truncate(span); !begin.Equal(l.from) {
		l.close(begin)
	}
	if len(l.took) < maxRuns {
		l.took = append(l.took, a.Duration)
		if b.late(a.Duration) {
			l.late++
		}
	}
}

// close ends the window in hand. One that is missing in between breaks the row, and so does one of few answers or of which only
// the end was seen.
func (l *lag) close(begin time.Time) {
	follows := begin.Sub(l.from) == span
	if n := len(l.took); l.whole && follows && n >= minRuns && 2*l.late > n {
		l.row++
		slices.Sort(l.took)
		l.median, l.again = l.took[n/2], l.row >= slowRuns
	} else {
		l.row = 0
	}
	l.from, l.whole, l.took, l.late = begin, follows, l.took[:0], 0
}

// good says that an answer came which was right.
func good(a check.Attempt) bool { return a.Outcome == check.OK || a.Outcome == check.Slow }

// weigh holds a round's first answer against the bar; it is the last of the window.
func (v *vantage) weigh(a check.Attempt, b bar, c Config) {
	last := &v.window[len(v.window)-1]
	if good(a) {
		last.late = b.late(a.Duration)
		last.high = b.over > 0 && a.Duration > share(b.over, c.SlowRecover)
		v.lag.add(a, b)
	}
	switch {
	case last.late && v.lateFrom.IsZero():
		v.lateFrom = a.Start
	case count(v.window, func(s seen) bool { return s.late }) == 0:
		v.lateFrom = time.Time{}
	}
}

// wasLate says that the newest answer is one of those that make a slowness by what is usual.
func (v *vantage) wasLate() bool {
	n := len(v.window)
	return v.bad == symptom.Slow && v.gaps == 0 && n > 0 && v.window[n-1].late
}

func share(of time.Duration, share float64) time.Duration { return time.Duration(float64(of) * share) }

// lags says in words that answers have become slower than usual, empty when they have not.
func (v *vantage) lags(a check.Attempt, b bar, c Config, text *i18n.Printer) string {
	last := v.window[len(v.window)-1]
	key, took := "inspect.slower", a.Duration
	switch {
	case v.bad != "" || b.usual == 0:
		return ""
	case b.often && !v.lag.again:
		return ""
	case b.often:
		key, took = "inspect.slower_windows", v.lag.median
	case !last.late || count(v.window, func(s seen) bool { return s.late }) < max(c.SporadicBad, c.SporadicOf-1):
		return ""
	}
	return text.T(key, "time", short(took), "usual", short(b.usual), "over", short(b.over), "days", strconv.Itoa(c.SlowUsualDays),
		"times", strconv.FormatFloat(float64(took)/float64(b.usual), 'f', 1, 64))
}

// short is a duration for people: three digits say all.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// stillSlow says that an answer does not count towards the end of a slowness, and forgets the calm so far when it broke it:
// each answer over the threshold's share does, and most of the last ones over that of the bar, as it takes as many to be slow.
func (v *vantage) stillSlow(a check.Attempt, b bar, c Config) bool {
	high := v.window[len(v.window)-1].high
	switch {
	case a.Duration > share(v.spec.Slow, c.SlowRecover), b.waits, high && count(v.window, func(s seen) bool { return s.high }) >= c.SporadicBad:
		v.calmFrom = time.Time{}
		return true
	}
	return high
}

// carryOn has a vantage that was told to be slow before a restart go on being so, until its answers have been quick for long
// enough: the first good one is no end (R15).
func (s *service) carryOn(v *vantage) {
	if told := s.firing; s.adopted && told.Firing && told.Class == symptom.Slow && told.Component == v.spec.Name {
		v.bad, v.badSince, v.badAt, v.detail, v.restored = symptom.Slow, told.Since, told.At, told.Detail, true
	}
}
