package probe

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// maxReason bounds what an attempt says for people.
const maxReason = 256

// masked stands for what must not be shown.
const masked = "***"

// clip makes a text fit for a reason.
func clip(s string) string { return check.Clip(s, maxReason) }

// secretWords are the parts of names whose values are not shown.
var secretWords = []string{"auth", "cookie", "credential", "key", "pass", "pwd", "secret", "session", "sign", "ticket", "token"}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// maskTarget is a target as it may be shown: no user, no values of secret-looking query keys.
func maskTarget(target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil && strings.Contains(target, "://"): // unreadable, so where the secrets are is not known
		scheme, _, _ := strings.Cut(target, "://")
		return check.Clip(scheme, maxTargetShown) + "://" + masked
	case err != nil || u.Host == "":
		return check.Clip(target, maxTargetShown)
	}
	if u.User != nil {
		u.User = url.User(masked)
	}
	u.RawQuery = maskQuery(u.RawQuery)
	shown := strings.NewReplacer("%2A%2A%2A", masked, "***", masked).Replace(u.String())
	return check.Clip(shown, maxTargetShown)
}

const maxTargetShown = 512

func maskQuery(raw string) string {
	if raw == "" {
		return ""
	}
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, _, ok := strings.Cut(pair, "=")
		if ok && isSecretName(name) {
			pairs[i] = name + "=" + masked
		}
	}
	return strings.Join(pairs, "&")
}

// secrets are values that no reason may repeat, even when the target does.
type secrets []string

// add keeps values long enough to be a secret rather than a word.
func (s *secrets) add(value string) {
	if len(value) >= 4 {
		*s = append(*s, value)
	}
}

func (s secrets) hide(reason string) string {
	if reason == "" { // of a good answer: nothing to look through
		return reason
	}
	var m flow.Mask
	for _, v := range s {
		m.Add(v)
	}
	return m.Hide(reason)
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
