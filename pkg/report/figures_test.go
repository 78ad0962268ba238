package report

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/measure"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
)

// oneService is a feed, and sources with one service and its one check every ten minutes from one agent.
func oneService(t testing.TB) (*feed, Sources) {
	t.Helper()
	cal, err := contract.LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{}
	return f, Sources{
		Samples: f, Calendar: cal, Services: []check.Service{{Name: "gw", ZH: "网关服务"}},
		Checks: []measure.Check{{Spec: check.Spec{Name: "gw-http", Service: "gw", Every: 10 * time.Minute}}},
	}
}

func gwSeries(name string) metric.Series {
	return metric.New(name, measure.LabelCheck, "gw-http", measure.LabelAgent, "a1")
}

func build(t testing.TB, cfg Config, src Sources, month, asOf string) *Model {
	t.Helper()
	m, err := ParseMonth(month, at(t, asOf), shanghai)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Build(t.Context(), cfg, src, m, at(t, asOf))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func value[T any](t testing.TB, m measure.Maybe[T]) T {
	t.Helper()
	if !m.Known {
		t.Fatal("no data")
	}
	return m.Value
}

// November 2026 has 30 days = 4320 rounds of ten minutes, and 21 working days of seven office hours.
func TestServiceFigures(t *testing.T) {
	f, src := oneService(t)
	down := []trouble{
		{at(t, "2026-11-03 09:00:00"), at(t, "2026-11-03 10:00:00")}, // Tuesday, office hours: 6 results
		{at(t, "2026-11-03 13:00:00"), at(t, "2026-11-03 13:10:00")}, // one result, at lunch
		{at(t, "2026-11-07 20:00:00"), at(t, "2026-11-07 22:00:00")}, // Saturday: 12 results
	}
	gone := []trouble{{at(t, "2026-11-10 00:00:00"), at(t, "2026-11-11 00:00:00")}}
	f.sampled(gwSeries("probe_success"), at(t, "2026-10-01 00:00:00"), at(t, "2026-12-02 00:00:00"), 10*time.Minute, func(x time.Time) (float64, bool) {
		if in(down, x) {
			return 0, true
		}
		return 1, !in(gone, x)
	})
	f.sampled(gwSeries("probe_duration_seconds"), at(t, "2026-11-01 00:00:00"), at(t, "2026-12-01 00:00:00"), 10*time.Minute, func(x time.Time) (float64, bool) {
		if in(down, x) {
			return 2, true // of failures: not counted
		}
		return 0.1 + float64(x.Day())/100, !in(gone, x)
	})
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00")
	got := m.Services[0]
	// The hold of 30 minutes after the last result of the 9th leaves 23:30 + 10 minutes to the first result of the 11th:
	// the last result is at 23:50, so unknown runs from 00:20 to 24:00.
	unknown := 23*time.Hour + 40*time.Minute
	lost := time.Hour + 10*time.Minute + 2*time.Hour
	seen := 30*24*time.Hour - unknown
	if got.Planned != 4320 || got.Done != 4320-144 || got.Passed != 4320-144-19 {
		t.Errorf("rounds: %d planned, %d done, %d passed", got.Planned, got.Done, got.Passed)
	}
	if got.Up != seen-lost || got.Down != lost || got.Unknown != unknown {
		t.Errorf("up %v, down %v, unknown %v", got.Up, got.Down, got.Unknown)
	}
	near(t, "success", value(t, got.Success), float64(4320-144-19)/(4320-144))
	near(t, "7×24", value(t, got.Always), float64(seen-lost)/float64(seen))
	// Office hours: 21 days × 7 h, less those of the 10th (a Tuesday) that are unknown; one hour of them down.
	office := 20 * 7 * time.Hour
	near(t, "5×8", value(t, got.Office), float64(office-time.Hour)/float64(office))
	if got.Outages != measure.Known(int64(2)) || got.Longest != measure.Known(2*time.Hour) || got.MTTR != measure.Known(90*time.Minute) || got.Lasting {
		t.Errorf("outages %+v, longest %v, mean %v, lasting %v", got.Outages, got.Longest, got.MTTR, got.Lasting)
	}
	near(t, "max", value(t, got.Max).Seconds(), 0.4)
	if p := value(t, got.P50).Seconds(); math.Abs(p-0.26)/0.26 > 0.01 {
		t.Errorf("P50 %v", p)
	}
	if got.Verdict != Missed {
		t.Errorf("verdict %s", got.Verdict)
	}
	before := m.Summary[0]
	if before.Previous != measure.Known(1.0) || before.Now != got.Always {
		t.Errorf("summary: %+v", before)
	}
}

func near(t testing.TB, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// What happened in the last round before the month still holds in its first minutes, and no more.
func TestMonthEdgeOfResults(t *testing.T) {
	f, src := oneService(t)
	at1 := func(s string) int64 { return at(t, s).UnixMilli() }
	f.add(gwSeries("probe_success"), []int64{at1("2026-10-31 23:40:00"), at1("2026-10-31 23:55:00"), at1("2026-11-01 00:10:00"), at1("2026-11-30 23:50:00"), at1("2026-12-01 00:00:00")}, []float64{0, 0, 1, 1, 0})
	s := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]
	if s.Down != 10*time.Minute || s.Up != 30*time.Minute+10*time.Minute || s.Done != 2 {
		t.Errorf("down %v, up %v, %d done", s.Down, s.Up, s.Done)
	}
	if s.Outages != measure.Known(int64(0)) {
		t.Errorf("two results in a row are %v outages", s.Outages)
	}
}

func TestExistence(t *testing.T) {
	f, src := oneService(t)
	f.sampled(gwSeries("probe_success"), at(t, "2026-11-16 00:00:00"), at(t, "2026-12-01 00:00:00"), 10*time.Minute, func(time.Time) (float64, bool) { return 1, true })
	s := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]
	if s.Planned != 15*144 || s.Unknown != 0 || s.Up != 15*24*time.Hour {
		t.Errorf("from its first sample: %d planned, %v unknown", s.Planned, s.Unknown)
	}
	src.Checks[0].Since = at(t, "2026-11-11 00:00:00")
	s = build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]
	if s.Planned != 20*144 || s.Unknown != 5*24*time.Hour {
		t.Errorf("since the day given: %d planned, %v unknown", s.Planned, s.Unknown)
	}
	src.Checks[0].Since, src.Checks[0].Agents = time.Time{}, []string{"a1", "a2"}
	s = build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]
	if s.Planned != 2*15*144 || s.Done != 15*144 {
		t.Errorf("an agent that never spoke: %d planned, %d done", s.Planned, s.Done)
	}
}

