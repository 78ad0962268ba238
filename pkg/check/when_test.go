package check

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	loc := time.FixedZone("Asia/Shanghai", 8*3600)
	day := Hours{From: "08:00", To: "20:00", Otherwise: 2 * time.Hour}
	night := Hours{From: "22:00", To: "06:00", Workdays: true}
	for _, tc := range []struct {
		hours Hours
		at    string
		want  time.Duration
	}{
		{Hours{}, "2026-11-24 03:00", time.Minute},
		{day, "2026-11-24 07:59", 2 * time.Hour},
		{day, "2026-11-24 08:00", time.Minute},
		{day, "2026-11-24 19:59", time.Minute},
		{day, "2026-11-24 20:00", 2 * time.Hour},
		{day, "2026-11-28 12:00", time.Minute},
		{Hours{Workdays: true}, "2026-11-28 12:00", 0},
		// A Friday's night goes on into Saturday, a Sunday's does not begin.
		{night, "2026-11-27 23:00", time.Minute},
		{night, "2026-11-28 05:59", time.Minute},
		{night, "2026-11-28 06:00", 0},
		{night, "2026-11-30 05:00", 0},
		{night, "2026-11-30 22:00", time.Minute},
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", tc.at, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Spec{Every: time.Minute, Hours: tc.hours}).Pace(at); got != tc.want {
			t.Errorf("%+v at %s: every %v, want %v", tc.hours, tc.at, got, tc.want)
		}
	}
}

