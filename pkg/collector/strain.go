package collector

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// The rules' names in symptoms.
const (
	ruleCapped     = "AgentSeriesCapped"
	ruleQuarantine = "AgentMessageQuarantined"
)

const (
	strainLook = 15 * time.Second
	strainEnds = 10 * time.Minute // without a further refusal
	strainMost = 1000             // agents with such symptoms at once; who is one too many is told when another one's is over
)

// strain tells, as minor symptoms of an agent, that the store keeps only part of what it sends, and that a message of its
// was put into quarantine. Each is told once, and ended when nothing of the kind has happened for a while.
type strain struct {
	store interface {
		Refused(fn func(agent string, o tsdb.Outcome, n uint64))
		Dropped(fn func(agent string, samples uint64, last time.Time))
	}
	text *i18n.Printer

	mu     sync.Mutex
	looked time.Time
	counts map[string]uint64 // reports and samples not kept, by agent, at the last look
	open   map[strained]*strainState
}

type strained struct{ agent, rule string }

type strainState struct {
	since, last time.Time
	detail      string
	told        bool
}

func newStrain(db *tsdb.DB, text *i18n.Printer) *strain {
	return &strain{store: db, text: text, counts: map[string]uint64{}, open: map[strained]*strainState{}}
}

// capped are the refusals that mean a limit on series, not a fault of a report.
var capped = []tsdb.Outcome{tsdb.SeriesLimit, tsdb.StreamLimit}

// poison notes a message in quarantine.
func (s *strain) poison(p uplink.Poison) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(p.At, strained{p.Agent, ruleQuarantine}, s.text.T("collector.quarantined", "agent", p.Agent, "reason", p.Reason, "hash", p.Sum))
}

// adopt takes over what an earlier process told and did not end.
func (s *strain) adopt(now time.Time, before []symptom.Symptom) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range before {
		if x.Source == symptom.FromFleet && (x.Rule == ruleCapped || x.Rule == ruleQuarantine) {
			s.open[strained{x.Component, x.Rule}] = &strainState{x.Since, now, x.Detail, true}
		}
	}
}

func (s *strain) note(now time.Time, k strained, detail string) {
	st := s.open[k]
	if st == nil {
		if len(s.open) >= strainMost {
			return
		}
		st = &strainState{since: now, detail: detail}
		s.open[k] = st
	}
	st.last = now
}

// tick is what has begun and what is over.
func (s *strain) tick(now time.Time) (out []symptom.Symptom) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.looked) >= strainLook {
		s.looked = now
		s.look(now)
	}
	for k, st := range s.open {
		switch over := now.Sub(st.last) >= strainEnds; {
		case over:
			delete(s.open, k)
			out = append(out, s.symptom(now, k, st, false))
		case !st.told:
			st.told = true
			out = append(out, s.symptom(now, k, st, true))
		}
	}
	slices.SortFunc(out, func(a, b symptom.Symptom) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// look reads the store's counts of what it did not keep.
func (s *strain) look(now time.Time) {
	sums := map[string]uint64{}
	s.store.Dropped(func(agent string, samples uint64, _ time.Time) { sums[agent] = samples })
	s.store.Refused(func(agent string, o tsdb.Outcome, n uint64) {
		if slices.Contains(capped, o) {
			sums[agent] += n
		}
	})
	for agent, n := range sums {
		if more := n - s.counts[agent]; more > 0 {
			s.note(now, strained{agent, ruleCapped}, s.text.T("collector.capped", "agent", agent, "count", strconv.FormatUint(more, 10)))
		}
	}
	s.counts = sums
}

func (s *strain) symptom(now time.Time, k strained, st *strainState, firing bool) symptom.Symptom {
	x := symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: k.agent, Class: symptom.Warning, Level: contract.Minor, Rule: k.rule,
		Firing: firing, Since: st.since.UTC(), At: now.UTC(), Detail: st.detail,
	}
	if !firing {
		x.Since = st.last.UTC()
		x.Detail = s.text.T("collector.strain_ended", "agent", k.agent, "minutes", strconv.Itoa(int(strainEnds/time.Minute)))
	}
	x.Evidence = []symptom.Evidence{{At: x.At, Agent: k.agent, Text: x.Detail}}
	return x
}

// tick lets time pass for those who need it.
func (c *Collector) tick(now time.Time) []symptom.Symptom {
	return append(c.board.Tick(now), c.strain.tick(now)...)
}
