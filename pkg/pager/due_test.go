package pager

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
)

var (
	nine   = time.Date(2026, 11, 30, 9, 0, 0, 0, time.FixedZone("", 8*3600))
	staff  = []roster.Person{{Name: "驻", Role: "engineer", Duty: "resident", Phone: "1"}, {Name: "二", Role: "engineer", Duty: "second", Phone: "2"}, {Name: "管", Role: "lead", Duty: "manager", Phone: "3"}, {Name: "备", Role: "engineer", Duty: "resident", Phone: "4"}}
	onDuty = roster.Duty{Turns: [3]roster.Turn{{Line: roster.Resident, Person: staff[0]}, {Line: roster.Second, Person: staff[1]}, {Line: roster.Manager, Person: staff[2]}}}
)

func at(minutes float64) time.Time { return nine.Add(time.Duration(minutes * float64(time.Minute))) }

// fault is an incident that opened at nine; steps say what happened to it.
func fault(level contract.Level, steps ...contract.Step) incident.Record {
	h := contract.History{FaultStart: nine, Detected: nine, Level: level, Steps: steps}
	r := incident.Record{ID: "INC-1", State: incident.Detected, Level: level, Terms: contract.DefaultTerms(), History: h, OpenedAt: nine}
	for _, s := range steps {
		switch s.Kind {
		case contract.Graded:
			r.Level = s.Level
		case contract.Acknowledged:
			r.State, r.AckAt, r.AckBy = incident.Acknowledged, s.At, "二"
		case contract.Recovered:
			r.State, r.RecoveredAt = incident.Recovered, s.At
		case contract.Failing:
			r.State, r.RecoveredAt = incident.Detected, time.Time{}
		}
	}
	c := r.Clocks(at(10000))
	r.SLAStart, r.ResponseDue, r.RecoveryDue = c.Start, c.ResponseDue, c.RecoveryDue
	return r
}

// called is a call at a minute; how is sent, failed, waiting or dropped.
func called(step int, person, way string, minute float64, how string) Call {
	c := Call{Step: step, Person: person, Channel: way, At: at(minute), Kind: incident.PageOpened, Level: contract.Urgent}
	switch how {
	case "sent":
		c.SentAt, c.Tries = at(minute), 1
	case "failed":
		c.FailedAt, c.Tries = at(minute), 1
	case "dropped":
		c.DroppedAt = at(minute)
	}
	return c
}

func of(level contract.Level, c Call) Call { c.Level = level; return c }

