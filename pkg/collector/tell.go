package collector

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

// maxUntold bounds the symptoms that wait for a desk that cannot write; the oldest go first, and each is logged.
const maxUntold = 10_000

// teller hands symptoms to the incident desk in the order in which they were found. When the desk cannot write
// (a full disk), they wait and are told again each second: a page must not be lost because a record could not be kept.
type teller struct {
	desk *incident.Desk
	now  func() time.Time
	log  *slog.Logger

	dropped prometheus.Counter

	mu      sync.Mutex
	untold  []symptom.Symptom
	writing int       // of those that somebody is writing
	busy    bool      // somebody is writing, and takes along what comes meanwhile
	began   time.Time // of the write that is under way
	failed  bool      // not everything was taken the last time
}

// atOnce is how many symptoms one transaction takes in.
const atOnce = 512

// tell is the sink of inspect and of everybody who does not repeat himself. While one caller writes, what others tell
// waits for the next transaction of that one: a storm costs a few writes to disk, not one for each symptom.
func (t *teller) tell(_ context.Context, found []symptom.Symptom) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untold = append(t.untold, found...)
	for len(t.untold) > maxUntold {
		t.log.Error("symptom dropped: the incident desk has not been able to write for too long", "symptom", t.untold[0].Key())
		t.dropped.Inc()
		t.untold = t.untold[1:]
	}
	if !t.busy {
		t.flush(t.now())
	}
}

// waiting is how many symptoms are not written yet.
func (t *teller) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.untold) + t.writing
}

// slowWrite is how long a write takes that no longer counts as one that goes on.
const slowWrite = 5 * time.Second

// stuck is how many symptoms wait because the desk does not take them, or does not come back from a write. What waits for the
// next write, as always in a storm, is not stuck.
func (t *teller) stuck() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed || t.busy && time.Since(t.began) > slowWrite {
		return len(t.untold) + t.writing
	}
	return 0
}

// flush tells what waits. What the desk refuses stays, to be told again with all that was found of it later; when it cannot
// write, everything stays. The caller holds mu, which is let go during each write.
func (t *teller) flush(now time.Time) {
	t.busy = true
	var kept []symptom.Symptom
	later := map[string]bool{} // keys of those kept
	for len(t.untold) > 0 {
		n := min(atOnce, len(t.untold))
		some := t.untold[:n:n]
		t.untold, t.writing, t.began = t.untold[n:], n+len(kept), time.Now()
		t.mu.Unlock()
		refused, err := t.observeAll(now, some)
		t.mu.Lock()
		if err != nil {
			t.log.Error("symptoms not written, will be told again", "waiting", n+len(kept)+len(t.untold), "error", err)
			kept = append(kept, some...)
			break
		}
		for i, s := range some {
			if refused[i] != nil {
				t.log.Error("symptom not taken in, will be told again", "symptom", s.Key(), "error", refused[i])
				later[s.Key()] = true
			}
			if later[s.Key()] {
				kept = append(kept, s)
			}
		}
	}
	t.untold, t.writing, t.busy, t.failed = slices.Concat(kept, t.untold), 0, false, len(kept) > 0
}

// observe is the sink of those who tell again what was not taken.
func (t *teller) observe(now time.Time, s symptom.Symptom) error {
	r, changed, err := t.desk.Observe(now, s)
	if err == nil && changed {
		t.note(r, s)
	}
	return err
}

// run tells again what waits, and lets time pass for those who need it, each second.
func (t *teller) run(ctx context.Context, tick func(now time.Time) []symptom.Symptom) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			t.tell(ctx, tick(t.now()))
		}
	}
}

// firing are the symptoms behind incidents whose fault lasts: what a process that starts must know to tell their end.
func firing(desk *incident.Desk) ([]symptom.Symptom, error) {
	records, err := desk.List(incident.Filter{State: "failing"})
	if err != nil {
		return nil, err
	}
	out := desk.Held()
	for _, r := range records {
		if r.Linked && r.VerifyingSince.IsZero() {
			out = append(out, r.Finding())
		}
	}
	return out, nil
}

// verifying are those that have ended and whose end is not proven yet: who counts their good samples must go on.
func verifying(desk *incident.Desk) (out []symptom.Symptom, err error) {
	records, err := desk.List(incident.Filter{State: "failing"})
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if v := r.Verification(); r.Linked && v != nil && v.Of > 0 {
			s := r.Finding()
			s.Since, s.At = v.Since, v.Since
			out = append(out, s)
		}
	}
	return out, nil
}

// observeAll is the sink of those who tell many at once, and again what was not taken.
func (t *teller) observeAll(now time.Time, all []symptom.Symptom) ([]error, error) {
	seen, err := t.desk.ObserveAll(now, all)
	if err != nil {
		return nil, err
	}
	refused := make([]error, len(seen))
	for i, x := range seen {
		if refused[i] = x.Err; x.Err == nil && x.Changed {
			t.note(x.Record, all[i])
		}
	}
	return refused, nil
}

func (t *teller) note(r incident.Record, s symptom.Symptom) {
	t.log.Info("incident", "id", r.ID, "state", r.State, "level", r.Level, "service", r.Service, "class", s.Class, "firing", s.Firing, "detail", s.Detail)
}
