package incident

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// What symptoms say from outside is bounded, and so is what one incident keeps of it.
func TestBounds(t *testing.T) {
	h := newHouse(t)
	s := down(0)
	s.Component, s.Detail, s.Service = strings.Repeat("组", 1000), strings.Repeat("详", 5000), strings.Repeat("s", 500)
	s.Since, s.At = after(100), after(200)
	for range 100 {
		s.Evidence = append(s.Evidence, symptom.Evidence{Text: strings.Repeat("x", 1000)})
	}
	r, _, err := h.Observe(nine, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Component) > 256 || len(r.Detail) > 1024 || len(r.Service) != 64 || len(r.Evidence) > MaxEvidence || len(r.Evidence[0].Text) != 256 {
		t.Errorf("kept %d %d %d %d", len(r.Component), len(r.Detail), len(r.Service), len(r.Evidence))
	}
	if !r.DetectedAt.Equal(nine) || !r.FaultStart.Equal(nine) {
		t.Errorf("times to come: detected %v, start %v", r.DetectedAt, r.FaultStart)
	}
	first := r.Evidence[0]
	for i := range 2 * MaxSeen {
		s.Evidence, s.Detail = nil, strings.Repeat("x", i+1)
		h.see(s)
	}
	r, es := h.get(r.ID)
	if len(es) > MaxSeen+5 || len(r.Evidence) != MaxEvidence || r.Evidence[0] != first {
		t.Errorf("%d events, %d pieces of evidence", len(es), len(r.Evidence))
	}
	if _, _, err := h.Observe(nine, symptom.Symptom{Firing: true, Service: "x", Level: "bad"}); err == nil {
		t.Error("a symptom without a level was taken in")
	}
}

func TestFull(t *testing.T) {
	h := newHouse(t)
	h.o.MaxOpen = 1
	h.see(down(0))
	s := down(0)
	s.Service = "sms"
	if _, _, err := h.Observe(nine, s); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
}

func TestTitle(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	host := h.see(symptom.Symptom{Source: symptom.FromRule, Service: "host", Component: "web1", Class: symptom.Host, Rule: "DiskFull", Level: contract.Minor, Detail: "disk 96 %", Firing: true, At: nine})
	for want, got := range map[string]string{
		"签章服务 中断":                   r.Title(i18n.For("zh-CN")),
		"Signature service: down":   r.Title(i18n.For("en")),
		"服务器 web1 主机异常":             host.Title(i18n.For("zh-CN")),
		"Server web1: host trouble": host.Title(i18n.For("en")),
	} {
		if got != want {
			t.Errorf("title %q, want %q", got, want)
		}
	}
}

func TestDayOfNumber(t *testing.T) {
	h := newHouse(t)
	s := down(0)
	s.At = time.Date(2026, 11, 23, 15, 59, 59, 0, time.UTC)
	if r := h.see(s); r.ID != "INC-20261123-0001" {
		t.Error(r.ID)
	}
	s.Service, s.At = "sms", s.At.Add(time.Second) // midnight in Shanghai
	if r := h.see(s); r.ID != "INC-20261124-0001" {
		t.Error(r.ID)
	}
}

func TestList(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	h.see(good(1))
	h.tick(20)
	s := down(24 * 60)
	s.Service, s.Level = "sms", contract.General
	h.see(s)
	must(t)(h.Archive(r.ID, by("驻点", 30, ""), Account{Category: Software, PartyA: "王处", Cause: "c", Handling: "h"}))
	for want, f := range map[string]Filter{
		"INC-20261124-0001 INC-20261123-0001": {},
		"INC-20261124-0001":                   {State: "open"},
		"INC-20261123-0001":                   {State: "closed"},
		"INC-20261124-0001 ":                  {Limit: 1},
		"INC-20261124-0001  ":                 {Level: contract.General},
		"INC-20261123-0001 ":                  {Service: "signature", State: "all"},
		"INC-20261123-0001  ":                 {To: after(1)},
		"INC-20261124-0001   ":                {From: after(1), State: "unclosed"},
		"":                                    {From: after(1), Service: "signature"},
	} {
		rs, err := h.List(f)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range rs {
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
	if _, err := h.List(Filter{State: "weird"}); !errors.Is(err, ErrBadAct) {
		t.Errorf("unknown state: %v", err)
	}
}

// A storm is one from the thirtieth incident within five minutes on, ends with them, and outlives a restart.
func TestStormState(t *testing.T) {
	h := newHouse(t)
	for n := range StormOf {
		if got := h.Storm(after(1)); got != 0 {
			t.Fatalf("%d incidents are a storm of %d", n, got)
		}
		h.see(hostSilent("web-"+strconv.Itoa(n), 0, float64(n)/StormOf))
	}
	for range 2 {
		if got := h.Storm(after(1)); got != StormOf {
			t.Errorf("%d incidents in a storm of %d", got, StormOf)
		}
		h.reopen()
	}
	if got := h.Storm(after(7)); got != 0 {
		t.Errorf("a storm of %d goes on", got)
	}
}
