package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/report"
	"xunjian/pkg/tsdb"
)

// late plays an urgent fault that nobody answers in time, and returns its number.
func (c *court) late(service string) string {
	c.Helper()
	id := c.fails("09:00", service).ID
	c.ack("09:20", id)
	c.works("09:30", service)
	c.until("10:00")
	return id
}

// counted is what 3.2 says of all levels: incidents, met, breached.
func (c *court) counted() string {
	c.Helper()
	all := c.record("2026-10").Levels
	sum := all[len(all)-1]
	return fmt.Sprint(sum.Count, " ", sum.Met, " ", sum.Breached)
}

// excuse says that an incident does not count, for a reason that the contract may or may not spare.
func excuse(why incident.Excused, partyA string) func(c *court) string {
	return func(c *court) string {
		id := c.late("sms")
		c.did(c.desk.Excuse(id, c.by("10:30", "见会议纪要"), incident.Excuse{Why: why, PartyA: partyA}))
		return fmt.Sprint(c.lost == nil, " ", c.counted())
	}
}

// The answers to what the contract leaves open (DOMAIN 4.4).
var answers = map[string]ruling{
	"4.4 both late": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:20", id)
			c.works("13:30", "sms")
			c.until("14:00")
			return ""
		},
		map[string]string{"": "sms urgent both costs 1", "assessment: {deduct: {per_clock: true}}": "sms urgent both costs 2"},
	},
	"4.4 false alarm": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:20", id)
			c.did(c.desk.Doubt(id, c.by("09:25", "探测账号被停用"), incident.Dismissal{}))
			c.did(c.desk.Dismiss(id, c.by("09:30", ""), incident.Dismissal{PartyA: "王主任"}))
			alone := c.lost == nil
			a := c.by("09:30", "")
			a.Person = "二线"
			c.did(c.desk.Dismiss(id, a, incident.Dismissal{PartyA: "王主任"}))
			return fmt.Sprint(alone, " ", c.newest("sms").State, " ", c.counted())
		},
		map[string]string{
			"": "aside: sms urgent excused costs 0 | false false_alarm 0 0 0", "assessment: {deduct: {excluded: [planned]}}": "sms urgent response costs 1 | false false_alarm 1 0 1",
		},
	},
	"4.4 false alarm, not agreed": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:20", id)
			c.did(c.desk.Doubt(id, c.by("09:25", "探测账号被停用"), incident.Dismissal{}))
			a := c.by("09:30", "")
			a.Person = "二线"
			c.did(c.desk.Dismiss(id, a, incident.Dismissal{}))
			return c.counted()
		},
		map[string]string{"": "sms urgent response costs 1 | 1 0 1"},
	},
	"4.4 planned":          {excuse(incident.ExcusedPlanned, "王主任"), map[string]string{"": "sms urgent excused costs 0 | true 0 0 0", "assessment: {deduct: {excluded: []}}": "sms urgent response costs 1 | true 1 0 1"}},
	"4.4 planned, by whom": {excuse(incident.ExcusedPlanned, ""), map[string]string{"": "sms urgent response costs 1 | false 1 0 1"}},
	"4.4 platform above":   {excuse(incident.ExcusedUpstream, "王主任"), map[string]string{"": "sms urgent excused costs 0 | true 0 0 0", "assessment: {deduct: {excluded: [network]}}": "sms urgent response costs 1 | true 1 0 1"}},
	"4.4 network":          {excuse(incident.ExcusedNetwork, "王主任"), map[string]string{"assessment: {deduct: {excluded: [network]}}": "sms urgent excused costs 0 | true 0 0 0"}},
	"4.4 third party":      {excuse(incident.ExcusedThird, "王主任"), map[string]string{"": "sms urgent excused costs 0 | true 0 0 0", "assessment: {deduct: {excluded: [upstream]}}": "sms urgent response costs 1 | true 1 0 1"}},
	"4.3 waived":           {excuse(incident.ExcusedWaived, "王主任"), map[string]string{"": "sms urgent response costs 0 | true 1 0 1"}},
	"4.4 merged by people": {
		func(c *court) string {
			sms, oa := c.fails("09:00", "sms").ID, c.fails("09:15", "oa").ID
			c.did(c.desk.Merge(oa, c.by("09:50", "同一原因"), incident.Merging{Into: sms}))
			c.works("10:00", "sms")
			c.works("10:01", "oa")
			c.until("10:30")
			return fmt.Sprint(c.counted(), " ", c.record("2026-10").Faults[1].Parent == sms)
		},
		map[string]string{"": "sms urgent response costs 1; oa general joined | 1 0 1 true"},
	},
	"4.4 not reproduced": {
		func(c *court) string {
			r, err := c.desk.Open(c.by("09:00", ""), incident.Opening{Service: "oa", Level: contract.General, Detail: "偶尔打不开", Reporter: "陈"})
			if err != nil {
				c.Fatal(err)
			}
			c.ack("09:10", r.ID)
			c.did(c.desk.Resolve(r.ID, c.by("11:00", ""), incident.Account{Cause: "多次操作未见异常", Category: incident.NotReproduced, Handling: "观察"}))
			_, err = c.desk.Archive(r.ID, c.by("11:10", ""), incident.Account{})
			c.filed("11:20", r.ID, incident.NotReproduced)
			return fmt.Sprint(errors.Is(err, incident.ErrBadAct), " ", c.newest("oa").Category, " ", c.counted())
		},
		map[string]string{"": "oa general no | true not_reproduced 1 1 0"},
	},
	"4.4 over the end of a month": {
		func(c *court) string {
			c.ack("+19 23:35", c.fails("+19 23:30", "sms").ID) // Saturday, 31 October
			c.works("+20 04:00", "sms")
			c.until("+20 05:00")
			next := c.record("2026-11")
			return fmt.Sprint(len(next.Faults), next.Faults[0].CarriedIn, len(next.Score.Lines), " ", next.Score.Before, next.Score.Left)
		},
		map[string]string{"": "sms urgent recovery costs 1 | 1 true 0 1 9"},
	},
	"4.4 service year": {
		func(c *court) string {
			c.late("sms")
			s := c.record("2026-10").Score
			return fmt.Sprint(s.From.In(beijing).Format(time.DateOnly), " ", s.To.In(beijing).Format(time.DateOnly), " ", s.Left)
		},
		map[string]string{
			"": "sms urgent response costs 1 | 2026-01-01 2027-01-01 9", "period: {from: 2026-07-01, to: 2027-06-30}": "sms urgent response costs 1 | 2026-07-01 2027-07-01 9",
			"period: {from: 2026-10-13, to: 2027-06-30}": "sms urgent response | 2026-10-13 2027-07-01 10", // it began before there was a contract
		},
	},
	"4.4 outage of sms": {
		func(c *court) string { c.late("sms"); return "" },
		map[string]string{"": "sms urgent response costs 1", "outage: {sms: general}": "sms general no"},
	},
	"4.3 points": {
		func(c *court) string { c.late("sms"); return c.record("2026-10").Score.Left.String() },
		map[string]string{"": "sms urgent response costs 1 | 9", "assessment: {deduct: {urgent: 2.5}}": "sms urgent response costs 2.5 | 7.5"},
	},
}

