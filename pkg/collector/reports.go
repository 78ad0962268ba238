package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/measure"
	"xunjian/pkg/metric"
	"xunjian/pkg/report"
	"xunjian/pkg/tsdb"
)

// reports makes the monthly record from what is kept; it is the API's Reports.
func (c *Collector) reports() api.Reports { return reports{c} }

type reports struct{ c *Collector }

// Report is one month as a file.
func (r reports) Report(ctx context.Context, month, format, lang string) ([]byte, error) {
	c := r.c
	c.mu.Lock()
	cfg := c.cfg
	c.mu.Unlock()
	now := time.Now()
	m, err := report.ParseMonth(month, now, cfg.location())
	if err != nil {
		return nil, &api.Invalid{Field: "month", What: err.Error()}
	}
	src, err := r.sources(cfg, m.Previous().From(), m.To())
	if err != nil {
		return nil, err
	}
	model, err := report.Build(ctx, cfg.Report, src, m, asOf(m, src.Faults, now))
	if err != nil {
		return nil, fmt.Errorf("work out %s: %w", month, err)
	}
	p := i18n.For(lang)
	switch format {
	case "json":
		return json.MarshalIndent(model, "", "  ")
	case "xlsx":
		return report.Excel(model, p)
	case "docx":
		form, err := form(cfg)
		if err != nil {
			return nil, err
		}
		b, missing, err := report.Word(model, form, p)
		if len(missing) > 0 {
			c.log.Warn("placeholders of the form without a value", "month", month, "names", missing)
		}
		return b, err
	}
	return nil, api.ErrNotFound
}

// asOf is the moment as of which a month is told: now while it lasts; after its end the last change of an incident in it,
// so that the same records give the same bytes whenever they are asked for.
func asOf(m report.Month, faults []incident.Record, now time.Time) time.Time {
	if now.Before(m.To()) {
		return now
	}
	at := m.To()
	for _, r := range faults {
		if r.SLAStart.Before(m.To()) && r.UpdatedAt.After(at) {
			at = r.UpdatedAt
		}
	}
	return at
}

// form is the customer's own, nil for the one that comes with the program.
func form(cfg Config) ([]byte, error) {
	if cfg.Report.Form == "" {
		return nil, nil
	}
	b, err := os.ReadFile(cfg.path(cfg.Report.Form))
	if err != nil {
		return nil, fmt.Errorf("read form: %w", err)
	}
	return b, nil
}

// sources is what the figures of a span of time are made of.
func (r reports) sources(cfg Config, from, to time.Time) (report.Sources, error) {
	calendar, err := cfg.calendar()
	if err != nil {
		return report.Sources{}, err
	}
	faults, err := r.c.desk.List(incident.Filter{})
	if err != nil {
		return report.Sources{}, err
	}
	src := report.Sources{
		Samples: samples{r.c.series}, Services: cfg.Services, Calendar: calendar, Faults: faults,
		Planned: r.c.desk.Planned, Kept: measure.Book{DB: r.c.records},
	}
	for _, s := range cfg.Checks {
		src.Checks = append(src.Checks, measure.Check{Spec: s})
	}
	if err := r.gone(&src, from, to); err != nil {
		return report.Sources{}, err
	}
	for _, a := range r.c.fleet.Agents() {
		src.Hosts = append(src.Hosts, report.Host{Name: a.Name, IP: host(a.Info.Addr), Every: cfg.Host.Every, Since: a.EnrolledAt})
	}
	return src, nil
}

// gone adds the checks, and the services, that were asked in that time and are in the configuration no more, as their series
// name them: what they saw does not vanish from a month with them.
func (r reports) gone(src *report.Sources, from, to time.Time) error {
	name, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, metric.ProbeSuccess)
	if err != nil {
		return err
	}
	for _, s := range r.c.series.Series(from.UnixMilli(), to.UnixMilli()-1, name) {
		spec := check.Spec{Name: s.Get(measure.LabelCheck), Service: s.Get("service")}
		if slices.ContainsFunc(src.Checks, func(c measure.Check) bool { return c.Name == spec.Name }) {
			continue
		}
		src.Checks = append(src.Checks, measure.Check{Spec: spec, Gone: true})
		if !slices.ContainsFunc(src.Services, func(x check.Service) bool { return x.Name == spec.Service }) && !slices.Contains(src.Gone, spec.Service) {
			src.Gone = append(src.Gone, spec.Service)
		}
	}
	slices.Sort(src.Gone)
	return nil
}

// samples is the series store as the report asks it.
type samples struct{ db *tsdb.DB }

// chunk is how much of a series is read at a time: a month of a fleet does not fit into memory at once.
const chunk = 24 * time.Hour

// Select reads [from, to) day by day.
func (s samples) Select(ctx context.Context, from, to time.Time, name string, labels map[string]string, fn func(metric.Series, []int64, []float64) error) error {
	ms := []tsdb.Matcher{}
	for k, v := range labels {
		m, err := tsdb.NewMatcher(tsdb.Equal, k, v)
		if err != nil {
			return err
		}
		ms = append(ms, m)
	}
	m, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, name)
	if err != nil {
		return err
	}
	ms = append(ms, m)
	for ; from.Before(to); from = from.Add(chunk) {
		end := from.Add(chunk)
		if end.After(to) {
			end = to
		}
		for found, err := range s.db.Select(ctx, from.UnixMilli(), end.UnixMilli()-1, ms...) {
			if err != nil {
				return err
			}
			if err := fn(found.Series, found.T, found.V); err != nil {
				return err
			}
		}
	}
	return nil
}
