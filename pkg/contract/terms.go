package contract

import "time"

// Limits are the longest times that a level allows, inclusive; zero means no limit.
type Limits struct {
	Respond time.Duration `yaml:"respond,omitempty" json:"respond,omitzero"`
	Recover time.Duration `yaml:"recover,omitempty" json:"recover,omitzero"`
}

// Terms are the values of one contract on which its clocks depend. An incident keeps those in force when it opened, so a
// value that is missing means what the program did before there was such a value.
type Terms struct {
	Urgent  Limits `yaml:"urgent" json:"urgent"`
	General Limits `yaml:"general" json:"general"`
	Minor   Limits `yaml:"minor,omitempty" json:"minor,omitzero"` // none unless a time is agreed

	StartAtFault    bool `yaml:"start_at_fault,omitempty" json:"start_at_fault,omitempty"`       // start the clocks at the first failing sample (R1)
	GeneralInOffice bool `yaml:"general_in_office,omitempty" json:"general_in_office,omitempty"` // the clocks of general faults run in office hours only (R4)
	NoPauses        bool `yaml:"no_pauses,omitempty" json:"no_pauses,omitempty"`                 // waiting counts, whatever for
	PauseThirdParty bool `yaml:"pause_third_party,omitempty" json:"pause_third_party,omitempty"` // waiting for a third party does not count (R7)
	PauseUpstream   bool `yaml:"pause_upstream,omitempty" json:"pause_upstream,omitempty"`       // the same for the platform of the level above (上级平台)
	EscalateOverdue bool `yaml:"escalate_overdue" json:"escalate_overdue,omitempty"`             // a general fault that misses its recovery becomes urgent (R11)

	Verify       time.Duration `yaml:"verify" json:"verify"`                                 // unbroken good time that makes a recovery
	VerifyUrgent time.Duration `yaml:"verify_urgent" json:"verify_urgent"`                   // the same for urgent faults
	Samples      int           `yaml:"verify_samples" json:"verify_samples,omitempty"`       // good samples in a row that it takes besides, where the watcher counts them (R5); 0: time alone
	Relapse      time.Duration `yaml:"relapse" json:"relapse"`                               // a fault back within it is the same incident
	Recurrence   time.Duration `yaml:"recurrence" json:"recurrence"`                         // a fault back within it names its forerunner
	Backdate     time.Duration `yaml:"backdate" json:"backdate"`                             // how far back a person may date a report
	ConfirmDays  int           `yaml:"confirm_days,omitempty" json:"confirm_days,omitempty"` // working days without objection that confirm a recovery (默认确认, R10); 0: never

	Working *Working `yaml:"-" json:"working,omitempty"` // when the customer works; nil: nobody knew
}

// MaxSamples bounds the good samples that a contract may ask for.
const MaxSamples = 20

// DefaultTerms are those of the service requirement.
func DefaultTerms() Terms {
	return Terms{
		Urgent:          Limits{10 * time.Minute, 4 * time.Hour},
		General:         Limits{30 * time.Minute, 8 * time.Hour},
		EscalateOverdue: true,
		Verify:          5 * time.Minute,
		VerifyUrgent:    10 * time.Minute,
		Samples:         5,
		Relapse:         30 * time.Minute,
		Recurrence:      30 * 24 * time.Hour,
		Backdate:        24 * time.Hour,
		ConfirmDays:     3,
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
	if t.Samples < 0 || t.Samples > MaxSamples {
		fail("verify_samples", "%d: want 1 to %d good samples in a row, or 0 for time alone", t.Samples, MaxSamples)
	}
	if t.ConfirmDays < 0 || t.ConfirmDays > 60 {
		fail("confirm_days", "%d: want 1 to 60 working days, or 0 for never", t.ConfirmDays)
	}
	if t.NoPauses && (t.PauseThirdParty || t.PauseUpstream) {
		fail("no_pauses", "true, but a reason to pause is switched on: remove one of them")
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

// pauses says whether waiting for something stops the recovery clock, as far as anything does.
func (t Terms) pauses(why Reason) bool {
	switch why {
	case ThirdParty:
		return t.PauseThirdParty
	case Upstream:
		return t.PauseUpstream
	}
	return true
}

// inOffice says that a level's clocks run in office hours only.
func (t Terms) inOffice(l Level) bool { return l == General && t.GeneralInOffice && t.Working != nil }

// measure is the time of a level's clocks between two moments.
func (t Terms) measure(l Level, from, to time.Time) time.Duration {
	if t.inOffice(l) {
		return t.Working.Between(from, to)
	}
	return max(to.Sub(from), 0)
}

func (t Terms) sum(l Level, list []stretch) (sum time.Duration) {
	for _, s := range list {
		sum += t.measure(l, s.from, s.to)
	}
	return sum
}

// Pauses says whether waiting for something stops the recovery clock (R7).
func (t Terms) Pauses(why Reason) bool { return !t.NoPauses && t.pauses(why) }

// add is the first moment by which d of a level's time has passed.
func (t Terms) add(l Level, at time.Time, d time.Duration) time.Time {
	if t.inOffice(l) {
		return t.Working.Add(at, d)
	}
	return at.Add(d)
}

// last is the last moment by which no more than d of a level's time has passed.
func (t Terms) last(l Level, at time.Time, d time.Duration) time.Time {
	if t.inOffice(l) {
		return t.Working.last(at, d)
	}
	return at.Add(d)
}
