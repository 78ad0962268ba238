package pager

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/roster"
)

// ErrNoChannel is returned for the name of a channel that is not configured.
var ErrNoChannel = errors.New("no such channel")

// Tested is what came of a test message at one receiver, for people to read.
type Tested struct {
	Channel string        `json:"channel"`
	Person  string        `json:"person,omitempty"` // whom it was to reach; empty: whoever sits behind the receiver
	Answer  string        `json:"answer,omitempty"` // the receiver's yes, in its own words
	Error   string        `json:"error,omitempty"`  // empty: it has said yes
	Took    time.Duration `json:"took"`
	err     error
}

// Explain says in a language of people why the receiver did not say yes; empty: it did.
func (t Tested) Explain(in *i18n.Printer) string {
	if t.err == nil {
		return t.Error
	}
	return channel.Explain(in, t.err)
}

// Test sends a message that is plainly a test over a channel, or over all with the name "", in the name of a person, at
// once and beside whatever is being sent. It goes to each of the people given, else to those the channel itself names, and
// over a channel that names nobody to whoever is on duty. A receiver that says yes is then sent what has waited for it. The error is ErrNoChannel; what a receiver says is in the list,
// which has the order of the configuration.
func (p *Pager) Test(ctx context.Context, name, by string, to ...channel.Person) ([]Tested, error) {
	var out []Tested
	var sends []func() (channel.Receipt, error)
	for _, c := range p.o.Channels {
		if name != "" && c.Name() != name {
			continue
		}
		for _, person := range p.tested(c, to, p.o.Now()) {
			m := p.testMessage(c.Name(), by, p.o.Now(), person)
			out = append(out, Tested{Channel: c.Name(), Person: person.Name})
			sends = append(sends, func() (channel.Receipt, error) {
				p.paces[c.Name()].spend(p.o.Now())
				return c.Send(ctx, m)
			})
		}
	}
	if name != "" && out == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoChannel, name)
	}
	var wg sync.WaitGroup
	for i, send := range sends {
		wg.Go(func() {
			start := time.Now()
			receipt, err := send()
			out[i].Took, out[i].Answer = time.Since(start), receipt.Answer
			if err != nil {
				out[i].err, out[i].Error = err, channel.Explain(p.printer, err)
			} else {
				p.answers(out[i].Channel)
			}
		})
	}
	wg.Wait()
	return out, nil
}

// tested are the people to whom a test goes over a channel; one without a name stands for whoever sits behind it.
func (p *Pager) tested(c channel.Channel, to []channel.Person, now time.Time) (out []channel.Person) {
	if len(to) > 0 {
		return to
	}
	if who, ok := c.(personal); ok && !who.Broadcasts() && p.o.Roster != nil {
		duty := p.o.Roster.On(now)
		for _, line := range roster.Lines {
			if on := duty.On(line); on.Held() && who.Reaches(addressed(on.Person)) && !slices.Contains(out, addressed(on.Person)) {
				out = append(out, addressed(on.Person))
			}
		}
	}
	if out == nil {
		out = append(out, channel.Person{})
	}
	return out
}

// testMessage says that it is a test in its every part, so that nobody takes it for a fault.
func (p *Pager) testMessage(receiver, by string, now time.Time, to channel.Person) channel.Message {
	t := p.printer.T
	title := t("pager.test.title")
	text := t("pager.test.text", "by", by, "channel", receiver, "at", p.clock(now))
	labels := map[string]string{"alertname": "XunjianTest", "severity": "info", "level": string(contract.Minor), "test": "true"}
	annotations := map[string]string{"summary": title, "description": text, "kind": t("pager.kind.test")}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s %d", receiver, to.Name, by, now.UnixNano())
	print := fmt.Sprintf("%016x", h.Sum64())
	words := map[string]channel.Words{}
	for _, language := range i18n.Languages {
		in := i18n.For(language)
		words[language] = channel.Words{
			Title: in.T("pager.test.title"), Text: in.T("pager.test.text", "by", by, "channel", receiver, "at", p.clock(now)), Short: in.T("pager.test.short", "by", by),
		}
	}
	m := channel.Message{
		Translations: words,
		Key:          "test." + print, Level: contract.Minor, Title: title, Text: text, Short: t("pager.test.short", "by", by),
		Payload: channel.Payload{
			Receiver: receiver, Status: firing, Version: "4", ExternalURL: p.o.ExternalURL, GroupKey: "{}:{test=\"" + print + "\"}",
			Alerts:      []channel.Alert{{Status: firing, Labels: labels, Annotations: annotations, StartsAt: now.In(p.o.Location), Fingerprint: print}},
			GroupLabels: map[string]string{"test": "true"}, CommonLabels: labels, CommonAnnotations: annotations,
		},
	}
	if to != (channel.Person{}) {
		m.To = []channel.Person{to}
	}
	return m
}
