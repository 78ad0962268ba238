package incident

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
)

var (
	proposal = Proposal{Measure: "换证书", Risk: "短暂中断", Rollback: "换回旧证书"}
	account  = Account{Cause: "证书过期", Category: Configuration, Handling: "更换证书", PartyA: "王处"}
)

// The vector of DOMAIN 4.3: open 09:00, proposal 09:40, consent 10:10, recovered 13:20: raw 4:20, net 3:50, met.
func TestConsentPausesTheRecoveryClock(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	must(t)(h.Ack(id, by("驻点", 1, "")))
	must(t)(h.Diagnose(id, by("驻点", 10, "证书过期"), Diagnosis{}))
	r := must(t)(h.Propose(id, by("驻点", 40, ""), proposal))
	if r.State != Awaiting || !r.Clocks(after(60)).Recovery.Waiting {
		t.Errorf("asked: %s", r.State)
	}
	h.tick(65)
	r = must(t)(h.Decide(id, by("驻点", 70, ""), Decision{Consent: true, PartyA: "王处"}))
	if r.State != Handling || !r.RecoveryDue.Equal(after(270)) {
		t.Errorf("decided: %s, due %v", r.State, r.RecoveryDue)
	}
	must(t)(h.Handle(id, by("驻点", 80, ""), Step{Action: "换上新证书"}))
	h.see(good(260))
	h.tick(275)
	r = mustGet(h, id)
	c := r.Clocks(after(300)).Recovery
	if r.State != Recovered || c.Raw != 260*time.Minute || c.Paused != 30*time.Minute || c.Net != 230*time.Minute || !c.Met || r.Breached() {
		t.Errorf("%s %+v %v", r.State, c, r.Breaches)
	}
	if r.Consents[0].PartyA != "王处" || !r.Actions[0].Agreed {
		t.Errorf("consents %+v, actions %+v", r.Consents, r.Actions)
	}
	folded(t, h, id)
}