func TestDue(t *testing.T) {
	up := contract.Step{Kind: contract.Graded, At: at(9), Level: contract.Urgent}
	s1 := called(1, "驻", "sms", 0, "sent")
	s2 := []Call{s1, called(2, "二", "sms", 5, "sent"), called(2, "管", "sms", 5, "sent")}
	s3 := append(slices.Clone(s2), called(3, "二", "sms", 8, "sent"), called(3, "管", "sms", 8, "sent"))
	s4 := append(slices.Clone(s3), called(4, "驻", "sms", 10, "sent"), called(4, "二", "sms", 10, "sent"), called(4, "管", "sms", 10, "sent"))
	deaf := []Call{called(1, "驻", "sms", 0, "failed"), called(1, "驻", "voice", 0.2, "failed")}
	for name, c := range map[string]struct {
		rec   incident.Record
		now   float64
		calls []Call
		steps []Step
		want  string // calls, then the minute of the next look
	}{
		"opens":                    {fault(contract.Urgent), 0, nil, nil, "1 驻 sms opened | 5"},
		"waits":                    {fault(contract.Urgent), 1, []Call{s1}, nil, "| 5"},
		"half of the time":         {fault(contract.Urgent), 5, []Call{s1}, nil, "2 二 sms opened, 2 管 sms opened | 8"},
		"just before":              {fault(contract.Urgent), 4.999, []Call{s1}, nil, "| 5"},
		"80 %":                     {fault(contract.Urgent), 8, s2, nil, "3 二 sms opened, 3 管 sms opened | 10"},
		"deadline":                 {fault(contract.Urgent), 10, s3, nil, "4 驻 sms opened, 4 二 sms opened, 4 管 sms opened |"},
		"repeats":                  {fault(contract.Urgent), 15, s4, nil, "4 驻 sms opened r1, 4 二 sms opened r1, 4 管 sms opened r1 |"},
		"between repeats":          {fault(contract.Urgent), 12, s4, nil, "| 15"},
		"late: once, not doubled":  {fault(contract.Urgent), 9, []Call{s1}, nil, "3 二 sms opened, 3 管 sms opened | 10"},
		"very late":                {fault(contract.Urgent), 300, []Call{s1}, nil, "4 驻 sms opened, 4 二 sms opened, 4 管 sms opened |"},
		"general at 15":            {fault(contract.General), 15, []Call{of(contract.General, s1)}, nil, "2 二 sms opened, 2 管 sms opened | 24"},
		"general does not repeat":  {fault(contract.General), 300, nil, nil, "1 驻 sms opened, 3 二 sms opened, 3 管 sms opened |"},
		"minor":                    {fault(contract.Minor), 300, nil, nil, "|"},
		"became urgent":            {fault(contract.General, up), 9, []Call{of(contract.General, s1)}, nil, "1 驻 sms escalated | 14"},
		"urgent, shorter deadline": {fault(contract.General, up), 14, []Call{of(contract.General, s1), called(1, "驻", "sms", 9, "sent")}, nil, "2 二 sms escalated, 2 管 sms escalated | 17"},
		"downgraded":               {fault(contract.Urgent, contract.Step{Kind: contract.Graded, At: at(3), Level: contract.Minor}), 9, []Call{s1}, nil, "|"},
		"channel fails":            {fault(contract.Urgent), 0.1, []Call{called(1, "驻", "sms", 0, "failed")}, nil, "1 驻 voice opened | 5"},
		"all channels fail":        {fault(contract.Urgent), 0.2, deaf, nil, "2 二 sms opened, 2 管 sms opened | 0.7"},
		"next one was called":      {fault(contract.Urgent), 0.3, append(slices.Clone(deaf), called(2, "二", "sms", 0.2, "sent"), called(2, "管", "sms", 0.2, "waiting")), nil, "| 0.7"},
		"round again":              {fault(contract.Urgent), 0.7, append(slices.Clone(deaf), called(2, "二", "sms", 0.2, "sent"), called(2, "管", "sms", 0.2, "sent")), nil, "again 1 | 8"},
		"one of two is reached":    {fault(contract.Urgent), 5.5, append(slices.Clone(s2[:2]), called(2, "管", "sms", 5, "failed"), called(2, "管", "voice", 5.1, "failed")), nil, "| 5.6"},
		"under way":                {fault(contract.Urgent), 3, []Call{called(1, "驻", "sms", 0, "waiting")}, nil, "| 5"},
		"acknowledged":             {fault(contract.Urgent, contract.Step{Kind: contract.Acknowledged, At: at(4)}), 9, []Call{s1, called(2, "二", "sms", 3, "waiting")}, nil, "drop 2 |"},
		"recovered":                {fault(contract.Urgent, contract.Step{Kind: contract.Recovered, At: at(6)}), 9, append(slices.Clone(s2), called(3, "二", "sms", 8, "waiting")), nil, "0 驻 sms recovered, 0 二 sms recovered, 0 管 sms recovered, drop 4 |"},
		"recovered, nobody heard":  {fault(contract.Urgent, contract.Step{Kind: contract.Recovered, At: at(6)}), 9, deaf, nil, "drop 1, drop 2 |"},
		"recovered and told":       {fault(contract.Urgent, contract.Step{Kind: contract.Recovered, At: at(6)}), 9, []Call{s1, {Kind: incident.PageRecovered, Person: "驻", Channel: "sms", SentAt: at(6), At: at(6)}}, nil, "|"},
		"came back": {
			fault(contract.Urgent, contract.Step{Kind: contract.Recovered, At: at(3)}, contract.Step{Kind: contract.Failing, At: at(20)}), 20, s2, nil,
			"4 驻 sms reopened, 4 二 sms reopened, 4 管 sms reopened |",
		},
		"in ten seconds":      {fault(contract.Urgent), 0, nil, []Step{{After: "10s", Who: []string{"备"}, By: []string{"voice"}}}, "| 0.16666666666666666"},
		"after ten seconds":   {fault(contract.Urgent), 1.0 / 6, nil, []Step{{After: "10s", Who: []string{"备"}, By: []string{"voice"}}}, "1 备 voice opened |"},
		"two ways at once":    {fault(contract.Urgent), 0, nil, []Step{{After: "0s", Who: []string{whoDuty}, By: []string{"sms"}}, {After: "0s", Who: []string{whoDuty}, By: []string{"voice"}}}, "1 驻 sms opened, 2 驻 voice opened |"},
		"outside the hours":   {fault(contract.General), 0, nil, []Step{{After: "0s", Who: []string{whoDuty}, Hours: []string{"10:00-12:00"}}}, "| 60"},
		"within the hours":    {fault(contract.General), 60, nil, []Step{{After: "0s", Who: []string{whoDuty}, Hours: []string{"10:00-12:00"}}}, "1 驻 sms opened |"},
		"nobody can be told":  {fault(contract.Urgent), 0, nil, []Step{{After: "0s", Who: []string{"聋"}}, {After: "5m", Who: []string{"二"}}}, "2 二 sms opened |"},
		"minor where it says": {fault(contract.Minor), 0, nil, []Step{{After: "0s", Who: []string{whoDuty}, Levels: contract.Levels}}, "1 驻 sms opened |"},
	} {
		p, err := newPolicy(c.steps, nine.Location())
		if err != nil {
			t.Fatal(err)
		}
		s := situation{
			now: at(c.now), rec: c.rec, ended: incident.PageRecovered, calls: slices.Clone(c.calls), duty: onDuty,
			people: append(slices.Clone(staff), roster.Person{Name: "聋"}), by: []string{"sms", "voice"},
			reach: func(_ string, p roster.Person) bool { return p.Phone != "" }, tells: func(string) bool { return true },
		}
		for i := range s.calls {
			s.calls[i].N = i + 1
		}
		if got := tell(p.due(s)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func tell(d decision) string {
	var out []string
	for _, c := range d.fresh {
		s := fmt.Sprintf("%d %s %s %s", c.Step, c.Person, c.Channel, c.Kind)
		if c.Repeat > 0 {
			s += fmt.Sprintf(" r%d", c.Repeat)
		}
		out = append(out, s)
	}
	for _, n := range d.again {
		out = append(out, fmt.Sprintf("again %d", n))
	}
	for _, n := range d.drop {
		out = append(out, fmt.Sprintf("drop %d", n))
	}
	s := strings.TrimSpace(strings.Join(out, ", ") + " |")
	if !d.next.IsZero() {
		s += fmt.Sprintf(" %v", d.next.Sub(nine).Minutes())
	}
	return s
}

// Where a line has a gap, all of the line are called.
func TestGapCallsEverybody(t *testing.T) {
	p, err := newPolicy(nil, nine.Location())
	if err != nil {
		t.Fatal(err)
	}
	d := p.due(situation{now: nine, rec: fault(contract.Urgent), duty: roster.Duty{}, people: staff, by: []string{"sms"}, reach: func(string, roster.Person) bool { return true }})
	if got := tell(d); got != "1 驻 sms opened, 1 备 sms opened | 5" {
		t.Errorf("got %s", got)
	}
}

func TestValidateSteps(t *testing.T) {
	var got []string
	ValidateSteps([]Step{
		{After: "soon", Who: []string{whoDuty}},
		{After: "50%", Who: []string{"谁"}, By: []string{"pigeon"}, Levels: []contract.Level{"grave"}, Hours: []string{"8"}, Repeat: time.Second},
		{After: "-5%"},
	}, staff, []string{"sms"}, func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
	want := []string{
		`[0].after: "soon": write a time as 0s, 90s or 5m, or a share of the response time as 50%`,
		`[1].who: "谁" is neither duty, second or manager, nor anybody in people`,
		`[1].by: "pigeon" is no channel: want one of sms`,
		`[1].levels: level "grave": want urgent, general or minor`,
		`[1].hours: "8": write hours as 08:00-18:00, or 18:00-08:00 until the next day`,
		`[1].repeat: 1s: want 10s to 24h, or nothing`,
		`[2].after: "-5%": write a share of the response time as 50%`,
		`[2].who: missing: write duty, second, manager, or names of people`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
