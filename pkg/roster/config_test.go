package roster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
)

// Each fault is told at its path, with what to write instead.
func TestValidate(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 12, d, 0, 0, 0, 0, shanghai) }
	c := Config{
		Shifts: []Shift{
			{Name: "a", People: []string{"甲"}, Start: "2026-13-05"},
			{Name: "a", Line: "third", Start: "2026-01-05", Days: 400, Hours: []string{"8-18"}, On: "sundays"},
			{Name: "b", People: []string{"陌生人"}, Start: "2026-01-05", Hours: []string{"22:00-06:00", "05:00-07:00"}},
		},
		Overrides: []Override{{From: day(2), To: day(1), Person: "甲"}},
		Swaps:     []Swap{{Give: Stretch{"甲", day(1), day(2)}, Take: Stretch{"乙", day(3), day(4)}, Asked: "甲", Agreed: "丙"}},
		Important: []Period{{Name: "x", From: day(1), To: day(5), People: []string{"甲"}}, {Name: "x", From: day(4), To: day(6), People: []string{"甲"}, Shift: 48 * time.Hour, Pace: 5}},
	}
	var got []string
	c.Validate(people, func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
	for _, want := range []string{
		`shifts[0].start: "2026-13-05" is not a day: write one as 2026-01-05`,
		`shifts[1].name: "a": give each shift a name of its own`,
		`shifts[1].line: "third": want resident, second or manager`,
		`shifts[1].people: missing: nobody would be on duty`,
		`shifts[1].days: 400: want 1 to 366`,
		`shifts[1].hours: "8-18": write hours as 08:00-18:00, or 18:00-08:00 until the next day`,
		`shifts[1].on: "sundays": want workdays, restdays or every`,
		`shifts[2].people[0]: "陌生人" is nobody in people: add the person there, or correct the name`,
		`shifts[2].hours: "05:00-07:00": want hours in order and without overlap`,
		`overrides[0].to: is not after from`,
		`overrides[0].reason: missing: say why, for the record`,
		`swaps[0].agreed: of "甲" and "乙" one must have asked and the other agreed`,
		`important[1].shift: 48h0m0s: want 1h to 24h`,
		`important[1].pace: 5: want 2 for checks twice as often, 1 for as ever, at most 4`,
		`important[1].from: overlaps "x": one period at a time has the first line`,
		`important[1].name: "x" is taken by another period`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if len(got) != 16 {
		t.Errorf("%d faults:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestValidatePeople(t *testing.T) {
	bad := []Person{
		{Name: "甲", Phone: "13800000000", Login: "a"},
		{Name: "甲", Phone: "+86 138"},
		{Name: " ", Role: "boss", Duty: "night"},
		{Name: "丙", Phone: "+8613800000000", Login: "A"},
		{Name: "丁", Email: "x", WeCom: "a b", Language: "fr", Token: config.Secret{File: "a", Env: "B"}},
	}
	var got []string
	ValidatePeople(bad, func(path, format string, args ...any) { got = append(got, path) })
	want := []string{"[1].phone", "[1].name", "[2].name", "[2].role", "[2].duty", "[3].login", "[3].phone", "[4].email", "[4].wecom", "[4].language", "[4].token"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	out := WithDefaults([]Person{{Name: "甲", Duty: "resident"}, {Name: "丁", Duty: "manager", Language: "en"}, {Name: "客", Duty: "party_a"}, {Name: "戊", Role: "admin"}}, "zh-CN")
	for i, want := range []string{"engineer zh-CN", "lead en", "viewer zh-CN", "admin zh-CN"} {
		if got := out[i].Role + " " + out[i].Language; got != want {
			t.Errorf("%s: %s, want %s", out[i].Name, got, want)
		}
	}
}

func TestNational(t *testing.T) {
	for in, want := range map[string]string{
		"13800000000": "13800000000", "+8613800000000": "13800000000", "008613800000000": "13800000000", "86 138-0000-0000": "13800000000", "110": "110", "": "", "+4915112345678": "4915112345678",
	} {
		if got := National(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
