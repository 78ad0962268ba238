package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// form is the contract's, without its words.
func form() Assessment {
	a := Assessment{
		Deductions: Deductions{Urgent: 100, General: 50, Minor: 20, Excluded: Exclusions},
		Tiers:      []Tier{{9000, 100}, {8000, 85}, {7000, 70}},
	}
	for _, id := range []string{"training", "inspection", "attendance", "duty", "satisfaction", ResponseRow, "handling", "support", "requests"} {
		a.Rows = append(a.Rows, Row{ID: id, No: id, Name: id, Points: 1000})
	}
	a.Rows[1].Points = 2000
	a.Rows[2].Each = 100
	return a
}

var year = [2]time.Time{nine.AddDate(-1, 0, 0), nine.AddDate(0, 0, 1)}

// late are some incidents that missed the recovery of their level.
func late(n int, l Level) (out []Case) {
	for i := range n {
		out = append(out, Case{ID: string(l) + string(rune('a'+i)), Start: nine, Level: l, Breaches: []Breach{{Recovery, l, nine}}})
	}
	return out
}

func join3(a ...[]Case) (out []Case) {
	for _, c := range a {
		out = append(out, c...)
	}
	return out
}

// U3 G4 M2 → 10 − 3 − 2 − 0.4 = 4.6; U11 → 0 (DOMAIN 4.3).
func TestDeduct(t *testing.T) {
	for name, c := range map[string]struct {
		cases []Case
		left  string
		rows  int
	}{
		"nothing":                 {nil, "10", 0},
		"U3 G4 M2":                {join3(late(3, Urgent), late(4, General), late(2, Minor)), "4.6", 9},
		"U11":                     {late(11, Urgent), "0", 11},
		"G19":                     {late(19, General), "0.5", 19},
		"met in time":             {[]Case{{ID: "a", Start: nine, Level: Urgent}}, "10", 0},
		"the year after":          {[]Case{{ID: "a", Start: year[1], Level: Urgent, Breaches: []Breach{{Recovery, Urgent, nine}}}}, "10", 0},
		"the year's first second": {[]Case{{ID: "a", Start: year[0], Level: Urgent, Breaches: []Breach{{Recovery, Urgent, year[1]}}}}, "9", 1},
	} {
		t.Run(name, func(t *testing.T) {
			list, left := form().Deduct(c.cases, year[0], year[1])
			if left.String() != c.left || len(list) != c.rows {
				t.Errorf("left %s in %d rows, want %s in %d: %+v", left, len(list), c.left, c.rows, list)
			}
		})
	}
}

// Each answer to the contract's open questions (DOMAIN 4.4), beside the one that is the default.
func TestDeductions(t *testing.T) {
	both := []Breach{{Response, General, nine}, {Recovery, General, nine.Add(time.Hour)}}
	escalated := []Breach{{Response, General, nine}, {Recovery, Urgent, nine}, {Recovery, General, nine}}
	for name, c := range map[string]struct {
		change func(*Deductions)
		c      Case
		want   string // points of the default, and of the other answer
	}{
		"both clocks late":        {func(d *Deductions) { d.PerClock = true }, Case{Level: General, Breaches: both}, "0.5 1"},
		"both, of two levels":     {func(d *Deductions) { d.PerClock = true }, Case{Level: Urgent, Breaches: escalated}, "1 1.5"},
		"lowered afterwards":      {func(d *Deductions) { d.FinalLevel = true }, Case{Level: General, Breaches: []Breach{{Recovery, Urgent, nine}}}, "1 0.5"},
		"raised afterwards":       {func(d *Deductions) { d.FinalLevel = true }, Case{Level: Urgent, Breaches: []Breach{{Recovery, General, nine}}}, "0.5 1"},
		"minor past its time":     {func(d *Deductions) { d.MinorNever = true }, Case{Level: Minor, Breaches: []Breach{{Recovery, Minor, nine}}}, "0.2 none"},
		"three services":          {func(d *Deductions) { d.PerService = true }, Case{Level: Urgent, Services: 3, Breaches: []Breach{{Recovery, Urgent, nine}}}, "1 3"},
		"false alarm, agreed":     {func(d *Deductions) { d.Excluded = nil }, Case{Level: Urgent, Exclusion: FalseAlarm, PartyA: "王主任", Breaches: []Breach{{Recovery, Urgent, nine}}}, "0 1"},
		"false alarm, not agreed": {func(d *Deductions) { d.Excluded = nil }, Case{Level: Urgent, Exclusion: FalseAlarm, Breaches: []Breach{{Recovery, Urgent, nine}}}, "1 1"},
		"waived":                  {func(d *Deductions) { d.Excluded = nil }, Case{Level: Urgent, Waived: "台风停电", PartyA: "王主任", Breaches: []Breach{{Recovery, Urgent, nine}}}, "0 0"},
		"waived by nobody":        {func(d *Deductions) { d.Excluded = nil }, Case{Level: Urgent, Waived: "台风停电", Breaches: []Breach{{Recovery, Urgent, nine}}}, "1 1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.c.ID, c.c.Start = "x", nine
			cost := func(a Assessment) string {
				list, left := a.Deduct([]Case{c.c}, year[0], year[1])
				if len(list) == 0 {
					return "none"
				}
				if left != 1000-list[0].Points {
					t.Errorf("left %s after %s", left, list[0].Points)
				}
				return list[0].Points.String()
			}
			other := form()
			c.change(&other.Deductions)
			if got := cost(form()) + " " + cost(other); got != c.want {
				t.Errorf("costs %s, want %s", got, c.want)
			}
		})
	}
}

