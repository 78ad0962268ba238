package incident

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

func phoned(level contract.Level) Opening {
	return Opening{Service: "signature", Level: level, Detail: "盖章报错", Reporter: "办公室 陈"}
}

// Of two people who act at once one wins and the other is told who it was (FAULTS 58).
func TestConcurrentActs(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	var won, told atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			_, err := h.Ack(r.ID, by(fmt.Sprintf("person %d", i), 1, ""))
			var c *Conflict
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &c) && c.What == "acknowledged" && strings.HasPrefix(c.Person, "person ") && c.At.Equal(after(1)):
				told.Add(1)
			default:
				t.Errorf("ack: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || told.Load() != 63 {
		t.Errorf("%d won, %d were told", won.Load(), told.Load())
	}
	if _, es := h.get(r.ID); kinds(es) != "opened acknowledged" {
		t.Errorf("events %s", kinds(es))
	}
}

// No note is lost, however many write at once.
func TestNoLostUpdates(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if _, err := h.Note(r.ID, by("驻点", 1, fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r, es := h.get(r.ID); len(es) != 65 || r.Version != 65 {
		t.Errorf("%d events, version %d", len(es), r.Version)
	}
}

// A person who acts on what an old page shows is told that it changed.
func TestStaleVersion(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	must(t)(h.Note(r.ID, by("驻点", 1, "先看一下")))
	a := by("二线", 2, "")
	a.Version = r.Version
	_, err := h.Ack(r.ID, a)
	var c *Conflict
	if !errors.As(err, &c) || !errors.Is(err, ErrConflict) || c.What != "changed" || c.Version != 2 || c.Person != "驻点" {
		t.Fatalf("got %v", err)
	}
	a.Version = c.Version
	worse := down(3)
	worse.Detail = "连接被拒绝"
	if r := h.see(worse); r.Version <= c.Version {
		t.Fatal("the symptom said nothing new")
	} // which is no reason to send a person back
	must(t)(h.Ack(r.ID, a))
}

// Every act names a person, and what is missing is named with its remedy in both languages.
func TestBadActs(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	person := by("驻点", 5, "")
	reason := by("驻点", 5, "理由")
	for name, c := range map[string]struct {
		field string
		act   func() (Record, error)
	}{
		"ack by nobody":        {"person", func() (Record, error) { return h.Ack(r.ID, by(" ", 5, "")) }},
		"name too long":        {"person", func() (Record, error) { return h.Ack(r.ID, by(strings.Repeat("x", 200), 5, "")) }},
		"empty note":           {"note", func() (Record, error) { return h.Note(r.ID, person) }},
		"level without reason": {"note", func() (Record, error) { return h.SetLevel(r.ID, person, Grading{Level: contract.Urgent}) }},
		"no such level":        {"level", func() (Record, error) { return h.SetLevel(r.ID, reason, Grading{Level: "grave"}) }},
		"lowered alone":        {"party_a", func() (Record, error) { return h.SetLevel(r.ID, reason, Grading{Level: contract.Minor}) }},
		"agreed for urgent": {"agreed", func() (Record, error) {
			return h.SetLevel(r.ID, reason, Grading{Level: contract.Urgent, Agreed: contract.Limits{Recover: time.Hour}})
		}},
		"resolved without cause":    {"cause", func() (Record, error) { return h.Resolve(r.ID, person, Account{Handling: "x"}) }},
		"resolved without handling": {"handling", func() (Record, error) { return h.Resolve(r.ID, person, Account{Cause: "x"}) }},
		"declared without reason": {"note", func() (Record, error) {
			return h.Resolve(r.ID, person, Account{Cause: "x", Handling: "y", Declare: true})
		}},
		"reopened without reason": {"note", func() (Record, error) { return h.Reopen(r.ID, person) }},
		"opened without detail":   {"detail", func() (Record, error) { return h.Open(person, Opening{Service: "x", Level: contract.Minor}) }},
		"opened without service":  {"service", func() (Record, error) { return h.Open(person, Opening{Detail: "x", Level: contract.Minor}) }},
		"opened without level":    {"level", func() (Record, error) { return h.Open(person, Opening{Service: "x", Detail: "x"}) }},
		"reported by nobody":      {"reporter", func() (Record, error) { return h.Report(r.ID, person, Report{}) }},
		"reported in the future": {"reported_at", func() (Record, error) {
			return h.Report(r.ID, reason, Report{Reporter: "陈", ReportedAt: after(6)})
		}},
		"reported too far back": {"reported_at", func() (Record, error) {
			return h.Report(r.ID, reason, Report{Reporter: "陈", ReportedAt: after(-24 * 60)})
		}},
		"back-dated without reason": {"note", func() (Record, error) {
			return h.Report(r.ID, person, Report{Reporter: "陈", ReportedAt: after(-5)})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.act()
			var bad *BadAct
			if !errors.As(err, &bad) || !errors.Is(err, ErrBadAct) || bad.Field != c.field {
				t.Fatalf("got %v", err)
			}
			for _, lang := range i18n.Languages {
				if p := i18n.For(lang); !p.Has(bad.Key) || strings.Contains(bad.Text(p), "{") {
					t.Errorf("%s: %q", lang, bad.Text(p))
				}
			}
		})
	}
	if got, _ := h.get(r.ID); got.Version != r.Version {
		t.Error("a refused act left something behind")
	}
	if _, err := h.Ack("INC-20000101-0001", person); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown incident: %v", err)
	}
}

// The breach that time brought before an act is written before it.
func TestLateAck(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	r = must(t)(h.Ack(r.ID, by("驻点", 12, "")))
	_, es := h.get(r.ID)
	if kinds(es) != "opened breached acknowledged" || !r.Breaches[0].At.Equal(after(10)) {
		t.Errorf("events %s, breaches %v", kinds(es), r.Breaches)
	}
}

// A phoned-in fault has no check: the engineer declares its end, and the clock started with the call (R1, R2, R5).
func TestPhonedIn(t *testing.T) {
	h := newHouse(t)
	o := phoned(contract.Urgent)
	o.ReportedAt = after(-20)
	r := must(t)(h.Open(by("驻点", 0, "电话先记在纸上"), o))
	if !r.SLAStart.Equal(after(-20)) || !r.PersonLevel || r.OpenedBy != "驻点" || r.Reporter != "办公室 陈" || r.Linked {
		t.Errorf("opened %+v", r)
	}
	if len(r.Breaches) != 1 || !r.Breaches[0].At.Equal(after(-10)) {
		t.Errorf("breaches %v", r.Breaches)
	}
	if again := h.see(good(5)); again.Version != r.Version {
		t.Error("a check that never failed ended it")
	}
	var c *Conflict
	if _, err := h.Archive(r.ID, by("驻点", 20, ""), Account{Category: Software, PartyA: "王处", Cause: "c", Handling: "h"}); !errors.As(err, &c) || c.What != "failing" {
		t.Errorf("closed while failing: %v", err)
	}
	r = must(t)(h.Resolve(r.ID, by("驻点", 30, ""), Account{Cause: "驱动", Handling: "重装"}))
	if r.State != Recovered || !r.Provisional || !r.RecoveredAt.Equal(after(30)) || r.AckBy != "驻点" || r.ResolvedBy != "驻点" {
		t.Errorf("resolved %+v", r)
	}
	r = must(t)(h.Reopen(r.ID, by("王处", 45, "用户说还是不行")))
	if !r.Open() || r.State != Acknowledged || !r.SLAStart.Equal(after(-20)) {
		t.Errorf("reopened %+v", r)
	}
	if got := h.pages(); got != "opened breached recovered reopened" {
		t.Errorf("pages %s", got)
	}
}

// What a user calls about and monitoring sees later is one incident; monitoring then says when it is over.
func TestPhonedThenSeen(t *testing.T) {
	h := newHouse(t)
	r := must(t)(h.Open(by("驻点", 0, ""), phoned(contract.General)))
	s := down(5)
	r2 := h.see(s)
	if r2.ID != r.ID || !r2.Linked || !r2.SLAStart.Equal(nine) || !r2.DetectedAt.Equal(after(5)) || r2.Proposed != contract.Urgent || r2.Level != contract.General {
		t.Errorf("seen %+v", r2)
	}
	if f := r2.Finding(); f.Key() != r2.Key || !f.Firing || f.Key() != s.Key() {
		t.Errorf("finding %+v of %s", f, r2.Key)
	}
	r2 = must(t)(h.Resolve(r.ID, by("驻点", 10, ""), Account{Cause: "c", Handling: "h"}))
	if !r2.Open() {
		t.Error("a watched fault was over by declaration")
	}
	r2 = must(t)(h.Resolve(r.ID, by("驻点", 11, "检查目标已下线"), Account{Cause: "c", Handling: "h", Declare: true}))
	if r2.State != Recovered || !r2.Provisional {
		t.Errorf("declared %+v", r2)
	}
}

// A call about a fault that is open belongs to it and can only move the start earlier.
func TestReport(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	var c *Conflict
	if _, err := h.Open(by("驻点", 2, ""), phoned(contract.Urgent)); !errors.As(err, &c) || c.What != "open" || c.Incident != r.ID {
		t.Fatalf("opened beside: %v", err)
	}
	must(t)(h.Ack(r.ID, by("驻点", 4, "")))
	r = must(t)(h.Report(r.ID, by("驻点", 5, "忙于处理，补记"), Report{Reporter: "陈", ReportedAt: after(-7)}))
	if !r.SLAStart.Equal(after(-7)) || len(r.Breaches) != 1 || !r.Breaches[0].At.Equal(after(3)) {
		t.Errorf("reported %+v", r)
	}
	r = must(t)(h.Report(r.ID, by("驻点", 6, ""), Report{Reporter: "林"}))
	if !r.SLAStart.Equal(after(-7)) || r.Reporter != "陈" {
		t.Errorf("a later call moved the start: %+v", r)
	}
	if _, err := h.Report(r.ID, by("驻点", 6.5, ""), Report{Reporter: "陈", PartyA: "王主任"}); !errors.Is(err, ErrBadAct) {
		t.Errorf("corrected without a reason: %v", err)
	}
	r = must(t)(h.Report(r.ID, by("驻点", 6.6, "陈记错了时间"), Report{Reporter: "陈", ReportedAt: after(-2), PartyA: "王主任"}))
	if !r.SLAStart.Equal(after(-2)) || !r.ReportedAt.Equal(after(-2)) || len(r.Breaches) != 0 {
		t.Errorf("party A agreed to a later time: start %v, %+v", r.SLAStart, r.Breaches)
	}
	o := phoned(contract.Urgent)
	o.Separate = true
	if other := must(t)(h.Open(by("驻点", 7, ""), o)); other.ID == r.ID {
		t.Error("not separate")
	}
	if wish := must(t)(h.Open(by("驻点", 7, ""), phoned(contract.Minor))); wish.ID == r.ID || !wish.RecoveryDue.IsZero() {
		t.Errorf("wish %+v", wish)
	}
}

func TestReopenConflicts(t *testing.T) {
	h := newHouse(t)
	old := h.see(down(0))
	if _, err := h.Reopen(old.ID, by("王处", 1, "x")); !errors.Is(err, ErrConflict) {
		t.Errorf("reopened an open one: %v", err)
	}
	h.see(good(1))
	h.tick(12)
	var c *Conflict
	if _, err := h.Open(by("驻点", 20, ""), phoned(contract.Urgent)); !errors.As(err, &c) || c.What != "recovered" {
		t.Errorf("opened right after recovery: %v", err)
	}
	fresh := h.see(down(60))
	if _, err := h.Reopen(old.ID, by("王处", 61, "x")); !errors.As(err, &c) || c.Incident != fresh.ID {
		t.Errorf("reopened beside %s: %v", fresh.ID, err)
	}
	h.see(good(61))
	h.tick(80)
	r := must(t)(h.Archive(fresh.ID, by("驻点", 90, ""), Account{Category: Software, PartyA: "王处", Cause: "c", Handling: "h"}))
	if _, err := h.Ack(r.ID, by("驻点", 91, "")); !errors.As(err, &c) || c.What != "closed" || c.Person != "驻点" {
		t.Errorf("acknowledged a closed one: %v", err)
	}
	must(t)(h.Note(r.ID, by("驻点", 92, "归档后补充")))
	r = must(t)(h.Reopen(r.ID, by("王处", 93, "又坏了")))
	if !r.Open() || r.Linked || !r.ClosedAt.IsZero() {
		t.Errorf("reopened %+v", r)
	}
	if r = h.see(down(95)); r.ID != fresh.ID || !r.Linked {
		t.Errorf("seen again %+v", r)
	}
}

func TestAgreedTime(t *testing.T) {
	h := newHouse(t)
	r := must(t)(h.Open(by("驻点", 0, ""), phoned(contract.Minor)))
	r = must(t)(h.SetLevel(r.ID, by("驻点", 1, "约定两小时"), Grading{Level: contract.Minor, Agreed: contract.Limits{Recover: 2 * time.Hour}}))
	if !r.RecoveryDue.Equal(after(120)) {
		t.Errorf("due %v", r.RecoveryDue)
	}
	h.tick(121)
	if r, _ = h.get(r.ID); len(r.Breaches) != 1 || r.Breaches[0].Level != contract.Minor {
		t.Errorf("breaches %v", r.Breaches)
	}
}

func TestConflictTexts(t *testing.T) {
	for _, what := range []string{"acknowledged", "changed", "closed", "open", "recovered", "failing"} {
		c := &Conflict{What: what, Incident: "INC-1", At: nine}
		for _, lang := range i18n.Languages {
			if text := c.Text(i18n.For(lang), time.FixedZone("", 8*3600)); !strings.Contains(text, "INC-1") || !strings.Contains(text, "17:00:00") || strings.Contains(text, "{") {
				t.Errorf("%s %s: %s", what, lang, text)
			}
		}
	}
}

// Every kind of event, state, clock and class has a name for people.
func TestNamesForPeople(t *testing.T) {
	var keys []string
	for _, k := range EventKinds {
		keys = append(keys, "incident.event."+string(k))
	}
	for _, s := range States {
		keys = append(keys, "incident.state."+string(s))
	}
	for _, c := range Categories {
		keys = append(keys, "incident.category."+string(c))
	}
	for _, e := range Excuses {
		keys = append(keys, "incident.excused."+string(e))
	}
	for _, r := range contract.Reasons {
		keys = append(keys, "incident.pause."+string(r))
	}
	for _, p := range PageKinds {
		keys = append(keys, "pager.kind."+string(p), "pager.summary."+string(p))
	}
	for c := range weights {
		keys = append(keys, "common.class."+string(c))
	}
	keys = append(keys, "incident.clock."+string(contract.Response), "incident.clock."+string(contract.Recovery))
	for _, k := range keys {
		if !i18n.For("zh-CN").Has(k) {
			t.Errorf("no text for %s", k)
		}
	}
	if len(weights) != 11 || weights[symptom.Down] == 0 {
		t.Error("a class has no weight")
	}
}

// An acknowledgement says with what, from where, and how long after the page it came; without a page of the person's own
// that is the incident's opening.
func TestAckBearsTheWay(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		told, want time.Time
	}{{after(2), after(2)}, {time.Time{}, after(0)}, {after(30), after(0)}} {
		s := down(0)
		s.Service = "svc" + fmt.Sprint(c.told.Unix())
		r := h.see(s)
		a := by("驻点", 5, "")
		a.Via, a.Device, a.Address, a.PagedAt = "link", strings.Repeat("x", 500), "192.0.2.7", c.told
		must(t)(h.Ack(r.ID, a))
		_, es := h.get(r.ID)
		e := es[len(es)-1]
		if e.Kind != EventAcknowledged || e.Via != "link" || len(e.Device) != 200 || e.Address != "192.0.2.7" || !e.PagedAt.Equal(c.want) {
			t.Errorf("told %v: %+v", c.told, e)
		}
	}
}
