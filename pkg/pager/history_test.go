package pager

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// moody answers each request with one of the given ways, in turn.
func moody(ways []answer) answer {
	return func(n int, w http.ResponseWriter, r *http.Request) {
		if len(ways) > 0 {
			ways[n%len(ways)](n, w, r)
		}
	}
}

// Whatever receivers do and whenever the program is killed, every page reaches every receiver in the end, each
// incident's in order, each try of a page under one key.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ways := rapid.SampledFrom([]answer{yes, yes, status(500), status(422), status(404), hang, hangInBody, reset, body(`{"errcode":1}`)})
		moods := [2][]answer{rapid.SliceOfN(ways, 0, 6).Draw(rt, "first"), rapid.SliceOfN(ways, 0, 6).Draw(rt, "second")}
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"fail", "fail", "recover", "restart", "wait", "long wait"}), 1, 8).Draw(rt, "steps")
		services := rapid.SliceOfN(rapid.SampledFrom([]string{"signature", "sms", "gateway"}), len(steps), len(steps)).Draw(rt, "services")
		inBubble(t, func(t *testing.T) {
			rs := []*receiver{newReceiver(t, moody(moods[0])), newReceiver(t, moody(moods[1]))}
			h := newHouse(t, rs[0].channel(t, "one"), rs[1].channel(t, "two"))
			var pages []string
			for i, step := range steps {
				pages = h.step(step, services[i], pages)
			}
			for _, r := range rs {
				r.set(yes)
			}
			time.Sleep(11 * time.Minute) // the longest wait and the slowest try
			synctest.Wait()
			for _, r := range rs {
				complete(t, r.all(), pages)
			}
			if ps := h.undelivered(); len(ps) != 0 {
				t.Errorf("undelivered %+v", ps)
			}
		})
		if t.Failed() {
			rt.Fatalf("steps %v on %v", steps, services)
		}
	})
}

// step adds the keys of the pages that it brings. They are looked at while they are there: what all have delivered is swept.
func (h *house) step(step, service string, pages []string) []string {
	switch step {
	case "fail":
		h.observe(service, true)
	case "recover":
		h.observe(service, false)
		pages = h.remember(pages)
		h.holds()
	case "restart":
		h.restart()
	case "wait":
		time.Sleep(3 * time.Second)
	case "long wait":
		time.Sleep(20 * time.Minute)
	}
	return h.remember(pages)
}

// remember adds the keys of the pages that are new in the outbox.
func (h *house) remember(keys []string) []string {
	h.t.Helper()
	pages, err := h.desk.Outbox(0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range pages {
		if key := h.pager.message(p, "x").Key; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func complete(t *testing.T, calls []call, pages []string) {
	t.Helper()
	last := map[string]int{} // of each incident, the page that went last
	came := map[string][]string{}
	for _, c := range calls {
		if was, again := came[c.key]; again { // whoever has it drops it by its key
			if !slices.Equal(was, c.pages()) {
				t.Fatalf("%s came with %v, and again with %v", c.key, was, c.pages())
			}
			continue
		}
		came[c.key] = c.pages()
		if strings.HasPrefix(c.key, "digest.") && slices.ContainsFunc(calls, func(d call) bool { return d.key == c.key && d.refused }) {
			continue // what a digest held that was refused may go one by one
		}
		for _, key := range c.pages() {
			i := slices.Index(pages, key)
			id, _, _ := strings.Cut(key, ".")
			if i < 0 || i < last[id] {
				t.Fatalf("%s went after %s, in message %s", key, pages[last[id]], c.key)
			}
			last[id] = i
		}
	}
	for _, key := range pages {
		if !slices.ContainsFunc(calls, func(c call) bool { return slices.Contains(c.pages(), key) }) {
			t.Errorf("%s never went", key)
		}
	}
}
