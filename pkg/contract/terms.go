package contract

import "time"

// Limits are the longest times that a level allows, inclusive; zero means no limit.
type Limits struct {
	Respond time.Duration `yaml:"respond,omitempty" json:"respond,omitzero"`
	Recover time.Duration `yaml:"recover,omitempty" json:"recover,omitzero"`
}

// Terms are the values of one contract on which its clocks depend. An incident keeps those in force when it opened.
type Terms struct {
	Urgent  Limits `yaml:"urgent" json:"urgent"`
	General Limits `yaml:"general" json:"general"`
	Minor   Limits `yaml:"minor,omitempty" json:"minor,omitzero"` // none unless a time is agreed

	StartAtFault bool `yaml:"start_at_fault,omitempty" json:"start_at_fault,omitempty"` // start the clocks at the first failing sample
	NoPauses     bool `yaml:"no_pauses,omitempty" json:"no_pauses,omitempty"`           // waiting for consent counts

	Verify       time.Duration `yaml:"verify" json:"verify"`               // unbroken good time that makes a recovery
	VerifyUrgent time.Duration `yaml:"verify_urgent" json:"verify_urgent"` // the same for urgent faults
	Relapse      time.Duration `yaml:"relapse" json:"relapse"`             // a fault back within it is the same incident
	Recurrence   time.Duration `yaml:"recurrence" json:"recurrence"`       // a fault back within it names its forerunner
	Backdate     time.Duration `yaml:"backdate" json:"backdate"`           // how far back a person may date a report
}

// DefaultTerms are those of the service requirement.
func DefaultTerms() Terms {
	return Terms{
		Urgent:       Limits{10 * time.Minute, 4 * time.Hour},
		General:      Limits{30 * time.Minute, 8 * time.Hour},
		Verify:       5 * time.Minute,
		VerifyUrgent: 10 * time.Minute,
		Relapse:      30 * time.Minute,
		Recurrence:   30 * 24 * time.Hour,
		Backdate:     24 * time.Hour,
	}
}

// Validate reports each value that no contract can mean.
func (t Terms) Validate(fail func(path, format string, args ...any)) {
	check := func(path string, l Limits, must bool) {
		switch {
		case l.Respond < 0 || must && l.Respond == 0:
			fail(path+".respond", "%v is not a limit: write a time above zero, as 10m", l.Respond)
		case l.Recover < 0 || must && l.Recover == 0:
			fail(path+".recover", "%v is not a limit: write a time above zero, as 4h", l.Recover)
		case l.Recover > 0 && l.Respond > l.Recover:
			fail(path+".respond", "%v is longer than recover (%v)", l.Respond, l.Recover)
		}
	}
	check("urgent", t.Urgent, true)
	check("general", t.General, true)
	check("minor", t.Minor, false)
	if t.Urgent.Respond > t.General.Respond || t.Urgent.Recover > t.General.Recover {
		fail("urgent", "allows more time than general")
	}
	for path, d := range map[string]time.Duration{"verify": t.Verify, "verify_urgent": t.VerifyUrgent, "relapse": t.Relapse, "recurrence": t.Recurrence, "backdate": t.Backdate} {
		if d < 0 || d > 366*24*time.Hour {
			fail(path, "%v is outside 0s to 8784h", d)
		}
	}
}

// Limits are those of a level; an agreed time stands in for a minor level's.
func (t Terms) Limits(l Level, agreed Limits) Limits {
	switch {
	case l == Urgent:
		return t.Urgent
	case l == General:
		return t.General
	case agreed != Limits{}:
		return agreed
	}
	return t.Minor
}

// VerifyTime is how long a service must stay good before its recovery counts.
func (t Terms) VerifyTime(l Level) time.Duration {
	if l == Urgent {
		return t.VerifyUrgent
	}
	return t.Verify
}
