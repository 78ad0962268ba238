package incident

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

var (
	nine     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) // 17:00 in Shanghai
	services = []check.Service{{Name: "signature", ZH: "签章服务", EN: "Signature service", Key: true}, {Name: "sms", ZH: "短信服务", EN: "SMS service", Key: true}}
)

// house is a desk with its store, which can be closed and opened again.
type house struct {
	*Desk
	t    testing.TB
	path string
	db   *store.DB

	steady   func() (time.Time, time.Duration) // nil: the machine's
	settings Settings
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, path: filepath.Join(t.TempDir(), "records.db"), settings: Settings{Services: services}}
	h.reopen()
	t.Cleanup(func() { h.db.Close() })
	return h
}

func (h *house) reopen() {
	h.t.Helper()
	if h.db != nil {
		if err := h.db.Close(); err != nil {
			h.t.Fatal(err)
		}
	}
	var err error
	if h.db, err = store.Open(h.path, store.Options{}); err != nil {
		h.t.Fatal(err)
	}
	if h.Desk, err = New(h.db, Options{Settings: h.settings, Steady: h.steady}); err != nil {
		h.t.Fatal(err)
	}
}

// after is a time so many minutes past nine.
func after(minutes float64) time.Time { return nine.Add(time.Duration(minutes * float64(time.Minute))) }

func down(since float64) symptom.Symptom {
	return symptom.Symptom{
		Source: symptom.FromProbe, Service: "signature", Component: "sign-login", Class: symptom.Down, Level: contract.Urgent,
		Detail: "502 from the gateway", Firing: true, Since: after(since), At: after(since),
	}
}

func slow(since float64) symptom.Symptom {
	s := down(since)
	s.Class, s.Level, s.Detail = symptom.Slow, contract.General, "p95 2.4 s"
	return s
}

func good(since float64) symptom.Symptom {
	s := down(since)
	s.Firing, s.Detail = false, "ok"
	return s
}

