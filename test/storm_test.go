package test

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// gale is how large a storm is.
type gale struct {
	alerts, urgent int // in all, and of them urgent: the last ones
	posts          int // in which they come
	over           time.Duration
	limit          int           // messages a minute to the robot
	absent         time.Duration // from the beginning
}

var storm = flag.Bool("storm", false, "the whole storm: 5,000 alerts, a robot that takes 20 messages a minute, a receiver that is away for six minutes")

// TestStorm sends thousands of alerts within seconds, the urgent ones last, to a collector with four receivers: one that takes
// everything, one that takes as much as a robot, one that hangs and one that is away. Of those that are there each is told of
// every alert, the urgent ones first; the one that was away is sent what it has missed as soon as it takes a test page.
func TestStorm(t *testing.T) {
	t.Parallel()
	g := gale{alerts: 2000, urgent: 20, posts: 20, over: 4 * time.Second, limit: 60, absent: 8 * time.Second}
	if *storm {
		g = gale{alerts: 5000, urgent: 50, posts: 50, over: 10 * time.Second, limit: 20, absent: 6 * time.Minute}
	}
	open, robot := newInbox(t), newInbox(t)
	hanging := newHanging(t)
	away := freeAddr(t)
	r := newRigOn(t, t.TempDir(), "",
		fmt.Sprintf("{name: open, kind: webhook, url: '%s', limit: 0}", open.URL),
		fmt.Sprintf("{name: robot, kind: webhook, url: '%s', limit: %d}", robot.URL, g.limit),
		fmt.Sprintf("{name: hanging, kind: webhook, url: '%s'}", hanging),
		fmt.Sprintf("{name: away, kind: webhook, url: 'http://%s'}", away))
	began := time.Now()
	lastUrgent := r.storm(g)
	t.Logf("%d alerts in %v", g.alerts, time.Since(began).Round(time.Millisecond))
	for name, box := range map[string]*inbox{"open": open, "robot": robot} {
		r.urgentFirst(name, box, g.urgent, lastUrgent)
	}
	ids := r.eachKnown(g)
	r.eachPaged("open", open, ids)
	back := newInboxAt(t, away, began.Add(g.absent))
	var tested struct{ Tests []struct{ Error string } }
	if err := call("POST", r.url()+"/api/xunjian/v1/pages/test", r.token, map[string]any{"channel": "away"}, &tested); err != nil || len(tested.Tests) != 1 || tested.Tests[0].Error != "" {
		t.Fatalf("test page: %+v, %v", tested, err)
	}
	tried := time.Now()
	r.eachPaged("away", back, ids)
	t.Logf("away: every alert within %v of the test page", time.Since(tried).Round(time.Millisecond))
	r.eachPaged("robot", robot, ids)
	if n := len(back.all()); n > g.alerts/500+3 { // the test page, one that may have been under way, and what the machine has to say
		t.Errorf("the receiver that was away got %d messages on its return", n)
	}
	minutes := int(time.Since(began)/time.Minute) + 1
	if n := len(robot.all()); n > minutes*g.limit {
		t.Errorf("%d messages in %d minutes to a receiver that takes %d", n, minutes, g.limit)
	}
	t.Logf("%d incidents; messages: open %d, robot %d, back %d", len(ids), len(open.all()), len(robot.all()), len(back.all()))
}

// newHanging takes every page and never answers.
func newHanging(t *testing.T) string {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); s.Close() })
	return s.URL
}

// newInboxAt is there from a moment on.
func newInboxAt(t *testing.T, addr string, from time.Time) *inbox {
	t.Helper()
	time.Sleep(time.Until(from))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &inbox{}
	b.Server = httptest.NewUnstartedServer(b)
	b.Server.Listener.Close()
	b.Server.Listener = l
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// storm posts the alerts, and says when the last urgent ones were posted.
func (r *killRig) storm(g gale) (lastUrgent time.Time) {
	r.t.Helper()
	each := g.alerts / g.posts
	tick := time.NewTicker(g.over / time.Duration(g.posts))
	defer tick.Stop()
	for i := range g.posts {
		alerts := make([]map[string]any, each)
		for j := range alerts {
			n := i*each + j
			severity := "warning"
			if n >= g.alerts-g.urgent {
				severity, lastUrgent = "critical", time.Now()
			}
			alerts[j] = map[string]any{"labels": map[string]string{
				"alertname": "Storm", "service": fmt.Sprintf("service-%d", n), "instance": fmt.Sprintf("host-%d", n), "severity": severity,
			}}
		}
		if err := call("POST", r.url()+"/api/v2/alerts", r.token, alerts, nil); err != nil && !strings.Contains(err.Error(), "unexpected end of JSON") {
			r.t.Fatal(err)
		}
		<-tick.C
	}
	return lastUrgent
}

// urgentFirst wants a page of every urgent alert within 30 s of it.
func (r *killRig) urgentFirst(name string, box *inbox, want int, from time.Time) {
	r.t.Helper()
	urgent := map[string]bool{}
	eventually(r.t, "urgent incidents", func() error {
		got, err := incidents(r.url(), r.token, "state=open&level=urgent&limit=1000")
		for _, i := range got {
			urgent[i.ID] = true
		}
		if err == nil && len(urgent) != want {
			err = fmt.Errorf("%d urgent incidents", len(urgent))
		}
		return err
	})
	var last time.Time
	eventually(r.t, "urgent pages to "+name, func() error {
		came := map[string]time.Time{}
		for _, d := range box.all() {
			for _, key := range d.pages {
				if id, _ := pageOf(key); urgent[id] && came[id].IsZero() {
					came[id] = d.at
				}
			}
		}
		for _, at := range came {
			if at.After(last) {
				last = at
			}
		}
		if len(came) != want {
			return fmt.Errorf("%d of %d", len(came), want)
		}
		return nil
	})
	if took := last.Sub(from); took > 30*time.Second {
		r.t.Errorf("%s: the last urgent alert was paged after %v", name, took)
	} else {
		r.t.Logf("%s: every urgent alert was paged within %v", name, took.Round(time.Millisecond))
	}
}

// eachKnown wants an incident for every alert.
func (r *killRig) eachKnown(g gale) (ids []string) {
	r.t.Helper()
	eventually(r.t, "an incident for each alert", func() error {
		got, err := incidents(r.url(), r.token, "state=open&limit=5000")
		if err != nil {
			return err
		}
		services := map[string]bool{}
		ids = ids[:0]
		for _, i := range got {
			if strings.HasPrefix(i.Service, "service-") {
				services[i.Service] = true
				ids = append(ids, i.ID)
			}
		}
		if len(services) < g.alerts-1 { // the machine's own disk may take a place of the list
			return fmt.Errorf("%d incidents", len(services))
		}
		return nil
	})
	return ids
}

// eachPaged wants every incident in some message.
func (r *killRig) eachPaged(name string, box *inbox, ids []string) {
	r.t.Helper()
	eventually(r.t, "pages to "+name, func() error {
		paged := map[string]bool{}
		for key := range box.pages() {
			id, _ := pageOf(key)
			paged[id] = true
		}
		if missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return paged[id] }); len(missing) > 0 {
			return fmt.Errorf("%d incidents without a page, as %s", len(missing), missing[0])
		}
		return nil
	})
}
