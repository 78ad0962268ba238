package alertapi

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	maxMatchers = 100
	maxMatcher  = 4 << 10
)

// matcher is one condition on a label, as amtool writes it: severity="critical", instance=~"web.*".
type matcher struct {
	name, value string
	negative    bool
	pattern     *regexp.Regexp // nil: the value as it stands
}

func (m matcher) matches(labels map[string]string) bool {
	v := labels[m.name]
	same := v == m.value
	if m.pattern != nil {
		same = m.pattern.MatchString(v)
	}
	return same != m.negative
}

var matcherText = regexp.MustCompile(`^\s*("(?:[^"\\]|\\.)+"|[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!=|!~|=)\s*((?s).*?)\s*$`)

// parseMatchers reads all conditions of a query; braces around several of them are allowed, as Alertmanager allows them.
func parseMatchers(texts []string) (out []matcher, err error) {
	if len(texts) > maxMatchers {
		return nil, fmt.Errorf("%d filters are more than %d", len(texts), maxMatchers)
	}
	for _, text := range texts {
		if len(text) > maxMatcher {
			return nil, fmt.Errorf("filter of %d bytes is longer than %d", len(text), maxMatcher)
		}
		parts := []string{text}
		if t := strings.TrimSpace(text); strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}") {
			parts = splitOutside(t[1 : len(t)-1])
		}
		for _, part := range parts {
			m, err := parseMatcher(part)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// splitOutside cuts at commas that stand outside of quotes.
func splitOutside(s string) (out []string) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out, from = append(out, s[from:i]), i+1
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		out = append(out, rest)
	}
	return out
}

func parseMatcher(text string) (m matcher, err error) {
	p := matcherText.FindStringSubmatch(text)
	if p == nil {
		return m, fmt.Errorf("bad matcher format: %s", text)
	}
	m.name, m.value = p[1], p[3]
	for _, s := range []*string{&m.name, &m.value} {
		switch quoted := strings.HasPrefix(*s, `"`); {
		case quoted:
			if *s, err = strconv.Unquote(*s); err != nil {
				return m, fmt.Errorf("bad matcher format: %s", text)
			}
		case strings.Contains(*s, `"`):
			return m, fmt.Errorf("matcher value contains unescaped double quote: %s", *s)
		}
	}
	m.negative = p[2][0] == '!'
	if strings.HasSuffix(p[2], "~") {
		m.pattern, err = regexp.Compile("^(?:" + m.value + ")$")
	}
	return m, err
}
