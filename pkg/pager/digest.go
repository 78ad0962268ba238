package pager

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

const (
	maxDigest = 500 // pages in one message
	maxListed = 20  // incidents that a digest for people names; the others it counts
)

// digest is several pages as one message: what lasts first, the gravest first, and what is over as a number. Programs get
// every incident of it, with its last state.
func (p *Pager) digest(pages []incident.Page, receiver string) channel.Message {
	last, keys := lastOf(pages)
	ongoing, over := last, []incident.Page(nil)
	if i := slices.IndexFunc(last, func(page incident.Page) bool { return page.Kind.Ends() }); i >= 0 {
		ongoing, over = last[:i], last[i:]
	}
	m := channel.Message{
		Key: digestKey(pages), Level: gravest(pages), Resolved: len(ongoing) == 0, Translations: map[string]channel.Words{},
		Payload: channel.Payload{
			Receiver: receiver, Status: firing, Version: "4", GroupLabels: map[string]string{}, ExternalURL: p.o.ExternalURL, GroupKey: fmt.Sprintf("{}:{digest=%q}", digestKey(pages)),
		},
	}
	if m.Resolved {
		m.Payload.Status = resolved
	}
	for _, page := range last {
		a := p.message(page, receiver).Payload.Alerts[0]
		a.Annotations["pages"] = strings.Join(keys[page.Record.ID], " ")
		m.Payload.Alerts = append(m.Payload.Alerts, a)
	}
	m.Payload.CommonLabels = common(m.Payload.Alerts, func(a channel.Alert) map[string]string { return a.Labels })
	m.Payload.CommonAnnotations = common(m.Payload.Alerts, func(a channel.Alert) map[string]string { return a.Annotations })
	for _, language := range i18n.Languages {
		m.Translations[language] = p.sum(i18n.For(language), ongoing, over, nil)
	}
	w := p.sum(p.printer, ongoing, over, nil)
	m.Title, m.Text, m.Short = w.Title, w.Text, w.Short
	return m
}

// lastOf is the last page of each incident, those that last first, the gravest and then the oldest of them first; and the
// keys of all pages of each.
func lastOf(pages []incident.Page) (last []incident.Page, keys map[string][]string) {
	of := map[string]incident.Page{}
	keys = map[string][]string{}
	for _, page := range pages {
		id := page.Record.ID
		if have, ok := of[id]; !ok || page.Seq > have.Seq {
			of[id] = page
		}
		keys[id] = append(keys[id], pageKey(page))
	}
	return slices.SortedFunc(maps.Values(of), func(a, b incident.Page) int {
		switch {
		case a.Kind.Ends() != b.Kind.Ends():
			return map[bool]int{true: 1, false: -1}[a.Kind.Ends()]
		case a.Level.Graver(b.Level):
			return -1
		case b.Level.Graver(a.Level):
			return 1
		}
		return cmp.Or(a.Record.FaultStart.Compare(b.Record.FaultStart), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Record.ID, b.Record.ID))
	}), keys
}

// digestKey is the same for the same pages and for no others.
func digestKey(pages []incident.Page) string {
	h := fnv.New64a()
	for _, page := range pages {
		fmt.Fprintln(h, pageKey(page))
	}
	return fmt.Sprintf("digest.%d.%016x", len(pages), h.Sum64())
}

func gravest(pages []incident.Page) (level contract.Level) {
	for _, page := range pages {
		if page.Level.Graver(level) {
			level = page.Level
		}
	}
	return level
}

// common is what all alerts have the same.
func common(alerts []channel.Alert, of func(channel.Alert) map[string]string) map[string]string {
	out := maps.Clone(of(alerts[0]))
	for _, a := range alerts[1:] {
		maps.DeleteFunc(out, func(k, v string) bool { return of(a)[k] != v })
	}
	return out
}

// sum says in one language what a digest holds; calls are those about its incidents, where it is for one person.
func (p *Pager) sum(in *i18n.Printer, ongoing, over []incident.Page, calls map[string]asked) channel.Words {
	n, ended := strconv.Itoa(len(ongoing)), strconv.Itoa(len(over))
	which := ""
	switch {
	case len(ongoing) == 0:
		which = "_over"
	case len(over) == 0:
		which = "_open"
	}
	w := channel.Words{Title: in.T("pager.digest.title"+which, "open", n, "levels", levels(in, ongoing), "over", ended)}
	w.Short = w.Title
	var lines []string
	for i, page := range ongoing {
		if i == maxListed {
			lines = append(lines, in.T("pager.digest.more", "n", strconv.Itoa(len(ongoing)-i), "levels", levels(in, ongoing[i:])))
			break
		}
		r := page.Record
		lines = append(lines, in.T("pager.digest.line", "level", in.T("common.level."+string(page.Level)), "title", r.Title(in), "id", r.ID, "since", p.clock(r.FaultStart)))
		if link := p.ackAddress(calls[r.ID].Call); link != "" {
			lines = append(lines, in.T("pager.digest.ack", "link", link))
		}
	}
	if len(over) > 0 {
		lines = append(lines, in.T("pager.digest.over", "over", ended))
	}
	if p.o.ExternalURL != "" {
		lines = append(lines, in.T("pager.digest.url", "value", strings.TrimSuffix(p.o.ExternalURL, "/")+"/incidents"))
	}
	w.Text = strings.Join(lines, "\n")
	if len(ongoing) > 0 {
		first := ongoing[0].Record
		b := channel.Brief{
			Level: in.T("common.level." + string(ongoing[0].Level)), Service: in.T("pager.digest.short"+which, "open", n, "over", ended), What: first.Title(in), ID: first.ID,
		}
		if code := calls[first.ID].code; code != "" {
			b.Code = in.T("pager.short.code", "code", code)
		}
		w.Short = b.Text()
	}
	return w
}

// levels counts incidents by level: 紧急 3、一般 12.
func levels(in *i18n.Printer, pages []incident.Page) string {
	var out []string
	for _, level := range contract.Levels {
		n := 0
		for _, page := range pages {
			if page.Level == level {
				n++
			}
		}
		if n > 0 {
			out = append(out, in.T("common.level."+string(level))+" "+strconv.Itoa(n))
		}
	}
	return strings.Join(out, in.T("pager.digest.comma"))
}
