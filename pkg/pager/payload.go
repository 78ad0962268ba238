package pager

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

const (
	firing   = "firing"
	resolved = "resolved"
)

// pageKey is the same for every try of a page and for no other page, also not for one of a time that a restored backup
// knows nothing of.
func pageKey(page incident.Page) string {
	k := fmt.Sprintf("%s.%d.%s", page.Record.ID, page.Record.Version, page.Kind)
	if !page.After.IsZero() {
		k += "." + page.After.UTC().Format("20060102T150405")
	}
	return k
}

func (p *Pager) message(page incident.Page, receiver string) channel.Message {
	r := page.Record
	status, end := firing, time.Time{}
	if page.Kind.Ends() {
		status, end = resolved, cmp.Or(r.RecoveredAt, page.At).In(p.o.Location)
	}
	labels, annotations := p.labels(page), p.annotations(page, p.printer)
	return channel.Message{
		Key: pageKey(page), Level: page.Level, Resolved: status == resolved,
		Title: annotations["summary"], Text: annotations["description"], Short: p.short(page, p.printer, ""), Translations: p.translated(page),
		Payload: channel.Payload{
			Receiver: receiver, Status: status, Version: "4",
			Alerts: []channel.Alert{{
				Status: status, Labels: labels, Annotations: annotations,
				StartsAt: r.FaultStart.In(p.o.Location), EndsAt: end,
				GeneratorURL: p.link(r.ID), Fingerprint: fingerprint(r.ID),
			}},
			GroupLabels:  map[string]string{"incident": r.ID},
			CommonLabels: labels, CommonAnnotations: annotations,
			ExternalURL: p.o.ExternalURL,
			GroupKey:    fmt.Sprintf("{}:{incident=%q}", r.ID),
		},
	}
}

// severities are what receivers of Alertmanager's pages usually sort by.
var severities = map[contract.Level]string{contract.Urgent: "critical", contract.General: "warning", contract.Minor: "info"}

func (p *Pager) labels(page incident.Page) map[string]string {
	r := page.Record
	name := r.Rule
	if name == "" {
		name = "Service" + strings.ToUpper(string(r.Class[:1])) + string(r.Class[1:])
	}
	l := map[string]string{
		"alertname": name,
		"severity":  severities[page.Level],
		"level":     string(page.Level),
		"service":   r.Service,
		"incident":  r.ID,
		"class":     string(r.Class),
		"source":    string(r.Source),
	}
	if r.Component != "" {
		l["component"] = r.Component
	}
	return l
}

// annotations are the texts for people; each is there only when it says something.
func (p *Pager) annotations(page incident.Page, in *i18n.Printer) map[string]string {
	r, t := page.Record, in.T
	level := t("common.level." + string(page.Level))
	a := map[string]string{
		"summary":      t("pager.summary."+string(page.Kind), "level", level, "title", r.Title(in), "proposed", t("common.level."+string(r.Proposed)), "parent", r.Parent, "share", share(r), "clock", missedClock(r, in)),
		"kind":         t("pager.kind." + string(page.Kind)),
		"fault_start":  p.clock(r.FaultStart),
		"response_due": p.clock(r.ResponseDue),
		"recovery_due": p.clock(r.RecoveryDue),
		"recovered_at": p.clock(r.RecoveredAt),
		"ack_by":       r.AckBy,
		"recurrence":   r.RecurrenceOf,
		"url":          p.link(r.ID),
	}
	if !r.AckAt.IsZero() {
		delete(a, "response_due")
	}
	if !r.RecoveredAt.IsZero() {
		delete(a, "recovery_due")
	}
	a["description"] = description(page, in, a)
	for k, v := range a {
		if v == "" {
			delete(a, k)
		}
	}
	return a
}

// translated are a page's words in every language that there is.
func (p *Pager) translated(page incident.Page) map[string]channel.Words {
	out := map[string]channel.Words{}
	for _, language := range i18n.Languages {
		in := i18n.For(language)
		a := p.annotations(page, in)
		out[language] = channel.Words{Title: a["summary"], Text: a["description"], Short: p.short(page, in, "")}
	}
	return out
}

// short is a page for telephones; code is the one to reply with, or empty.
func (p *Pager) short(page incident.Page, in *i18n.Printer, code string) string {
	b := channel.Brief{Level: in.T("common.level." + string(page.Level)), Service: page.Record.Title(in), ID: page.Record.ID}
	switch {
	case page.Kind.Ends():
		b.Level = in.T("pager.kind." + string(page.Kind))
	case page.Kind != incident.PageOpened:
		b.Level += "·" + in.T("pager.kind."+string(page.Kind))
	}
	b.What = page.Record.Detail
	if code != "" {
		b.Code = in.T("pager.short.code", "code", code)
	}
	return b.Text()
}

// share is how much of the recovery time the last reminder was about, in per cent.
func share(r incident.Record) string {
	if n := len(r.Warned); n > 0 {
		return strconv.Itoa(r.Warned[n-1].Share)
	}
	return ""
}

// missedClock names the clock whose deadline was missed last.
func missedClock(r incident.Record, in *i18n.Printer) string {
	if n := len(r.Breaches); n > 0 {
		return in.T("incident.clock." + string(r.Breaches[n-1].Clock))
	}
	return ""
}

func description(page incident.Page, in *i18n.Printer, a map[string]string) string {
	lines := []string{page.Record.ID + " " + page.Record.Detail}
	for _, k := range []string{"fault_start", "recovered_at", "response_due", "recovery_due", "ack_by", "recurrence", "url"} {
		if a[k] != "" {
			lines = append(lines, in.T("pager.line."+k, "value", a[k]))
		}
	}
	return strings.Join(lines, "\n")
}

func (p *Pager) clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(p.o.Location).Format("2006-01-02 15:04:05")
}

func (p *Pager) link(id string) string {
	if p.o.ExternalURL == "" {
		return ""
	}
	return strings.TrimSuffix(p.o.ExternalURL, "/") + "/incidents/" + id
}

func fingerprint(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	return fmt.Sprintf("%016x", h.Sum64())
}
