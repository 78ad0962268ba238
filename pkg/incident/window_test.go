package incident

import (
	"errors"
	"testing"
	"time"
)

func window(from, to float64) Window {
	return Window{Services: []string{"signature"}, From: after(from), To: after(to), Reason: "版本升级", PartyA: "王处", Approval: "BG-7"}
}

// Within an approved window nothing opens in its scope; what still fails at its end does, from there (R14).
func TestWindow(t *testing.T) {
	h := newHouse(t)
	w, err := h.Plan(by("驻点", 0, ""), window(10, 70))
	if err != nil {
		t.Fatal(err)
	}
	sms := fails("sms", 20, 20)
	if _, changed, err := h.Observe(after(20), down(20)); changed || err != nil {
		t.Errorf("opened within the window: %v", err)
	}
	if r := h.see(sms); !r.Open() {
		t.Error("outside of the scope")
	}
	h.reopen()
	if held := h.Held(); len(held) != 1 || held[0].Service != "signature" {
		t.Fatalf("held after a restart: %+v", held)
	}
	if at, ok := h.Next(); !ok || at.After(after(70)) {
		t.Errorf("next %v", at)
	}
	h.tick(71)
	open, _ := h.List(Filter{State: "open", Service: "signature"})
	if len(open) != 1 || open[0].Window != w.ID || !open[0].FaultStart.Equal(after(70)) || !open[0].SLAStart.Equal(after(70)) {
		t.Fatalf("at its end: %+v", open)
	}
	if len(h.Held()) != 0 {
		t.Error("still held")
	}
	if got := h.Planned("signature", "signature-status"); len(got) != 1 || got[0].From != after(10).UnixMilli() || len(h.Planned("sms", "sms-login")) != 0 {
		t.Errorf("planned %v", got)
	}
}

// What ended in time, began before, or is told before the window has begun.
func TestWindowEdges(t *testing.T) {
	h := newHouse(t)
	if _, err := h.Plan(by("驻点", 0, ""), window(10, 70)); err != nil {
		t.Fatal(err)
	}
	s := down(9)
	s.At = after(11)
	r := h.see(s)
	if !r.Open() {
		t.Error("began before the window, and was held")
	}
	must(t)(h.Resolve(r.ID, by("驻点", 12, "x"), Account{Cause: "c", Handling: "h", Declare: true}))
	if r := h.see(down(15)); !r.RecoveredAt.Equal(after(12)) && r.ID != "" {
		t.Errorf("relapse within the window: %+v", r)
	}
	h.see(good(20))
	h.tick(80)
	if open, _ := h.List(Filter{State: "open"}); len(open) != 0 {
		t.Errorf("ended in time, and opened: %+v", open[0])
	}
}

// A window is cancelled by an event; what fails then is a fault. Bad ones are refused, and those of the configuration are
// not touched here.
func TestCancelAndRefuse(t *testing.T) {
	h := newHouse(t)
	frozen := ""
	h.Configure(Settings{Services: services, Frozen: func(from, to time.Time) string { return frozen }, Planned: []Window{{From: after(0), To: after(5), Reason: "x"}}})
	w, err := h.Plan(by("驻点", 0, ""), window(10, 70))
	if err != nil {
		t.Fatal(err)
	}
	h.Observe(after(20), down(20))
	if _, err := h.CancelWindow(w.ID, by("驻点", 30, "")); !errors.Is(err, ErrBadAct) {
		t.Errorf("cancelled without a reason: %v", err)
	}
	if _, err := h.CancelWindow(w.ID, by("驻点", 30, "取消升级")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CancelWindow(w.ID, by("驻点", 31, "取消升级")); !errors.Is(err, ErrConflict) {
		t.Errorf("cancelled twice: %v", err)
	}
	if _, err := h.CancelWindow("config-1", by("驻点", 31, "x")); !errors.Is(err, ErrBadAct) {
		t.Errorf("cancelled the configuration's: %v", err)
	}
	h.tick(31)
	if open, _ := h.List(Filter{State: "open"}); len(open) != 1 || !open[0].FaultStart.Equal(after(30)) {
		t.Errorf("after the cancellation: %+v", open)
	}
	if es, err := h.WindowEvents(w.ID); err != nil || len(es) != 2 || es[1].Kind != "cancelled" || es[1].Person != "驻点" {
		t.Errorf("events %+v %v", es, err)
	}
	if got := h.Planned("signature", "signature-status"); len(got) != 2 || got[1].To != after(30).UnixMilli() {
		t.Errorf("planned %v", got)
	}
	frozen = "国庆保障"
	if _, err := h.Plan(by("驻点", 100, ""), window(110, 120)); !errors.Is(err, ErrBadAct) {
		t.Errorf("frozen: %v", err)
	}
	o := window(110, 120)
	o.Override = "安全补丁"
	if _, err := h.Plan(by("驻点", 100, ""), o); err != nil {
		t.Errorf("with a reason: %v", err)
	}
	frozen = ""
	for name, w := range map[string]Window{
		"past": window(50, 200), "backwards": window(300, 200), "too long": window(300, 300+8*24*60),
		"nobody approved": {From: after(300), To: after(310), Reason: "x"}, "no reason": {From: after(300), To: after(310), PartyA: "x"},
		"unknown service": {Services: []string{"x"}, From: after(300), To: after(310), Reason: "x", PartyA: "x"},
	} {
		if _, err := h.Plan(by("驻点", 100, ""), w); !errors.Is(err, ErrBadAct) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
