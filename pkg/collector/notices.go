package collector

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

const ruleNoNotice = "HolidayNoticeMissing"

// settled is how long a collector has run before it tells what has weeks of time: whoever starts it may be about to mend it.
const settled = time.Hour

// notices tells, as a minor symptom, that nobody has announced the holidays of a year that is near.
type notices struct {
	text *i18n.Printer

	mu       sync.Mutex
	calendar *contract.Calendar
	from     time.Time // when it is to be told at the earliest
	told     int       // the year whose notice was told to be missing; 0: none
}

// set takes a calendar over.
func (n *notices) set(calendar *contract.Calendar) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calendar = calendar
}

// adopt takes over what an earlier process told and did not end.
func (n *notices) adopt(now time.Time, before []symptom.Symptom) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.from = now.Add(settled)
	for _, s := range before {
		if s.Source == symptom.FromFleet && s.Rule == ruleNoNotice {
			n.told = 1 // whichever it was: it is told again or ended
		}
	}
}

// missing is what to say of a notice that is missing, empty when none is.
func (n *notices) missing(now time.Time, text *i18n.Printer) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.note(now, text)
}

func (n *notices) note(now time.Time, text *i18n.Printer) string {
	year, missing := n.calendar.Missing(now)
	if !missing {
		return ""
	}
	return text.T("collector.no_notice", "year", strconv.Itoa(year))
}

// tick tells that a notice is missing, or that it has come.
func (n *notices) tick(now time.Time) []symptom.Symptom {
	n.mu.Lock()
	defer n.mu.Unlock()
	year, missing := n.calendar.Missing(now)
	if !missing {
		year = 0
	}
	if year == n.told || missing && now.Before(n.from) {
		return nil
	}
	s := symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: "collector", Class: symptom.Warning, Level: contract.Minor, Rule: ruleNoNotice,
		Firing: missing, Since: now.UTC(), At: now.UTC(), Detail: n.note(now, n.text),
	}
	if !missing {
		s.Detail = n.text.T("collector.notice_came", "version", n.calendar.Version())
	}
	s.Evidence = []symptom.Evidence{{At: s.At, Text: s.Detail}}
	n.told = year
	return []symptom.Symptom{s}
}

// warnings are what people should know of the collector itself, the gravest first.
func (c *Collector) warnings(now time.Time, text *i18n.Printer) (out []string) {
	if ill := c.ill(text); ill != "" {
		out = append(out, ill)
	}
	return append(out, c.advice(now, text)...)
}

// ill says that the collector is not well, so that what it shows and tells cannot be relied on; empty when it is.
func (c *Collector) ill(text *i18n.Printer) string {
	err := c.healthy()
	if err == nil {
		return ""
	}
	var names []string
	for _, s := range c.hearts.States() {
		if s.Withheld {
			names = append(names, s.Name)
		}
	}
	hearts := ""
	if len(names) > 0 {
		hearts = text.T("collector.ill_withheld", "names", strings.Join(names, text.T("collector.comma")))
	}
	first, _, _ := strings.Cut(err.Error(), "\n") // of two files that are full, one is enough
	return text.T("collector.ill", "hearts", hearts, "error", first)
}

// advice is what can wait for the morning.
func (c *Collector) advice(now time.Time, text *i18n.Printer) (out []string) {
	if note := c.notices.missing(now, text); note != "" {
		out = append(out, note)
	}
	for _, s := range c.hearts.States() {
		if s.Error != "" && !s.Withheld {
			out = append(out, text.T("collector.heart_failing", "name", s.Name, "why", s.Explain(text)))
		}
	}
	return out
}
