package collector

import (
	"testing"
	"testing/fstest"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// From 1 December on a missing notice is told once, also after a restart, and ended once it is there.
func TestNotices(t *testing.T) {
	loc, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	before, err := contract.LoadCalendar(loc)
	if err != nil {
		t.Fatal(err)
	}
	after, err := contract.LoadCalendar(loc, fstest.MapFS{"2027.json": {Data: []byte(`{"year":2027,"days":[{"name":"元旦","date":"2027-01-01","isOffDay":true}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	november, december := time.Date(2026, 11, 30, 23, 59, 59, 0, loc), time.Date(2026, 12, 1, 0, 0, 0, 0, loc)
	n := &notices{text: i18n.For("zh-CN")}
	n.set(before)
	n.adopt(november.Add(-2*time.Hour), nil)
	if got := n.tick(november); got != nil || n.missing(november, n.text) != "" {
		t.Errorf("told in November: %+v", got)
	}
	told := n.tick(december)
	if len(told) != 1 || !told[0].Firing || told[0].Level != contract.Minor || told[0].Class != symptom.Warning || n.missing(december, n.text) != told[0].Detail {
		t.Fatalf("in December: %+v", told)
	}
	if again := n.tick(december.Add(time.Hour)); again != nil {
		t.Errorf("told again: %+v", again)
	}
	restarted := &notices{text: n.text}
	restarted.set(after)
	restarted.adopt(december, told)
	ended := restarted.tick(december.Add(time.Hour))
	if len(ended) != 1 || ended[0].Firing || ended[0].Key() != told[0].Key() || restarted.missing(december, n.text) != "" {
		t.Errorf("once it is there: %+v", ended)
	}
	fresh := &notices{text: n.text}
	fresh.set(before)
	fresh.adopt(december, nil)
	if got := fresh.tick(december.Add(settled - time.Second)); got != nil || fresh.missing(december, n.text) == "" {
		t.Errorf("paged at a start, or not shown: %+v", got)
	}
	if got := fresh.tick(december.Add(settled)); len(got) != 1 {
		t.Errorf("not told at all: %+v", got)
	}
}
