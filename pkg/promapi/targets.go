package promapi

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"

	"xunjian/pkg/metric"
)

// Pools in which targets are shown.
const (
	HostPool  = "host"
	ProbePool = "probe"
)

// Target is an agent or a check by an agent, as Prometheus shows what it scrapes.
type Target struct {
	Pool     string
	URL      string // what is asked; for people
	Labels   labels.Labels
	Health   string // up, down or unknown
	Error    string // when it is down
	At       time.Time
	Duration time.Duration
	Every    time.Duration
	Timeout  time.Duration
}

// Labels makes a target's labels from pairs: name, value, name, value, ….
func Labels(pairs ...string) labels.Labels { return labels.FromStrings(pairs...) }

type (
	targetList struct {
		Active  []target       `json:"activeTargets"`
		Dropped []struct{}     `json:"droppedTargets"`
		Counts  map[string]int `json:"droppedTargetCounts"`
	}
	target struct {
		Discovered labels.Labels `json:"discoveredLabels"`
		Labels     labels.Labels `json:"labels"`
		Pool       string        `json:"scrapePool"`
		ScrapeURL  string        `json:"scrapeUrl"`
		GlobalURL  string        `json:"globalUrl"`
		Error      string        `json:"lastError"`
		Last       time.Time     `json:"lastScrape"`
		Duration   float64       `json:"lastScrapeDuration"`
		Health     string        `json:"health"`
		Interval   string        `json:"scrapeInterval"`
		Timeout    string        `json:"scrapeTimeout"`
	}
	metadata struct {
		Type string `json:"type"`
		Help string `json:"help"`
		Unit string `json:"unit"`
	}
	targetMetadata struct {
		Target labels.Labels `json:"target"`
		Metric string        `json:"metric,omitempty"`
		metadata
	}
)

func (a *api) allTargets() []Target {
	all := or(a.Targets)
	slices.SortStableFunc(all, func(x, y Target) int {
		return cmp.Or(strings.Compare(x.Pool, y.Pool), labels.Compare(x.Labels, y.Labels))
	})
	return all
}

func (a *api) targets(c *call) reply {
	q := c.URL.Query()
	pool, state := q.Get("scrapePool"), choice(q, "state")
	out := targetList{Active: []target{}, Dropped: []struct{}{}}
	if state == "" || state == "any" || state == "dropped" {
		out.Counts = map[string]int{HostPool: 0, ProbePool: 0}
	}
	if state != "" && state != "any" && state != "active" {
		return reply{data: out}
	}
	for _, t := range a.allTargets() {
		if pool != "" && t.Pool != pool {
			continue
		}
		out.Active = append(out.Active, target{
			Discovered: t.Labels, Labels: t.Labels, Pool: t.Pool, ScrapeURL: t.URL, GlobalURL: t.URL, Error: t.Error, Last: t.At.UTC(),
			Duration: t.Duration.Seconds(), Health: t.Health, Interval: model.Duration(t.Every).String(), Timeout: model.Duration(t.Timeout).String(),
		})
	}
	return reply{data: out}
}

func (a *api) scrapePools(*call) reply {
	return reply{data: map[string][]string{"scrapePools": {HostPool, ProbePool}}}
}

// described is what is known of every name: those that are in the store, and the collector's own.
func (a *api) described(c *call) (map[string]metadata, *fault) {
	out := map[string]metadata{}
	if a.Own != nil {
		own, err := a.Own.Gather()
		if err != nil { // what could be gathered is shown
			a.Logger.Warn("own metrics are incomplete", "err", err)
		}
		for _, m := range own {
			out[m.GetName()] = metadata{Type: ownType(m.GetType()), Help: m.GetHelp()}
		}
	}
	q, err := a.Engine.Queryable().Querier(timestamp.FromTime(c.now.Add(-24*time.Hour)), timestamp.FromTime(c.now))
	if err != nil {
		return nil, faultOf(err)
	}
	defer q.Close()
	names, _, err := q.LabelValues(c.Context(), model.MetricNameLabel, nil)
	if err != nil {
		return nil, faultOf(err)
	}
	for _, name := range names {
		if d, known := metric.Describe(name); known {
			out[name] = metadata{Type: string(d.Type), Help: d.Help}
		}
	}
	return out, nil
}

func ownType(t dto.MetricType) string {
	if t == dto.MetricType_UNTYPED {
		return "unknown"
	}
	return strings.ToLower(t.String())
}

func (a *api) metadata(c *call) reply {
	limit, each, name := c.number("limit"), c.number("limit_per_metric"), c.Get("metric")
	if c.fault != nil {
		return fails(c.fault)
	}
	all, f := a.described(c)
	if f != nil {
		return fails(f)
	}
	out := map[string][]metadata{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if limit >= 0 && len(out) >= limit {
			break
		}
		if name == "" || n == name {
			out[n] = []metadata{all[n]}
		}
	}
	_ = each // there is one description of each name, and no limit is below one
	return reply{data: out}
}

// targetMetadata tells the descriptions for every host; each may send every name.
func (a *api) targetMetadata(c *call) reply {
	limit, name := c.number("limit"), c.Get("metric")
	var match []*labels.Matcher
	if s := c.Get("match_target"); s != "" {
		var err error
		if match, err = promParser.ParseMetricSelector(s); err != nil {
			c.bad("match_target", err)
		}
	}
	if c.fault != nil {
		return fails(c.fault)
	}
	all, f := a.described(c)
	if f != nil {
		return fails(f)
	}
	names := slices.Sorted(maps.Keys(all))
	out := []targetMetadata{}
	for _, t := range a.allTargets() {
		if !matches(t.Labels, match) {
			continue
		}
		for _, n := range names {
			switch {
			case limit >= 0 && len(out) >= limit, len(out) >= maxTargetMetadata:
				return reply{data: out}
			case name == "" && belongs(n, t.Pool):
				out = append(out, targetMetadata{t.Labels, n, all[n]})
			case name == n && belongs(n, t.Pool):
				out = append(out, targetMetadata{t.Labels, "", all[n]})
			}
		}
	}
	return reply{data: out}
}

// maxTargetMetadata bounds an answer that grows with targets times names.
const maxTargetMetadata = 100_000

func belongs(name, pool string) bool { return strings.HasPrefix(name, "probe_") == (pool == ProbePool) }

func matches(l labels.Labels, ms []*labels.Matcher) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) })
}
