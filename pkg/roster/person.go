// Package roster says who is on duty at any moment: people, shifts, overrides, swaps and important periods.
package roster

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"xunjian/pkg/config"
)

// Line is one of the lines of people who are called, in the order in which they are.
type Line string

// The lines: 驻点, 二线, 负责人.
const (
	Resident Line = "resident"
	Second   Line = "second"
	Manager  Line = "manager"
)

// Lines lists all of them, the first to be called first.
var Lines = []Line{Resident, Second, Manager}

// PartyA is the duty of the customer's people (甲方), who are on no line.
const PartyA = "party_a"

// Person is somebody with a name in records. Until there is more of an identity, people stand in the configuration.
type Person struct {
	Name     string        `yaml:"name"`               // in records and pages
	Login    string        `yaml:"login,omitempty"`    // of the account in the console
	Role     string        `yaml:"role,omitempty"`     // viewer, engineer, lead or admin; default by duty
	Duty     string        `yaml:"duty,omitempty"`     // resident, second, manager or party_a
	Phone    string        `yaml:"phone,omitempty"`    // digits, with + and the country in front or without
	Email    string        `yaml:"email,omitempty"`    //
	WeCom    string        `yaml:"wecom,omitempty"`    // user ids with the messengers
	DingTalk string        `yaml:"dingtalk,omitempty"` //
	Feishu   string        `yaml:"feishu,omitempty"`   //
	Language string        `yaml:"language,omitempty"` // of pages to this person; default: the collector's
	Token    config.Secret `yaml:"token,omitempty"`    // of the API
}

// maxPeople bounds what one collector knows.
const maxPeople = 1000

var (
	roles    = []string{"viewer", "engineer", "lead", "admin"}
	duties   = []string{string(Resident), string(Second), string(Manager), PartyA}
	login    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	phone    = regexp.MustCompile(`^\+?[0-9]{3,20}$`)
	email    = regexp.MustCompile(`^[^\s@<>,;:"]{1,64}@[^\s@<>,;:"]{1,190}$`)
	userID   = regexp.MustCompile(`^[^\s<>"]{1,128}$`)
	defaults = map[string]string{string(Resident): "engineer", string(Second): "engineer", string(Manager): "lead", PartyA: "viewer", "": "viewer"}
)

// WithDefaults fills in the role that goes with a person's duty, and the language.
func WithDefaults(people []Person, language string) []Person {
	out := slices.Clone(people)
	for i := range out {
		if out[i].Role == "" {
			out[i].Role = defaults[out[i].Duty]
		}
		if out[i].Language == "" {
			out[i].Language = language
		}
	}
	return out
}

// ValidatePeople reports each entry that could be nobody, or two.
func ValidatePeople(people []Person, fail func(path, format string, args ...any)) {
	if len(people) > maxPeople {
		fail("", "%d people, at most %d", len(people), maxPeople)
	}
	taken := map[string]string{}
	for i, p := range people {
		at := fmt.Sprintf("[%d].", i)
		p.validate(func(path, format string, args ...any) { fail(at+path, format, args...) })
		for _, k := range []struct{ path, value string }{{"name", p.Name}, {"login", p.Login}, {"phone", National(p.Phone)}} {
			key := k.path + " " + k.value
			if other, ok := taken[key]; ok && k.value != "" {
				fail(at+k.path, "%q is %s's already: give each person one of their own", k.value, other)
			}
			taken[key] = p.Name
		}
	}
}

func (p Person) validate(fail func(path, format string, args ...any)) {
	switch {
	case strings.TrimSpace(p.Name) == "":
		fail("name", "missing: give the name that records are to bear")
	case p.Name != strings.TrimSpace(p.Name), utf8.RuneCountInString(p.Name) > 64, strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		fail("name", "%q is not a name: at most 64 characters, no space around them, no control characters", p.Name)
	}
	for _, k := range []struct {
		path, value, want string
		form              *regexp.Regexp
	}{
		{"login", p.Login, "a-z, 0-9, dot, - and _", login},
		{"phone", p.Phone, "digits, as 13800000000 or +8613800000000", phone},
		{"email", p.Email, "an address, as duty@example.org", email},
		{"wecom", p.WeCom, "a user id", userID},
		{"dingtalk", p.DingTalk, "a user id or phone", userID},
		{"feishu", p.Feishu, "a user id", userID},
	} {
		if k.value != "" && !k.form.MatchString(k.value) {
			fail(k.path, "%q: want %s", k.value, k.want)
		}
	}
	if p.Role != "" && !slices.Contains(roles, p.Role) {
		fail("role", "%q: want %s", p.Role, strings.Join(roles, ", "))
	}
	if p.Duty != "" && !slices.Contains(duties, p.Duty) {
		fail("duty", "%q: want %s, or nothing", p.Duty, strings.Join(duties, ", "))
	}
	if p.Language != "" && p.Language != "zh-CN" && p.Language != "en" {
		fail("language", "%q: want zh-CN or en", p.Language)
	}
	p.Token.Validate(config.Under(fail, "token"))
}

// National is a phone number without what gateways put before it: +86, 0086, 86, spaces and dashes.
func National(phone string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phone)
	digits = strings.TrimPrefix(digits, "00")
	if len(digits) == 13 && strings.HasPrefix(digits, "86") {
		return digits[2:]
	}
	return digits
}