// Without measure, risk and rollback nothing pauses; the response clock never does.
func TestProposalMustBeWhole(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	for _, p := range []Proposal{{Risk: "r", Rollback: "b"}, {Measure: "m", Rollback: "b"}, {Measure: "m", Risk: "r"}} {
		var bad *BadAct
		if _, err := h.Propose(id, by("驻点", 1, ""), p); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if r := mustGet(h, id); r.State != Detected || r.Version != 1 {
		t.Errorf("refused acts left %s, version %d", r.State, r.Version)
	}
	r := must(t)(h.Propose(id, by("驻点", 12, ""), proposal))
	if !r.Breached() || r.Breaches[0].Clock != contract.Response {
		t.Errorf("the response was late: %v", r.Breaches)
	}
}

// While consent is awaited only what was approved beforehand may be done; a refusal needs a reason; a fault that ends by
// itself ends the waiting.
func TestAwaiting(t *testing.T) {
	h := newHouse(t)
	h.Configure(Settings{Services: services, Emergency: []string{"重启服务"}})
	id := h.see(down(0)).ID
	must(t)(h.Propose(id, by("驻点", 1, ""), proposal))
	var c *Conflict
	if _, err := h.Handle(id, by("驻点", 2, ""), Step{Action: "改配置"}); !errors.As(err, &c) || c.What != "awaiting_consent" {
		t.Errorf("acted without consent: %v", err)
	}
	var bad *BadAct
	if _, err := h.Handle(id, by("驻点", 2, ""), Step{Emergency: "格式化"}); !errors.As(err, &bad) || bad.Field != "emergency" {
		t.Errorf("not in the catalogue: %v", err)
	}
	if r := must(t)(h.Handle(id, by("驻点", 3, ""), Step{Emergency: "重启服务"})); r.State != Awaiting || r.Actions[0].Action != "重启服务" {
		t.Errorf("emergency: %s %+v", r.State, r.Actions)
	}
	if _, err := h.Decide(id, by("驻点", 4, ""), Decision{PartyA: "王处"}); !errors.As(err, &bad) || bad.Field != "note" {
		t.Errorf("refused without a reason: %v", err)
	}
	if r := must(t)(h.Decide(id, by("驻点", 4, "风险太大"), Decision{PartyA: "王处"})); r.State != Diagnosing {
		t.Errorf("refused: %s", r.State)
	}
	if _, err := h.Decide(id, by("驻点", 5, ""), Decision{Consent: true, PartyA: "王处"}); !errors.As(err, &c) || c.What != "nothing_asked" {
		t.Errorf("decided twice: %v", err)
	}
	must(t)(h.Propose(id, by("驻点", 6, ""), proposal))
	h.see(good(10))
	h.tick(21)
	h.see(down(30))
	r := mustGet(h, id)
	if r.State != Acknowledged || r.waiting() != nil || r.Clocks(after(40)).Recovery.Waiting {
		t.Errorf("back after it ended by itself: %s, %+v", r.State, r.Consents)
	}
	if got := r.Clocks(after(40)).Recovery.Paused; got != 7*time.Minute { // 1 to 4, 6 to 10
		t.Errorf("paused %v", got)
	}
	folded(t, h, id)
}

// Party A confirms, or nobody objects for three working days; then it can be filed. A refusal opens it again and the clock
// goes on from its start.
func TestConfirmation(t *testing.T) {
	calendar, err := contract.LoadCalendar(shanghai(t))
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.Configure(Settings{Services: services, Working: func(at time.Time) *contract.Working { return calendar.Working(contract.Office{}, at) }})
	id := h.see(down(0)).ID // Monday 23 November 2026, 17:00 in Shanghai
	h.see(good(30))
	h.tick(41)
	r := mustGet(h, id)
	if want := time.Date(2026, 11, 26, 16, 0, 0, 0, time.UTC); !r.ConfirmDue.Equal(want) { // the end of Thursday
		t.Fatalf("confirmed by default at %v, want %v", r.ConfirmDue, want)
	}
	var bad *BadAct
	if _, err := h.Archive(id, by("驻点", 50, ""), Account{Cause: "c", Category: Software, Handling: "h"}); !errors.As(err, &bad) || bad.Field != "party_a" {
		t.Errorf("archived unconfirmed: %v", err)
	}
	r = must(t)(h.Refuse(id, by("驻点", 60, "用户仍打不开"), Confirmation{"王处"}))
	if r.State != Acknowledged && r.State != Detected || !r.RecoveredAt.IsZero() || !r.RecoveryDue.Equal(after(240)) {
		t.Errorf("refused: %+v", r)
	}
	r = must(t)(h.Resolve(id, by("驻点", 90, "用户确认可用"), Account{Cause: "缓存", Handling: "清理"}))
	if r.State != Recovered || !r.Provisional {
		t.Errorf("declared: %s", r.State)
	}
	if err := h.Tick(r.ConfirmDue); err != nil {
		t.Fatal(err)
	}
	r = mustGet(h, id)
	if r.State != Confirmed || r.ConfirmedBy != "" || !r.ConfirmedAt.Equal(r.ConfirmDue) {
		t.Errorf("by default: %+v", r)
	}
	if _, err := h.Archive(id, Act{Person: "驻点", At: r.ConfirmedAt}, Account{}); !errors.As(err, &bad) || bad.Field != "category" {
		t.Errorf("archived without a category: %v", err)
	}
	r = must(t)(h.Archive(id, Act{Person: "驻点", At: r.ConfirmedAt}, Account{Category: Software}))
	if r.State != Archived || r.Cause != "缓存" {
		t.Errorf("archived: %+v", r)
	}
	folded(t, h, id)
}

func shanghai(t testing.TB) *time.Location {
	loc, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// A false alarm takes two people, and counts unless party A agrees. Its check may go on failing as it did without a new
// incident; when it has been good in between, it is news.
func TestFalseAlarm(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	var bad *BadAct
	var c *Conflict
	if _, err := h.Dismiss(id, by("二线", 1, ""), Dismissal{}); !errors.As(err, &c) || c.What != "not_doubted" {
		t.Errorf("dismissed without a doubt: %v", err)
	}
	must(t)(h.Doubt(id, by("驻点", 2, "检查配置有误"), Dismissal{}))
	for _, same := range []string{"驻点", " 驻点 "} {
		if _, err := h.Dismiss(id, by(same, 3, ""), Dismissal{}); !errors.As(err, &bad) || bad.Field != "person" {
			t.Errorf("the same person %q: %v", same, err)
		}
	}
	r := must(t)(h.Dismiss(id, by("二线", 4, ""), Dismissal{PartyA: "王处"}))
	if r.State != FalseAlarm || r.Counts() || !r.Muted || r.Clocks(after(1000)).Recovery.Open {
		t.Errorf("dismissed: %+v", r)
	}
	s := down(0)
	s.Detail = "503 from the gateway"
	s.At = after(10)
	if r, changed, _ := h.Observe(after(10), s); changed || r.ID != id {
		t.Error("the same trouble opened something")
	}
	h.see(good(12))
	if again := h.see(down(20)); again.ID != id || !again.Open() || !again.Counts() {
		t.Errorf("news: %s %s", again.ID, again.State)
	}
	if got := h.pages(); got != "opened dismissed reopened" {
		t.Errorf("pages %s", got)
	}
	folded(t, h, id)
}

// A workaround counts as recovery when party A agrees, though its check still fails, or when the check does.
func TestWorkaround(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	w := Workaround{Measure: "走备用签章", FollowUp: "修复主签章"}
	var bad *BadAct
	if _, err := h.Bypass(id, by("驻点", 10, ""), w); !errors.As(err, &bad) || bad.Field != "party_a" {
		t.Errorf("nobody agrees: %v", err)
	}
	w.PartyA = "王处"
	r := must(t)(h.Bypass(id, by("驻点", 10, ""), w))
	if r.State != Recovered || !r.RecoveredAt.Equal(after(10)) || !r.Muted {
		t.Errorf("bypassed: %+v", r)
	}
	if _, changed, _ := h.Observe(after(15), down(0)); changed {
		t.Error("what is known is told again")
	}
	h.see(good(30))
	if r := h.see(down(35)); r.ID != id || !r.Open() || r.Workaround != nil {
		t.Errorf("it broke: %+v", r)
	}
	h.see(good(40))
	w.PartyA = ""
	must(t)(h.Bypass(id, by("驻点", 41, ""), w))
	h.tick(51)
	if r := mustGet(h, id); r.State != Recovered || r.Workaround == nil || !r.RecoveredAt.Equal(after(40)) {
		t.Errorf("the check agrees: %+v", r)
	}
	folded(t, h, id)
}

// More time is for general faults, before the old deadline, with party A's name (R8). The reminders begin anew with it.
func TestExtension(t *testing.T) {
	h := newHouse(t)
	id := h.see(slow(0)).ID
	must(t)(h.Ack(id, by("驻点", 1, "")))
	var bad *BadAct
	var c *Conflict
	for _, x := range []Extension{{after(480), "王处"}, {after(600), ""}} {
		if _, err := h.Extend(id, by("驻点", 100, "等备件"), x); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", x, err)
		}
	}
	h.tick(300)
	r := must(t)(h.Extend(id, by("驻点", 470, "等备件"), Extension{after(960), "王处"}))
	if !r.RecoveryDue.Equal(after(960)) || r.Breached() || !r.Extensions[0].Was.Equal(after(480)) {
		t.Errorf("extended: due %v", r.RecoveryDue)
	}
	h.tick(961)
	if r = mustGet(h, id); len(r.Breaches) != 1 || r.Level != contract.Urgent {
		t.Errorf("missed: %v, level %s", r.Breaches, r.Level)
	}
	var shares []string
	_, es := h.get(id)
	for _, e := range es {
		if e.Kind == EventWarned {
			shares = append(shares, fmt.Sprintf("%d@%v", e.Warning.Share, e.Of.Sub(nine).Minutes()))
		}
	}
	if diff := cmp.Diff([]string{"50@240", "75@360", "90@432", "50@480", "75@720", "90@864"}, shares); diff != "" {
		t.Errorf("reminders:\n%s", diff)
	}
	urgent := h.see(fails("sms", 0, 970)).ID
	if _, err := h.Extend(urgent, by("驻点", 971, "x"), Extension{after(2000), "王处"}); !errors.As(err, &bad) || bad.Field != "until" {
		t.Errorf("urgent: %v", err)
	}
	other := slow(0)
	other.Service = "documents"
	late := h.see(other).ID
	if _, err := h.Extend(late, by("驻点", 480.1, "x"), Extension{after(2000), "王处"}); !errors.As(err, &c) || c.What != "overdue" {
		t.Errorf("after the deadline: %v", err)
	}
}

// Waiting for others pauses only where the contract says so.
func TestPauseForOthers(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	var bad *BadAct
	if _, err := h.Pause(id, by("驻点", 1, "等厂商"), Pausing{contract.ThirdParty}); !errors.As(err, &bad) || bad.Field != "why" {
		t.Errorf("not agreed: %v", err)
	}
	terms := contract.DefaultTerms()
	terms.PauseThirdParty = true
	h.Configure(Settings{Services: services, Terms: terms})
	id = h.see(fails("sms", 10, 10)).ID
	must(t)(h.Pause(id, by("驻点", 20, "等厂商"), Pausing{contract.ThirdParty}))
	r := must(t)(h.Resume(id, by("驻点", 50, "厂商到了"), Pausing{contract.ThirdParty}))
	if !r.RecoveryDue.Equal(after(280)) || len(r.Pauses) != 1 || !r.Pauses[0].To.Equal(after(50)) {
		t.Errorf("due %v, pauses %+v", r.RecoveryDue, r.Pauses)
	}
	folded(t, h, id)
}

func TestSmallActs(t *testing.T) {
	h := newHouse(t)
	id := h.see(down(0)).ID
	a := by("驻点", 30, "堵车")
	r := must(t)(h.Arrive(id, a, Arrival{after(20)}))
	if !r.ArrivedAt.Equal(after(20)) || r.ArrivedBy != "驻点" || r.AckBy != "驻点" {
		t.Errorf("arrived %+v", r)
	}
	r = must(t)(h.RecordImpact(id, by("驻点", 31, ""), Impact{Departments: "办公室", People: 40}))
	if r.Impact.People != 40 {
		t.Errorf("impact %+v", r.Impact)
	}
	if r = must(t)(h.Excuse(id, by("驻点", 32, "上级平台故障"), Excuse{ExcusedUpstream, "王处"})); r.Counts() {
		t.Error("excused and counted")
	}
}

// Of many acts at once one wins and the others are told; nothing is lost, whatever the act.
func TestManyActsAtOnce(t *testing.T) {
	h := newHouse(t)
	h.Configure(Settings{Services: services, Emergency: []string{"重启服务"}})
	for name, c := range map[string]struct {
		before func(id string)
		act    func(id string, a Act) (Record, error)
	}{
		"ack":     {nil, h.Ack},
		"propose": {nil, func(id string, a Act) (Record, error) { return h.Propose(id, a, proposal) }},
		"decide": {func(id string) { must(t)(h.Propose(id, by("驻点", 1, ""), proposal)) }, func(id string, a Act) (Record, error) {
			return h.Decide(id, a, Decision{Consent: true, PartyA: a.Person})
		}},
		"doubt":   {nil, func(id string, a Act) (Record, error) { return h.Doubt(id, a, Dismissal{}) }},
		"bypass":  {nil, func(id string, a Act) (Record, error) { return h.Bypass(id, a, Workaround{"m", "f", "p"}) }},
		"resolve": {nil, func(id string, a Act) (Record, error) { return h.Resolve(id, a, account) }},
		"level":   {nil, func(id string, a Act) (Record, error) { return h.SetLevel(id, a, Grading{Level: contract.Urgent}) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := fails("s-"+name, 0, 0)
			id := h.see(s).ID
			if c.before != nil {
				c.before(id)
			}
			seen := mustGet(h, id).Version
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for i := range 64 {
				wg.Go(func() {
					a := by(fmt.Sprintf("p%d", i), 2, "why")
					a.Version = seen
					_, err := c.act(id, a)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if !errors.Is(err, ErrConflict) {
						t.Errorf("%v", err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("%d won", won)
			}
			folded(t, h, id)
		})
	}
}