// An agent asks again within a second, so an outage of a single round can be real: the incident says so.
func TestIncidentConfirmsOutage(t *testing.T) {
	f, src := oneService(t)
	f.sampled(gwSeries("probe_success"), at(t, "2026-11-01 00:00:00"), at(t, "2026-12-01 00:00:00"), 10*time.Minute, func(x time.Time) (float64, bool) {
		if x.Equal(at(t, "2026-11-05 10:00:00")) || x.Equal(at(t, "2026-11-06 10:00:00")) {
			return 0, true
		}
		return 1, true
	})
	src.Faults = []incident.Record{fault{
		id: "INC-1", service: "gw", level: contract.Urgent, class: symptom.Down, source: symptom.FromProbe,
		start: "2026-11-05 10:00:00", found: "2026-11-05 10:00:01", recovered: "2026-11-05 10:10:00",
	}.record(t)}
	s := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]
	if s.Outages != measure.Known(int64(1)) || s.Longest != measure.Known(10*time.Minute) || s.Down != 20*time.Minute {
		t.Errorf("%v outages, longest %v, down %v", s.Outages, s.Longest, s.Down)
	}
	src.Faults[0].Class = symptom.Slow
	if s := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00").Services[0]; s.Outages != measure.Known(int64(0)) {
		t.Errorf("slowness made %v outages", s.Outages)
	}
}

func TestUnfinishedMonth(t *testing.T) {
	f, src := oneService(t)
	f.sampled(gwSeries("probe_success"), at(t, "2026-10-01 00:00:00"), at(t, "2026-11-11 00:00:00"), 10*time.Minute, func(time.Time) (float64, bool) { return 1, true })
	m := build(t, DefaultConfig(), src, "2026-11", "2026-11-11 00:00:00")
	if s := m.Services[0]; !m.Unfinished || s.Planned != 1440 || s.Up != 10*24*time.Hour || s.Unknown != 0 {
		t.Errorf("unfinished %v: %d planned, up %v, unknown %v", m.Unfinished, s.Planned, s.Up, s.Unknown)
	}
	if _, err := Build(t.Context(), DefaultConfig(), src, MonthOf(at(t, "2026-12-05 00:00:00"), shanghai), at(t, "2026-11-11 00:00:00")); err == nil {
		t.Error("a month that has not begun was worked out")
	}
}