// An important period freezes changes: a window in it needs a reason why it must be (R19).
func TestFrozen(t *testing.T) {
	people := "people: [{name: 李工, role: engineer}]\nroster: {important: [{name: 两会, from: '2026-10-12T09:00:00+08:00', to: '2026-10-13T09:00:00+08:00', people: [李工]}]}\n"
	hold(t, people, func(c *court) {
		w := incident.Window{Services: []string{"sms"}, From: c.at("10:00"), To: c.at("11:00"), Reason: "升级", PartyA: "王主任"}
		if _, err := c.desk.Plan(c.by("08:30", ""), w); !errors.Is(err, incident.ErrBadAct) {
			t.Errorf("planned in a freeze: %v", err)
		}
		w.Override = "高危漏洞修复"
		if _, err := c.desk.Plan(c.by("08:30", ""), w); err != nil {
			t.Error(err)
		}
	})
}

// A holiday notice that is put into the folder counts guessed clocks anew with the next reload; until then the record says
// which of its figures are provisional, in both languages.
func TestNoticeComesLate(t *testing.T) {
	lastDay := time.Date(2026, 12, 31, 0, 0, 0, 0, beijing) // a Thursday
	holdOn(t, lastDay, "contract: {general_in_office: true, calendar_folder: days}\n", func(c *court) {
		id := c.fails("16:00", "oa").ID
		c.ack("16:10", id)
		c.until("+1 17:30")
		before := c.record("2026-12")
		if f := before.Faults[0]; !f.Provisional || !before.Guessed || !before.Score.Provisional || f.Late() != report.LateRecovery || !before.Levels[3].Provisional || !c.told(id).Guessed {
			t.Errorf("not marked: %+v, %+v", f, before.Score)
		}
		for lang, want := range map[string]string{"zh-CN": "（暂定）", "en": "(provisional)"} {
			if n := strings.Count(c.text("2026-12", "docx", lang)+c.text("2026-12", "xlsx", lang), want); n < 8 {
				t.Errorf("%s: marked %d times", lang, n)
			}
		}
		c.write("days/2027.json", `{"year":2027,"days":[{"date":"2027-01-01","isOffDay":true},{"date":"2027-01-02","isOffDay":true},{"date":"2027-01-03","isOffDay":true}]}`)
		if err := c.ReloadNow(c.Context()); err != nil {
			t.Fatal(err)
		}
		c.until("+1 17:31")
		if got, want := c.verdict("2026-12"), "oa general running"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := c.kinds(id), "opened acknowledged breached escalated recounted corrected"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if after := c.record("2026-12"); after.Guessed || after.Faults[0].Provisional || strings.Contains(c.text("2026-12", "docx", "zh-CN"), "暂定") || c.told(id).Guessed {
			t.Error("still marked")
		}
		if r := c.newest("oa"); !r.RecoveryDue.Equal(c.at("+4 17:00")) {
			t.Errorf("due %v", r.RecoveryDue.In(beijing))
		}
	})
}

