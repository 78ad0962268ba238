package test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var pageKills = flag.Int("kills", 8, "how often the collector is killed around a page that it sends")

// killLimits leave a fault of the kill loop time for its whole escalation, between a kill and the next but few.
var killLimits = limits{"urgent": {6 * time.Second, 4 * time.Hour}, "general": {6 * time.Second, 8 * time.Hour}}

const killTerms = `contract: {urgent: {respond: 6s}, general: {respond: 6s}, verify: 2s, verify_urgent: 2s, verify_samples: 2, relapse: 20s}
inspect: {slow_hold: 2s}
people:
- {name: tester}
- {name: 张三, duty: resident, phone: "` + zhang + `"}
- {name: 王五, duty: second, phone: "` + wang + `", language: en}
- {name: 赵六, duty: manager, phone: "` + zhao + `"}
`

// killLoop is a collector that is killed again and again, the receivers of its pages, and what was seen of it.
type killLoop struct {
	*killRig
	box    *inbox
	phones *phones
	lives  [][2]time.Time    // of the collector: ready, killed
	starts []time.Time       // of its processes; none of them sent anything before
	acked  map[string]string // who the collector said had acknowledged, by incident
	turns  chan bool         // whoever takes one kills; true: before the answer
	dead   chan struct{}     // holds one
	ways   map[string]int    // of acknowledging: how often each was granted
}

// TestKillAroundAPage kills the collector while it hands a page over, to a receiver or to a person's phone, before or after
// the yes, and at any other moment, under a stream of faults that people acknowledge, or do not until second line and manager
// are called. No page and no call may be lost, none come twice but with the same key and for a kill, no acknowledgement be
// forgotten, and what the incidents' clocks say must be what their events add up to.
func TestKillAroundAPage(t *testing.T) {
	t.Parallel()
	l := &killLoop{box: newInbox(t), phones: newPhones(t), acked: map[string]string{}, ways: map[string]int{}, turns: make(chan bool, 1), dead: make(chan struct{}, 1)}
	l.box.around, l.phones.around = l.around, l.around
	channel := fmt.Sprintf("{name: box, kind: webhook, url: '%s'}", l.box.URL)
	l.killRig = newRigOn(t, t.TempDir(), killTerms, channel, l.phones.channel())
	l.starts, l.lives = append(l.starts, time.Now()), append(l.lives, [2]time.Time{time.Now()})
	l.startAgent()
	services := []string{"cloud-doc", "signature", "sms", "gateway"}
	for i := range *pageKills {
		mode := "ok"
		if i%8 < 4 {
			mode = "error500"
		}
		fault(t, "http://"+l.simulator, services[i%4], map[string]any{"mode": mode})
		time.Sleep(rand.N(5 * time.Second)) // so that what is due a while after the start is seen, too
		l.turns <- rand.N(2) == 0
		select {
		case <-l.dead:
		case <-time.After(rand.N(4 * time.Second)): // no page is due: at any moment, then
			select {
			case <-l.turns:
				l.collector.kill()
			case <-l.dead:
			}
		}
		l.again()
		l.act(i)
	}
	for _, s := range services {
		fault(t, "http://"+l.simulator, s, map[string]any{"mode": "ok"})
	}
	all := l.settled()
	l.told(all)
	l.called(all)
	l.kept(all)
}

// around kills around the answer to a page, when it is its turn.
func (l *killLoop) around(answer func()) {
	select {
	case before := <-l.turns:
		if !before {
			answer()
		}
		l.collector.kill()
		l.dead <- struct{}{}
	default:
		answer()
	}
}

// again starts the collector after a kill.
func (l *killLoop) again() {
	l.lives[len(l.lives)-1][1] = time.Now()
	l.starts = append(l.starts, time.Now())
	l.startCollector()
	l.lives = append(l.lives, [2]time.Time{time.Now()})
}

// settled waits until every fault is over and every page and call is done with, and gives the incidents.
func (l *killLoop) settled() (all []historyJSON) {
	t := l.t
	t.Helper()
	eventually(t, "every page", func() (err error) {
		if all, err = l.histories(); err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(h historyJSON) bool { return h.Rule == "CollectorDiskFull" })
		got := map[string]int{} // pages by incident and kind
		for key := range l.box.pages() {
			inc, kind := pageOf(key)
			got[inc+" "+kind]++
		}
		for _, h := range all {
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
	if len(all) == 0 {
		t.Fatal("no incident was opened: the test has shown nothing")
	}
	l.lives[len(l.lives)-1][1] = time.Now()
	return all
}

// told wants each message to the receiver again only under its own key and for a kill.
func (l *killLoop) told(all []historyJSON) {
	t := l.t
	t.Helper()
	of := map[string]string{} // the message in which a page came
	came := map[string][]time.Time{}
	messages := l.box.all()
	for _, d := range messages {
		came[d.key] = append(came[d.key], d.at)
		for _, page := range d.pages {
			if was, ok := of[page]; ok && was != d.key {
				t.Errorf("page %s came in %s and in %s", page, was, d.key)
			}
			of[page] = d.key
		}
	}
	again := l.forKills(came)
	if again > len(l.starts)-1 {
		t.Errorf("%d messages came twice in %d kills", again, len(l.starts)-1)
	}
	t.Logf("%d kills, %d incidents; to the receiver %d pages in %d messages, %d of them again", len(l.starts)-1, len(all), len(of), len(messages), again)
}

// forKills counts what came again, and wants a kill between a message and its like.
func (l *killLoop) forKills(came map[string][]time.Time) (again int) {
	for key, at := range came {
		again += len(at) - 1
		for i := 1; i < len(at); i++ {
			if !slices.ContainsFunc(l.starts, func(s time.Time) bool { return s.After(at[i-1]) && s.Before(at[i]) }) {
				l.t.Errorf("%s came at %s and at %s without a kill between", key, at[i-1], at[i])
			}
		}
	}
	return again
}

// kept wants every clock to be what the events add up to, and every acknowledgement that was granted to stand.
func (l *killLoop) kept(all []historyJSON) {
	events := 0
	for _, h := range all {
		h.recompute(l.t, killLimits)
		events += len(h.Events)
		if who := l.acked[h.ID]; who != "" && h.AckBy != who {
			l.t.Errorf("%s was acknowledged by %q, and says %q", h.ID, who, h.AckBy)
		}
	}
	l.t.Logf("%d events; acknowledged: %v", events, l.ways)
}
