package test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// steps are what is done to a wall clock, as its distance from the true one; between them it jumps by up to two days.
var steps = []time.Duration{
	time.Second, -time.Second, time.Minute, -time.Minute, time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour,
}

// shortVerify lets a recovery be told while the test still looks, and a busy machine be slow for a moment.
const shortVerify = "contract: {verify: 2s, verify_urgent: 2s, verify_samples: 2}\ninspect: {slow_hold: 2s}\n"

// stepRig is a rig with a fault that lasts while clocks are set.
type stepRig struct {
	*killRig
	first incidentJSON
	began time.Time // true time of that fault
}

func newStepRig(t *testing.T) *stepRig {
	r := &stepRig{killRig: newRigOn(t, t.TempDir(), shortVerify)}
	r.startAgent()
	r.allBut(t, "")
	r.began = time.Now()
	fault(t, "http://"+r.simulator, "cloud-doc", map[string]any{"mode": "error500"})
	eventually(t, "incident", func() error {
		got, err := r.told()
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%d incidents", len(got))
		}
		if err == nil {
			r.first = got[0]
		}
		return err
	})
	return r
}

// told are all incidents but those of some rules, and of the disk of the machine that runs the test.
func (r *killRig) told(but ...string) ([]incidentJSON, error) {
	got, err := incidents(r.url(), r.token, "state=all")
	return slices.DeleteFunc(got, func(i incidentJSON) bool { return i.Rule == "CollectorDiskFull" || slices.Contains(but, i.Rule) }), err
}

// allBut waits until all services are well but the one that is broken.
func (r *killRig) allBut(t *testing.T, broken string) {
	t.Helper()
	eventually(t, "services", func() error {
		var got struct {
			Services []struct{ Name, State string } `json:"services"`
		}
		if err := call("GET", r.url()+"/api/xunjian/v1/services", r.token, nil, &got); err != nil {
			return err
		}
		for _, s := range got.Services {
			if want := map[bool]string{true: "down", false: "ok"}[s.Name == broken]; s.State != want {
				return fmt.Errorf("%s is %s, want %s", s.Name, s.State, want)
			}
		}
		return nil
	})
}

// undisturbed wants, after a step, the one incident as it was, all services seen as they are, and one page.
func (r *stepRig) undisturbed(t *testing.T, step time.Duration) {
	t.Helper()
	time.Sleep(3 * time.Second)
	r.allBut(t, "cloud-doc")
	got, err := r.told()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].State == "recovered" {
		t.Errorf("after %v: incidents %+v", step, got)
	}
	if n := pagesOf(t, r.log, "cloud-doc", "firing") + pagesOf(t, r.log, "cloud-doc", "resolved"); n != 1 {
		t.Errorf("after %v: %d pages", step, n)
	}
	if now := got[0]; !now.DetectedAt.Equal(r.first.DetectedAt) || !now.ResponseDue.Equal(r.first.ResponseDue) || !now.RecoveryDue.Equal(r.first.RecoveryDue) {
		t.Errorf("after %v: clocks moved from %+v to %+v", step, r.first, now)
	}
}

// about wants a figure that was worked out to be within two seconds of the true one.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if (got - want).Abs() > 2*time.Second {
		t.Errorf("%s: %v, and it was %v", what, got, want)
	}
}

// TestClockOfTheCollector sets the clock of a collector at work: nothing is taken for a fault, nobody is paged for it, and what
// a contract pays for is as long as it was.
func TestClockOfTheCollector(t *testing.T) {
	t.Parallel()
	r := newStepRig(t)
	clock := newWallClock(t, r.collector)
	for _, step := range steps {
		clock.set(t, step)
		r.undisturbed(t, step)
	}
	base := "/api/xunjian/v1/incidents/" + r.first.ID
	acked := time.Now()
	if err := call("POST", r.url()+base+"/ack", r.token, map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	clock.set(t, time.Hour)
	second := time.Now()
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "error500"})
	eventually(t, "second incident", func() error {
		got, err := incidents(r.url(), r.token, "state=open")
		i := slices.IndexFunc(got, func(i incidentJSON) bool { return i.Service == "sms" })
		if err != nil || i < 0 {
			return errors.Join(err, fmt.Errorf("%v", got))
		}
		about(t, "from the first fault to the second", got[i].DetectedAt.Sub(r.first.DetectedAt), second.Sub(r.began))
		return nil
	})
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "ok"})
	clock.set(t, -24*time.Hour)
	r.recovers(t, clock, acked)
}

// recovers mends the fault and wants its times as they truly were, and one page and one resolve.
func (r *stepRig) recovers(t *testing.T, clock *wallClock, acked time.Time) {
	t.Helper()
	mended := time.Now()
	fault(t, "http://"+r.simulator, "cloud-doc", map[string]any{"mode": "ok"})
	clock.set(t, time.Minute)
	var last incidentJSON
	eventually(t, "recovery", func() error {
		got, err := incidents(r.url(), r.token, "state=all")
		i := slices.IndexFunc(got, func(i incidentJSON) bool { return i.ID == r.first.ID })
		if err != nil || i < 0 || got[i].RecoveredAt.IsZero() {
			return errors.Join(err, fmt.Errorf("%v", got))
		}
		last = got[i]
		return nil
	})
	if !acked.IsZero() {
		about(t, "response time", last.AckAt.Sub(last.SLAStart), acked.Sub(r.began))
	}
	about(t, "recovery time", last.RecoveredAt.Sub(last.SLAStart), mended.Sub(r.began))
	time.Sleep(2 * time.Second)
	if f, e := pagesOf(t, r.log, "cloud-doc", "firing"), pagesOf(t, r.log, "cloud-doc", "resolved"); f != 1 || e != 1 {
		t.Errorf("%d pages and %d resolves of one fault", f, e)
	}
}

// TestClockOfTheAgent sets the clock of an agent: the collector goes by its own, and tells that the other is wrong.
func TestClockOfTheAgent(t *testing.T) {
	t.Parallel()
	r := newStepRig(t)
	clock := newWallClock(t, r.agent)
	for _, step := range steps {
		clock.set(t, step)
		time.Sleep(3 * time.Second)
		r.allBut(t, "cloud-doc")
		if got, err := r.told("AgentClockSkew"); err != nil || len(got) != 1 {
			t.Errorf("after %v: %v, incidents %+v", step, err, got)
		}
	}
	r.recovers(t, clock, time.Time{})
}
