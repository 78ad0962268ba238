package promapi

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const (
	maxMatchers = 100      // match[] in one call
	maxMatcher  = 16 << 10 // bytes of each
)

// Ends of time as Prometheus knows them: what is asked without start or end.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

// params are a call's parameters. The first fault is kept, and what is asked for after it does not matter.
type params struct {
	url.Values
	fault *fault
}

func (p *params) bad(name string, err error) {
	if p.fault == nil {
		p.fault = bad("invalid parameter %q: %w", name, err)
	}
}

func (p *params) time(name string, def time.Time) time.Time {
	s := p.Get(name)
	if s == "" {
		return def
	}
	t, err := parseTime(s)
	if err != nil {
		p.bad(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return t
}

// needTime is for range queries, which have no default and say so in fewer words.
func (p *params) needTime(name string) time.Time {
	t, err := parseTime(p.Get(name))
	if err != nil {
		p.bad(name, err)
	}
	return t
}

func parseTime(s string) (time.Time, error) {
	if t, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(t) && math.Abs(t) < math.MaxInt64/1000 {
		sec, frac := math.Modf(t)
		frac = math.Round(frac*1000) / 1000
		return time.Unix(int64(sec), int64(frac*float64(time.Second))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	switch s { // years of more than four digits are too long for package time
	case minTime.Format(time.RFC3339Nano):
		return minTime, nil
	case maxTime.Format(time.RFC3339Nano):
		return maxTime, nil
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
}

func parseDuration(s string) (time.Duration, error) {
	if d, err := strconv.ParseFloat(s, 64); err == nil {
		ns := d * float64(time.Second)
		if math.IsNaN(ns) || ns >= math.MaxInt64 || ns < math.MinInt64 {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", s)
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
}

// limit is how many are wanted, 0 for all.
func (p *params) limit() int {
	s := p.Get("limit")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err == nil && n < 0 {
		err = errors.New("limit must be non-negative")
	}
	if err != nil {
		p.bad("limit", err)
	}
	return n
}

// number is a limit of the calls whose limits may be anything; -1 when there is none.
func (p *params) number(name string) int {
	s := p.Get(name)
	if s == "" {
		return -1
	}
	n, err := strconv.Atoi(s)
	if err != nil && p.fault == nil {
		p.fault = bad("%s must be a number", name)
	}
	return n
}

// timeout is the time that a query may take; 0: as long as any.
func (p *params) timeout() time.Duration {
	s := p.Get("timeout")
	if s == "" {
		return 0
	}
	d, err := parseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("timeout must be positive, got %s", d)
	}
	if err != nil {
		p.bad("timeout", err)
	}
	return d
}

func (p *params) lookback() time.Duration {
	s := p.Get("lookback_delta")
	if s == "" {
		return 0
	}
	d, err := parseDuration(s)
	if err != nil && p.fault == nil {
		p.fault = bad("error parsing lookback delta duration: %w", err)
	}
	return d
}

// matchers reads match[]. Each set must ask for something, or it would ask for everything.
func (p *params) matchers() [][]*labels.Matcher {
	texts := p.Values["match[]"]
	if err := checkMatchers(texts); err != nil {
		p.fault = cmp.Or(p.fault, bad("%w", err))
		return nil
	}
	sets, err := promParser.ParseMetricSelectors(texts)
	if err != nil {
		p.fault = cmp.Or(p.fault, bad("%w", err))
		return nil
	}
	for _, set := range sets {
		if !asksForSomething(set) {
			p.fault = cmp.Or(p.fault, bad("match[] must contain at least one non-empty matcher"))
		}
	}
	return sets
}

func checkMatchers(texts []string) error {
	if len(texts) > maxMatchers {
		return fmt.Errorf("%d match[] are more than %d", len(texts), maxMatchers)
	}
	for _, t := range texts {
		if len(t) > maxMatcher {
			return fmt.Errorf("match[] of %d bytes is longer than %d", len(t), maxMatcher)
		}
	}
	return nil
}

func asksForSomething(set []*labels.Matcher) bool {
	for _, m := range set {
		if m != nil && !m.Matches("") {
			return true
		}
	}
	return false
}

// choice is a parameter of which the address alone may speak, in any case of letters.
func choice(v url.Values, name string) string { return strings.ToLower(v.Get(name)) }
