package roster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"xunjian/pkg/contract"
)

var shanghai = func() *time.Location {
	l, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		panic(err)
	}
	return l
}()

func on(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, shanghai)
	if err != nil {
		panic(err)
	}
	return t
}

var people = []Person{
	{Name: "甲", Duty: "resident"}, {Name: "乙", Duty: "resident"}, {Name: "丙", Duty: "second"}, {Name: "丁", Duty: "manager"}, {Name: "戊"},
}

// usual is resident on site in office hours, the two in turn remotely at all other times, and a second line by the week.
func usual() Config {
	return Config{Shifts: []Shift{
		{Name: "驻点", People: []string{"甲"}, Start: "2026-01-05", Hours: []string{"08:00-18:00"}, On: "workdays"},
		{Name: "远程", People: []string{"甲", "乙"}, Start: "2026-01-05", Days: 1, Hours: []string{"18:00-18:00"}, Remote: true},
		{Name: "二线", Line: Second, People: []string{"丙", "戊"}, Start: "2026-01-05"},
	}}
}

func newPlan(t testing.TB, c Config, loc *time.Location) *Plan {
	t.Helper()
	cal, err := contract.LoadCalendar(loc)
	if err != nil {
		t.Fatal(err)
	}
	c.Validate(people, func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
	p, err := NewPlan(people, c, cal, loc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOn(t *testing.T) {
	p := newPlan(t, usual(), shanghai)
	for at, want := range map[string]string{
		"2026-01-05 08:00": "甲 驻点|丙|丁", // Monday
		"2026-01-05 17:59": "甲 驻点|丙|丁",
		"2026-01-05 18:00": "甲 远程|丙|丁", // the first night
		"2026-01-06 07:59": "甲 远程|丙|丁",
		"2026-01-06 18:00": "乙 远程|丙|丁",
		"2026-01-10 12:00": "甲 远程|丙|丁", // Saturday: the turn that began on Friday evening, day 4
		"2026-01-10 18:00": "乙 远程|丙|丁",
		"2026-01-12 00:00": "甲 远程|戊|丁", // the second line's week changes at midnight
		"2026-02-14 10:00": "甲 驻点|戊|丁", // a Saturday that is worked (调休)
		"2026-02-16 10:00": "乙 远程|丙|丁", // a Monday of the Spring Festival
		"2026-12-31 23:59": "甲 远程|戊|丁",
		"2027-01-01 00:00": "甲 远程|戊|丁",
		"2028-02-29 18:30": "乙 远程|丙|丁",
		"2026-01-04 12:00": "||丁", // before the shifts begin
	} {
		d := p.On(on(at), nil)
		got := ""
		for i, l := range Lines {
			if i > 0 {
				got += "|"
			}
			got += d.On(l).Person.Name
			if l == Resident && d.On(l).Held() {
				got += " " + d.On(l).Shift
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

// Every moment has one answer on each line, and the timeline is those answers without holes or overlaps, whatever shifts,
// changes and zone there are. In a zone with summer time, too.
func TestTimelineTiles(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		loc := []*time.Location{shanghai, berlin}[seed%2]
		p := newPlan(t, randomConfig(rnd, loc), loc)
		from := time.Date(2026, time.Month(1+rnd.IntN(12)), 1+rnd.IntN(31), rnd.IntN(24), rnd.IntN(60), 0, 0, loc)
		to := from.Add(time.Duration(1+rnd.IntN(40*24)) * time.Hour)
		log := randomLog(rnd, from, to)
		for _, l := range Lines {
			line := p.Timeline(l, from, to, log)
			at := from
			for i, turn := range line {
				if !turn.From.Equal(at) || !turn.To.After(turn.From) {
					t.Fatalf("seed %d %s: turn %d from %v, want %v", seed, l, i, turn.From, at)
				}
				at = turn.To
				for range 5 {
					m := turn.From.Add(time.Duration(rnd.Int64N(int64(turn.To.Sub(turn.From)))))
					if got := p.On(m, log).On(l); !same(got, turn) {
						t.Fatalf("seed %d %s at %v: %s of %q, the timeline has %s of %q", seed, l, m, got.Person.Name, got.Shift, turn.Person.Name, turn.Shift)
					}
				}
			}
			if !at.Equal(to) {
				t.Fatalf("seed %d %s: ends at %v, want %v", seed, l, at, to)
			}
		}
	}
}

func randomConfig(rnd *rand.Rand, loc *time.Location) Config {
	var c Config
	names := func() (out []string) {
		for range 1 + rnd.IntN(4) {
			out = append(out, people[rnd.IntN(len(people))].Name)
		}
		return out
	}
	hours := [][]string{nil, {"08:00-18:00"}, {"18:00-08:00"}, {"09:00-09:00"}, {"08:00-12:00", "14:30-17:30"}, {"00:00-24:00"}, {"22:00-23:00", "23:30-06:00"}}
	for i := range rnd.IntN(6) {
		c.Shifts = append(c.Shifts, Shift{
			Name: fmt.Sprint(i), Line: Lines[rnd.IntN(3)], People: names(), Start: fmt.Sprintf("2026-%02d-%02d", 1+rnd.IntN(6), 1+rnd.IntN(28)),
			Days: 1 + rnd.IntN(9), Hours: hours[rnd.IntN(len(hours))], On: []string{"", "workdays", "restdays"}[rnd.IntN(3)],
		})
	}
	start := time.Date(2026, time.Month(1+rnd.IntN(12)), 1, 0, 0, 0, 0, loc)
	c.Important = []Period{{Name: "两会", From: start, To: start.Add(time.Duration(1+rnd.IntN(200)) * time.Hour), Shift: time.Duration(1+rnd.IntN(24)) * time.Hour, People: names()}}
	return c
}

func randomLog(rnd *rand.Rand, from, to time.Time) (log []Entry) {
	some := func() time.Time {
		return from.Add(time.Duration(rnd.Int64N(int64(to.Sub(from))))).Truncate(time.Minute)
	}
	for i := range rnd.IntN(12) {
		a, b := some(), some()
		if b.Before(a) {
			a, b = b, a
		}
		b = b.Add(time.Minute)
		e := Entry{Seq: uint64(i + 1), At: from.Add(-time.Hour), Kind: KindOverride}
		l, x, y := Lines[rnd.IntN(3)], people[rnd.IntN(5)].Name, people[rnd.IntN(5)].Name
		switch rnd.IntN(3) {
		case 0:
			e.Swap = &Swap{Line: l, Give: Stretch{x, a, b}, Take: Stretch{y, some(), to}, Asked: x, Agreed: y}
		case 1:
			e.withdrawn = some()
			fallthrough
		default:
			e.Override = &Override{Line: l, From: a, To: b, Person: x, Reason: fmt.Sprint(i)}
		}
		log = append(log, e)
	}
	return log
}

// A rotation gives each of n people every n-th turn, over month and year ends and leap days.
func TestRotationIsFair(t *testing.T) {
	p := newPlan(t, Config{Shifts: []Shift{{Name: "a", People: []string{"甲", "乙", "戊"}, Start: "2024-01-01", Days: 5}}}, shanghai)
	days := map[string]int{}
	for i, d := 0, on("2024-01-01 00:00"); i < 15*100; i, d = i+1, d.AddDate(0, 0, 1) {
		got := p.On(d.Add(23*time.Hour+59*time.Minute), nil).On(Resident).Person.Name
		if want := []string{"甲", "乙", "戊"}[i/5%3]; got != want {
			t.Fatalf("%v: %s, want %s", d, got, want)
		}
		days[got]++
	}
	if days["甲"] != 500 || days["乙"] != 500 || days["戊"] != 500 {
		t.Errorf("days %v", days)
	}
}

// Important periods have the first line for themselves, a shift at a time; the last one is cut.
func TestImportantPeriod(t *testing.T) {
	c := usual()
	c.Important = []Period{{Name: "两会", From: on("2026-03-04 08:00"), To: on("2026-03-06 20:00"), People: []string{"乙", "甲"}}}
	p := newPlan(t, c, shanghai)
	for at, want := range map[string]string{
		"2026-03-04 07:59": "乙 远程", "2026-03-04 08:00": "乙 两会", "2026-03-05 07:59": "乙 两会", "2026-03-05 08:00": "甲 两会", "2026-03-06 19:59": "乙 两会", "2026-03-06 20:00": "甲 远程",
	} {
		if turn := p.On(on(at), nil).On(Resident); turn.Person.Name+" "+turn.Shift != want || turn.Important != (turn.Shift == "两会") {
			t.Errorf("%s: %s %s, want %s", at, turn.Person.Name, turn.Shift, want)
		}
	}
	ws := p.Watches(on("2026-03-01 00:00"), on("2026-04-01 00:00"), nil)
	if len(ws) != 3 || !ws[2].To.Equal(on("2026-03-06 20:00")) || ws[1].Person.Name != "甲" {
		t.Errorf("watches %+v", ws)
	}
}

// Of overlapping overrides the one recorded later wins; one that names somebody who is gone counts for nothing.
func TestOverlappingOverrides(t *testing.T) {
	p := newPlan(t, usual(), shanghai)
	at := on("2026-03-04 10:00")
	o := func(person, why string, recorded time.Time) Entry {
		return Entry{At: recorded, Kind: KindOverride, Override: &Override{Line: Resident, From: at.Add(-time.Hour), To: at.Add(time.Hour), Person: person, Reason: why}}
	}
	early := at.Add(-24 * time.Hour)
	for name, c := range map[string]struct {
		log  []Entry
		want string
	}{
		"none":                {nil, "甲"},
		"one":                 {[]Entry{o("乙", "病假", early)}, "乙"},
		"the later":           {[]Entry{o("乙", "病假", early), o("戊", "再调", early)}, "戊"},
		"somebody who left":   {[]Entry{o("乙", "病假", early), o("走了", "再调", early)}, "乙"},
		"not recorded by now": {[]Entry{o("乙", "病假", at.Add(time.Minute))}, "甲"},
		"swap after override": {[]Entry{o("乙", "病假", early), {At: early, Kind: KindSwap, Swap: &Swap{
			Line: Resident, Give: Stretch{"乙", at, at.Add(time.Hour)}, Take: Stretch{"戊", at.Add(9 * time.Hour), at.Add(10 * time.Hour)}, Asked: "乙", Agreed: "戊",
		}}}, "戊"},
	} {
		if got := p.On(at, c.log).On(Resident).Person.Name; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestGaps(t *testing.T) {
	c := usual()
	c.Shifts = c.Shifts[:1] // office hours alone
	p := newPlan(t, c, shanghai)
	gaps := p.Gaps(on("2026-03-02 08:00"), on("2026-03-04 08:00"), nil)
	if len(gaps) != 2 || gaps[0] != (Gap{Resident, on("2026-03-02 18:00"), on("2026-03-03 08:00")}) {
		t.Errorf("gaps %+v", gaps)
	}
	if gaps := newPlan(t, usual(), shanghai).Gaps(on("2026-03-02 08:00"), on("2026-04-06 08:00"), nil); len(gaps) != 0 {
		t.Errorf("gaps in a whole roster: %+v", gaps)
	}
	if gaps := newPlan(t, Config{}, shanghai).Gaps(on("2026-03-02 08:00"), on("2026-04-06 08:00"), nil); len(gaps) != 0 {
		t.Errorf("gaps of lines whose first person always has them: %+v", gaps)
	}
}