// Tiers are half-open: 89.6 is paid at 85 %, or at 100 % where the contract's scores are whole numbers.
func TestScore(t *testing.T) {
	for _, c := range []struct {
		total, plain, rounded string
	}{
		{"100", "100%", "100%"},
		{"90", "100%", "100%"},
		{"89.99", "85%", "100%"},
		{"89.6", "85%", "100%"},
		{"89.5", "85%", "100%"},
		{"89.49", "85%", "85%"},
		{"80", "85%", "85%"},
		{"79.99", "70%", "85%"},
		{"70", "70%", "70%"},
		{"69.99", "0%", "70%"},
		{"69.49", "0%", "0%"},
		{"0", "0%", "0%"},
	} {
		var total Points
		if err := total.UnmarshalText([]byte(c.total)); err != nil {
			t.Fatal(err)
		}
		given := map[string]Points{}
		rest := total
		for _, r := range form().Rows {
			given[r.ID] = min(rest, r.Points)
			rest -= given[r.ID]
		}
		a := form()
		plain, err := a.Score(given)
		a.RoundHalfUp = true
		rounded, rerr := a.Score(given)
		if err != nil || rerr != nil || plain.Total != total || rounded.Total != total {
			t.Fatalf("%s: %v %v, %v %v", c.total, plain, err, rounded, rerr)
		}
		payment := Payment{Price: 1, Advance: 50, Penalty: 30}
		for _, x := range []struct {
			r    Result
			want string
		}{{plain, c.plain}, {rounded, c.rounded}} {
			if got := Points(payment.Settle(x.r).Tier*100).String() + "%"; got != x.want || x.r.Accepted != (x.want != "0%") {
				t.Errorf("%s: %s, accepted %v, want %s", c.total, got, x.r.Accepted, x.want)
			}
		}
	}
	r, err := form().Score(map[string]Points{ResponseRow: 460})
	if err != nil || r.Total != 9460 || len(r.Missing) != 8 {
		t.Errorf("one row scored: %+v, %v", r, err)
	}
	for _, bad := range []map[string]Points{{"x": 1}, {ResponseRow: 1001}, {ResponseRow: -1}} {
		if _, err := form().Score(bad); err == nil {
			t.Errorf("%v is a score", bad)
		}
	}
	if row, _ := form().Row("attendance"); row.After(3) != 700 || row.After(11) != 0 {
		t.Errorf("attendance after 3 and 11: %s, %s", row.After(3), row.After(11))
	}
}

