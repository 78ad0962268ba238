package incident

import (
	"encoding/json"
	"testing"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
)

// olderEvents and olderRecord are what an earlier version wrote of an incident that it had closed, and of one that is open.
const (
	olderEvents = `[
 {"incident":"INC-20261101-0001","n":1,"kind":"opened","at":"2026-11-01T01:00:00Z","of":"2026-11-01T01:00:00Z","level":"urgent",
  "symptom":{"source":"probe","service":"signature","component":"sign","class":"down","level":"urgent","detail":"502","firing":true,"since":"2026-11-01T01:00:00Z","at":"2026-11-01T01:00:00Z"},
  "opened":{"key":"service/signature","terms":{"urgent":{"respond":600000000000,"recover":14400000000000},"general":{"respond":1800000000000,"recover":28800000000000},"verify":300000000000,"verify_urgent":600000000000,"relapse":1800000000000,"recurrence":2592000000000000,"backdate":86400000000000}}},
 {"incident":"INC-20261101-0001","n":2,"kind":"acknowledged","at":"2026-11-01T01:03:00Z","person":"驻点","via":"console"},
 {"incident":"INC-20261101-0001","n":3,"kind":"verifying","at":"2026-11-01T02:00:00Z","of":"2026-11-01T02:00:00Z"},
 {"incident":"INC-20261101-0001","n":4,"kind":"recovered","at":"2026-11-01T02:10:00Z","of":"2026-11-01T02:00:00Z"},
 {"incident":"INC-20261101-0001","n":5,"kind":"closed","at":"2026-11-01T03:00:00Z","person":"驻点","cause":"c","handling":"h"}]`
	olderRecord = `{"id":"INC-20261101-0001","version":5,"state":"closed","key":"service/signature","service":"signature","class":"down","last_class":"down",
 "source":"probe","linked":true,"watcher":"probe","detail":"502","level":"urgent","fault_start":"2026-11-01T01:00:00Z","detected_at":"2026-11-01T01:00:00Z",
 "sla_start":"2026-11-01T01:00:00Z","opened_at":"2026-11-01T01:00:00Z","closed_at":"2026-11-01T03:00:00Z","closed_by":"驻点","cause":"c","handling":"h",
 "recovered_at":"2026-11-01T02:00:00Z","updated_at":"2026-11-01T03:00:00Z"}`
)

// What earlier versions kept is read: closed ones as archived, open ones with all that their events say by today's lights.
func TestOlderRecords(t *testing.T) {
	h := newHouse(t)
	var es []Event
	var closed Record
	if err := json.Unmarshal([]byte(olderEvents), &es); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(olderRecord), &closed); err != nil {
		t.Fatal(err)
	}
	if closed.State != Archived || !closed.Filed() || closed.Cause != "c" {
		t.Errorf("read as %s, cause %q", closed.State, closed.Cause)
	}
	folded, err := Fold(es)
	if err != nil || folded.State != Archived || folded.ClosedBy != "驻点" || folded.Handling != "h" || folded.Breached() {
		t.Errorf("folded to %+v, %v", folded, err)
	}
	open, err := Fold(es[:2])
	if err != nil {
		t.Fatal(err)
	}
	open.Form, open.PagedAt = 0, nine // as an earlier version would have left it, which knew nothing of either
	open.ID = "INC-20261102-0001"
	err = h.db.Update(func(tx *store.Tx) error {
		for i, e := range es[:2] {
			e.Incident = open.ID
			if err := events.Put(tx, open.ID+"/0000000"+string(rune('1'+i)), e); err != nil {
				return err
			}
		}
		if err := records.Put(tx, closed.ID, closed); err != nil {
			return err
		}
		return records.Put(tx, open.ID, open)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.reopen()
	list, err := h.List(Filter{State: "open"})
	if err != nil || len(list) != 1 || list[0].Form != recordForm || list[0].PagedAt.Equal(nine) {
		t.Fatalf("open: %+v, %v", list, err)
	}
	if got, _ := h.List(Filter{State: "closed"}); len(got) != 1 || got[0].State != Archived {
		t.Errorf("closed: %+v", got)
	}
	r := must(t)(h.Propose(open.ID, by("驻点", 0, ""), proposal))
	if r.State != Awaiting || r.Level != contract.Urgent {
		t.Errorf("acted on: %+v", r)
	}
}
