package rule

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"

	"xunjian/pkg/symptom"
)

// Labels and annotations with a meaning here.
const (
	labelLevel     = "level"    // urgent, general or minor; default: by severity
	labelService   = "service"  // default: host
	labelClass     = "class"    // a symptom.Class; default: host
	labelInstance  = "instance" // the host, or a probe's target
	labelCheck     = "check"
	labelAgent     = "agent" // who reported
	annotationZH   = "summary"
	annotationEN   = "summary_en"
	annotationElse = "description"

	maxDetail = 1024 // bytes
	maxName   = 256
)

var classes = []symptom.Class{
	symptom.Down, symptom.Wrong, symptom.Unusable, symptom.Partial, symptom.Slow,
	symptom.Warning, symptom.Unknown, symptom.Host,
}

// Alert is one active alert for people and for the query API.
type Alert struct {
	Name        string            `json:"name"`
	Group       string            `json:"group"`
	File        string            `json:"file"`
	State       string            `json:"state"` // pending or firing
	Value       float64           `json:"-"`
	ActiveAt    time.Time         `json:"active_at"`
	FiredAt     time.Time         `json:"fired_at,omitzero"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Symptom     symptom.Symptom   `json:"symptom"` // as which it is told while it fires
}

// Alerts lists the active alerts, firing first, then by name and age.
func (m *Manager) Alerts() []Alert {
	var out []Alert
	for _, g := range m.Groups() {
		for _, r := range g.Rules() {
			if ar, ok := r.(*rules.AlertingRule); ok {
				for _, a := range ar.ActiveAlerts() {
					out = append(out, Alert{
						ar.Name(), g.Name(), g.File(), a.State.String(), a.Value, a.ActiveAt, a.FiredAt,
						a.Labels.Map(), a.Annotations.Map(), toSymptom(a),
					})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Name, b.Name), a.ActiveAt.Compare(b.ActiveAt),
			cmp.Compare(a.Symptom.Component, b.Symptom.Component))
	})
	return out
}

func toSymptom(a *rules.Alert) symptom.Symptom {
	s := symptom.Symptom{
		Source:    symptom.FromRule,
		Service:   cut(cmp.Or(a.Labels.Get(labelService), "host"), maxName),
		Component: cut(component(a.Labels), maxName),
		Class:     symptom.Class(cmp.Or(a.Labels.Get(labelClass), string(symptom.Host))),
		Level:     levelOf(a.Labels),
		Rule:      a.Labels.Get(labels.AlertName),
		Firing:    true,
		Since:     a.ActiveAt,
		At:        a.FiredAt,
	}
	if !slices.Contains(classes, s.Class) {
		s.Class = symptom.Host
	}
	s.Detail = cut(cmp.Or(a.Annotations.Get(annotationZH), a.Annotations.Get(annotationElse), s.Rule), maxDetail)
	s.Evidence = []symptom.Evidence{{
		At:    a.FiredAt,
		Agent: a.Labels.Get(labelAgent),
		Text:  cut(cmp.Or(a.Annotations.Get(annotationEN), s.Detail), maxDetail),
	}}
	return s
}

// component is the host, target or check, and the part of it: "web-1 /data".
func component(l labels.Labels) string {
	whole := cmp.Or(l.Get(labelInstance), l.Get(labelCheck))
	return strings.TrimSpace(whole + " " + cmp.Or(l.Get("mountpoint"), l.Get("device")))
}

// cut shortens s to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
