package test

import (
	"slices"
	"testing"
	"time"
)

// historyJSON is an incident with its events, as the API tells them.
type historyJSON struct {
	incidentJSON
	Events []struct {
		N      int
		Kind   string
		At, Of time.Time
		Level  string
		Person string

		Symptom struct{ At time.Time }
	}
}

// histories are all incidents with their events.
func (r *killRig) histories() (out []historyJSON, err error) {
	all, err := incidents(r.url(), r.token, "state=all&limit=5000")
	for _, inc := range all {
		var h historyJSON
		if err = call("GET", r.url()+"/api/xunjian/v1/incidents/"+inc.ID, r.token, nil, &h); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, err
}

// pages counts the events that people are told of.
func (h historyJSON) pages() map[string]int {
	out := map[string]int{}
	for _, e := range h.Events {
		if slices.Contains([]string{"opened", "escalated", "proposed", "reopened", "recovered", "asked"}, e.Kind) {
			out[e.Kind]++
		}
	}
	return out
}

// limits are how long the contract allows to respond and to recover, by level.
type limits map[string][2]time.Duration

// recompute adds the events up by the contract's words alone: the clocks start with the detection; a level that rises gives
// at most its own limits from then on; what waits for party A's consent does not count; who has taken it on is the first who
// did; and it recovered with the first good sample of the run that held.
func (h historyJSON) recompute(t *testing.T, limits limits) {
	t.Helper()
	wrong := false
	complain := func(format string, args ...any) { wrong = true; t.Errorf(h.ID+": "+format, args...) }
	var start, response, recovery, acked, asked, recovered time.Time
	var waits [][2]time.Time // for party A's consent
	for i, e := range h.Events {
		if e.N != i+1 || i > 0 && e.At.Before(h.Events[i-1].At) {
			complain("event %d of %s is numbered %d, and comes after one of %s", i+1, e.At, e.N, h.Events[max(i-1, 0)].At)
		}
		limit, timed := limits[e.Level]
		at := e.Of
		if at.IsZero() {
			at = e.At
		}
		switch e.Kind {
		case "opened":
			start = e.Symptom.At // when the fault was found; it is written down a moment later
			if timed {
				response, recovery = start.Add(limit[0]), start.Add(limit[1])
			}
		case "escalated":
			if due := e.At.Add(limit[1]); timed && (recovery.IsZero() || due.Before(recovery)) {
				recovery = due
			}
			if due := e.At.Add(limit[0]); timed && acked.IsZero() && (response.IsZero() || due.Before(response)) {
				response = due
			}
		case "acknowledged":
			if acked.IsZero() {
				acked = at
			}
		case "asked":
			asked = at
		case "decided":
			if !asked.IsZero() {
				waits = append(waits, [2]time.Time{asked, at})
			}
			asked = time.Time{}
		case "recovered":
			if !asked.IsZero() && at.After(asked) { // what works waits for nothing
				waits = append(waits, [2]time.Time{asked, at})
			}
			recovered, asked = at, time.Time{}
		case "reopened":
			recovered = time.Time{}
		}
	}
	for _, w := range waits {
		if !recovered.IsZero() && w[1].After(recovered) { // once it works there is nothing to wait for
			w[1] = recovered
		}
		recovery = recovery.Add(max(0, w[1].Sub(w[0])))
	}
	for what, pair := range map[string][2]time.Time{
		"start": {h.SLAStart, start}, "response due": {h.ResponseDue, response}, "acknowledged": {h.AckAt, acked}, "recovered": {h.RecoveredAt, recovered},
	} {
		if !pair[0].Equal(pair[1]) {
			complain("%s is told as %s, and its events say %s", what, pair[0], pair[1])
		}
	}
	if asked.IsZero() && !h.RecoveryDue.Equal(recovery) { // a proposal before party A still moves it on
		complain("recovery is due %s, and its events say %s", h.RecoveryDue, recovery)
	}
	if wrong {
		h.list(t)
	}
}

// list shows the events of an incident that is not as it should be.
func (h historyJSON) list(t *testing.T) {
	t.Helper()
	for _, e := range h.Events {
		t.Logf("%s: %d %s of %s at %s level %s", h.ID, e.N, e.Kind, e.Of.Format(time.RFC3339Nano), e.At.Format(time.RFC3339Nano), e.Level)
	}
}
