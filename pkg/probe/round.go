package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// A round asks once on time. When that is not ok it asks twice more, on fresh connections and side by side, so that one bad
// answer and a fault are told apart within the same round:
//
//   - A quick failure (refused, 500, certificate) is asked again at once and after gap.
//   - A target that has not answered by Slow can no longer be ok, so the re-probes start then and not at the timeout. They
//     have to show one thing only, that the target is still not ok, which is certain once they too have waited for Slow. When
//     the first attempt is decided and they have waited that long they are given up and graded as the first was. So a hang is
//     confirmed at about max(Timeout, 2×Slow), not at 2×Timeout: keep Slow ≤ Timeout/2, as the defaults do.
//
// Kinds that are asked in turn ask again one after the other, each on its own: what they do must not be done twice at a time.

// errGivenUp ends re-probes that have waited long enough.
var errGivenUp = errors.New("given up")

// gap keeps the two re-probes of a quick failure apart, so that both do not fall into one hiccup.
func (p *Prober) gap() time.Duration { return min(flow.Shortly, p.spec.Every/5) }

// lateGap is the same for late answers, where Slow already lies between the first attempt and the others.
func (p *Prober) lateGap() time.Duration { return min(100*time.Millisecond, p.spec.Slow/10) }

func (p *Prober) round(ctx context.Context, again int) []check.Attempt {
	hurried, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	enough := time.Now().Add(p.spec.Slow + p.lateGap() + p.spec.Slow)
	others := make(chan func() []check.Attempt, 1)
	if p.inTurn || again == 0 {
		return p.roundInTurn(ctx, again)
	}
	late := time.AfterFunc(p.spec.Slow, func() { others <- p.askAgain(hurried, again, p.lateGap()) })

	first := p.attempt(ctx, !p.sound.Load())
	p.sound.Store(first.Outcome == check.OK)
	switch asked := !late.Stop(); {
	case decided(first):
		giveUp(errGivenUp)
		if asked { // answered in the very moment, or called off
			(<-others)()
		}
		return []check.Attempt{first}
	case asked:
		patience := time.AfterFunc(time.Until(enough), func() { giveUp(errGivenUp) })
		defer patience.Stop()
		return p.gradeLate(first, (<-others)())
	}
	return append([]check.Attempt{first}, p.askAgain(ctx, again, p.gap())()...)
}

// roundInTurn makes attempt after attempt until one is good, cannot run, or enough were made.
func (p *Prober) roundInTurn(ctx context.Context, again int) []check.Attempt {
	out := []check.Attempt{p.attempt(ctx, !p.sound.Load())}
	p.sound.Store(out[0].Outcome == check.OK)
	for len(out) <= again && !decided(out[len(out)-1]) {
		out = append(out, p.after(ctx, p.gap()))
	}
	return out
}

// decided says that asking again would tell nothing more.
func decided(a check.Attempt) bool { return a.Outcome == check.OK || a.Outcome == check.Unknown }

// gradeLate gives re-probes that were given up the first attempt's grade.
func (p *Prober) gradeLate(first check.Attempt, rest []check.Attempt) []check.Attempt {
	for i, a := range rest {
		if a.Class != classGivenUp {
			continue
		}
		rest[i].Outcome, rest[i].Class = first.Outcome, check.ClassTimeout
		rest[i].Reason = fmt.Sprintf("no answer in %v, not waited for longer than for the first", round(a.Duration))
		if first.Outcome == check.Slow {
			rest[i].Class = ""
		}
	}
	return append([]check.Attempt{first}, rest...)
}

// askAgain starts the re-probes, gap apart, and returns what waits for them.
func (p *Prober) askAgain(ctx context.Context, again int, gap time.Duration) func() []check.Attempt {
	answers := make([]check.Attempt, again)
	done := make(chan struct{}, again)
	for i := range answers {
		go func() {
			defer func() { done <- struct{}{} }()
			answers[i] = p.after(ctx, time.Duration(i)*gap)
		}()
	}
	return func() []check.Attempt {
		for range answers {
			<-done
		}
		return answers
	}
}

func (p *Prober) after(ctx context.Context, wait time.Duration) check.Attempt {
	flow.Pause(ctx, wait)
	return p.attempt(ctx, true)
}
