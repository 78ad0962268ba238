package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// act is what people do between kills: some incidents are acknowledged by the link or the code of a short message or over the
// API, some are left to the second line, and on those that are taken a proposal is made and decided. What was done already,
// or is over, is refused, which is right.
func (l *killLoop) act(i int) {
	l.t.Helper()
	open, err := incidents(l.url(), l.token, "state=open")
	if err != nil {
		l.t.Fatal(err)
	}
	deeds := []struct {
		name string
		body map[string]any
	}{
		{"propose", map[string]any{"measure": "restart", "risk": "a minute's outage", "rollback": "start the old one"}},
		{"decide", map[string]any{"consent": "yes", "party_a": "customer"}},
	}
	for _, inc := range open {
		switch {
		case inc.AckBy != "":
			d := deeds[i%len(deeds)]
			_ = call("POST", l.url()+"/api/xunjian/v1/incidents/"+inc.ID+"/"+d.name, l.token, d.body, nil)
		case rand.N(3) == 0:
			l.acknowledge(inc.ID)
		}
	}
}

// acknowledge takes an incident on in one of the three ways, in the name of whoever was called last.
func (l *killLoop) acknowledge(id string) {
	m, ok := l.phones.last(id)
	if !ok {
		return
	}
	person, granted := map[string]string{zhang: "张三", wang: "王五", zhao: "赵六"}[m.Mobile], false
	way := []string{"link", "code", "api"}[rand.N(3)]
	switch way {
	case "link":
		status, _ := tap(l.t, "POST", m.Link)
		granted = status == http.StatusOK
	case "code":
		resp, err := http.PostForm(l.url()+"/api/xunjian/v1/replies?token="+replyToken, url.Values{"mobile": {m.Mobile}, "content": {m.Code}})
		if err != nil {
			l.t.Fatal(err)
		}
		resp.Body.Close()
		granted = resp.StatusCode == http.StatusOK && l.ackedBy(id) == person
	case "api":
		person = "tester"
		granted = call("POST", l.url()+"/api/xunjian/v1/incidents/"+id+"/ack", l.token, map[string]any{"note": "on it"}, nil) == nil
	}
	if granted {
		l.acked[id] = person
		l.ways[way]++
	}
}

func (l *killLoop) ackedBy(id string) string {
	var got incidentJSON
	if err := call("GET", l.url()+"/api/xunjian/v1/incidents/"+id, l.token, nil, &got); err != nil {
		l.t.Fatal(err)
	}
	return got.AckBy
}

// last is the last short message that asks for an incident to be acknowledged.
func (p *phones) last(id string) (m shortMessage, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.got {
		if strings.HasPrefix(x.Key, id+".") && x.Link != "" {
			m, ok = x, true
		}
	}
	return m, ok
}

// calledJSON is a call of the escalation, as the API tells it.
type calledJSON struct {
	Person    string
	Kind      string
	Step      int
	Key       string
	At        time.Time
	SentAt    time.Time `json:"sent_at"`
	FailedAt  time.Time `json:"failed_at"`
	DroppedAt time.Time `json:"dropped_at"`
}

// called holds the calls to people against the incidents' events: whoever had to be called was, every call that the collector
// takes for sent has arrived, none came again but for a kill, and whoever was reached has been told of the end.
func (l *killLoop) called(all []historyJSON) {
	t := l.t
	t.Helper()
	var log map[string][]calledJSON
	eventually(t, "every call", func() (err error) {
		log, err = l.calls(all)
		return err
	})
	arrived, came := map[string]bool{}, map[string][]time.Time{}
	l.phones.mu.Lock()
	messages := slices.Clone(l.phones.got)
	l.phones.mu.Unlock()
	for _, m := range messages {
		arrived[m.Key] = true
		came[m.Mobile+" "+m.Key] = append(came[m.Mobile+" "+m.Key], m.at)
	}
	sent, wanted := 0, map[string]int{}
	for _, h := range all {
		for _, c := range log[h.ID] {
			if !c.SentAt.IsZero() {
				if sent++; !arrived[c.Key] {
					t.Errorf("%s is taken for sent, and never came", c.Key)
				}
			}
		}
		l.stretches(h, log[h.ID], wanted)
	}
	if *pageKills >= 100 && (wanted["张三"] == 0 || wanted["王五"] == 0 || wanted["赵六"] == 0 || wanted["news"] == 0) {
		t.Errorf("calls that had to be made: %v: the test has not shown enough", wanted)
	}
	t.Logf("to people %d calls in %d messages, %d of them again; had to be made: %v", sent, len(messages), l.forKills(came), wanted)
}

