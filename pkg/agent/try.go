package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/flow"
	"xunjian/pkg/probe"
)

// fragment is a file of checks as configs/services holds them.
type fragment struct {
	Services []check.Service `yaml:"services"`
	Checks   []check.Spec    `yaml:"checks"`

	file string
}

// Validate also reads the certificates that the checks name.
func (f *fragment) Validate(fail config.Fail) {
	for i := range f.Checks {
		s, at := &f.Checks[i], config.Under(fail, fmt.Sprintf("checks[%d]", i))
		for _, p := range s.PEMFiles() {
			name := p.Name
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(f.file), name)
			}
			pem, err := os.ReadFile(name)
			if err != nil {
				at(p.Path, "%v", err)
			}
			*p.Into = string(pem)
		}
		s.WithDefaults().Validate(at)
		flow.Validate(*s, at)
	}
}

// LoadChecks reads a file of checks, with the certificates that they name, and tells of every fault at once.
func LoadChecks(file string) ([]check.Spec, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := config.Parse(file, b, fragment{file: file})
	if err != nil {
		return nil, err
	}
	return f.Checks, nil
}

// PlannedChecks are those of the last plan that the collector has sent to this agent.
func PlannedChecks(c Config) ([]check.Spec, error) {
	b, err := os.ReadFile(c.planFile())
	if err != nil {
		return nil, fmt.Errorf("read the agent's plan: %w; give a file of checks with --flow", err)
	}
	var p check.Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("read the agent's plan %s: %w", c.planFile(), err)
	}
	return p.Checks, nil
}

// Pick is the check of that name; without a name, the only one.
func Pick(checks []check.Spec, name string) (check.Spec, error) {
	i := slices.IndexFunc(checks, func(s check.Spec) bool { return s.Name == name })
	switch {
	case i >= 0:
		return checks[i], nil
	case name == "" && len(checks) == 1:
		return checks[0], nil
	}
	names := make([]string, len(checks))
	for i, s := range checks {
		names[i] = s.Name
	}
	return check.Spec{}, fmt.Errorf("check %q: want one of %s, given with --check", name, strings.Join(names, ", "))
}

// Try asks once, as the agent would: with its secrets, its guards, and its memory of refused accounts.
func Try(ctx context.Context, c Config, s check.Spec, trace func(flow.Event)) (check.Attempt, error) {
	s.Again = new(0)
	p, err := probe.New(s, probe.Options{Secrets: c.Secrets, State: c.State, Trace: trace})
	if err != nil {
		return check.Attempt{}, err
	}
	defer p.Close()
	r, _ := p.Run(ctx, time.Now())
	return r.First(), nil
}

// Unlock lets a check ask again whose account was refused too often.
func Unlock(c Config, name string) error {
	if !check.ValidName(name) {
		return fmt.Errorf("%q is not the name of a check", name)
	}
	err := os.Remove(filepath.Join(probe.AccountFolder(c.State), name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("check %s has met with no refusal in %s", name, c.State)
	}
	return err
}

// Locked are the checks that do not ask because their account was refused.
func Locked(c Config) ([]string, error) { return probe.LockedAccounts(c.State) }
