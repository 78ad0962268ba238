package pager

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	"xunjian/pkg/channel"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

// asked is a call with what its message is made of.
type asked struct {
	Call
	rec  incident.Record
	to   channel.Person
	code string // to reply with
}

// together takes a call out of the queue, and with it those to the same person that go in one message with it: those that
// were in one before, else all when those as urgent as it are more than may go one by one. The caller holds mu.
func (c *caller) together(job Call, left int) (some []Call) {
	mine := 0
	for _, j := range c.jobs {
		if j.Person == job.Person && j.Digest == "" && j.urgent() == job.urgent() {
			mine++
		}
	}
	with := func(j Call) bool {
		switch {
		case j.Person != job.Person:
			return false
		case job.Digest != "" || j.Digest != "":
			return j.Digest == job.Digest
		}
		return mine > left || j.Incident == job.Incident && j.N == job.N
	}
	c.jobs = slices.DeleteFunc(c.jobs, func(j Call) bool {
		if len(some) < maxDigest && with(j) {
			some = append(some, j)
			return true
		}
		return false
	})
	return some
}

// message is what some calls to one person say, and which of them it holds. Of several it is written down before it is sent
// that they go together, so that they go again together. The key is that of just these calls: a receiver drops a message whose
// key it has seen, and must not drop one that holds something else.
func (c *caller) message(ctx context.Context, some []Call) (m channel.Message, wanted []Call, ok bool) {
	var as []asked
	for _, job := range some {
		if a, ok := c.prepare(ctx, job); ok {
			as = append(as, a)
		}
	}
	switch {
	case len(as) == 0:
		return m, nil, false
	case len(as) == 1:
		a := as[0]
		a.Digest = ""
		return c.e.p.callMessage(a.Call, a.rec, a.to, a.code), []Call{a.Call}, true
	}
	key := togetherKey(as)
	known := as[0].Digest == key
	for i := range as {
		as[i].Digest = key
		wanted = append(wanted, as[i].Call)
	}
	if !known {
		if err := c.write(wanted); err != nil {
			c.log.Error("digest of calls not written down", "person", some[0].Person, "calls", len(wanted), "err", err)
			c.later(ctx, some...)
			return m, nil, false
		}
	}
	return c.e.p.callDigest(as), wanted, true
}

// togetherKey is the same for the same calls and for no others.
func togetherKey(as []asked) string {
	h := fnv.New64a()
	keys := []string{as[0].Person}
	for _, a := range as {
		keys = append(keys, a.own())
	}
	slices.Sort(keys[1:])
	fmt.Fprintln(h, keys)
	return fmt.Sprintf("digest.c%d.%016x", len(as), h.Sum64())
}

// callDigest is a digest for one person: each fault with its link, the gravest with its code.
func (p *Pager) callDigest(as []asked) channel.Message {
	pages := make([]incident.Page, len(as))
	of := map[string]asked{} // the last call about each incident
	for i, a := range as {
		pages[i] = incident.Page{Seq: uint64(a.N), Kind: a.Kind, At: a.At, Level: a.Level, Record: a.rec}
		if a.N > of[a.Incident].N {
			of[a.Incident] = a
		}
	}
	m := p.digest(pages, as[0].Channel)
	m.Key, m.To = as[0].Digest, []channel.Person{as[0].to}
	last, _ := lastOf(pages)
	end := slices.IndexFunc(last, func(page incident.Page) bool { return page.Kind.Ends() })
	if end < 0 {
		end = len(last)
	}
	if end > 0 {
		m.Code = of[last[0].Record.ID].code
	}
	for _, language := range i18n.Languages {
		m.Translations[language] = p.sum(i18n.For(language), last[:end], last[end:], of)
	}
	w := p.sum(p.printer, last[:end], last[end:], of)
	m.Title, m.Text, m.Short = w.Title, w.Text, w.Short
	return m
}
