package tsdb

import (
	"fmt"
	"regexp"

	"xunjian/pkg/metric"
)

// MatchType says how a Matcher compares.
type MatchType uint8

// The kinds of comparison, as in PromQL: =, !=, =~ and !~.
const (
	Equal MatchType = iota
	NotEqual
	Regexp
	NotRegexp
)

// NameLabel stands for the metric name in matchers and label lists.
const NameLabel = "__name__"

// Matcher compares one label; a label that a series does not have counts as empty.
type Matcher struct {
	Name, Value string
	Type        MatchType
	re          *regexp.Regexp
}

// NewMatcher makes a matcher; regular expressions are anchored at both ends.
func NewMatcher(t MatchType, name, value string) (Matcher, error) {
	m := Matcher{Name: name, Value: value, Type: t}
	if t != Regexp && t != NotRegexp {
		return m, nil
	}
	re, err := regexp.Compile("^(?s:" + value + ")$")
	if err != nil {
		return m, fmt.Errorf("matcher %s: %w", name, err)
	}
	m.re = re
	return m, nil
}

// Matches reports whether the series passes.
func (m Matcher) Matches(s metric.Series) bool {
	v := s.Name
	if m.Name != NameLabel {
		v = s.Get(m.Name)
	}
	switch m.Type {
	case Equal:
		return v == m.Value
	case NotEqual:
		return v != m.Value
	case Regexp:
		return m.re.MatchString(v)
	default:
		return !m.re.MatchString(v)
	}
}

// matchAll reports whether the series passes every matcher.
func matchAll(ms []Matcher, s metric.Series) bool {
	for _, m := range ms {
		if !m.Matches(s) {
			return false
		}
	}
	return true
}