// see observes a symptom at its own time and wants it taken in.
func (h *house) see(s symptom.Symptom) Record {
	h.t.Helper()
	r, _, err := h.Observe(s.At, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) tick(minutes float64) {
	h.t.Helper()
	if err := h.Tick(after(minutes)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) get(id string) (Record, []Event) {
	h.t.Helper()
	r, es, err := h.Get(id)
	if err != nil {
		h.t.Fatal(err)
	}
	return r, es
}

func by(person string, minutes float64, note string) Act {
	return Act{Person: person, At: after(minutes), Note: note, Via: "console"}
}

func must(t testing.TB) func(Record, error) Record {
	return func(r Record, err error) Record {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func kinds(es []Event) string {
	var out []string
	for _, e := range es {
		out = append(out, string(e.Kind))
	}
	return strings.Join(out, " ")
}

func (h *house) pages() string {
	h.t.Helper()
	ps, err := h.Outbox(0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for i, p := range ps {
		if p.Seq != uint64(i+1) {
			h.t.Errorf("page %d has number %d", i+1, p.Seq)
		}
		out = append(out, string(p.Kind))
	}
	return strings.Join(out, " ")
}

// The whole life of a fault: down, acknowledged, good again, verified, closed.
func TestLife(t *testing.T) {
	h := newHouse(t)
	s := down(0)
	s.At = after(0.5)
	r := h.see(s)
	if r.ID != "INC-20261123-0001" || r.State != Detected || r.Level != contract.Urgent || !r.FaultStart.Equal(nine) || !r.SLAStart.Equal(after(0.5)) {
		t.Fatalf("opened %+v", r)
	}
	if !r.ResponseDue.Equal(after(10.5)) || !r.RecoveryDue.Equal(after(240.5)) {
		t.Errorf("due %v, %v", r.ResponseDue, r.RecoveryDue)
	}
	r = must(t)(h.Ack(r.ID, by("驻点", 3, "")))
	if r.State != Acknowledged || r.AckBy != "驻点" || !r.AckAt.Equal(after(3)) || r.AckVia != "console" {
		t.Errorf("acknowledged %+v", r)
	}
	r = h.see(good(60))
	if r.State != Acknowledged || !r.VerifyingSince.Equal(after(60)) {
		t.Errorf("verifying %+v", r)
	}
	if at, ok := h.Next(); !ok || !at.Equal(after(70)) {
		t.Errorf("next %v %v", at, ok)
	}
	h.tick(69.9)
	if r, _ = h.get(r.ID); r.State != Acknowledged {
		t.Errorf("recovered before the time: %s", r.State)
	}
	h.tick(75)
	r, _ = h.get(r.ID)
	if r.State != Recovered || !r.RecoveredAt.Equal(after(60)) || r.Provisional || r.Breached() {
		t.Errorf("recovered %+v", r)
	}
	r = must(t)(h.Archive(r.ID, by("驻点", 90, ""), Account{Category: Software, PartyA: "王处", Cause: "证书过期", Handling: "更换证书"}))
	r, es := h.get(r.ID)
	if r.State != Archived || r.ClosedBy != "驻点" || r.Cause != "证书过期" {
		t.Errorf("closed %+v", r)
	}
	if got, want := kinds(es), "opened acknowledged verifying recovered confirmed archived"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if got, want := h.pages(), "opened recovered"; got != want {
		t.Errorf("pages %s, want %s", got, want)
	}
	if c := r.Clocks(after(1000)); !c.Response.Met || !c.Recovery.Met || c.Recovery.Net != after(60).Sub(after(0.5)) {
		t.Errorf("clocks %+v", c)
	}
}

// A fault back within 30 minutes of its recovery is the same incident and its clock goes on; later it is a new one (R9).
func TestRelapse(t *testing.T) {
	for name, c := range map[string]struct {
		again    float64
		ids      int
		relapses int
		events   string
	}{
		"while verified": {again: 65, ids: 1, relapses: 1, events: "opened verifying relapsed"},
		"after 30 min":   {again: 90, ids: 1, relapses: 1, events: "opened breached verifying recovered reopened"},
		"later":          {again: 90.1, ids: 2, events: "opened"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			first := h.see(down(0))
			h.see(good(60))
			if c.again > 70 {
				h.tick(70)
			}
			r := h.see(down(c.again))
			if got := (r.ID != first.ID); got != (c.ids == 2) {
				t.Errorf("incident %s after %s", r.ID, first.ID)
			}
			if c.ids == 2 && (r.RecurrenceOf != first.ID || !r.SLAStart.Equal(after(c.again))) {
				t.Errorf("recurrence of %q, start %v", r.RecurrenceOf, r.SLAStart)
			}
			if c.ids == 1 && (!r.SLAStart.Equal(nine) || r.State != Detected || r.Relapses != c.relapses || !r.RecoveredAt.IsZero()) {
				t.Errorf("same incident: %+v", r)
			}
			_, es := h.get(r.ID)
			if got := kinds(slices.DeleteFunc(es, func(e Event) bool { return e.Kind == EventBreached })); got != strings.ReplaceAll(c.events, "breached ", "") {
				t.Errorf("events %s, want %s", got, c.events)
			}
		})
	}
}

// Good for long enough before it failed again, though nobody ticked in between: it did recover.
func TestRelapseWithoutTick(t *testing.T) {
	h := newHouse(t)
	first := h.see(down(0))
	h.see(good(60))
	s := down(120) // fifty minutes after the verification was over
	r := h.see(s)
	if r.ID == first.ID || r.RecurrenceOf != first.ID {
		t.Errorf("incident %s, recurrence of %q", r.ID, r.RecurrenceOf)
	}
	old, _ := h.get(first.ID)
	if old.State != Recovered || !old.RecoveredAt.Equal(after(60)) {
		t.Errorf("old one %s at %v", old.State, old.RecoveredAt)
	}
}

// The deadline is written down at its own time, however late the tick comes (R16).
func TestBreachTime(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	h.tick(10)
	if r, _ = h.get(r.ID); r.Breached() {
		t.Error("breached at the limit itself")
	}
	h.reopen()
	h.tick(500)
	r, es := h.get(r.ID)
	want := []contract.Breach{{Clock: contract.Response, Level: contract.Urgent, At: after(10)}, {Clock: contract.Recovery, Level: contract.Urgent, At: after(240)}}
	if diff := cmp.Diff(want, r.Breaches); diff != "" {
		t.Errorf("breaches (-want +got):\n%s", diff)
	}
	if last := es[len(es)-1]; !last.Of.Equal(after(240)) || !last.At.Equal(after(500)) {
		t.Errorf("breach written at %v of %v", last.At, last.Of)
	}
	h.tick(501)
	if again, _ := h.get(r.ID); again.Version != r.Version {
		t.Error("a second tick wrote more")
	}
}

// A good sample from before the deadline that arrives after it takes the breach back, by an event.
func TestLateGoodSample(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	must(t)(h.Ack(r.ID, by("驻点", 3, "")))
	h.tick(240.2)
	if r, _ = h.get(r.ID); !r.Breached() {
		t.Fatal("no breach")
	}
	s := good(239.9)
	s.At = after(240.5)
	h.see(s)
	r, es := h.get(r.ID)
	if r.Breached() || kinds(es) != "opened acknowledged warned warned warned breached verifying corrected" {
		t.Errorf("breaches %v after %s", r.Breaches, kinds(es))
	}
}

// One service in trouble is one incident, whatever sees it; a graver finding raises its level.
func TestGrouping(t *testing.T) {
	h := newHouse(t)
	r := h.see(slow(0))
	if _, changed, _ := h.Observe(after(1), slow(0)); changed {
		t.Error("a repeated symptom changed something")
	}
	s := down(20)
	s.Component = "other-check"
	r2 := h.see(s)
	if r2.ID != r.ID || r2.Level != contract.Urgent || r2.Class != symptom.Down || r2.PersonLevel {
		t.Errorf("escalated %+v", r2)
	}
	if !r2.ResponseDue.Equal(after(30)) || !r2.RecoveryDue.Equal(after(260)) {
		t.Errorf("due %v %v", r2.ResponseDue, r2.RecoveryDue)
	}
	if r3 := h.see(slow(30)); r3.Level != contract.Urgent || r3.Class != symptom.Down || r3.LastClass != symptom.Slow {
		t.Errorf("lowered by a machine: %+v", r3)
	}
	if got := h.pages(); got != "opened escalated" {
		t.Errorf("pages %s", got)
	}
	other := down(21)
	other.Service = "sms"
	if r4 := h.see(other); r4.ID != "INC-20261123-0002" {
		t.Errorf("another service: %s", r4.ID)
	}
}

// Once a person has set the level machines only propose (§4.1).
func TestPersonLevel(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	r = must(t)(h.SetLevel(r.ID, by("二线", 1, "只影响测试环境"), Grading{Level: contract.General, PartyA: "王处"}))
	if r.Level != contract.General || !r.PersonLevel || !r.RecoveryDue.Equal(after(480)) {
		t.Errorf("graded %+v", r)
	}
	s := down(2)
	s.Detail = "worse"
	if r = h.see(s); r.Level != contract.General || r.Proposed != contract.Urgent {
		t.Errorf("level %s, proposed %q", r.Level, r.Proposed)
	}
	h.see(s)
	if got := h.pages(); got != "opened proposed" {
		t.Errorf("pages %s", got)
	}
	r = must(t)(h.SetLevel(r.ID, by("二线", 5, "同意升级"), Grading{Level: contract.Urgent}))
	if r.Level != contract.Urgent || r.Proposed != "" {
		t.Errorf("raised %+v", r)
	}
	if got := h.pages(); got != "opened proposed escalated" {
		t.Errorf("pages %s", got)
	}
}

// Unknown is never up: it breaks a verification, does not end an outage, and does not reopen one.
func TestUnknown(t *testing.T) {
	h := newHouse(t)
	unknown := func(at float64) symptom.Symptom {
		s := down(at)
		s.Class, s.Level, s.Detail = symptom.Unknown, contract.Minor, "agent is silent"
		return s
	}
	h.see(down(0))
	h.see(good(5))
	r := h.see(unknown(8))
	if !r.Open() || !r.VerifyingSince.IsZero() || r.Relapses != 0 {
		t.Errorf("unknown while verifying: %+v", r)
	}
	h.tick(30)
	if r, _ = h.get(r.ID); !r.Open() {
		t.Error("recovered while nobody could see")
	}
	h.see(good(40))
	h.tick(50)
	if again := h.see(unknown(55)); again.ID == r.ID || again.Level != contract.Minor {
		t.Errorf("unknown after recovery: %s %s", again.ID, again.Level)
	}
}

func TestGap(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	h.see(good(5))
	h.reopen()
	if err := h.Gap(after(6), after(6.5)); err != nil {
		t.Fatal(err)
	}
	if r, _ = h.get(r.ID); r.VerifyingSince.IsZero() {
		t.Error("a quick restart broke the verification")
	}
	if err := h.Gap(after(6), after(60)); err != nil {
		t.Fatal(err)
	}
	h.tick(61)
	if r, _ = h.get(r.ID); !r.Open() || !r.VerifyingSince.IsZero() {
		t.Errorf("recovered across a gap: %+v", r)
	}
	h.see(good(61))
	h.tick(72)
	if r, _ = h.get(r.ID); !r.RecoveredAt.Equal(after(61)) {
		t.Errorf("recovered at %v", r.RecoveredAt)
	}
}

// A wall clock that steps back never makes time run backwards in a record.
func TestClockStepsBack(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	r = must(t)(h.Ack(r.ID, by("驻点", -60, "")))
	if !r.AckAt.Equal(nine) {
		t.Errorf("acknowledged at %v", r.AckAt)
	}
}

func TestSubscribe(t *testing.T) {
	h := newHouse(t)
	changed, stop := h.Subscribe()
	h.see(down(0))
	h.see(good(1))
	if len(changed) != 1 {
		t.Fatalf("%d signals", len(changed))
	}
	<-changed
	stop()
	h.see(down(2))
	if len(changed) != 0 {
		t.Error("a signal after the end")
	}
}