// 100 % → 50 % C more, 85 % → 35 % C, 70 % → 20 % C; below 70 nothing more and a penalty of 30 % C (DOMAIN 4.3).
func TestSettle(t *testing.T) {
	var price Fen
	if err := price.UnmarshalText([]byte("480000.01")); err != nil {
		t.Fatal(err)
	}
	p := Payment{Price: price, Advance: 50, Penalty: 30}
	accepted := func(pay int) Result { return Result{Accepted: true, Tier: Tier{Pay: pay}} }
	for name, c := range map[string]struct {
		p    Payment
		r    Result
		want Settlement
	}{
		"all":                {p, accepted(100), Settlement{Advance: 24000001, Final: 24000000, Tier: 100, Of: price}},
		"85 %":               {p, accepted(85), Settlement{Advance: 24000001, Final: 16800000, Tier: 85, Of: price}},
		"70 %":               {p, accepted(70), Settlement{Advance: 24000001, Final: 9600000, Tier: 70, Of: price}},
		"refused":            {p, Result{}, Settlement{Advance: 24000001, Penalty: 14400000, Reclaim: true, Of: price}},
		"of the rest":        {Payment{Price: price, Advance: 50, OfRest: true}, accepted(85), Settlement{Advance: 24000001, Final: 20400000, Tier: 85, Of: 24000000}},
		"more paid than due": {Payment{Price: 100, Advance: 90}, accepted(70), Settlement{Advance: 90, Tier: 70, Of: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.p.Settle(c.r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever the incidents: no row goes below nothing or above its points, one more breach never gives points back, and the
// list says exactly what was taken.
func TestDeductLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := form()
		a.Deductions.PerClock, a.Deductions.FinalLevel = rapid.Bool().Draw(t, "per clock"), rapid.Bool().Draw(t, "final")
		a.Deductions.MinorNever, a.Deductions.PerService = rapid.Bool().Draw(t, "never"), rapid.Bool().Draw(t, "per service")
		var cases []Case
		last := Points(1000)
		for i := range rapid.IntRange(0, 30).Draw(t, "n") {
			c := Case{ID: string(rune('A' + i)), Start: nine, Level: rapid.SampledFrom(Levels).Draw(t, "level"), Services: rapid.IntRange(0, 3).Draw(t, "services")}
			for _, clock := range []ClockName{Response, Recovery} {
				if rapid.Bool().Draw(t, "missed") {
					c.Breaches = append(c.Breaches, Breach{clock, rapid.SampledFrom(Levels).Draw(t, "of"), nine})
				}
			}
			cases = append(cases, c)
			list, left := a.Deduct(cases, year[0], year[1])
			sum := Points(0)
			for _, d := range list {
				sum += d.Points
			}
			if left > last || left != max(1000-sum, 0) {
				t.Fatalf("left %s after %s, taken %s", left, last, sum)
			}
			last = left
		}
	})
}

func TestFigures(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "10": "10", "0.5": "0.5", "0.25": "0.25", "89.60": "89.6", "0.05": "0.05"} {
		var p Points
		if err := p.UnmarshalText([]byte(in)); err != nil || p.String() != want {
			t.Errorf("%s: %s, %v", in, p, err)
		}
	}
	for _, bad := range []string{"", "-1", "1.234", "1,5", "1e3", "99999999", ".5"} {
		if err := new(Points).UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), "points") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if Points(-40).String() != "-0.4" || Fen(-1).String() != "-0.01" || Fen(123456).String() != "1234.56" {
		t.Errorf("%s %s %s", Points(-40), Fen(-1), Fen(123456))
	}
	if err := new(Fen).UnmarshalText([]byte("1.999")); err == nil {
		t.Error("a tenth of a fen is money")
	}
}

// 24 natural hours until both opinion and method, reminded at 12, 20 and 23 h; or 24 hours of working days (R18).
func TestRequests(t *testing.T) {
	r := Requests{Reply: 24 * time.Hour, Remind: []time.Duration{12 * time.Hour, 20 * time.Hour, 23 * time.Hour}}
	friday := moment(t, "2026-11-27 16:00:00")
	w := working(t, "2026-11-27 16:00:00")
	c := r.Clock(w, Request{Received: friday}, friday.Add(25*time.Hour))
	if !c.Due.Equal(friday.Add(24*time.Hour)) || !c.Late || c.Used != 25*time.Hour || len(c.Reminders) != 3 || !c.Answered.IsZero() {
		t.Errorf("natural hours: %+v", c)
	}
	half := Request{Received: friday, Opinion: friday.Add(time.Hour)}
	if c := r.Clock(w, half, friday.Add(25*time.Hour)); !c.Late {
		t.Errorf("an opinion alone is an answer: %+v", c)
	}
	half.Method = friday.Add(24 * time.Hour)
	if c := r.Clock(w, half, friday.Add(50*time.Hour)); c.Late || c.Used != 24*time.Hour || !c.Answered.Equal(half.Method) {
		t.Errorf("answered at the last moment: %+v", c)
	}
	half.Method = friday.Add(13 * time.Hour)
	if c := r.Clock(w, half, friday.Add(50*time.Hour)); len(c.Reminders) != 1 {
		t.Errorf("reminders after the answer: %v", c.Reminders)
	}
	r.Workdays = true
	c = r.Clock(w, Request{Received: friday}, moment(t, "2026-11-30 16:00:00"))
	if !c.Due.Equal(moment(t, "2026-11-30 16:00:00")) || c.Late || c.Used != 24*time.Hour {
		t.Errorf("hours of working days: %+v", c)
	}
	if c := r.Clock(nil, Request{Received: friday}, friday); !c.Due.Equal(friday.Add(24 * time.Hour)) {
		t.Errorf("without a calendar: %+v", c)
	}
	if c := r.Clock(w, Request{Received: moment(t, "2026-12-31 16:00:00")}, moment(t, "2026-12-31 17:00:00")); !c.Provisional {
		t.Errorf("the answer is due in a year that nobody knows: %+v", c)
	}
}
