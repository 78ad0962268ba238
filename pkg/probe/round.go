package probe

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"xunjian/pkg/check"
)

// A round asks once on time. When that is not ok it asks twice more, on fresh connections and side by side, so that one bad
// answer and a fault are told apart within the same round:
//
//   - A quick failure (refused, 500, certificate) is asked again at once and after gap.
//   - A target that has not answered by Slow can no longer be ok, so the re-probes start then and not at the timeout. They
//     have to show one thing only, that the target is still not ok, which is certain once they too have waited for Slow. When
//     the first attempt is decided and they have waited that long they are given up and graded as the first was. So a hang is
//     confirmed at about max(Timeout, 2×Slow), not at 2×Timeout: keep Slow ≤ Timeout/2, as the defaults do.
const again = 2

// errGivenUp ends re-probes that have waited long enough.
var errGivenUp = errors.New("given up")

// state remembers whether the last round was ok; after any other the connection is made anew.
type state struct{ good atomic.Bool }

// gap keeps the two re-probes of a quick failure apart, so that both do not fall into one hiccup.
func (p *Prober) gap() time.Duration { return min(300*time.Millisecond, p.spec.Every/5) }

// lateGap is the same for late answers, where Slow already lies between the first attempt and the others.
func (p *Prober) lateGap() time.Duration { return min(100*time.Millisecond, p.spec.Slow/10) }

func (p *Prober) round(ctx context.Context) []check.Attempt {
	fresh := !p.sound.good.Load()
	first := make(chan check.Attempt, 1)
	go func() { first <- p.attempt(ctx, fresh) }()

	late := time.NewTimer(p.spec.Slow)
	defer late.Stop()
	var attempts []check.Attempt
	select {
	case a := <-first:
		attempts = p.confirm(ctx, a)
	case <-late.C:
		attempts = p.confirmLate(ctx, first)
	}
	p.sound.good.Store(attempts[0].Outcome == check.OK)
	return attempts
}

// confirm asks again after an answer in time.
func (p *Prober) confirm(ctx context.Context, first check.Attempt) []check.Attempt {
	if decided(first) {
		return []check.Attempt{first}
	}
	others := p.askAgain(ctx, p.gap())
	return append([]check.Attempt{first}, others()...)
}

// confirmLate asks again while the first attempt is still waiting.
func (p *Prober) confirmLate(ctx context.Context, first <-chan check.Attempt) []check.Attempt {
	patience := time.NewTimer(p.lateGap() + p.spec.Slow)
	defer patience.Stop()
	hurried, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	others := p.askAgain(hurried, p.lateGap())

	a := <-first
	if decided(a) { // answered in the very moment, or cancelled
		giveUp(errGivenUp)
		others()
		return []check.Attempt{a}
	}
	done := make(chan []check.Attempt, 1)
	go func() { done <- others() }()
	select {
	case rest := <-done:
		return p.gradeLate(a, rest)
	case <-patience.C:
		giveUp(errGivenUp)
		return p.gradeLate(a, <-done)
	}
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
func (p *Prober) askAgain(ctx context.Context, gap time.Duration) func() []check.Attempt {
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
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return p.attempt(ctx, true)
}
