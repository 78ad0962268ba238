package alertapi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"xunjian/pkg/symptom"
)

// Bounds of one alert. What is longer in an annotation is cut, since a page must not be lost for its text.
const (
	maxLabels     = 64
	maxName       = 128
	maxValue      = 1024
	maxAnnotation = 4096
	maxURL        = 2048
)

// Alert is one alert as its sender last told it, known by its labels.
type Alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generator_url,omitempty"`
	StartsAt     time.Time         `json:"starts_at"`
	EndsAt       time.Time         `json:"ends_at"`           // when it is over unless it is sent again
	UpdatedAt    time.Time         `json:"updated_at"`        // when it last came
	Timeout      bool              `json:"timeout,omitempty"` // EndsAt is ours: the sender gave none
}

// Over says that the alert has ended by now.
func (a Alert) Over(now time.Time) bool { return !a.EndsAt.After(now) }

// arrive gives an alert the times that it lacks, as Alertmanager does.
func (a Alert) arrive(now time.Time, resolve time.Duration) Alert {
	a.UpdatedAt = now
	if a.StartsAt.IsZero() {
		a.StartsAt = now
		if !a.EndsAt.IsZero() {
			a.StartsAt = a.EndsAt
		}
	}
	if a.EndsAt.IsZero() {
		a.Timeout, a.EndsAt = true, now.Add(resolve)
	}
	for name, value := range a.Labels {
		if value == "" {
			delete(a.Labels, name)
		}
	}
	for name, value := range a.Annotations {
		a.Annotations[name] = cut(value, maxAnnotation)
	}
	a.GeneratorURL = cut(a.GeneratorURL, maxURL)
	return a
}

// check is Alertmanager's own validation, in its words, and then our bounds.
func (a Alert) check() error {
	switch {
	case a.StartsAt.IsZero():
		return errors.New("start time missing")
	case a.EndsAt.Before(a.StartsAt):
		return errors.New("start time must be before end time")
	case len(a.Labels) == 0:
		return errors.New("at least one label pair required")
	case len(a.Labels) > maxLabels:
		return fmt.Errorf("%d labels are more than %d", len(a.Labels), maxLabels)
	case len(a.Annotations) > maxLabels:
		return fmt.Errorf("%d annotations are more than %d", len(a.Annotations), maxLabels)
	}
	if err := checkNames(a.Labels, maxValue); err != nil {
		return fmt.Errorf("invalid label set: %w", err)
	}
	if err := checkNames(a.Annotations, maxAnnotation); err != nil {
		return fmt.Errorf("invalid annotations: %w", err)
	}
	return nil
}

func checkNames(set map[string]string, most int) error {
	for name, value := range set {
		switch {
		case name == "" || !utf8.ValidString(name):
			return fmt.Errorf("invalid name %q", name)
		case !utf8.ValidString(value):
			return fmt.Errorf("invalid value %q", value)
		case len(name) > maxName:
			return fmt.Errorf("name %q is longer than %d bytes", cut(name, 32), maxName)
		case len(value) > most:
			return fmt.Errorf("value of %q is longer than %d bytes", name, most)
		}
	}
	return nil
}

// fingerprint is Alertmanager's own.
func (a Alert) fingerprint() string {
	set := make(model.LabelSet, len(a.Labels))
	for name, value := range a.Labels {
		set[model.LabelName(name)] = model.LabelValue(value)
	}
	return set.Fingerprint().String()
}

// size is about what the alert takes in memory.
func (a Alert) size() (n int) {
	for _, set := range []map[string]string{a.Labels, a.Annotations} {
		for name, value := range set {
			n += len(name) + len(value) + 64
		}
	}
	return n + len(a.GeneratorURL) + 256
}

// after is the alert that two tellings of it make: told anew while it is not over, it goes on (Alertmanager's Merge).
func (a Alert) after(old Alert) Alert {
	overlaps := a.EndsAt.After(old.StartsAt) && a.EndsAt.Before(old.EndsAt) || a.StartsAt.After(old.StartsAt) && a.StartsAt.Before(old.EndsAt)
	if !overlaps {
		return a
	}
	if old.StartsAt.Before(a.StartsAt) {
		a.StartsAt = old.StartsAt
	}
	switch {
	case a.Over(a.UpdatedAt):
		if old.Over(a.UpdatedAt) && old.EndsAt.After(a.EndsAt) {
			a.EndsAt = old.EndsAt
		}
	case old.EndsAt.After(a.EndsAt) && !old.Timeout:
		a.EndsAt = old.EndsAt
	}
	return a
}

// classes are those that an alert may name in its label class.
var classes = []symptom.Class{
	symptom.Down, symptom.Wrong, symptom.Unusable, symptom.Partial, symptom.Slow, symptom.Warning, symptom.Host,
}

// symptom is what the alert says in our words, no longer than the desk keeps it, so that its key stays the same.
func (c Config) symptom(a Alert) symptom.Symptom {
	s := symptom.Symptom{
		Source: symptom.FromExternal, Service: cut(cmp.Or(a.Labels[c.ServiceLabel], "host"), 64), Class: symptom.External,
		Level: c.level(a.Labels), Rule: cut(cmp.Or(a.Labels[model.AlertNameLabel], "alert"), 128), Firing: true, Since: a.StartsAt,
	}
	var parts []string
	for _, label := range c.Components {
		if v := a.Labels[label]; v != "" && label != c.ServiceLabel {
			parts = append(parts, v)
		}
	}
	s.Component = cut(strings.Join(parts, " "), 256)
	if class := symptom.Class(a.Labels["class"]); slices.Contains(classes, class) {
		s.Class = class
	}
	s.Detail = cmp.Or(a.Annotations["summary"], a.Annotations["description"], a.Annotations["message"], s.Rule)
	s.Evidence = []symptom.Evidence{{At: a.StartsAt, Text: cmp.Or(a.Annotations["description"], a.Annotations["message"], s.Detail)}}
	if a.GeneratorURL != "" {
		s.Evidence = append(s.Evidence, symptom.Evidence{At: a.StartsAt, Text: a.GeneratorURL})
	}
	return s
}

// join is one symptom of two alerts that are the same condition here: the graver one, since the first of them.
func join(a, b symptom.Symptom) symptom.Symptom {
	if b.Level.Graver(a.Level) || a.Level == b.Level && b.Since.Before(a.Since) {
		a, b = b, a
	}
	if b.Since.Before(a.Since) {
		a.Since = b.Since
	}
	return a
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
