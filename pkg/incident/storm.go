package incident

import "time"

// A storm is more incidents in a few minutes than people can read one by one.
const (
	StormOf     = 30
	stormWithin = 5 * time.Minute
)

// storm counts the incidents that opened lately, by the second.
type storm struct{ opens []opens }

type opens struct {
	at time.Time
	n  int
}

func (s *storm) add(now time.Time, n int) {
	if n == 0 {
		return
	}
	for len(s.opens) > 0 && !s.opens[0].at.After(now.Add(-stormWithin)) {
		s.opens = s.opens[1:]
	}
	if last := len(s.opens) - 1; last >= 0 && now.Sub(s.opens[last].at).Abs() < time.Second {
		s.opens[last].n += n
		return
	}
	s.opens = append(s.opens, opens{now, n})
}

// with is how many opened in the last minutes, further ones counted in; 0 while that is no storm.
func (s *storm) with(now time.Time, n int) int {
	for _, o := range s.opens {
		if o.at.After(now.Add(-stormWithin)) {
			n += o.n
		}
	}
	if n < StormOf {
		return 0
	}
	return n
}

// Storm is how many incidents opened in the five minutes up to now, 0 while they are not very many.
func (d *Desk) Storm(now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.storm.with(d.clock.now(now), 0)
}
