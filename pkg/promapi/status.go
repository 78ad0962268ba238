package promapi

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
)

// speaksLike is the version of Prometheus whose API this is. Grafana reads it to know what it may ask for.
const speaksLike = "3.16.0"

type (
	buildInfo struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}
	runtimeInfo struct {
		StartTime           time.Time `json:"startTime"`
		CWD                 string    `json:"CWD"`
		Hostname            string    `json:"hostname"`
		ServerTime          time.Time `json:"serverTime"`
		ReloadConfigSuccess bool      `json:"reloadConfigSuccess"`
		LastConfigTime      time.Time `json:"lastConfigTime"`
		CorruptionCount     int64     `json:"corruptionCount"`
		GoroutineCount      int       `json:"goroutineCount"`
		GOMAXPROCS          int       `json:"GOMAXPROCS"`
		GOMEMLIMIT          int64     `json:"GOMEMLIMIT"`
		GOGC                string    `json:"GOGC"`
		GODEBUG             string    `json:"GODEBUG"`
		StorageRetention    string    `json:"storageRetention"`
	}
	replayStatus struct {
		Min     int    `json:"min"`
		Max     int    `json:"max"`
		Current int    `json:"current"`
		State   string `json:"state"`
	}
)

func (a *api) statusBuild(*call) reply {
	return reply{data: buildInfo{
		Version: speaksLike, Revision: "xunjian " + a.Version, Branch: "xunjian", BuildUser: "xunjian", GoVersion: runtime.Version(),
	}}
}

func (a *api) statusRuntime(c *call) reply {
	host, err := os.Hostname()
	if err != nil {
		a.Logger.Warn("host has no name", "err", err)
	}
	info := runtimeInfo{
		StartTime: a.started.UTC(), Hostname: host, ServerTime: c.now.UTC(), ReloadConfigSuccess: true, LastConfigTime: a.started.UTC(),
		GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0), GOMEMLIMIT: debug.SetMemoryLimit(-1),
		GOGC: os.Getenv("GOGC"), GODEBUG: os.Getenv("GODEBUG"),
	}
	if a.Retention > 0 {
		info.StorageRetention = model.Duration(a.Retention).String()
	}
	return reply{data: info}
}

// statusConfig shows what a Prometheus would need to be told. The collector's own configuration names addresses and
// secrets and is nobody's business out there.
func (a *api) statusConfig(*call) reply {
	var b strings.Builder
	fmt.Fprintf(&b, "global:\n  scrape_interval: %s\n  evaluation_interval: %s\n", model.Duration(a.Interval), model.Duration(a.Evaluation))
	if files := or(a.RuleFiles); len(files) > 0 {
		b.WriteString("rule_files:\n")
		for _, f := range files {
			fmt.Fprintf(&b, "- %s\n", strconv.Quote(f))
		}
	}
	return reply{data: map[string]string{"yaml": b.String()}}
}

func (a *api) statusFlags(*call) reply {
	b := a.Bounds
	flags := map[string]string{
		"query.lookback-delta": model.Duration(b.Lookback).String(), "query.max-concurrency": strconv.Itoa(b.Concurrency),
		"query.max-samples": strconv.Itoa(b.MaxSamples), "query.timeout": model.Duration(b.Timeout).String(),
		"web.enable-admin-api": "false", "web.enable-lifecycle": "false", "web.enable-remote-write-receiver": "false",
	}
	if a.Retention > 0 {
		flags["storage.tsdb.retention.time"] = model.Duration(a.Retention).String()
	}
	return reply{data: flags}
}

// statusReplay says that everything is read: before that this door is closed.
func (a *api) statusReplay(*call) reply { return reply{data: replayStatus{State: "done"}} }

type (
	tally struct {
		Name  string `json:"name"`
		Value int    `json:"value"`
	}
	headStats struct {
		Series     int   `json:"numSeries"`
		LabelPairs int   `json:"numLabelPairs"`
		Chunks     int   `json:"chunkCount"`
		MinTime    int64 `json:"minTime"`
		MaxTime    int64 `json:"maxTime"`
	}
	tsdbStatus struct {
		Head    headStats `json:"headStats"`
		Names   []tally   `json:"seriesCountByMetricName"`
		Values  []tally   `json:"labelValueCountByLabelName"`
		Memory  []tally   `json:"memoryInBytesByLabelName"`
		ByPairs []tally   `json:"seriesCountByLabelValuePair"`
	}
)

// census counts the series of the last hour, which is work, and therefore done at most twice a minute.
type census struct {
	mu   sync.Mutex
	at   time.Time
	full tsdbStatus
}

const censusAge = 30 * time.Second

func (a *api) statusTSDB(c *call) reply {
	limit := 10
	if n := c.number("limit"); n > 0 {
		limit = min(n, 10_000)
	}
	if c.fault != nil {
		return fails(c.fault)
	}
	a.census.mu.Lock()
	defer a.census.mu.Unlock()
	if c.now.Sub(a.census.at) > censusAge {
		full, err := a.count(c.Context(), c.now)
		if err != nil {
			return fails(faultOf(err))
		}
		a.census.full, a.census.at = full, c.now
	}
	out := a.census.full
	for _, l := range []*[]tally{&out.Names, &out.Values, &out.Memory, &out.ByPairs} {
		*l = (*l)[:min(limit, len(*l))]
	}
	return reply{data: out}
}

func (a *api) count(ctx context.Context, now time.Time) (tsdbStatus, error) {
	from, to := timestamp.FromTime(now.Add(-time.Hour)), timestamp.FromTime(now)
	q, err := a.Engine.Queryable().Querier(from, to)
	if err != nil {
		return tsdbStatus{}, err
	}
	defer q.Close()
	set := q.Select(ctx, false, &storage.SelectHints{Start: from, End: to, Func: "series"}, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	names, pairs := map[string]int{}, map[[2]string]int{}
	out := tsdbStatus{Head: headStats{MinTime: from, MaxTime: to}}
	for set.Next() {
		out.Head.Series++
		set.At().Labels().Range(func(l labels.Label) { pairs[[2]string{l.Name, l.Value}]++ })
		names[set.At().Labels().Get(model.MetricNameLabel)]++
	}
	values, memory, byPair := map[string]int{}, map[string]int{}, map[string]int{}
	for p, n := range pairs {
		values[p[0]]++
		memory[p[0]] += len(p[0]) + len(p[1])
		byPair[p[0]+"="+p[1]] = n
	}
	out.Head.LabelPairs = len(pairs)
	out.Names, out.Values, out.Memory, out.ByPairs = ranked(names), ranked(values), ranked(memory), ranked(byPair)
	return out, set.Err()
}

func ranked(m map[string]int) []tally {
	out := make([]tally, 0, len(m))
	for name, n := range m {
		out = append(out, tally{name, n})
	}
	slices.SortFunc(out, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Value, a.Value), strings.Compare(a.Name, b.Name)) })
	return out
}