func TestProvisionalYear(t *testing.T) {
	_, src := oneService(t)
	if m := build(t, DefaultConfig(), src, "2027-01", "2027-02-01 00:00:00"); !m.Provisional || m.Rules.Workdays != 21 {
		t.Errorf("January 2027: provisional %v, %d weekdays", m.Provisional, m.Rules.Workdays)
	}
	if m := build(t, DefaultConfig(), src, "2026-10", "2027-02-01 00:00:00"); m.Provisional || m.Rules.Workdays != 18 {
		t.Errorf("October 2026: provisional %v, %d working days", m.Provisional, m.Rules.Workdays)
	}
}

func TestSamplesFail(t *testing.T) {
	_, src := oneService(t)
	src.Samples = failing{errors.New("disk gone")}
	m := MonthOf(at(t, "2026-11-05 00:00:00"), shanghai)
	if _, err := Build(t.Context(), DefaultConfig(), src, m, at(t, "2026-12-01 00:00:00")); err == nil || !strings.Contains(err.Error(), "gw") || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("error %v names neither the service nor the cause", err)
	}
	if _, err := Build(t.Context(), DefaultConfig(), Sources{}, m, at(t, "2026-12-01 00:00:00")); err == nil {
		t.Error("built from nothing")
	}
}

func TestLevels(t *testing.T) {
	// DOMAIN 4.3: open 09:00, proposal 09:40, consent 10:10, recovered 13:20: raw 4:20, net 3:50, met.
	met := fault{
		id: "INC-1", service: "a", level: contract.Urgent, class: symptom.Down, source: symptom.FromProbe, start: "2026-11-03 09:00:00", found: "2026-11-03 09:00:00",
		ack: "2026-11-03 09:10:00", pause: [2]string{"2026-11-03 09:40:00", "2026-11-03 10:10:00"}, recovered: "2026-11-03 13:20:00",
	}
	// The same without pause misses four hours.
	slow := met
	slow.id, slow.pause, slow.repeats = "INC-2", [2]string{}, "INC-1"
	// Acknowledged a second late.
	late := met
	late.id, late.ack = "INC-3", "2026-11-03 09:10:01"
	minor := fault{id: "INC-4", service: "b", level: contract.Minor, class: symptom.Reported, source: symptom.FromPerson, start: "2026-11-05 09:00:00", reported: "2026-11-05 09:00:00"}
	running := fault{id: "INC-5", service: "c", level: contract.General, class: symptom.Slow, source: symptom.FromProbe, start: "2026-12-01 07:50:00", found: "2026-11-30 23:59:59"}
	carried := fault{id: "INC-0", service: "c", level: contract.General, class: symptom.Slow, source: symptom.FromProbe, start: "2026-10-31 23:00:00", found: "2026-10-31 23:00:00", recovered: "2026-11-01 00:00:00"}
	over := carried
	over.id, over.recovered = "INC-OVER", "2026-10-31 23:59:59"
	next := running
	next.id, next.found, next.start = "INC-NEXT", "2026-12-01 00:00:00", "2026-11-30 23:00:00"
	_, src := oneService(t)
	for _, f := range []fault{next, running, minor, late, slow, met, carried, over} {
		src.Faults = append(src.Faults, f.record(t))
	}
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 00:10:00")
	var ids, lates []string
	for _, f := range m.Faults {
		ids, lates = append(ids, f.ID), append(lates, string(f.Late()))
	}
	if want := []string{"INC-0", "INC-1", "INC-2", "INC-3", "INC-4", "INC-5"}; !slices.Equal(ids, want) {
		t.Fatalf("faults %v, want %v", ids, want)
	}
	// The carried one was never acknowledged.
	if want := []string{"response", "no", "recovery", "response", "nolimit", "running"}; !slices.Equal(lates, want) {
		t.Errorf("late %v, want %v", lates, want)
	}
	if f := m.Faults[1]; f.Net != measure.Known(3*time.Hour+50*time.Minute) || f.Raw != measure.Known(4*time.Hour+20*time.Minute) || f.Paused != 30*time.Minute || f.Response != measure.Known(10*time.Minute) {
		t.Errorf("clocks %+v", f)
	}
	if !m.Faults[0].CarriedIn || m.Faults[1].CarriedIn {
		t.Error("carried over is not marked")
	}
	want := []LevelSum{
		{
			Level: contract.Urgent, Count: 3, Limited: 3, Met: 1, Breached: 2, Repeats: 1,
			Response: measure.Known(10*time.Minute + 333*time.Millisecond), Recovery: measure.Known((3*time.Hour + 50*time.Minute + 4*time.Hour + 20*time.Minute + 3*time.Hour + 50*time.Minute) / 3),
		},
		{Level: contract.General, Count: 1, Limited: 1},
		{Level: contract.Minor, Count: 1},
		{
			Count: 5, Limited: 4, Met: 1, Breached: 2, Repeats: 1,
			Response: measure.Known(10*time.Minute + 333*time.Millisecond), Recovery: measure.Known(4 * time.Hour),
		},
	}
	if diff := cmp.Diff(want, m.Levels); diff != "" {
		t.Error(diff)
	}
	sla := m.Summary[len(m.Summary)-1]
	near(t, "kept", value(t, sla.Now), 1.0/3)
}

