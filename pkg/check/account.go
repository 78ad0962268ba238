package check

import (
	"net/url"
	"slices"
	"strings"
)

// LogsIn says that the check shows an account's credentials.
func (s Spec) LogsIn() bool {
	return s.SMS != nil && s.SMS.Account == SMSSeparate ||
		s.Flow != nil && slices.ContainsFunc(s.Flow.Steps, func(st FlowStep) bool { return st.Login })
}

// Account names the account whose credentials the check shows, empty for none: by where it is, who logs in and where the
// secrets are. Two checks of one account have one name.
func (s Spec) Account() string {
	if !s.LogsIn() {
		return ""
	}
	words := []string{s.Target}
	if u, err := url.Parse(s.Target); err == nil && u.Host != "" {
		words[0] = u.Host
	}
	if s.SMS != nil {
		return strings.Join(append(words, s.Kind, s.SMS.User), " ")
	}
	for _, r := range s.Secrets {
		words = append(words, r.Env+"/"+r.File)
	}
	slices.Sort(words[1:])
	return strings.Join(words, " ")
}
