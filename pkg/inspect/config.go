package inspect

import (
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// Config is how results become verdicts (DOMAIN 1.0, 4.1, R15).
type Config struct {
	SporadicBad  int           `yaml:"sporadic_bad"`  // so many bad first answers …
	SporadicOf   int           `yaml:"sporadic_of"`   // … of so many rounds make a sporadic fault, though each was good when asked again
	RecoverAfter int           `yaml:"recover_after"` // good rounds in a row that end a fault
	SlowRecover  float64       `yaml:"slow_recover"`  // slowness ends below this share of the threshold …
	SlowHold     time.Duration `yaml:"slow_hold"`     // … kept for so long
	// Slowness by what is usual, beside the checks' own thresholds.
	SlowUsual      float64       `yaml:"slow_usual"`       // so many times the median of good answers at that hour is slow; 0: none is
	SlowUsualFloor time.Duration `yaml:"slow_usual_floor"` // and longer than this
	SlowUsualDays  int           `yaml:"slow_usual_days"`  // the days that the median is of
	SlowUsualLeast int           `yaml:"slow_usual_least"` // of them must have good answers in that hour, or else too little is known

	StaleAfter int `yaml:"stale_after"` // intervals without a result until a vantage is unknown
	// Levels gives each class of trouble its level; key services as written, other services one step milder.
	Levels map[symptom.Class]contract.Level `yaml:"levels"`
}

// DefaultConfig holds DOMAIN's defaults.
func DefaultConfig() Config {
	return Config{
		SporadicBad: 3, SporadicOf: 5, RecoverAfter: 2,
		SlowRecover: 0.8, SlowHold: 10 * time.Minute, StaleAfter: 3,
		SlowUsual: 3, SlowUsualFloor: time.Second, SlowUsualDays: 14, SlowUsualLeast: 7,
		Levels: map[symptom.Class]contract.Level{
			symptom.Down:     contract.Urgent,
			symptom.Wrong:    contract.Urgent,
			symptom.Unusable: contract.Urgent,
			symptom.Partial:  contract.General,
			symptom.Slow:     contract.General,
			symptom.Warning:  contract.Minor,
			symptom.Unknown:  contract.Minor,
		},
	}
}

// Validate finds values that would judge nonsense.
func (c Config) Validate(fail func(path, format string, args ...any)) {
	if c.SporadicBad < 1 || c.SporadicOf < c.SporadicBad || c.SporadicOf > maxWindow {
		fail("sporadic_bad", "%d of %d: want 1 ≤ sporadic_bad ≤ sporadic_of ≤ %d", c.SporadicBad, c.SporadicOf, maxWindow)
	}
	if c.RecoverAfter < 1 {
		fail("recover_after", "%d: want at least 1", c.RecoverAfter)
	}
	if c.SlowRecover <= 0 || c.SlowRecover > 1 {
		fail("slow_recover", "%v: want a share between 0 and 1", c.SlowRecover)
	}
	c.validateUsual(fail)
	if c.StaleAfter < 2 {
		fail("stale_after", "%d: want at least 2 intervals", c.StaleAfter)
	}
	for class, level := range c.Levels {
		if _, err := contract.ParseLevel(string(level)); err != nil {
			fail("levels."+string(class), "%v", err)
		}
		if !knownClass(class) {
			fail("levels."+string(class), "unknown class of trouble: want down, wrong, unusable, partial, slow, warning or unknown")
		}
	}
}

func (c Config) validateUsual(fail func(path, format string, args ...any)) {
	if !check.UsualFactor(c.SlowUsual) {
		fail("slow_usual", "%v: want more than 1, at most %d, or 0 for no threshold by what is usual", c.SlowUsual, check.MaxUsualFactor)
	}
	if c.SlowUsualFloor < 0 || c.SlowUsualFloor > time.Hour {
		fail("slow_usual_floor", "%v: want 0s to 1h", c.SlowUsualFloor)
	}
	if c.SlowUsualDays < 1 || c.SlowUsualDays > maxDays {
		fail("slow_usual_days", "%d: want 1 to %d", c.SlowUsualDays, maxDays)
	} else if c.SlowUsualLeast < 1 || c.SlowUsualLeast > c.SlowUsualDays {
		fail("slow_usual_least", "%d days: want 1 to slow_usual_days (%d)", c.SlowUsualLeast, c.SlowUsualDays)
	}
}

// maxDays is how far back what is usual may be looked for: a season.
const maxDays = 92

func knownClass(c symptom.Class) bool {
	_, ok := DefaultConfig().Levels[c]
	return ok
}

// level is the contract's level of a class at a service: a key service's outage stops business (关键业务故障),
// another service's affects work only. What the check itself says stands above both.
func (c Config) level(s check.Service, spec check.Spec, class symptom.Class) contract.Level {
	if own, err := contract.ParseLevel(spec.Levels[check.Trouble(class)]); err == nil {
		return own
	}
	l, ok := c.Levels[class]
	if !ok {
		l = DefaultConfig().Levels[class]
	}
	if l == contract.Urgent && !s.Key {
		return contract.General
	}
	return l
}

// troubles are what a failed attempt's own word means, where its kind knows better than its class.
var troubles = map[check.Trouble]symptom.Class{
	check.Down: symptom.Down, check.Wrong: symptom.Wrong, check.Unusable: symptom.Unusable, check.Partial: symptom.Partial,
}

// trouble says what a failed answer means for the service.
func trouble(a check.Attempt) symptom.Class {
	if class, ok := troubles[a.Trouble]; ok {
		return class
	}
	switch a.Class {
	case check.ClassContent:
		return symptom.Wrong
	case check.ClassTimeout:
		return symptom.Unusable
	case check.ClassAuth:
		return symptom.Partial // refused credentials prove nothing about other users (DOMAIN 1.0 rule 6)
	}
	return symptom.Down
}