func TestServiceVerdicts(t *testing.T) {
	b := builder{cfg: DefaultConfig()}
	f := func(want Verdict, share measure.Maybe[float64], gap time.Duration) {
		t.Helper()
		if got := b.verdict(&ServiceLine{Always: share, Up: 100*time.Hour - gap, Unknown: gap}); got != want {
			t.Errorf("%v with a gap of %v: %s, want %s", share, gap, got, want)
		}
	}
	f(Met, measure.Known(0.999), 0)
	f(Missed, measure.Known(0.99899), 0)
	f(Met, measure.Known(1.0), time.Hour)
	f(MetWithGap, measure.Known(1.0), time.Hour+time.Second)
	f(Missed, measure.Known(0.9), 50*time.Hour)
	f(NoData, measure.Maybe[float64]{}, 100*time.Hour)
}

// What happens after the moment of the report is not in it.
func TestAsOf(t *testing.T) {
	f := fault{
		id: "INC-1", service: "a", level: contract.Urgent, class: symptom.Down, source: symptom.FromProbe, start: "2026-11-03 09:00:00", found: "2026-11-03 09:00:00",
		ack: "2026-11-03 09:05:00", recovered: "2026-11-03 10:00:00", closed: "2026-11-03 11:00:00",
	}.record(t)
	got := faultOf(f, at(t, "2026-11-03 09:30:00"))
	if got.Responded.IsZero() || !got.Recovered.IsZero() || !got.Confirmed.IsZero() || got.Net.Known || got.Settled || got.Late() != Running {
		t.Errorf("half past nine: %+v", got)
	}
}

func TestEmptyMonth(t *testing.T) {
	_, src := oneService(t)
	src.Hosts = []Host{{Name: "app-01"}}
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 08:00:00")
	s, h := m.Services[0], m.Hosts[0]
	for what, known := range map[string]bool{
		"success": s.Success.Known, "7×24": s.Always.Known, "5×8": s.Office.Known, "P95": s.P95.Known, "outages": s.Outages.Known,
		"longest": s.Longest.Known, "CPU": h.CPU.Mean.Known, "memory": h.Memory.Peak.Known, "online": h.Online.Known,
		"faults": m.Summary[2].Now.Known, "SLA": m.Summary[5].Now.Known, "inspections": m.Summary[1].Now.Known,
	} {
		if known {
			t.Errorf("%s is known in a month without any record", what)
		}
	}
	if s.Verdict != NoData || h.Verdict != NoData {
		t.Errorf("verdicts %s, %s", s.Verdict, h.Verdict)
	}
}

func TestModelJSON(t *testing.T) {
	cfg, src, month, asOf := sampleMonth(t)
	m, err := Build(t.Context(), cfg, src, month, asOf)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Model
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	one, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := back.Digest(); err != nil || one != two || len(one) != 64 {
		t.Errorf("digest %s, and %s after a trip through JSON (%v)", one, two, err)
	}
	back.Services[0].Done++
	if two, _ := back.Digest(); one == two {
		t.Error("one round more and the digest stays")
	}
}

// A service that is taken out of the configuration stays in the months in which it was looked at, and in no other.
func TestServiceThatIsGone(t *testing.T) {
	cfg, src, month, asOf := makeSample(t)
	last := len(src.Services) - 1
	name := src.Services[last].Name
	src.Services, src.Gone = src.Services[:last], []string{name}
	for i, c := range src.Checks {
		src.Checks[i].Gone = c.Service == name
	}
	m, err := Build(t.Context(), cfg, src, month, asOf)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Services[len(m.Services)-1]; len(m.Services) != last+1 || got.Name != name || got.ZH != name+"（已移出配置）" || got.EN != name+" (removed)" || !got.Lasting {
		t.Errorf("%d services, the last %+v", len(m.Services), got)
	}
	if h := m.Summary[last]; h.Subject != name || h.Previous.Value != 1 || h.Now.Value >= 1 {
		t.Errorf("in the summary: %+v", h)
	}
	after, err := ParseMonth("2027-01", at(t, "2027-02-01 08:30:00"), shanghai)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Build(t.Context(), cfg, src, after, at(t, "2027-02-01 08:30:00")); err != nil || len(m.Services) != last {
		t.Errorf("%v: two months later: %+v", err, m.Services)
	}
}
