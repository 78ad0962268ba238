package flow

import (
	"errors"
	"fmt"
	"strings"

	"xunjian/pkg/check"
)

// What values may take in memory: of one, and of all variables of a run.
const (
	maxValue = 4 << 20
	maxHeld  = 16 << 20
)

var errTooLong = fmt.Errorf("a value over %d MiB", maxValue>>20)

// errMissing says that a variable has no value yet.
type errMissing struct{ name string }

func (e errMissing) Error() string { return e.name + " has no value" }

// value is a string, and whether it lets a secret be seen.
type value struct {
	text   string
	secret bool
}

// scope is what expressions see during one run.
type scope struct {
	vars    map[string]value
	secrets map[string]string
	held    int // bytes of all variables
	mask    *Mask
}

func newScope(secrets map[string]string) *scope {
	s := &scope{vars: map[string]value{}, secrets: secrets, mask: &Mask{}}
	for _, v := range secrets {
		s.mask.Add(v)
	}
	return s
}

// set keeps a variable.
func (s *scope) set(name string, v value) error {
	s.held += len(v.text) - len(s.vars[name].text)
	if len(v.text) > maxValue || s.held > maxHeld {
		return errTooLong
	}
	if v.secret {
		s.mask.Add(v.text)
	}
	s.vars[name] = v
	return nil
}

// knows says whether every name in the texts has a value.
func (s *scope) knows(names []string) bool {
	for _, n := range names {
		if _, err := s.lookup(n); err != nil {
			return false
		}
	}
	return true
}

func (s *scope) lookup(name string) (value, error) {
	if secret, ok := strings.CutPrefix(name, secretPrefix); ok {
		v, ok := s.secrets[secret]
		if !ok {
			return value{}, errMissing{name}
		}
		return value{v, true}, nil
	}
	v, ok := s.vars[name]
	if !ok {
		return value{}, errMissing{name}
	}
	return v, nil
}

// work works a text out. What an expression makes of a secret is a secret itself.
func (s *scope) work(t text) (value, error) {
	if len(t) == 1 && t[0].expr == nil {
		return value{text: t[0].literal}, nil
	}
	var b strings.Builder
	secret := false
	for _, p := range t {
		if p.expr == nil {
			b.WriteString(p.literal)
			continue
		}
		v, err := s.value(p.expr)
		if err != nil {
			return value{}, err
		}
		if v.secret {
			secret = true
			s.mask.Add(v.text)
		}
		if b.Len()+len(v.text) > maxValue {
			return value{}, errTooLong
		}
		b.WriteString(v.text)
	}
	return value{b.String(), secret}, nil
}

func (s *scope) value(e *expr) (value, error) {
	switch {
	case e.name == "":
		return value{text: e.literal}, nil
	case e.call == nil && isNumber(e.name):
		return value{text: e.name}, nil
	case e.call == nil:
		return s.lookup(e.name)
	}
	args, secret, total := make([]string, len(e.args)), false, 0
	for i, a := range e.args {
		v, err := s.value(a)
		if err != nil {
			return value{}, err
		}
		if total += len(v.text); total > maxValue {
			return value{}, errTooLong
		}
		args[i], secret = v.text, secret || v.secret
	}
	out, err := e.call.call(args)
	switch {
	case err != nil && secret:
		return value{}, fmt.Errorf("%s: does not take these values, which are not shown for one of them is a secret: want %s", e.name, e.call.usage)
	case err != nil:
		return value{}, fmt.Errorf("%s: %w", e.name, err)
	case len(out) > maxValue:
		return value{}, fmt.Errorf("%s: %w", e.name, errTooLong)
	}
	return value{out, secret}, nil
}

// plain is the variables for whoever runs the flow.
func (s *scope) plain() map[string]string {
	out := make(map[string]string, len(s.vars))
	for name := range s.vars {
		out[name] = s.vars[name].text
	}
	return out
}

// blamed is the fault of a text that could not be worked out. What nobody's answer had a part in is the configuration's.
func blamed(err error, fromAnswer bool) *Fault {
	var bad *Fault
	if errors.As(err, &bad) {
		return bad
	}
	f := &Fault{Outcome: check.Unknown, Class: check.ClassSetup, Reason: err.Error()}
	if fromAnswer {
		f.Outcome, f.Class = check.Fail, check.ClassContent
	}
	return f
}
