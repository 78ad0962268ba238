package check

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// Caps of what says when a check is asked, and by whom.
const (
	maxSecrets = 16
	maxAgain   = 5
	maxBudget  = 100_000
	maxAllow   = 16
)

var (
	clockForm  = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	secretEnv  = regexp.MustCompile(`^XUNJIAN_[A-Z0-9_]{1,64}$`)
	secretFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

func (s Spec) validateWhen(fail func(path, format string, args ...any)) {
	if s.Vantages < 0 || s.Vantages > 100 {
		fail("vantages", "%d: want 0 (all) to 100", s.Vantages)
	}
	if s.Again != nil && (*s.Again < 0 || *s.Again > maxAgain) {
		fail("again", "%d: want 0 to %d", *s.Again, maxAgain)
	}
	if s.Budget < 0 || s.Budget > maxBudget {
		fail("budget", "%d attempts a day: want 0 (no bound) to %d", s.Budget, maxBudget)
	}
	if len(s.Allow) > maxAllow {
		fail("allow", "%d networks: want at most %d", len(s.Allow), maxAllow)
	}
	for _, a := range s.Allow {
		if _, err := netip.ParsePrefix(a); err != nil {
			fail("allow", "%q: want a network as 169.254.10.0/24", a)
		}
	}
	if s.Hours.Otherwise != 0 && s.Hours.Otherwise < s.Every {
		fail("hours.otherwise", "%v: want at least every (%v), for outside its hours a check is asked less often", s.Hours.Otherwise, s.Every)
	}
	for _, trouble := range slices.Sorted(maps.Keys(s.Levels)) {
		if level := s.Levels[trouble]; !slices.Contains([]Trouble{Down, Wrong, Unusable, Partial, TooSlow}, trouble) {
			fail("levels."+string(trouble), "unknown class of trouble: want down, wrong, unusable, partial or slow")
		} else if !slices.Contains([]string{"minor", "general", "urgent"}, level) {
			fail("levels."+string(trouble), "%q: want minor, general or urgent", level)
		}
	}
	s.Hours.validate(fail)
	s.validateSecrets(fail)
}

func (h Hours) validate(fail func(path, format string, args ...any)) {
	if h == (Hours{}) {
		return
	}
	if (h.From == "") != (h.To == "") {
		fail("hours", "give from and to together")
	}
	for path, v := range map[string]string{"hours.from": h.From, "hours.to": h.To} {
		if v != "" && !clockForm.MatchString(v) {
			fail(path, "%q: want a time of day as 08:00", v)
		}
	}
	if h.Otherwise != 0 && (h.Otherwise < time.Minute || h.Otherwise > maxEvery) {
		fail("hours.otherwise", "%v: want 1m to %v, or 0s for not at all", h.Otherwise, maxEvery)
	}
}

func (s Spec) validateSecrets(fail func(path, format string, args ...any)) {
	if len(s.Secrets) > maxSecrets {
		fail("secrets", "%d: want at most %d", len(s.Secrets), maxSecrets)
	}
	for name, r := range s.Secrets {
		path := "secrets." + name
		switch {
		case !labelForm.MatchString(name):
			fail(path, "%q: want letters, digits and _", name)
		case (r.Env == "") == (r.File == ""):
			fail(path, "give env or file, one of the two")
		case r.Env != "" && !secretEnv.MatchString(r.Env):
			fail(path, "env %q: want the name of a variable that begins with XUNJIAN_", r.Env)
		case r.File != "" && !secretFile.MatchString(r.File):
			fail(path, "file %q: want the name of a file in the agent's folder of secrets, not a path", r.File)
		}
	}
}

// Pace is the interval at which the check is asked at t, in the zone of t; 0 when it is not asked then.
func (s Spec) Pace(t time.Time) time.Duration {
	pace := s.Every
	if !s.Hours.has(t) {
		pace = s.Hours.Otherwise
	}
	return s.shorten(pace, s.times(t, t))
}

// Grid is the interval of the ticks that hold every moment at which the check may be asked from t on until its next one.
func (s Spec) Grid(t time.Time) time.Duration { return s.shorten(s.Every, s.times(t, t.Add(s.Every))) }

// MaxTimes is how often instead of once a period may have checks asked.
const MaxTimes = 4

// Hastens says that the check can be asked so many times as often. What has a daily budget, as messages that cost money,
// keeps its pace, and so does what would be asked again before it must have answered, or more often than any check may be.
func (s Spec) Hastens(times int) bool {
	short := s.Every / time.Duration(max(times, 1))
	whole := short%time.Millisecond == 0 && short*time.Duration(times) == s.Every // its ticks are among those of the shorter interval
	return times > 1 && times <= MaxTimes && s.Budget == 0 && whole && short >= max(minEvery, s.Timeout)
}

// times is how many times as often as otherwise the check is asked in the periods that touch a time, both ends included.
func (s Spec) times(from, to time.Time) int {
	times := 1
	for _, p := range s.Periods {
		if !to.Before(p.From) && from.Before(p.To) && p.Times > times && s.Hastens(p.Times) {
			times = p.Times
		}
	}
	return times
}

func (s Spec) shorten(pace time.Duration, times int) time.Duration {
	return (pace / time.Duration(times)).Truncate(time.Millisecond)
}

// Even says that no period changes the check's pace in a time.
func (s Spec) Even(from, to time.Time) bool { return s.times(from, to) == 1 }

// has says whether t lies within the hours. A window over midnight belongs to the day on which it begins.
func (h Hours) has(t time.Time) bool {
	clock, day := t.Format("15:04"), t
	inside := true
	switch {
	case h.From == h.To: // not given, or the whole day
	case h.From < h.To:
		inside = clock >= h.From && clock < h.To
	case clock < h.To:
		day = t.AddDate(0, 0, -1)
	default:
		inside = clock >= h.From
	}
	return inside && (!h.Workdays || day.Weekday() != time.Saturday && day.Weekday() != time.Sunday)
}
