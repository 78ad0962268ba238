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
