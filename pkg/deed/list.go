package deed

import (
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
)

// Fields that several deeds have.
var (
	partyA   = Field{Name: "party_a", Kind: Name}
	agreedBy = Field{Name: "party_a", Kind: Name, Must: true}
	reporter = Field{Name: "reporter", Kind: Name, Must: true}
	story    = []Field{
		{Name: "cause", Kind: Text},
		{Name: "category", Kind: Choice, Choices: words(incident.Categories), Words: "incident.category"},
		{Name: "handling", Kind: Text},
		{Name: "prevention", Kind: Text},
	}
	pauses = Field{Name: "why", Kind: Choice, Must: true, Choices: []string{string(contract.ThirdParty), string(contract.Upstream)}, Words: "incident.pause"}
)

func open(r incident.Record, _ time.Time) bool { return r.Open() }

func always(incident.Record, time.Time) bool { return true }

func unfiled(r incident.Record, _ time.Time) bool { return !r.Filed() }

func in(states ...incident.State) func(incident.Record, time.Time) bool {
	return func(r incident.Record, _ time.Time) bool {
		for _, s := range states {
			if r.State == s {
				return true
			}
		}
		return false
	}
}

func and(a func(incident.Record, time.Time) bool, b func(incident.Record) bool) func(incident.Record, time.Time) bool {
	return func(r incident.Record, now time.Time) bool { return a(r, now) && b(r) }
}

func doubted(r incident.Record) bool { return r.Doubt != nil }

func canPause(r incident.Record) bool {
	return r.Terms.Pauses(contract.ThirdParty) && !pausedFor(r, contract.ThirdParty) || r.Terms.Pauses(contract.Upstream) && !pausedFor(r, contract.Upstream)
}

func paused(r incident.Record) bool {
	return pausedFor(r, contract.ThirdParty) || pausedFor(r, contract.Upstream)
}

// plain is a deed without fields of its own.
func plain(do func(Desk, string, incident.Act) (incident.Record, error)) func(Desk, string, incident.Act, Values) (incident.Record, error) {
	return func(d Desk, id string, a incident.Act, _ Values) (incident.Record, error) { return do(d, id, a) }
}

