package collector

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// ruling is one history and what the collector makes of it under each value of an option of the contract (docs/CONTRACT.md).
type ruling struct {
	play  func(c *court) string // says what is to be looked at besides the month's verdict
	under map[string]string     // what comes of it, by keys of the contract
}

// Each rule of the contract and each answer to what it leaves open, by the running collector: from the configuration to the
// events, the API and the month's record.
func TestRules(t *testing.T) {
	all := maps.Clone(rulings)
	maps.Copy(all, answers)
	for name, r := range all {
		t.Run(name, func(t *testing.T) {
			for keys, want := range r.under {
				t.Run(keys, func(t *testing.T) {
					t.Parallel()
					hold(t, "contract: {"+keys+"}\n", func(c *court) {
						got := r.play(c)
						got = strings.Trim(c.verdict("2026-10")+" | "+got, " |")
						if got != want {
							t.Errorf("\n%s\nwant\n%s", got, want)
						}
					})
				})
			}
		})
	}
}

func key(service string, level contract.Level) symptom.Symptom {
	return symptom.Symptom{Service: service, Component: service, Class: symptom.Down, Level: level, Detail: "refused"}
}

var rulings = map[string]ruling{
	"R1 start": {
		func(c *court) string {
			id := c.sees("09:00", "08:50", key("sms", contract.Urgent)).ID
			c.ack("09:05", id)
			c.ends("09:30", key("sms", contract.Urgent))
			c.until("10:00")
			return c.newest("sms").SLAStart.In(beijing).Format("15:04")
		},
		map[string]string{"": "sms urgent no | 09:00", "start_at_fault: true": "sms urgent response costs 1 | 08:50"},
	},
	"R2 dated back": {
		func(c *court) string {
			a := c.by("10:00", "用户 8:30 来电，当时在处理别的故障")
			_, err := c.desk.Open(a, incident.Opening{Service: "oa", Level: contract.General, Detail: "打不开", Reporter: "陈", ReportedAt: c.at("08:30")})
			return fmt.Sprint(errors.Is(err, incident.ErrBadAct))
		},
		map[string]string{"": "oa general response costs 0.5 | false", "backdate: 1h": "true"},
	},
	"R2 a later time": {
		func(c *court) string {
			r, err := c.desk.Open(c.by("09:00", ""), incident.Opening{Service: "oa", Level: contract.General, Detail: "打不开", Reporter: "陈"})
			if err != nil {
				c.Fatal(err)
			}
			c.did(c.desk.Report(r.ID, c.by("09:20", ""), incident.Report{Reporter: "林"}))
			c.ack("09:45", r.ID)
			without := c.newest("oa").SLAStart.In(beijing).Format("15:04 ")
			c.did(c.desk.Report(r.ID, c.by("09:50", "陈记错了"), incident.Report{Reporter: "陈", ReportedAt: c.at("09:20"), PartyA: "王主任"}))
			return without + c.newest("oa").SLAStart.In(beijing).Format("15:04")
		},
		map[string]string{"": "oa general running | 09:00 09:20"},
	},
	"R3 a page is no answer": {
		func(c *court) string {
			c.fails("09:00", "sms")
			c.until("09:10:02")
			return ""
		},
		map[string]string{"": "sms urgent response costs 1"},
	},
	"R4 limits": {
		func(c *court) string {
			c.ack("09:10", c.fails("09:00", "sms").ID)
			c.ack("10:10:00.001", c.fails("10:00", "signature").ID)
			c.works("11:00", "sms")
			c.works("11:30", "signature")
			c.until("12:00")
			return ""
		},
		map[string]string{
			"":                                    "sms urgent no; signature urgent response costs 1",
			"urgent: {respond: 9m, recover: 4h}":  "sms urgent response costs 1; signature urgent response costs 1",
			"urgent: {respond: 20m, recover: 1h}": "sms urgent recovery costs 1; signature urgent recovery costs 1",
		},
	},
	"R4 office hours": {
		func(c *court) string {
			id := c.fails("+4 17:15", "oa").ID // Friday
			c.ack("+5 10:00", id)
			c.works("+8 09:00", "oa")
			c.until("+8 10:00")
			return ""
		},
		map[string]string{
			"":                        "oa urgent both costs 1",
			"escalate_overdue: false": "oa general both costs 0.5",
			"general_in_office: true": "oa urgent recovery costs 0.5",
			"general_in_office: true, calendar_folder: days":          "oa general no",
			"general_in_office: true, office: {hours: [09:00-17:00]}": "oa general no",
			"general_in_office: true, office: {hours: [00:00-24:00]}": "oa urgent both costs 1",
		},
	},
	"R4 minor": {
		func(c *court) string {
			r, err := c.desk.Open(c.by("09:00", ""), incident.Opening{Service: "oa", Level: contract.Minor, Detail: "按钮位置不便"})
			if err != nil {
				c.Fatal(err)
			}
			c.did(c.desk.SetLevel(r.ID, c.by("09:10", "约定当日上午完成"), incident.Grading{Level: contract.Minor, Agreed: contract.Limits{Recover: 2 * time.Hour}}))
			c.did(c.desk.Resolve(r.ID, c.by("12:00", ""), incident.Account{Cause: "布局", Category: incident.Software, Handling: "已调整"}))
			return ""
		},
		map[string]string{
			"": "oa minor recovery costs 0.2",
			"assessment: {deduct: {minor_never: true}}": "oa minor recovery",
		},
	},
	"R5 verification": {
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.works("09:10", "oa")
			c.fails("09:17", "oa")
			c.works("09:20", "oa")
			c.until("10:00")
			return c.newest("oa").RecoveredAt.In(beijing).Format("15:04 ") + c.kinds(id)
		},
		map[string]string{
			"":            "oa general no | 09:20 opened acknowledged verifying sampled recovered reopened verifying sampled recovered",
			"verify: 10m": "oa general no | 09:20 opened acknowledged verifying sampled relapsed verifying sampled recovered",
		},
	},
	"R5 samples": {
		func(c *court) string { // of a check that is made every 20 minutes; the verification runs over the recovery's deadline
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.until("16:50")
			c.good("oa", 2)
			shown := ""
			for _, clock := range []string{"17:10", "17:30", "17:50"} {
				c.until(clock)
				if v := c.newest("oa").Verification(); v != nil {
					shown += fmt.Sprintf("%d/%d ", v.Good, v.Of)
				}
				c.good("oa", 1)
			}
			c.until("18:30")
			return shown + c.newest("oa").RecoveredAt.In(beijing).Format("15:04 ") + c.kinds(id)
		},
		map[string]string{
			"":                  "oa general no | 2/5 3/5 4/5 16:50 opened acknowledged verifying sampled sampled sampled recovered",
			"verify_samples: 3": "oa general no | 2/3 16:50 opened acknowledged verifying sampled recovered",
			"verify_samples: 0": "oa general no | 16:50 opened acknowledged verifying recovered",
		},
	},
	"R5 a bad sample": { // and the clock runs on to the first good one after it
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.until("16:58")
			c.good("oa", 4)
			c.until("17:01")
			c.blip("oa")
			c.until("17:02")
			c.good("oa", 4)
			c.until("17:30")
			still := c.newest("oa").Open()
			c.good("oa", 1)
			return fmt.Sprint(still, c.newest("oa").RecoveredAt.In(beijing).Format(" 15:04 ")) + c.kinds(id)
		},
		map[string]string{
			"":                  "oa urgent recovery costs 0.5 | true 17:02 opened acknowledged verifying broken breached escalated verifying sampled recovered",
			"verify_samples: 0": "oa general no | false 16:58 opened acknowledged verifying recovered",
		},
	},
	"R5 another process": { // counts on, and waits for nothing that its configuration does not have
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.until("09:10")
			c.good("oa", 3)
			c.restart("09:10:30")
			c.until("09:20")
			still := c.newest("oa").Open()
			c.good("oa", 3)
			return fmt.Sprint(still, c.newest("oa").RecoveredAt.In(beijing).Format(" 15:04 ")) + c.kinds(id)
		},
		map[string]string{"": "oa general no | true 09:10 opened acknowledged verifying sampled sampled recovered", "verify_samples: 0": "oa general no | false 09:10 opened acknowledged verifying recovered"},
	},
	"R5 a check is gone": {
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.until("09:10")
			c.good("oa", 3)
			c.write("collector.yml", strings.Replace(courtConfig, "- {name: oa, service: oa, kind: tcp, target: '192.0.2.1:4', slow: 1s}\n", "", 1))
			if err := c.reload(); err != nil {
				c.Fatal(err)
			}
			c.teller.tell(c.Context(), c.board.Tick(time.Now()))
			c.until("09:20")
			return c.newest("oa").RecoveredAt.In(beijing).Format("15:04 ") + c.kinds(id)
		},
		map[string]string{"": "oa general no | 09:10 opened acknowledged verifying sampled recovered", "verify_samples: 10": "oa general no | 09:10 opened acknowledged verifying sampled recovered"},
	},
	"R5 verification of urgent": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:05", id)
			c.works("09:10", "sms")
			c.until("09:19")
			still := c.newest("sms").State
			c.until("09:21")
			return fmt.Sprint(still, " ", c.newest("sms").State)
		},
		map[string]string{"": "sms urgent no | acknowledged recovered", "verify_urgent: 5m": "sms urgent no | recovered recovered"},
	},
	"R6 workaround": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.did(c.desk.Bypass(id, c.by("09:30", ""), incident.Workaround{Measure: "改走备用通道", FollowUp: "更换证书", PartyA: "王主任"}))
			c.until("14:00")
			r := c.newest("sms")
			return fmt.Sprint(r.State, " ", r.RecoveredAt.In(beijing).Format("15:04"), " ", r.Workaround.FollowUp)
		},
		map[string]string{"": "sms urgent response costs 1 | recovered 09:30 更换证书"},
	},
	"R7 consent": {
		func(c *court) string { // the vector of DOMAIN 4.3
			id := c.fails("09:00", "sms").ID
			c.ack("09:02", id)
			c.did(c.desk.Propose(id, c.by("09:30", ""), incident.Proposal{Measure: "重启"}))
			whole := c.lost == nil
			c.did(c.desk.Propose(id, c.by("09:40", ""), incident.Proposal{Measure: "扩容", Risk: "中断两分钟", Rollback: "恢复原配置"}))
			c.did(c.desk.Handle(id, c.by("09:50", ""), incident.Step{Emergency: "重启服务"}))
			emergency := c.lost == nil
			c.did(c.desk.Decide(id, c.by("10:10", ""), incident.Decision{Consent: true, PartyA: "王主任"}))
			c.works("13:20", "sms")
			c.until("14:00")
			f := c.record("2026-10").Faults[0]
			return fmt.Sprint(f.Raw.Value, f.Paused, f.Net.Value, whole, emergency)
		},
		map[string]string{
			"": "sms urgent no | 4h20m0s 30m0s 3h50m0s false true", "no_pauses: true": "sms urgent recovery costs 1 | 4h20m0s 30m0s 4h20m0s false true",
		},
	},
	"R7 others are waited for": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:02", id)
			c.did(c.desk.Pause(id, c.by("10:00", "运营商检修"), incident.Pausing{Why: contract.ThirdParty}))
			third := c.lost == nil
			c.did(c.desk.Pause(id, c.by("10:00", "省平台割接"), incident.Pausing{Why: contract.Upstream}))
			above := c.lost == nil
			c.until("11:00")
			_, _ = c.desk.Resume(id, c.by("11:00", ""), incident.Pausing{Why: contract.ThirdParty})
			_, _ = c.desk.Resume(id, c.by("11:00", ""), incident.Pausing{Why: contract.Upstream})
			c.works("13:30", "sms")
			c.until("14:00")
			return fmt.Sprint(third, above)
		},
		map[string]string{
			"":                        "sms urgent recovery costs 1 | false false",
			"pause_third_party: true": "sms urgent no | true false",
			"pause_upstream: true":    "sms urgent no | false true",
		},
	},
	"R8 more time": {
		func(c *court) string {
			id, urgent := c.fails("09:00", "oa").ID, c.fails("09:00:01", "sms").ID
			c.ack("09:05", id)
			c.ack("09:05", urgent)
			c.did(c.desk.Extend(urgent, c.by("10:00", "难"), incident.Extension{Until: c.at("20:00"), Approver: "王主任"}))
			refused := c.lost != nil
			c.works("10:30", "sms")
			c.did(c.desk.Extend(id, c.by("16:59", "需厂家到场"), incident.Extension{Until: c.at("20:00"), Approver: "王主任"}))
			c.works("19:30", "oa")
			c.until("20:30")
			return fmt.Sprint(refused, " ", c.lost == nil)
		},
		map[string]string{"": "oa general no; sms urgent no | true true", "general: {respond: 30m, recover: 6h}": "oa urgent recovery costs 1; sms urgent no | true false"},
	},
	"R9 back again": {
		func(c *court) string {
			first := c.fails("09:00", "oa").ID
			c.ack("09:05", first)
			c.works("09:10", "oa")
			second := c.fails("09:50", "oa")
			return fmt.Sprint(first == second.ID, second.RecurrenceOf == first)
		},
		map[string]string{
			"": "oa general no; oa general running | false true", "relapse: 1h": "oa general running | true false", "recurrence: 30m": "oa general no; oa general running | false false",
		},
	},
	"R10 nobody objects": {
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.works("09:10", "oa")
			c.until("+1 00:01")
			soon := c.newest("oa").State
			c.until("+4 00:01") // Tuesday, Wednesday and Thursday are over
			r := c.newest("oa")
			return fmt.Sprint(soon, " ", r.State, " ", r.ConfirmedBy == "", c.record("2026-10").Faults[0].ByDefault)
		},
		map[string]string{
			"": "oa general no | recovered confirmed true true", "confirm_days: 0": "oa general no | recovered recovered true false", "confirm_days: 1": "oa general no | recovered confirmed true true",
			"calendar_folder: days": "oa general no | recovered recovered true false",
		},
	},
	"R11 overdue": {
		func(c *court) string {
			c.ack("09:05", c.fails("09:00", "oa").ID)
			c.until("17:30")
			r := c.newest("oa")
			return r.RecoveryDue.In(beijing).Format("15:04")
		},
		map[string]string{
			"": "oa urgent recovery costs 0.5 | 17:00", "escalate_overdue: false": "oa general recovery costs 0.5 | 17:00",
			"assessment: {deduct: {final_level: true}}": "oa urgent recovery costs 1 | 17:00",
		},
	},
	"R11 lowered": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:05", id)
			c.did(c.desk.SetLevel(id, c.by("13:30", "影响不大"), incident.Grading{Level: contract.General}))
			alone := c.lost == nil
			c.did(c.desk.SetLevel(id, c.by("13:30", "影响不大"), incident.Grading{Level: contract.General, PartyA: "王主任"}))
			c.works("14:00", "sms")
			c.until("15:00")
			return fmt.Sprint(alone)
		},
		map[string]string{"": "sms general recovery costs 1 | false", "assessment: {deduct: {final_level: true}}": "sms general recovery costs 0.5 | false"},
	},
	"R12 one cause": {
		func(c *court) string {
			c.fails("09:00", "gateway")
			c.fails("09:01", "sms")
			c.fails("09:02", "signature")
			c.until("09:20")
			return strings.Join([]string{string(c.newest("sms").State), string(c.newest("signature").State)}, " ")
		},
		map[string]string{
			"": "gateway urgent response costs 1; sms urgent joined; signature urgent joined | merged merged",
			"assessment: {deduct: {per_service: true}}": "gateway urgent response costs 3; sms urgent joined; signature urgent joined | merged merged",
		},
	},
	"R13 reminders": {
		func(c *court) string {
			id := c.fails("09:00", "sms").ID
			c.ack("09:05", id)
			c.until("13:01")
			_, events, _ := c.desk.Get(id)
			var out []string
			for _, e := range events {
				if e.Kind == incident.EventWarned || e.Kind == incident.EventBreached {
					out = append(out, e.Of.In(beijing).Format("15:04"))
				}
			}
			return strings.Join(out, " ")
		},
		map[string]string{"": "sms urgent recovery costs 1 | 11:00 12:00 12:36 13:00", "urgent: {respond: 10m, recover: 2h}": "sms urgent recovery costs 1 | 10:00 10:30 10:48 11:00"},
	},
	"R14 planned": {
		func(c *court) string {
			a := c.by("08:30", "升级")
			if _, err := c.desk.Plan(a, incident.Window{Services: []string{"sms"}, From: c.at("09:00"), To: c.at("10:00"), Reason: "升级", PartyA: "王主任"}); err != nil {
				c.Fatal(err)
			}
			within := c.fails("09:10", "sms").ID
			outside := c.fails("09:20", "oa").ID
			c.ack("09:25", outside)
			c.until("10:02")
			after := c.newest("sms")
			c.ack("10:05", after.ID)
			return fmt.Sprint(within == "", after.Window != "", after.SLAStart.In(beijing).Format(" 15:04"))
		},
		map[string]string{"": "oa general running; sms urgent running | true true 10:00"},
	},
	"R15 slow": {
		func(c *court) string {
			c.until("09:00")
			c.round("oa", check.Slow, 1200*time.Millisecond)
			c.ack("09:05", c.newest("oa").ID)
			for minute := range 5 { // under the threshold, and not under four fifths of it
				c.until(fmt.Sprintf("09:%02d", 10+minute))
				c.round("oa", check.OK, 900*time.Millisecond)
			}
			high := c.newest("oa").VerifyingSince.IsZero()
			for minute := range 12 {
				c.until(fmt.Sprintf("09:%02d", 20+minute))
				c.round("oa", check.OK, 700*time.Millisecond)
			}
			c.until("09:50")
			return fmt.Sprint(high, c.newest("oa").RecoveredAt.In(beijing).Format(" 15:04"))
		},
		map[string]string{"": "oa general no | true 09:20"},
	},
	"R15 slower than usual": slowerThanUsual,
	"R16 away": {
		func(c *court) string {
			id := c.fails("09:00", "oa").ID
			c.ack("09:05", id)
			c.restart("18:00")
			c.until("18:01")
			r := c.newest("oa")
			if len(r.Breaches) == 0 {
				return "nothing missed"
			}
			return r.Breaches[0].At.In(beijing).Format("15:04")
		},
		map[string]string{"": "oa urgent recovery costs 0.5 | 17:00"},
	},
}
