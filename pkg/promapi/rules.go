package promapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

type (
	ruleList struct {
		Groups []ruleGroup `json:"groups"`
		Next   string      `json:"groupNextToken,omitempty"`
	}
	ruleGroup struct {
		Name           string    `json:"name"`
		File           string    `json:"file"`
		Rules          []any     `json:"rules"`
		Interval       float64   `json:"interval"`
		Limit          int       `json:"limit"`
		EvaluationTime float64   `json:"evaluationTime"`
		LastEvaluation time.Time `json:"lastEvaluation"`
	}
	alertingRule struct {
		State          string           `json:"state"`
		Name           string           `json:"name"`
		Query          string           `json:"query"`
		Duration       float64          `json:"duration"`
		KeepFiringFor  float64          `json:"keepFiringFor"`
		Labels         labels.Labels    `json:"labels"`
		Annotations    labels.Labels    `json:"annotations"`
		Alerts         []alert          `json:"alerts"`
		Health         rules.RuleHealth `json:"health"`
		LastError      string           `json:"lastError,omitempty"`
		EvaluationTime float64          `json:"evaluationTime"`
		LastEvaluation time.Time        `json:"lastEvaluation"`
		Type           string           `json:"type"`
	}
	recordingRule struct {
		Name           string           `json:"name"`
		Query          string           `json:"query"`
		Labels         labels.Labels    `json:"labels"`
		Health         rules.RuleHealth `json:"health"`
		LastError      string           `json:"lastError,omitempty"`
		EvaluationTime float64          `json:"evaluationTime"`
		LastEvaluation time.Time        `json:"lastEvaluation"`
		Type           string           `json:"type"`
	}
	alert struct {
		Labels          labels.Labels `json:"labels"`
		Annotations     labels.Labels `json:"annotations"`
		State           string        `json:"state"`
		ActiveAt        time.Time     `json:"activeAt"`
		KeepFiringSince time.Time     `json:"keepFiringSince,omitzero"`
		Value           string        `json:"value"`
	}
	alertList struct {
		Alerts []alert `json:"alerts"`
	}
	alertmanagerList struct {
		Active  []struct{} `json:"activeAlertmanagers"`
		Dropped []struct{} `json:"droppedAlertmanagers"`
	}
)

// ruleFilter is what a call wants to see of the rules.
type ruleFilter struct {
	kind                string // alert, record, or both
	names, groups, from []string
	sets                [][]*labels.Matcher
	noAlerts            bool
	pages               int // groups in one answer, 0: all
	token               string
}

func (c *call) ruleFilter() ruleFilter {
	q := c.URL.Query()
	f := ruleFilter{
		kind: choice(q, "type"), names: c.Values["rule_name[]"], groups: c.Values["rule_group[]"], from: c.Values["file[]"],
		sets: c.matchers(), token: q.Get("group_next_token"),
	}
	if f.kind != "" && f.kind != "alert" && f.kind != "record" {
		c.bad("type", fmt.Errorf("not supported value %q", f.kind))
	}
	if s := choice(q, "exclude_alerts"); s != "" {
		var err error
		if f.noAlerts, err = strconv.ParseBool(s); err != nil {
			c.bad("exclude_alerts", fmt.Errorf("error converting exclude_alerts: %w", err))
		}
	}
	switch s := q.Get("group_limit"); {
	case s == "" && f.token != "":
		c.bad("group_next_token", errors.New("group_limit needs to be present in order to paginate over the groups"))
	case s != "":
		n, err := strconv.ParseInt(s, 10, 32)
		switch {
		case err != nil:
			c.bad("group_limit", fmt.Errorf("group_limit needs to be a valid number: %w", err))
		case n <= 0:
			c.bad("group_limit", errors.New("group_limit needs to be greater than 0"))
		}
		f.pages = int(n)
	}
	return f
}

// wants says whether a list that may be empty asks for a name.
func wants(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

func groupToken(g *rules.Group) string {
	sum := sha256.Sum256([]byte(g.File() + ";" + g.Name()))
	return hex.EncodeToString(sum[:])
}

func (a *api) rules(c *call) reply {
	f := c.ruleFilter()
	if c.fault != nil {
		return fails(c.fault)
	}
	all := or(a.Rules)
	if f.token != "" {
		i := slices.IndexFunc(all, func(g *rules.Group) bool { return groupToken(g) == f.token })
		if i < 0 {
			c.bad("group_next_token", fmt.Errorf("invalid group_next_token '%v'. were rule groups changed?", f.token))
			return fails(c.fault)
		}
		all = all[i:]
	}
	out := ruleList{Groups: []ruleGroup{}}
	for _, g := range all {
		if !wants(f.groups, g.Name()) || !wants(f.from, g.File()) {
			continue
		}
		show := ruleGroup{
			Name: g.Name(), File: g.File(), Interval: g.Interval().Seconds(), Limit: g.Limit(), Rules: f.show(g),
			EvaluationTime: g.GetEvaluationTime().Seconds(), LastEvaluation: g.GetLastEvaluation(),
		}
		if len(show.Rules) == 0 {
			continue
		}
		if f.pages > 0 && len(out.Groups) == f.pages {
			out.Next = groupToken(g)
			break
		}
		out.Groups = append(out.Groups, show)
	}
	return reply{data: out}
}

// show is those of a group's rules that are wanted.
func (f *ruleFilter) show(g *rules.Group) (out []any) {
	for _, r := range g.Rules(f.sets...) {
		if !wants(f.names, r.Name()) {
			continue
		}
		why := ""
		if err := r.LastError(); err != nil {
			why = err.Error()
		}
		switch r := r.(type) {
		case *rules.AlertingRule:
			if f.kind == "record" {
				continue
			}
			show := alertingRule{
				State: r.State().String(), Name: r.Name(), Query: r.Query().String(), Duration: r.HoldDuration().Seconds(),
				KeepFiringFor: r.KeepFiringFor().Seconds(), Labels: r.Labels(), Annotations: r.Annotations(), Health: r.Health(),
				LastError: why, EvaluationTime: r.GetEvaluationDuration().Seconds(), LastEvaluation: r.GetEvaluationTimestamp(), Type: "alerting",
			}
			if !f.noAlerts {
				show.Alerts = alertsOf(r)
			}
			out = append(out, show)
		case *rules.RecordingRule:
			if f.kind == "alert" {
				continue
			}
			out = append(out, recordingRule{
				Name: r.Name(), Query: r.Query().String(), Labels: r.Labels(), Health: r.Health(), LastError: why,
				EvaluationTime: r.GetEvaluationDuration().Seconds(), LastEvaluation: r.GetEvaluationTimestamp(), Type: "recording",
			})
		}
	}
	return out
}

func alertsOf(r *rules.AlertingRule) []alert {
	out := []alert{}
	for _, x := range r.ActiveAlerts() {
		out = append(out, alert{
			Labels: x.Labels, Annotations: x.Annotations, State: x.State.String(), ActiveAt: x.ActiveAt, KeepFiringSince: x.KeepFiringSince,
			Value: strconv.FormatFloat(x.Value, 'e', -1, 64),
		})
	}
	return out
}

func (a *api) alerts(*call) reply {
	out := alertList{Alerts: []alert{}}
	for _, g := range or(a.Rules) {
		for _, r := range g.AlertingRules() {
			out.Alerts = append(out.Alerts, alertsOf(r)...)
		}
	}
	return reply{data: out}
}

// alertmanagers are none: alerts become incidents here.
func (a *api) alertmanagers(*call) reply {
	return reply{data: alertmanagerList{Active: []struct{}{}, Dropped: []struct{}{}}}
}