// Deeds is everything that people can do about an incident, in the order of its life.
var Deeds = []Deed{
	{Name: "ack", Rule: access.Handle, May: and(open, func(r incident.Record) bool { return r.AckAt.IsZero() }), do: plain(Desk.Ack)},
	{Name: "diagnose", Rule: access.Handle, Why: Asked, May: open, do: func(d Desk, id string, a incident.Act, _ Values) (incident.Record, error) {
		return d.Diagnose(id, a, incident.Diagnosis{})
	}},
	{
		Name: "arrive", Rule: access.Handle, Fields: []Field{{Name: "at", Kind: Time}}, May: open,
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Arrive(id, a, incident.Arrival{At: v.time("at")})
		},
	},
	{
		Name: "propose", Rule: access.Handle, May: open,
		Fields: []Field{{Name: "measure", Kind: Text, Must: true}, {Name: "risk", Kind: Text, Must: true}, {Name: "rollback", Kind: Text, Must: true}},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Propose(id, a, incident.Proposal{Measure: v["measure"], Risk: v["risk"], Rollback: v["rollback"]})
		},
	},
	{
		Name: "decide", Rule: access.Handle, May: and(open, waiting), Why: Asked,
		Fields: []Field{{Name: "consent", Kind: Choice, Must: true, Choices: []string{"yes", "no"}, Words: "deed.consent"}, agreedBy},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			if v["consent"] != "yes" && v["consent"] != "no" {
				return incident.Record{}, &incident.BadAct{Field: "consent", Key: "deed.bad.consent"}
			}
			return d.Decide(id, a, incident.Decision{Consent: v["consent"] == "yes", PartyA: v["party_a"]})
		},
	},
	{
		Name: "handle", Rule: access.Handle, May: open,
		Fields: []Field{{Name: "action", Kind: Text}, {Name: "emergency", Kind: Choice}},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Handle(id, a, incident.Step{Action: v["action"], Emergency: v["emergency"]})
		},
	},
	{
		Name: "workaround", Rule: access.Handle, May: open,
		Fields: []Field{{Name: "measure", Kind: Text, Must: true}, {Name: "follow_up", Kind: Text, Must: true}, partyA},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Bypass(id, a, incident.Workaround{Measure: v["measure"], FollowUp: v["follow_up"], PartyA: v["party_a"]})
		},
	},
	{Name: "pause", Rule: access.Handle, Fields: []Field{pauses}, Why: Needed, May: and(open, canPause), do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
		return d.Pause(id, a, incident.Pausing{Why: contract.Reason(v["why"])})
	}},
	{Name: "resume", Rule: access.Handle, Fields: []Field{pauses}, May: and(open, paused), do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
		return d.Resume(id, a, incident.Pausing{Why: contract.Reason(v["why"])})
	}},
	{
		Name: "extend", Rule: access.Direct, Why: Needed, Fields: []Field{{Name: "until", Kind: Time, Must: true}, {Name: "approver", Kind: Name, Must: true}},
		May: func(r incident.Record, now time.Time) bool {
			return r.Open() && r.Level == contract.General && !r.RecoveryDue.IsZero() && !now.After(r.RecoveryDue)
		},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Extend(id, a, incident.Extension{Until: v.time("until"), Approver: v["approver"]})
		},
	},
	{
		Name: "resolve", Rule: access.Handle, Fields: append(story[:len(story):len(story)], Field{Name: "declare", Kind: Flag}), May: unfiled,
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Resolve(id, a, v.account())
		},
	},
	{Name: "confirm", Rule: access.Handle, Fields: []Field{agreedBy}, May: in(incident.Recovered), do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
		return d.Confirm(id, a, incident.Confirmation{PartyA: v["party_a"]})
	}},
	{
		Name: "refuse", Rule: access.Handle, Fields: []Field{agreedBy}, Why: Needed, May: in(incident.Recovered, incident.Confirmed),
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Refuse(id, a, incident.Confirmation{PartyA: v["party_a"]})
		},
	},
	{
		Name: "archive", Rule: access.Direct, Fields: append(story[:len(story):len(story)], partyA), May: in(incident.Recovered, incident.Confirmed),
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Archive(id, a, v.account())
		},
	},
	{Name: "reopen", Rule: access.Handle, Why: Needed, May: in(incident.Recovered, incident.Confirmed, incident.Archived, incident.FalseAlarm), do: plain(Desk.Reopen)},

	{Name: "note", Rule: access.Handle, Why: Needed, May: always, do: plain(Desk.Note)},
	{
		Name: "report", Rule: access.Handle, Fields: []Field{reporter, {Name: "reported_at", Kind: Time}, {Name: "party_a", Kind: Name}}, May: unfiled,
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Report(id, a, incident.Report{Reporter: v["reporter"], ReportedAt: v.time("reported_at"), PartyA: v["party_a"]})
		},
	},
	{
		Name: "impact", Rule: access.Handle, Fields: []Field{{Name: "departments", Kind: Line}, {Name: "people", Kind: Number}, {Name: "functions", Kind: Line}}, May: unfiled,
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.RecordImpact(id, a, incident.Impact{Departments: v["departments"], People: v.number("people"), Functions: v["functions"]})
		},
	},
	{
		Name: "level", Rule: access.Direct, Why: Needed, May: unfiled,
		Fields: []Field{
			{Name: "level", Kind: Choice, Must: true, Choices: words(contract.Levels), Words: "common.level"},
			partyA,
			{Name: "agreed_response", Kind: Span},
			{Name: "agreed_recovery", Kind: Span},
		},
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.SetLevel(id, a, incident.Grading{
				Level: contract.Level(v["level"]), PartyA: v["party_a"], Agreed: contract.Limits{Respond: v.span("agreed_response"), Recover: v.span("agreed_recovery")},
			})
		},
	},
	{
		Name: "merge", Rule: access.Handle, Fields: []Field{{Name: "into", Kind: Line, Must: true}}, Why: Needed,
		May: func(r incident.Record, _ time.Time) bool { return r.Open() || r.State == incident.Recovered },
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Merge(id, a, incident.Merging{Into: v["into"]})
		},
	},
	{Name: "split", Rule: access.Handle, Why: Needed, May: in(incident.Merged), do: plain(Desk.Split)},
	{
		Name: "doubt", Rule: access.Handle, Fields: []Field{partyA}, Why: Needed, May: and(unfiled, func(r incident.Record) bool { return r.Doubt == nil }),
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Doubt(id, a, incident.Dismissal{PartyA: v["party_a"]})
		},
	},
	{Name: "dismiss", Rule: access.Handle, Fields: []Field{partyA}, May: and(unfiled, doubted), do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
		return d.Dismiss(id, a, incident.Dismissal{PartyA: v["party_a"]})
	}},
	{Name: "uphold", Rule: access.Handle, May: and(unfiled, doubted), do: plain(Desk.Uphold)},
	{
		Name: "excuse", Rule: access.Direct, Fields: []Field{{Name: "why", Kind: Choice, Must: true, Choices: words(incident.Excuses), Words: "incident.excused"}, agreedBy}, Why: Needed,
		May: always,
		do: func(d Desk, id string, a incident.Act, v Values) (incident.Record, error) {
			return d.Excuse(id, a, incident.Excuse{Why: incident.Excused(v["why"]), PartyA: v["party_a"]})
		},
	},
}
