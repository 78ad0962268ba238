package collector

import (
	"context"
	"fmt"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/measure"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
)

// What is usual changes with the days: it is learned at the start, soon after each midnight, and when the configuration has
// changed what it is made of.
const (
	usualAfter = 10 * time.Minute // midnight
	usualAgain = time.Hour        // when it failed
	usualRest  = 4                // times as long as the reading of one series took, nothing is read: a fifth of a processor at most
)

// asked is a check as one agent asks it. When its target changes, it is another.
type asked struct{ check, agent, target string }

// habits are what is usual, by hour of the day; nothing changes in them.
type habits struct {
	of       map[asked]measure.Usual
	location *time.Location
}

// at is the board's Usual.
func (h habits) at(check, agent, target string, at time.Time) (time.Duration, bool) {
	d := h.of[asked{check, agent, target}][at.In(h.location).Hour()]
	return d, d > 0
}

// followUsual keeps the board's knowledge of what is usual fresh.
func (c *Collector) followUsual(ctx context.Context) error {
	for {
		next := untilMorning(c.clock.Now().In(c.o.Config.location()))
		learned, err := c.learnUsual(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Error("what is usual not learned, the old stays in force and it will be tried again", "error", err)
			next = min(next, usualAgain)
		}
		wait := time.NewTimer(next)
		for again := false; !again; {
			select {
			case <-ctx.Done():
				wait.Stop()
				return nil
			case <-wait.C:
				again = true
			case <-c.habitual:
				again = c.wanted() != learned
			}
		}
		wait.Stop()
	}
}

// untilMorning is how long it is until the next time, by the zone of now; one that is a moment away has just been.
func untilMorning(now time.Time) time.Duration {
	y, m, d := now.Date()
	next := time.Date(y, m, d, 0, 0, 0, 0, now.Location()).Add(usualAfter)
	if !next.After(now.Add(time.Minute)) {
		next = time.Date(y, m, d+1, 0, 0, 0, 0, now.Location()).Add(usualAfter)
	}
	return next.Sub(now)
}

// lesson is what is to be learned, by the configuration.
type lesson struct {
	off         bool
	days, least int
}

func (c *Collector) wanted() lesson {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := c.cfg.Inspect
	off := in.SlowUsual == 0
	for _, s := range c.cfg.Checks {
		off = off && (s.SlowUsual == nil || *s.SlowUsual == 0)
	}
	return lesson{off, in.SlowUsualDays, in.SlowUsualLeast}
}

// learnUsual reads the last days and tells the board what was usual in them. What was known stays in force when that fails;
// when nothing was known the board is told so, since it waits.
func (c *Collector) learnUsual(ctx context.Context) (lesson, error) {
	want := c.wanted()
	next := habits{of: map[asked]measure.Usual{}, location: c.o.Config.location()}
	if want.off {
		c.board.Usual(next.at)
		return want, nil
	}
	begin, now := time.Now(), c.clock.Now()
	err := c.readHabits(ctx, want, now, next)
	if ctx.Err() != nil {
		return want, ctx.Err()
	}
	if err != nil && c.knowsUsual {
		return want, err
	}
	c.knowsUsual = true
	c.board.Usual(next.at)
	c.log.Info("learned how long answers usually take", "vantages", len(next.of), "took", time.Since(begin).Round(time.Millisecond))
	return want, err
}

// readHabits fills in what is usual for each check from each agent that has asked it of late, one after the other.
func (c *Collector) readHabits(ctx context.Context, want lesson, now time.Time, into habits) error {
	slow, err := c.slowSpells()
	if err != nil {
		return err
	}
	found, err := c.lately(now.AddDate(0, 0, -want.days-1), now)
	if err != nil {
		return err
	}
	for a, service := range found {
		begin := time.Now()
		spells := slow[service]
		h := measure.Habit{Samples: samples{c.series}, Location: into.location, Days: want.days, Least: want.least, Until: now, Except: spells.over}
		if !spells.open.IsZero() {
			h.Until = spells.open
		}
		usual, err := h.Of(ctx, map[string]string{measure.LabelCheck: a.check, measure.LabelAgent: a.agent, "instance": a.target})
		if err != nil {
			return fmt.Errorf("read how long check %s took from agent %s: %w", a.check, a.agent, err)
		}
		if usual != (measure.Usual{}) {
			into.of[a] = usual
		}
		if err := pause(ctx, usualRest*time.Since(begin)); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// lately are the configured checks as agents have asked them since a moment, with their services.
func (c *Collector) lately(from, to time.Time) (map[asked]string, error) {
	c.mu.Lock()
	checks := map[string]check.Spec{}
	for _, s := range c.cfg.Checks {
		checks[s.Name] = s
	}
	c.mu.Unlock()
	name, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, "probe_duration_seconds")
	if err != nil {
		return nil, err
	}
	out := map[asked]string{}
	for _, s := range c.series.Series(from.UnixMilli(), to.UnixMilli(), name) {
		a := asked{s.Get(measure.LabelCheck), s.Get(measure.LabelAgent), s.Get("instance")}
		if spec, ok := checks[a.check]; ok && a.agent != "" {
			out[a] = spec.Service
		}
	}
	return out, nil
}

// spells are when a service was slow.
type spells struct {
	open time.Time       // since when it is; zero: it is not
	over []contract.Span // that have ended
}

// slowSpells are those of each service, but for those that people found to be none: what is slow must not become usual,
// however long it lasts. So while a service is slow its checks are held against the days before that began, and afterwards
// those days are left out.
func (c *Collector) slowSpells() (map[string]spells, error) {
	all, err := c.desk.List(incident.Filter{})
	if err != nil {
		return nil, fmt.Errorf("look for times of slowness: %w", err)
	}
	out := map[string]spells{}
	for _, r := range all {
		if r.Class != symptom.Slow && r.LastClass != symptom.Slow || r.State == incident.FalseAlarm || r.Excused == incident.ExcusedFalse {
			continue
		}
		s := out[r.Service]
		if r.Failing() {
			if s.open.IsZero() || r.FaultStart.Before(s.open) {
				s.open = r.FaultStart
			}
		} else {
			end := r.RecoveredAt
			if end.IsZero() {
				end = r.UpdatedAt
			}
			s.over = append(s.over, contract.Span{From: r.FaultStart.UnixMilli(), To: end.UnixMilli()})
		}
		out[r.Service] = s
	}
	return out, nil
}

var _ inspect.Usual = habits{}.at
