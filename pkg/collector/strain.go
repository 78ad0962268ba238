package collector

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/api"
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
	ruleSeriesFull = "CollectorSeriesNearlyFull"
)

// nearlyFull is the share of storage.max_series from which on people are told, before anything is left out.
const nearlyFull = 0.9

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
		Stats() tsdb.Stats
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
		if x.Source == symptom.FromFleet && slices.Contains([]string{ruleCapped, ruleQuarantine, ruleSeriesFull}, x.Rule) {
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
	held := s.store.Stats()
	if key := fullness(held); key != "" {
		s.note(now, strained{"collector", ruleSeriesFull}, s.text.T(key, "series", strconv.Itoa(held.Series), "limit", strconv.Itoa(held.MaxSeries)))
	}
	for agent, n := range sums {
		if more := n - s.counts[agent]; more > 0 {
			key := "collector.capped"
			if full(held) {
				key = "collector.capped_by_all"
			}
			s.note(now, strained{agent, ruleCapped}, s.text.T(key, "agent", agent, "count", strconv.FormatUint(more, 10), "limit", strconv.Itoa(held.MaxSeries)))
		}
	}
	s.counts = sums
}

// full says whether there is no place for one more series or stream, whoever sends it.
func full(held tsdb.Stats) bool {
	return held.Series >= held.MaxSeries || held.Streams >= held.MaxStreams
}

// fullness is what to say of the series of all agents together, empty when there is room.
func fullness(held tsdb.Stats) (key string) {
	switch {
	case full(held):
		return "collector.series_full"
	case float64(held.Series) >= nearlyFull*float64(held.MaxSeries), float64(held.Streams) >= nearlyFull*float64(held.MaxStreams):
		return "collector.series_nearly_full"
	}
	return ""
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

// heldSeries is the store's series for the status, with a note once they come near their limit.
func (c *Collector) heldSeries(text *i18n.Printer) api.SeriesHeld {
	held := c.series.Stats()
	out := api.SeriesHeld{Known: held.Series, Limit: held.MaxSeries}
	if key := fullness(held); key != "" {
		out.Note = text.T(key, "series", strconv.Itoa(held.Series), "limit", strconv.Itoa(held.MaxSeries))
	}
	return out
}

// tick lets time pass for those who need it.
func (c *Collector) tick(now time.Time) []symptom.Symptom {
	c.followClock()
	c.plans.tick(now, func(agent string) bool { return c.uplink.Connected(agent) && !c.board.Lost(agent) })
	c.ticked.Store(now.UnixMilli())
	return slices.Concat(c.board.Tick(now), c.strain.tick(now), c.notices.tick(now))
}
