package pager

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// After a restore, pages that waited in the copy for more than an hour are marked and not sent; newer ones and those of
// later faults are sent, under keys and numbers that the lost hours cannot have used.
func TestRestoreSendsNoOldPages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReceiver(t, status(http.StatusInternalServerError))
		h := newHouse(t, r.channel(t, "ops"))
		h.observe("signature", true)
		time.Sleep(2 * time.Hour)
		before := h.observe("sms", true) // pending, minutes old
		time.Sleep(5 * time.Minute)
		h.halt()
		db, err := store.Open(h.path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(incident.MarkRestored(db, time.Now(), time.Now(), time.FixedZone("", 8*3600)), db.Close()); err != nil {
			t.Fatal(err)
		}
		r.set(yes)
		tried := len(r.all())
		h.start()
		after := h.observe("gateway", true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		got := ""
		for _, c := range r.all()[tried:] {
			got += c.key + " "
		}
		if strings.Contains(got, "-0001.") || !strings.Contains(got, before.ID) || !strings.Contains(got, after.ID) {
			t.Errorf("sent %s", got)
		}
		if n := strings.SplitN(after.ID, "-", 3)[2]; n <= "1000" {
			t.Errorf("the incident after the restore is %s", after.ID)
		}
		lost := h.undelivered()
		if len(lost) != 1 || lost[0].GaveUpAt.IsZero() || !strings.Contains(lost[0].Answer, "restored") {
			t.Errorf("undelivered %+v", lost)
		}
		r2 := incident.Page{Record: incident.Record{ID: "INC-1", Version: 3}, Kind: incident.PageOpened}
		plain := pageKey(r2)
		if r2.After = time.Now(); pageKey(r2) == plain {
			t.Error("pages before and after a restore share a key")
		}
	})
}
