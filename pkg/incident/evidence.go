package incident

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The evidence bundle of a fault: what its checks saw is in the symptoms; what its hosts did around it is attached shortly
// after it opened and once more after it recovered, as events of their own. Reading curves takes time, so it is done beside
// the desk's work and never in a transaction, and what cannot be read in time is left out.

// Curve is one figure of one host, in its unit, where there was one: At are seconds after From.
type Curve struct {
	Host   string    `json:"host"`
	Name   string    `json:"name"` // cpu, memory, disk
	From   time.Time `json:"from"`
	At     []int     `json:"at"`
	Values []float64 `json:"values"`
}

// Bounds of what is attached, and when.
const (
	curvesAround = 15 * time.Minute // before the fault and after its end
	curvesAfter  = 30 * time.Second // after the opening: what agents read meanwhile has come
	curvesLate   = time.Hour        // later than that nobody needs them for their work
	curveHosts   = 8
	curvePoints  = 120
	curveTries   = 3
	curveWait    = 10 * time.Second
)

// hostsOf are the hosts that an incident speaks of: its own, or those that its service runs on, itself or by what it
// needs. The caller holds mu.
func (d *Desk) hostsOf(r Record) (hosts []string) {
	n := r.node()
	if h, ok := strings.CutPrefix(n, "host/"); ok {
		return []string{h}
	}
	for _, on := range d.estate.below[n] {
		if h, ok := strings.CutPrefix(on.node, "host/"); ok && len(hosts) < curveHosts {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// wish is a look at the curves that an incident still lacks.
type wish struct {
	id       string
	hosts    []string
	from, to time.Time
}

// wishes are the incidents that lack curves which can be there by now.
func (d *Desk) wishes(now time.Time) (out []wish) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.unclosed {
		r := l.Record
		w := wish{id: r.ID, from: r.desk(r.FaultStart).Add(-curvesAround), to: now}
		at := r.desk(r.OpenedAt).Add(curvesAfter)
		if !r.RecoveredAt.IsZero() {
			at = r.desk(r.RecoveredAt).Add(curvesAround)
			w.to = at
		}
		stage := 1
		if !r.RecoveredAt.IsZero() {
			stage = 2
		}
		if r.Parent != "" || r.Curved >= stage || now.Before(at) || now.After(at.Add(curvesLate)) || d.curveTries[r.ID] >= curveTries*stage {
			continue
		}
		if w.hosts = d.hostsOf(r); len(w.hosts) > 0 {
			out = append(out, w)
		}
	}
	return out
}

// gatherCurves attaches them, one incident after another, until ctx ends.
func (d *Desk) gatherCurves(ctx context.Context) {
	every := time.NewTicker(curvesAfter / 2)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-every.C:
			for _, w := range d.wishes(now) {
				if ctx.Err() != nil {
					return
				}
				if err := d.attach(ctx, w); err != nil {
					d.o.Logger.Warn("curves of hosts not attached", "incident", w.id, "error", err)
				}
			}
		}
	}
}

func (d *Desk) attach(ctx context.Context, w wish) error {
	reading, cancel := context.WithTimeout(ctx, curveWait)
	defer cancel()
	step := max(15*time.Second, (w.to.Sub(w.from) / curvePoints).Round(time.Second))
	curves, err := d.o.Curves(reading, w.hosts, w.from, w.to, step)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.curveTries[w.id]++
	if err != nil {
		return err
	}
	if len(curves) == 0 {
		return nil
	}
	b, err := d.batch(time.Now())
	if err != nil {
		return err
	}
	draft, err := b.draft(w.id)
	if err != nil {
		return fmt.Errorf("attach curves: %w", err)
	}
	draft.settle(draft.now)
	draft.add(Event{Kind: EventEvidence, Curves: curves[:min(len(curves), 3*curveHosts)]})
	return b.save()
}

// curved notes which of the two looks are there.
func (r *Record) curved(Event) {
	r.Curved = 1
	if !r.RecoveredAt.IsZero() {
		r.Curved = 2
	}
}