// A notice may rule the last days of the December before: until it has come, what was counted in office hours of those days is
// provisional, though all of it is over, and the notice counts it anew.
func TestNoticeRulesDecember(t *testing.T) {
	lastDay := time.Date(2026, 12, 31, 0, 0, 0, 0, beijing)
	holdOn(t, lastDay, "contract: {general_in_office: true, calendar_folder: days}\n", func(c *court) {
		id := c.fails("09:00", "oa").ID
		c.ack("09:10", id)
		c.works("10:00", "oa")
		c.until("12:00")
		if r := c.newest("oa"); r.Open() || !c.told(id).Guessed {
			t.Errorf("open %v, marked %v", r.Open(), c.told(id).Guessed)
		}
		c.write("days/2027.json", `{"year":2027,"days":[{"date":"2026-12-31","isOffDay":true},{"date":"2027-01-01","isOffDay":true},{"date":"2027-01-02","isOffDay":true}]}`)
		if err := c.ReloadNow(c.Context()); err != nil {
			t.Fatal(err)
		}
		c.until("12:01")
		if f := c.record("2026-12").Faults[0]; f.Provisional || f.Net.Value != 0 || c.told(id).Guessed || !strings.HasSuffix(c.kinds(id), "recounted") {
			t.Errorf("on a day off %v was used, marked %v: %s", f.Net.Value, f.Provisional, c.kinds(id))
		}
	})
}

