package pager

import (
	"time"

	"xunjian/pkg/incident"
)

// unreached lists calls that no channel has brought to their person, and that are still to be made: what stands beside the
// pages that receivers have not taken.
func (e *escalator) unreached(limit int) (out []Pending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range e.pursued {
		for _, c := range u.unreached() {
			if len(out) >= limit {
				break
			}
			p := Pending{
				Channel: c.Channel, Person: c.Person, Page: incident.Page{Kind: c.Kind, At: c.At, Level: c.Level, Record: incident.Record{ID: c.Incident}},
				Tries: c.Tries, LastTry: c.TriedAt, NextTry: u.next, Answer: c.Answer,
			}
			if time.Since(c.At) >= Patience {
				p.GaveUpAt = c.FailedAt
			}
			out = append(out, p)
		}
	}
	return out
}

// unreached are the calls that were tried and whose person nothing has reached.
func (u *pursuit) unreached() (out []Call) {
	reached := map[string]bool{}
	for _, c := range u.calls {
		if !c.SentAt.IsZero() {
			reached[c.Person] = true
		}
	}
	for _, c := range u.calls {
		if !reached[c.Person] && c.Tries > 0 && c.DroppedAt.IsZero() {
			out = append(out, c)
		}
	}
	return out
}

// count shows how many calls have not reached anybody, by channel. The caller holds mu.
func (e *escalator) count() {
	n := map[string]int{}
	for _, u := range e.pursued {
		for _, c := range u.unreached() {
			n[c.Channel]++
		}
	}
	for name := range e.callers {
		e.p.metrics.unreached.WithLabelValues(name).Set(float64(n[name]))
	}
}
