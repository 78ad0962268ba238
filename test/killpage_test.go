package test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var pageKills = flag.Int("kills", 15, "how often the collector is killed around a page that it sends")

// TestKillAroundAPage kills the collector while it hands a page over, before or after the receiver has said yes, and at any
// other moment, under a stream of faults and acts. No page may be lost, none come twice but with the same key and for a kill,
// and what the incidents' clocks say must be what their events add up to.
func TestKillAroundAPage(t *testing.T) {
	t.Parallel()
	box := newInbox(t)
	turns := make(chan bool, 1) // whoever takes one kills; true: before the answer
	dead := make(chan struct{}, 1)
	var r *killRig
	box.around = func(answer func()) {
		select {
		case before := <-turns:
			if !before {
				answer()
			}
			r.collector.kill()
			dead <- struct{}{}
		default:
		}
	}
	channel := fmt.Sprintf("{name: box, kind: webhook, url: '%s'}", box.URL)
	r = newRigOn(t, t.TempDir(), shortVerify, channel)
	r.startAgent()
	services := []string{"cloud-doc", "signature", "sms", "gateway"}
	for i := range *pageKills {
		mode := "ok"
		if i%8 < 4 {
			mode = "error500"
		}
		fault(t, "http://"+r.simulator, services[i%4], map[string]any{"mode": mode})
		turns <- rand.N(2) == 0
		select {
		case <-dead:
		case <-time.After(rand.N(8 * time.Second)): // no page is due: at any moment, then
			select {
			case <-turns:
				r.collector.kill()
			case <-dead:
			}
		}
		r.startCollector()
		r.act(i)
	}
	for _, s := range services {
		fault(t, "http://"+r.simulator, s, map[string]any{"mode": "ok"})
	}
	r.accounted(box, *pageKills)
}

// act is what people do: every incident is taken on, and on some a proposal is made and decided. What was done already, or is
// over, is refused, which is right.
func (r *killRig) act(i int) {
	r.t.Helper()
	open, err := incidents(r.url(), r.token, "state=open")
	if err != nil {
		r.t.Fatal(err)
	}
	deeds := []struct {
		name string
		body map[string]any
	}{
		{"ack", map[string]any{"note": "on it"}},
		{"propose", map[string]any{"measure": "restart", "risk": "a minute's outage", "rollback": "start the old one"}},
		{"decide", map[string]any{"consent": "yes", "party_a": "customer"}},
	}
	for _, inc := range open {
		d := deeds[i%len(deeds)]
		_ = call("POST", r.url()+"/api/xunjian/v1/incidents/"+inc.ID+"/"+d.name, r.token, d.body, nil)
	}
}

// accounted holds the pages and the clocks of every incident against its events.
func (r *killRig) accounted(box *inbox, kills int) {
	t := r.t
	t.Helper()
	var all []historyJSON
	eventually(t, "every page", func() (err error) {
		if all, err = r.histories(); err != nil {
			return err
		}
		got := map[string]int{} // pages by incident and kind
		for key := range box.pages() {
			inc, kind := pageOf(key)
			got[inc+" "+kind]++
		}
		for _, h := range all {
			if h.Rule == "CollectorDiskFull" {
				continue
			}
			if h.RecoveredAt.IsZero() {
				return fmt.Errorf("%s of %s has not recovered", h.ID, h.Service)
			}
			for kind, want := range h.pages() {
				if n := got[h.ID+" "+kind]; n < want {
					return fmt.Errorf("%s: %d pages of kind %s, want %d", h.ID, n, kind, want)
				}
			}
		}
		return nil
	})
	double := 0
	for _, n := range box.pages() {
		double += n - 1
	}
	if double > kills {
		t.Errorf("%d pages came twice in %d kills", double, kills)
	}
	events := 0
	for _, h := range all {
		h.recompute(t)
		events += len(h.Events)
	}
	if len(all) == 0 {
		t.Fatal("no incident was opened: the test has shown nothing")
	}
	t.Logf("%d kills, %d incidents with %d events, %d pages, %d of them twice", kills, len(all), events, len(box.pages()), double)
}