// In an important period a check is asked twice as often, day and night, unless that costs money or leaves it no time to answer.
func TestPaceInPeriods(t *testing.T) {
	loc := time.FixedZone("Asia/Shanghai", 8*3600)
	at := func(clock string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", clock, loc)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	night := Period{at("2027-03-04 20:00:00"), at("2027-03-05 08:00:00"), 2}
	minute := Spec{Every: time.Minute, Timeout: 10 * time.Second}
	with := func(change func(*Spec)) Spec {
		s := minute
		change(&s)
		return s
	}
	for name, tc := range map[string]struct {
		spec Spec
		at   string
		want time.Duration
		grid time.Duration // 0: the spec's own
	}{
		"long before":       {minute, "2027-03-04 12:00:00", time.Minute, 0},
		"just before":       {minute, "2027-03-04 19:59:59", time.Minute, 30 * time.Second},
		"a tick before":     {minute, "2027-03-04 19:59:00", time.Minute, 30 * time.Second},
		"more than a tick":  {minute, "2027-03-04 19:58:59", time.Minute, 0},
		"at its beginning":  {minute, "2027-03-04 20:00:00", 30 * time.Second, 30 * time.Second},
		"over midnight":     {minute, "2027-03-05 00:00:00", 30 * time.Second, 30 * time.Second},
		"up to its end":     {minute, "2027-03-05 07:59:59", 30 * time.Second, 30 * time.Second},
		"at its end":        {minute, "2027-03-05 08:00:00", time.Minute, 0},
		"within its hours":  {with(func(s *Spec) { s.Hours = Hours{"08:00", "22:00", false, 2 * time.Hour} }), "2027-03-04 21:00:00", 30 * time.Second, 30 * time.Second},
		"outside its hours": {with(func(s *Spec) { s.Hours = Hours{"08:00", "22:00", false, 2 * time.Hour} }), "2027-03-04 22:00:00", time.Hour, 30 * time.Second},
		"not asked then":    {with(func(s *Spec) { s.Hours = Hours{"08:00", "22:00", false, 0} }), "2027-03-04 22:00:00", 0, 30 * time.Second},
		"a daily budget":    {with(func(s *Spec) { s.Budget = 1440 }), "2027-03-05 00:00:00", time.Minute, 0},
		"just enough time":  {with(func(s *Spec) { s.Timeout = 30 * time.Second }), "2027-03-05 00:00:00", 30 * time.Second, 30 * time.Second},
		"not enough time":   {with(func(s *Spec) { s.Timeout = 31 * time.Second }), "2027-03-05 00:00:00", time.Minute, 0},
		"very often":        {Spec{Every: time.Second, Timeout: 500 * time.Millisecond}, "2027-03-05 00:00:00", 500 * time.Millisecond, 500 * time.Millisecond},
		"too often":         {Spec{Every: 900 * time.Millisecond, Timeout: 100 * time.Millisecond}, "2027-03-05 00:00:00", 900 * time.Millisecond, 0},
		"no half":           {Spec{Every: 1001 * time.Millisecond, Timeout: 100 * time.Millisecond}, "2027-03-05 00:00:00", 1001 * time.Millisecond, 0},
		"four times": {with(func(s *Spec) {
			s.Periods = []Period{{night.From, night.To, 4}}
		}), "2027-03-05 00:00:00", 15 * time.Second, 15 * time.Second},
		"as ever":           {with(func(s *Spec) { s.Periods = []Period{{night.From, night.To, 1}} }), "2027-03-05 00:00:00", time.Minute, 0},
		"what nobody means": {with(func(s *Spec) { s.Periods = []Period{{night.From, night.To, 1000}, {night.From, night.To, -2}} }), "2027-03-05 00:00:00", time.Minute, 0},
	} {
		spec := tc.spec
		if spec.Periods == nil {
			spec.Periods = []Period{night}
		}
		if tc.grid == 0 {
			tc.grid = spec.Every
		}
		if got, grid := spec.Pace(at(tc.at)), spec.Grid(at(tc.at)); got != tc.want || grid != tc.grid {
			t.Errorf("%s: every %v on a grid of %v, want %v on %v", name, got, grid, tc.want, tc.grid)
		}
	}
}

func TestWhenIsValidated(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*Spec)
		path  string
	}{
		"half of the hours":     {func(s *Spec) { s.Hours.From = "08:00" }, "hours"},
		"no time of day":        {func(s *Spec) { s.Hours = Hours{From: "8", To: "20:00"} }, "hours.from"},
		"a pace too fast":       {func(s *Spec) { s.Hours = Hours{From: "08:00", To: "20:00", Otherwise: time.Second} }, "hours.otherwise"},
		"no network":            {func(s *Spec) { s.Allow = []string{"169.254.1.1"} }, "allow"},
		"too often again":       {func(s *Spec) { s.Again = new(9) }, "again"},
		"secret of another":     {func(s *Spec) { s.Secrets = map[string]Ref{"k": {Env: "HOME"}} }, "secrets.k"},
		"secret by path":        {func(s *Spec) { s.Secrets = map[string]Ref{"k": {File: "../shadow"}} }, "secrets.k"},
		"secret twice":          {func(s *Spec) { s.Secrets = map[string]Ref{"k": {File: "a", Env: "XUNJIAN_A"}} }, "secrets.k"},
		"less than no vantages": {func(s *Spec) { s.Vantages = -1 }, "vantages"},
		"less than no attempts": {func(s *Spec) { s.Budget = -1 }, "budget"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sound()
			tc.spoil(&s)
			found := ""
			s.Validate(func(path, format string, args ...any) { found = path })
			if found != tc.path {
				t.Errorf("refused at %q, want %q", found, tc.path)
			}
		})
	}
}

// A check that shows credentials is made by one agent unless it says how many: each counts refusals for itself.
func TestOneAgentLogsIn(t *testing.T) {
	login := &Flow{Steps: []FlowStep{{Name: "login", Login: true}}}
	for name, tc := range map[string]struct {
		spec Spec
		want int
	}{
		"flow that logs in":     {Spec{Kind: "flow", Flow: login}, 1},
		"so many by its own":    {Spec{Kind: "flow", Flow: login, Vantages: 2}, 2},
		"flow without a login":  {Spec{Kind: "flow", Flow: &Flow{Steps: []FlowStep{{Name: "page"}}}}, 0},
		"account of a platform": {Spec{Kind: "cmpp", SMS: &SMS{Account: SMSSeparate}}, 1},
		"its send log":          {Spec{Kind: "cmpp", SMS: &SMS{Account: SMSPassive}}, 0},
		"a page":                {Spec{Kind: "http"}, 0},
	} {
		if got := tc.spec.WithDefaults().Vantages; got != tc.want {
			t.Errorf("%s: %d agents on time, want %d", name, got, tc.want)
		}
	}
}