// calls is the log of every incident, once no call is under way.
func (l *killLoop) calls(all []historyJSON) (map[string][]calledJSON, error) {
	out := map[string][]calledJSON{}
	for _, h := range all {
		var got struct{ Calls []calledJSON }
		if err := call("GET", l.url()+"/api/xunjian/v1/incidents/"+h.ID+"/calls", l.token, nil, &got); err != nil {
			return nil, err
		}
		for _, c := range got.Calls {
			if c.SentAt.IsZero() && c.DroppedAt.IsZero() {
				return nil, fmt.Errorf("call %s of %s is still under way", c.Key, c.Person)
			}
		}
		out[h.ID] = got.Calls
	}
	return out, nil
}

// stretch is a time through which a fault lasted.
type stretch struct {
	from, to time.Time
	again    bool // it had recovered before
	by       string
}

// stretches looks at each time through which the fault lasted: by the contract's words whoever is on duty is called at once,
// second line and manager at half of the response time, unless somebody has acknowledged; after a relapse whoever had.
func (l *killLoop) stretches(h historyJSON, log []calledJSON, wanted map[string]int) {
	var all []stretch
	var acked time.Time
	ackedBy := ""
	for _, e := range h.Events {
		switch e.Kind {
		case "opened", "reopened":
			all = append(all, stretch{from: e.At, again: e.Kind == "reopened", by: ackedBy})
		case "escalated", "graded":
			all[len(all)-1].from = e.At // the response time counts anew from here at the latest
		case "acknowledged":
			if ackedBy == "" {
				acked, ackedBy = e.At, e.Person
			}
		case "recovered":
			all[len(all)-1].to = e.At
		}
	}
	for _, s := range all {
		must := map[string]time.Time{"张三": s.from, "王五": s.from.Add(3 * time.Second), "赵六": s.from.Add(3 * time.Second)}
		until, what := s.to, ""
		if s.by != "" {
			must, what = map[string]time.Time{s.by: s.from}, "news"
			delete(must, "tester") // has no phone
		} else if !acked.IsZero() && acked.Before(until) {
			until = acked
		}
		for person, due := range must {
			if !l.lived(due, until) {
				continue
			}
			if what == "" {
				wanted[person]++
			} else {
				wanted[what]++
			}
			if !slices.ContainsFunc(log, func(c calledJSON) bool { return c.Person == person && !c.At.Before(s.from) && !c.At.After(s.to) }) {
				l.t.Errorf("%s: %s had to be called between %s and %s, and was not: %+v", h.ID, person, due, until, log)
			}
		}
	}
	l.ended(h, all[len(all)-1], log)
}

// lived says whether the collector was up for long enough to see to something in a time.
func (l *killLoop) lived(from, to time.Time) bool {
	return slices.ContainsFunc(l.lives, func(life [2]time.Time) bool {
		a, b := life[0], life[1]
		if from.After(a) {
			a = from
		}
		if to.Before(b) {
			b = to
		}
		return b.Sub(a) > 2*time.Second
	})
}

// ended wants everybody who was reached since the fault last came to have been told that it is over.
func (l *killLoop) ended(h historyJSON, s stretch, log []calledJSON) {
	ends := func(c calledJSON) bool { return c.Kind == "recovered" }
	for _, c := range log {
		if ends(c) || c.SentAt.IsZero() || c.At.Before(s.from) {
			continue
		}
		if !slices.ContainsFunc(log, func(e calledJSON) bool {
			return ends(e) && e.Person == c.Person && !e.At.Before(s.to) && !e.SentAt.IsZero()
		}) {
			l.t.Errorf("%s: %s was reached by %s and not told of the end", h.ID, c.Person, c.Key)
		}
	}
}
