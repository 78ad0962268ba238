package channel

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"
)

// letters sends a message to each of several people, one by one. Somebody who has got it is left out when it is tried
// again for the others; the memory is of this process, a restart may repeat one.
type letters struct {
	mu  sync.Mutex
	got map[string]time.Time // by key and address
}

const (
	rememberFor = 25 * time.Hour // longer than a page is tried
	rememberAll = 20_000
)

func (l *letters) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.got[key]
	return ok
}

func (l *letters) note(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.got == nil {
		l.got = map[string]time.Time{}
	}
	if len(l.got) >= rememberAll {
		for k, at := range l.got {
			if now.Sub(at) > rememberFor {
				delete(l.got, k)
			}
		}
		if len(l.got) >= rememberAll {
			clear(l.got)
		}
	}
	l.got[key] = now
}

// addressee is a person and where he is reached.
type addressee struct {
	Person
	at string
}

// addressees are those whom a message can reach: the people it names, where that leaves nobody the configured ones.
func addressees(m Message, to []string, of func(Person) string) ([]addressee, error) {
	var out []addressee
	seen := map[string]bool{}
	add := func(p Person, at string) {
		if at != "" && !seen[at] && len(out) < maxTo {
			seen[at] = true
			out = append(out, addressee{p, at})
		}
	}
	for _, p := range m.To {
		add(p, of(p))
	}
	if out == nil {
		for _, at := range to {
			add(Person{}, at)
		}
	}
	if out == nil {
		var names []string
		for _, p := range m.To {
			names = append(names, p.Name)
		}
		return nil, &Refusal{PageOnly: true, Cause: CauseNobody, Text: "nobody to reach: " + cmp.Or(strings.Join(names, ", "), "the page names nobody and the channel has no to")}
	}
	return out, nil
}

// each gives everybody one try. One who cannot be reached keeps the message from nobody else.
func (l *letters) each(ctx context.Context, m Message, to []addressee, send func(context.Context, addressee) (Receipt, error)) (Receipt, error) {
	var answers []string
	var errs []error
	for _, a := range to {
		key := m.Key + " " + a.at
		if l.has(key) {
			continue
		}
		receipt, err := send(ctx, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.note(key, time.Now())
		if receipt.Answer != "" {
			answers = append(answers, receipt.Answer)
		}
	}
	return Receipt{Answer: Clip(strings.Join(answers, "; "), 200)}, worst(errs)
}

// worst is one error for several: what concerns the receiver stands before what concerns one message.
func worst(errs []error) error {
	for _, err := range errs {
		if !RefusalIn(err).PageOnly {
			return err
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

func phoneOf(p Person) string {
	n := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '+' {
			return r
		}
		return -1
	}, p.Phone)
	if !phone.MatchString(n) {
		return ""
	}
	return n
}

// maskNumber leaves three digits in front and the last four: receipts and errors stand where others read them.
func maskNumber(n string) string {
	n = national(n)
	if len(n) < 8 {
		return "****"
	}
	return n[:3] + "****" + n[len(n)-4:]
}
