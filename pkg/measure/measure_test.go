package measure

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
	"xunjian/pkg/store"
)

var shanghai = time.FixedZone("Asia/Shanghai", 8*3600)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	out, err := time.ParseInLocation("2006-01-02 15:04", s, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// memory hands out samples from memory.
type memory []series

type series struct {
	metric.Series
	t []int64
	v []float64
}

func (m memory) Select(_ context.Context, from, to time.Time, name string, labels map[string]string, fn func(metric.Series, []int64, []float64) error) error {
	for _, s := range m {
		if s.Name != name || slices.ContainsFunc([]string{LabelCheck, LabelAgent}, func(k string) bool { return labels[k] != "" && s.Get(k) != labels[k] }) {
			continue
		}
		a, _ := slices.BinarySearch(s.t, from.UnixMilli())
		b, _ := slices.BinarySearch(s.t, to.UnixMilli())
		if a < b {
			if err := fn(s.Series, s.t[a:b], s.v[a:b]); err != nil {
				return err
			}
		}
	}
	return nil
}

// every writes a series on a grid.
func every(name string, from, to time.Time, step time.Duration, value func(time.Time) float64, labels ...string) series {
	s := series{Series: metric.New(name, append([]string{LabelCheck, "c", LabelAgent, "a1"}, labels...)...)}
	for x := from; x.Before(to); x = x.Add(step) {
		if v := value(x); !math.IsInf(v, 0) { // infinite: no sample
			s.t, s.v = append(s.t, x.UnixMilli()), append(s.v, v)
		}
	}
	return s
}

// of is the series of another check.
func of(name string, s series) series {
	s.Series = metric.New(s.Name, LabelCheck, name, LabelAgent, "a1")
	return s
}

func maker(t testing.TB, spec check.Spec, samples memory) *Maker {
	t.Helper()
	cal, err := contract.LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	spec.Name, spec.Service = "c", "s"
	return &Maker{
		Rules: Rules{Confirm: 3, Hold: 3}, Samples: samples, Checks: []Check{{Spec: spec}}, Calendar: cal, Location: shanghai,
		Office: contract.Office{Hours: contract.Hours{"08:00-12:00", "14:30-17:30"}},
	}
}

func between(t testing.TB, m *Maker, from, to string) *Sheet {
	t.Helper()
	s, err := m.Between(t.Context(), "s", at(t, from), at(t, to), at(t, to).AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An outage over midnight is one outage, whose confirming results may lie on both days.
func TestOutageOverMidnight(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-04 00:00")
	bad := func(x time.Time) float64 {
		if !x.Before(at(t, "2026-11-02 23:58")) && x.Before(at(t, "2026-11-03 00:02")) {
			return 0
		}
		return 1
	}
	m := maker(t, check.Spec{Every: time.Minute}, memory{every("probe_success", from, to, time.Minute, bad)})
	f := &between(t, m, "2026-11-02 00:00", "2026-11-04 00:00").Whole().Always
	want := []Outage{{at(t, "2026-11-02 23:58").UnixMilli(), at(t, "2026-11-03 00:02").UnixMilli(), 4 * 60_000, true, true}}
	if diff := cmp.Diff(want, f.Interruptions()); diff != "" {
		t.Error(diff)
	}
	if f.Flaps() != 1 || f.MTTR() != Known(4*time.Minute) || f.MTBF() != Known(48*time.Hour-4*time.Minute) {
		t.Errorf("%d flaps, MTTR %v, MTBF %v", f.Flaps(), f.MTTR(), f.MTBF())
	}
	if f.Worst.At != at(t, "2026-11-02 23:00").UnixMilli() || f.Worst.Passed != 58 || f.Worst.Done != 60 {
		t.Errorf("worst hour %+v", f.Worst)
	}
}

// A planned window is in no figure but its own, whatever was seen in it.
func TestPlannedWindows(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	window := contract.Span{From: at(t, "2026-11-02 09:30").UnixMilli(), To: at(t, "2026-11-02 10:30").UnixMilli()}
	bad := func(x time.Time) float64 {
		if x.UnixMilli() >= window.From && x.UnixMilli() < window.To {
			return 0
		}
		return 1
	}
	m := maker(t, check.Spec{Every: time.Minute}, memory{every("probe_success", from, to, time.Minute, bad)})
	m.Planned = func(_, name string) []contract.Span {
		if name != "c" { // of one check
			return nil
		}
		return []contract.Span{window}
	}
	l := between(t, m, "2026-11-02 00:00", "2026-11-03 00:00").Whole()
	if f := l.Always; f.Due != 23*60 || f.Done != 23*60 || f.Passed != 23*60 || f.Worst.Success() != Known(1.0) {
		t.Errorf("rounds in the window are counted: %d of %d done, %d passed, worst hour %+v", f.Done, f.Due, f.Passed, f.Worst)
	}
	if f := l.Always; f.Planned != 3_600_000 || f.Down != 0 || f.Up != 23*3_600_000 || len(f.Outages) != 0 {
		t.Errorf("7×24: planned %d, down %d, up %d, %v", f.Planned, f.Down, f.Up, f.Outages)
	}
	if f := l.Office; f.Planned != 3_600_000 || f.Up != 6*3_600_000 || f.Down != 0 {
		t.Errorf("5×8: planned %d, up %d, down %d", f.Planned, f.Up, f.Down)
	}
	m.Checks = append(m.Checks, Check{Spec: check.Spec{Name: "other", Service: "s", Every: time.Minute}})
	m.Samples = append(m.Samples.(memory), of("other", every("probe_success", from, to, time.Minute, func(time.Time) float64 { return 1 })))
	if f := between(t, m, "2026-11-02 00:00", "2026-11-03 00:00").Whole().Always; f.Planned != 0 || f.Up != 24*3_600_000 {
		t.Errorf("a window of one of two checks: planned %v, up %v, down %v", millis(f.Planned), millis(f.Up), millis(f.Down))
	}
}

// What fails behind a gateway while the direct check of it fails is no fault of the gateway; what only fails through it is.
func TestFaultBehindTheGateway(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	failing := func(a, b string) func(x time.Time) float64 {
		return func(x time.Time) float64 {
			if s := x.Format("15:04:05"); s >= a && s < b || s >= "20:00:00" && s < "20:10:00" && a == "10:00:00" {
				return 0
			}
			return 1
		}
	}
	m := maker(t, check.Spec{Every: time.Minute, Direct: "direct"}, memory{
		every("probe_success", from, to, time.Minute, failing("10:00:00", "10:30:00")),
		of("direct", every("probe_success", from.Add(30*time.Second), to, time.Minute, failing("10:00:00", "10:29:50"))),
	})
	s := m.Samples.(memory) // directly it fails from 10:00:30 on, and no more at 20:00
	for i, x := range s[1].t {
		if time.UnixMilli(x).In(shanghai).Hour() == 20 {
			s[1].v[i] = 1
		}
	}
	m.Checks = append(m.Checks, Check{Spec: check.Spec{Name: "direct", Service: "behind", Every: time.Minute}})
	f := &between(t, m, "2026-11-02 00:00", "2026-11-03 00:00").Whole().Always
	if f.Down != 10*60_000 || f.Up != 24*3_600_000-40*60_000 || f.Unknown != 0 || len(f.Interruptions()) != 1 || f.Done-f.Passed != 10 {
		t.Errorf("up %v, down %v, unknown %v, %d rounds failed: %+v", millis(f.Up), millis(f.Down), millis(f.Unknown), f.Done-f.Passed, f.Outages)
	}
	behind, err := m.Between(t.Context(), "behind", from, to, to)
	if err != nil || behind.Whole().Always.Down != 30*60_000 {
		t.Errorf("behind it: down %v (%v)", millis(behind.Whole().Always.Down), err)
	}
}

// What failed while its agent reached nothing is unknown; what it reached all the same counts.
func TestBlindAgent(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	m := maker(t, check.Spec{Every: time.Minute}, memory{every("probe_success", from, to, time.Minute, func(x time.Time) float64 {
		if x.Hour() == 9 && x.Minute() < 40 {
			return 0
		}
		return 1
	})})
	m.Blind = func(agent string) []contract.Span {
		if agent != "a1" {
			return nil
		}
		return []contract.Span{{From: at(t, "2026-11-02 09:00").UnixMilli(), To: at(t, "2026-11-02 09:30").UnixMilli()}}
	}
	f := &between(t, m, "2026-11-02 00:00", "2026-11-03 00:00").Whole().Always
	if f.Unknown != 30*60_000 || f.Down != 10*60_000 || f.Done != 1440-30 || f.Done-f.Passed != 10 {
		t.Errorf("unknown %v, down %v, %d done, %d passed", millis(f.Unknown), millis(f.Down), f.Done, f.Passed)
	}
}

// A check with hours is looked at in its hours only, at night at its other pace.
func TestHoursOfACheck(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	asked := func(spec check.Spec) memory {
		return memory{every("probe_success", from, to, time.Minute, func(x time.Time) float64 {
			pace := spec.Pace(x)
			if pace == 0 || x.Sub(from)%pace != 0 {
				return math.Inf(1)
			}
			return 1
		})}
	}
	for name, tc := range map[string]struct {
		hours       check.Hours
		period      check.Period
		due         int64
		up, unknown time.Duration
	}{
		"not at night": {check.Hours{From: "08:00", To: "20:00"}, check.Period{}, 24, 12 * time.Hour, 0},
		// The day's first result is at 00:00; 2-hourly results stand for six hours.
		"slower at night":    {check.Hours{From: "08:00", To: "20:00", Otherwise: 2 * time.Hour}, check.Period{}, 24 + 6, 24 * time.Hour, 0},
		"an important day":   {check.Hours{}, check.Period{From: from.AddDate(0, 0, -1), To: to.AddDate(0, 0, 1), Times: 2}, 96, 24 * time.Hour, 0},
		"over midnight":      {check.Hours{}, check.Period{From: from.Add(-4 * time.Hour), To: from.Add(2 * time.Hour), Times: 2}, 48 + 4, 24 * time.Hour, 0},
		"another day":        {check.Hours{}, check.Period{From: from.AddDate(0, 0, 5), To: to.AddDate(0, 0, 5), Times: 2}, 48, 24 * time.Hour, 0},
		"an important night": {check.Hours{From: "08:00", To: "20:00", Otherwise: 2 * time.Hour}, check.Period{From: from.Add(20 * time.Hour), To: to, Times: 2}, 24 + 4 + 4, 24 * time.Hour, 0},
	} {
		spec := check.Spec{Every: 30 * time.Minute, Hours: tc.hours, Periods: []check.Period{tc.period}}
		f := between(t, maker(t, spec, asked(spec)), "2026-11-02 00:00", "2026-11-03 00:00").Whole().Always
		if f.Due != tc.due || f.Done != tc.due || f.Up != tc.up.Milliseconds() || f.Unknown != tc.unknown.Milliseconds() {
			t.Errorf("%s: %d of %d rounds, up %v, unknown %v; want %d, %v, %v", name, f.Done, f.Due, millis(f.Up), millis(f.Unknown), tc.due, tc.up, tc.unknown)
		}
	}
}

// Of a check that agents make in turn, each is due what it was to make: not what others made while it stood by, and once what
// nobody made.
func TestDueInTurn(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	in := func(hours ...int) func(time.Time) float64 {
		return func(x time.Time) float64 {
			if slices.Contains(hours, x.Hour()/6) {
				return 1
			}
			return math.Inf(1)
		}
	}
	other := every("probe_success", from.Add(20*time.Second), to, time.Minute, in(1))
	other.Series = metric.New("probe_success", LabelCheck, "c", LabelAgent, "a2")
	for name, agents := range map[string][]string{"any": nil, "named": {"a1", "a2", "a3"}} {
		m := maker(t, check.Spec{Every: time.Minute, Vantages: 1, Agents: agents}, memory{every("probe_success", from, to, time.Minute, in(0, 2)), other})
		f := &between(t, m, "2026-11-02 00:00", "2026-11-03 00:00").Whole().Always
		if f.Done != 18*60 || f.Due < 24*60-2 || f.Due > 24*60+2 {
			t.Errorf("%s: %d of %d rounds, want %d of %d", name, f.Done, f.Due, 18*60, 24*60)
		}
	}
}

// Steps have figures of their own; a step that was not made is unknown, not down.
func TestSteps(t *testing.T) {
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-03 00:00")
	half := func(a, b float64) func(time.Time) float64 {
		return func(x time.Time) float64 {
			if x.Hour() < 12 {
				return a
			}
			return b
		}
	}
	m := maker(t, check.Spec{Every: time.Minute}, memory{
		every("probe_success", from, to, time.Minute, half(1, 0)),
		every("xunjian_probe_step_success", from, to, time.Minute, half(1, 0), "step", "login"),
		every("xunjian_probe_step_success", from, to, time.Minute, half(1, math.NaN()), "step", "todo"),
		every("xunjian_probe_step_duration_seconds", from, to, time.Minute, half(0.2, 9), "step", "login"),
		every("xunjian_probe_step_slow", from, to, time.Minute, half(1, math.NaN()), "step", "todo"),
	})
	s := between(t, m, "2026-11-02 00:00", "2026-11-03 00:00")
	if len(s.Lines) != 3 || s.Lines[1].Step != "login" || s.Lines[2].Step != "todo" {
		t.Fatalf("lines %+v", s.Lines)
	}
	login, todo := &s.Lines[1].Always, &s.Lines[2].Always
	if login.Success() != Known(0.5) || login.Latency.Largest() != Known(200*time.Millisecond) {
		t.Errorf("login: success %v, largest %v", login.Success(), login.Latency.Largest())
	}
	if todo.Done != 720 || todo.Down != 0 || todo.SlowShare() != Known(1.0) || todo.Unknown != 12*3_600_000 {
		t.Errorf("todo: done %d, down %d, slow %v, unknown %v", todo.Done, todo.Down, todo.SlowShare(), millis(todo.Unknown))
	}
}

// Days that are over are kept: later samples, or none, change them no more. A day that may still change is not kept.
func TestFinalDaysAreKept(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from, to := at(t, "2026-11-02 00:00"), at(t, "2026-11-12 00:00")
	m := maker(t, check.Spec{Every: time.Minute}, memory{
		every("probe_success", from, to, time.Minute, func(x time.Time) float64 { return float64(min(x.Minute(), 1)) }),
		every("probe_duration_seconds", from, to, time.Minute, func(x time.Time) float64 { return float64(x.Minute()) / 100 }),
	})
	m.Kept = Book{db}
	look := func(asOf time.Time) string {
		s, err := m.Between(t.Context(), "s", from, to, asOf)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := look(to)
	samples := m.Samples.(memory)
	for i := range samples { // the samples of the days that are final at to are gone
		n, _ := slices.BinarySearch(samples[i].t, at(t, "2026-11-06 00:00").UnixMilli())
		samples[i].t, samples[i].v = samples[i].t[n:], samples[i].v[n:]
	}
	if again := look(to); again != whole {
		t.Errorf("kept days changed:\n%s\n%s", whole, again)
	}
	if _, found, err := m.Kept.Day("s", at(t, "2026-11-10 00:00")); found || err != nil {
		t.Errorf("a day that may still change is kept (%v)", err)
	}
	look(to.AddDate(0, 0, 5)) // now they are all kept
	m.Samples = memory{}
	if again := look(to); again != whole {
		t.Errorf("as of a month's end, its last days are not those that were kept since:\n%s\n%s", whole, again)
	}
}

// The office hours of days that were kept before their holiday notice came are worked out anew, and nothing else of them; not
// when samples are gone by then.
func TestNoticeAfterDaysWereKept(t *testing.T) {
	from, to := at(t, "2027-01-01 00:00"), at(t, "2027-01-03 00:00")
	notice := fstest.MapFS{"2027.json": {Data: []byte(`{"year":2027,"days":[{"date":"2027-01-01","isOffDay":true},{"date":"2027-01-02","isOffDay":false}]}`)}}
	for name, gone := range map[string]bool{"samples are there": false, "samples are gone": true} {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			m := maker(t, check.Spec{Every: time.Minute}, memory{every("probe_success", from, to, time.Minute, func(time.Time) float64 { return 1 })})
			m.Kept = Book{db}
			guess := between(t, m, "2027-01-01 00:00", "2027-01-03 00:00")
			if !guess.Provisional || guess.Whole().Office.Done != 7*60 {
				t.Fatalf("guessed: provisional %v, %d rounds in office hours", guess.Provisional, guess.Whole().Office.Done)
			}
			if m.Calendar, err = contract.LoadCalendar(shanghai, notice); err != nil {
				t.Fatal(err)
			}
			m.Checks[0].Every = time.Hour // what is configured later changes no figures of old days
			if gone {
				m.Samples = memory{}
			}
			for range 2 {
				s := between(t, m, "2027-01-01 00:00", "2027-01-03 00:00")
				saturday, _, err := m.Kept.Day("s", from.AddDate(0, 0, 1))
				if err != nil || s.Provisional != gone || s.Whole().Always.Due != guess.Whole().Always.Due || s.Whole().Always.Done != 2*24*60 {
					t.Errorf("provisional %v, %d of %d rounds (%v)", s.Provisional, s.Whole().Always.Done, s.Whole().Always.Due, err)
				}
				if n := saturday.Whole().Office.Done; !gone && n != 7*60 || gone && n != 0 {
					t.Errorf("%d rounds in the office hours of the worked Saturday", n)
				}
			}
		})
	}
}

// Figures of parts add up to those of the whole, wherever it is cut.
func TestFiguresAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs []stretch
		now := int64(1000) // time 0 stands for never
		for range rapid.IntRange(1, 25).Draw(t, "runs") {
			end := now + rapid.Int64Range(1, 9).Draw(t, "length")
			runs = append(runs, stretch{span: span{now, end}, state: state(rapid.IntRange(0, 2).Draw(t, "state"))})
			now = end
		}
		cuts := []int64{1000, rapid.Int64Range(1000, now).Draw(t, "cut"), rapid.Int64Range(1000, now).Draw(t, "cut"), now}
		slices.Sort(cuts)
		var whole, sum Figures
		whole.take(runs, func(span) bool { return true })
		for i := range 3 {
			var part Figures
			part.take(clip(runs, []span{{cuts[i], cuts[i+1]}}), func(span) bool { return true })
			sum.Add(&part)
		}
		if diff := cmp.Diff(whole, sum, cmp.AllowUnexported(Sketch{}), cmp.Comparer(func(a, b Sketch) bool { return a.n == b.n })); diff != "" {
			t.Fatal(diff)
		}
	})
}