// What the hosts of a service did around a fault is attached to it twice, as the agents' samples have it: soon after the
// opening, from a quarter of an hour before the fault; and to a quarter of an hour after its end.
func TestEvidenceCurves(t *testing.T) {
	hold(t, "", func(c *court) {
		c.until("08:40")
		c.run(c.series.Run)
		c.run(c.hosts("web-1", "web-2")) // oa runs on the first
		id := c.fails("09:00", "oa").ID
		c.until("09:02")
		first := c.evidence(id)
		c.works("09:40", "oa")
		c.until("10:20")
		last := c.evidence(id)
		if len(first) != 1 || len(last) != 2 {
			t.Fatalf("attached %d times, then %d", len(first), len(last))
		}
		span := func(curves []incident.Curve, until string) {
			for _, k := range curves {
				end := k.From.Add(time.Duration(k.At[len(k.At)-1]) * time.Second)
				if k.Host != "web-1" || !k.From.Equal(c.at("08:45")) || k.At[0] > 60 || end.After(c.at(until)) || end.Before(c.at(until).Add(-time.Minute)) {
					t.Errorf("%s of %s from %v, first %ds, to %v", k.Name, k.Host, k.From.In(beijing), k.At[0], end.In(beijing))
				}
			}
		}
		span(first[0], "09:01")
		span(last[1], "09:55")
		for clock, want := range map[string]map[string]float64{
			"08:50": {"cpu": 10, "memory": 40, "disk": 50}, "09:30": {"cpu": 75, "memory": 90, "disk": 50}, "09:50": {"cpu": 10, "memory": 40, "disk": 50},
		} {
			got := map[string]float64{}
			for _, k := range last[1] {
				i, _ := slices.BinarySearch(k.At, int(c.at(clock).Sub(k.From)/time.Second))
				got[k.Name] = k.Values[min(i, len(k.Values)-1)]
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 0.2)); diff != "" {
				t.Errorf("at %s:\n%s", clock, diff)
			}
		}
	})
}

// hosts are agents that read their hosts each fifteen seconds: busy and full from 9:00 to 9:40, calm before and after.
func (c *court) hosts(names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		begin, spent := time.Now(), 0.0
		for seq := uint64(1); ; seq++ {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				busy, free := 0.1, 60.0
				if now.After(c.at("09:00")) && !now.After(c.at("09:40")) {
					busy, free = 0.75, 10
				}
				spent += 15 * busy
				for _, host := range names {
					c.read(ctx, host, seq, now, spent, now.Sub(begin).Seconds()-spent, free)
				}
			}
		}
	}
}

// read stores one reading of a host.
func (c *court) read(ctx context.Context, host string, seq uint64, now time.Time, user, idle, free float64) {
	sample := func(v float64, name string, labels ...string) metric.Sample {
		return metric.Sample{Series: metric.New(name, labels...), Value: v}
	}
	disk := []string{"mountpoint", "/data", "fstype", "ext4", "device", "/dev/vdb"}
	stored := make(chan error, 1)
	err := c.series.Append(ctx, tsdb.Stream{Agent: host, Kind: metric.KindHost, Every: 15 * time.Second, Labels: []metric.Label{{Name: "instance", Value: host}}},
		metric.Report{Agent: host, Boot: 1, Seq: seq, Kind: metric.KindHost, Every: 15 * time.Second, At: now, Samples: []metric.Sample{
			sample(idle, "node_cpu_seconds_total", "cpu", "0", "mode", "idle"), sample(user, "node_cpu_seconds_total", "cpu", "0", "mode", "user"),
			sample(free, "node_memory_MemAvailable_bytes"), sample(100, "node_memory_MemTotal_bytes"),
			sample(20, "node_filesystem_avail_bytes", disk...), sample(40, "node_filesystem_size_bytes", disk...),
		}}, func(_ tsdb.Outcome, err error) { stored <- err })
	if err == nil {
		select {
		case err = <-stored:
		case <-ctx.Done():
		}
	}
	if err != nil && ctx.Err() == nil {
		c.Errorf("reading of %s at %v: %v", host, now, err)
	}
}

// evidence is what was attached to an incident, each time.
func (c *court) evidence(id string) (out [][]incident.Curve) {
	c.Helper()
	_, events, err := c.desk.Get(id)
	if err != nil {
		c.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == incident.EventEvidence {
			out = append(out, e.Curves)
		}
	}
	return out
}
