package collector

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"xunjian/pkg/blackbox"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/fleet"
	"xunjian/pkg/flow"
)

// maxIncluded bounds the files that a configuration may draw in.
const maxIncluded = 256

// included is a file that the configuration draws in: services and how they are asked, nothing else.
type included struct {
	Services []check.Service `yaml:"services"`
	Checks   []check.Spec    `yaml:"checks"`

	file  string
	names *names // nil while the names themselves are gathered
}

// names are what all files together define, each with the file that did so first.
type names struct {
	services, checks map[string]string
	defined          map[string]bool   // services, known before any check is looked at
	known            map[string]string // checks with their services, the same
	needs            map[string][]string
	agents           []fleet.Labelled
	modules          blackbox.Modules
}

// Validate sees that the file's services and checks are sound, and that nothing is defined twice in all files together.
func (f *included) Validate(fail config.Fail) {
	if f.names == nil {
		return
	}
	f.names.validate(f.file, f.Services, f.Checks, fail)
	for i, s := range f.Checks {
		pemFiles(fail, fmt.Sprintf("checks[%d]", i), s, f.path)
	}
}

// path resolves a path in the file against the file's folder.
func (f *included) path(p string) string { return within(filepath.Dir(f.file), p) }

func (n *names) validate(file string, services []check.Service, checks []check.Spec, fail config.Fail) {
	for i, s := range services {
		at := config.Under(fail, fmt.Sprintf("services[%d]", i))
		if !check.ValidName(s.Name) {
			at("name", "%q: want lower-case letters, digits and hyphens, at most 63", s.Name)
		}
		once(n.services, s.Name, file, "service", at)
		n.validateNeeds(s, at)
	}
	for i, s := range checks {
		at := config.Under(fail, fmt.Sprintf("checks[%d]", i))
		if s.Module != "" {
			s = n.modules.Apply(s, at)
			checks[i] = s
		}
		if s.Module != "" && s.Kind == "" { // nothing is known of it but that its module is not there
			continue
		}
		s.WithDefaults().Validate(at)
		flow.Validate(s, at)
		n.validateVantages(s, at)
		if !n.defined[s.Service] {
			at("service", "%q is not among the services", s.Service)
		}
		once(n.checks, s.Name, file, "check", at)
	}
}

func once(seen map[string]string, name, file, what string, fail config.Fail) {
	switch first, twice := seen[name]; {
	case !twice:
		seen[name] = file
	case first == file:
		fail("name", "%s %q is there twice", what, name)
	default:
		fail("name", "%s %q is there twice, first in %s", what, name, first)
	}
}

// drawIn reads the included files, in the order of the patterns and within one in the order of names. What is wrong in
// them is kept as faults of theirs; a pattern that is wrong, or that finds nothing, is the configuration's own fault.
func (c *Config) drawIn(fail config.Fail) {
	n := &names{
		services: map[string]string{}, checks: map[string]string{}, defined: map[string]bool{}, known: map[string]string{}, needs: map[string][]string{}, agents: c.Fleet.Agents,
	}
	n.gather(c.Services, c.Checks)
	used := modulesOf(c.Checks)
	files := c.includedFiles(fail)
	for _, file := range files {
		f, err := config.Load(file, included{file: file})
		if err == nil { // what is wrong is told below
			n.gather(f.Services, f.Checks)
			used = append(used, modulesOf(f.Checks)...)
		}
	}
	c.included, c.elsewhere = nil, slices.Clone(c.unread)
	n.modules = c.loadModules(used, fail)
	n.validate(c.file, c.Services, c.Checks, fail)
	for service := range c.Contract.Outage {
		if !n.defined[service] {
			fail("contract.outage."+service, "%q is not among the services", service)
		}
	}
	for _, file := range files {
		f, err := config.Load(file, included{file: file, names: n})
		if err != nil {
			c.elsewhere = append(c.elsewhere, config.FaultsIn(file, err)...)
			continue
		}
		c.included = append(c.included, f)
	}
}

func modulesOf(checks []check.Spec) []string {
	used := []string{}
	for _, s := range checks {
		used = append(used, s.Module)
	}
	return used
}

// loadModules reads the module files; what is wrong in them, as far as checks use it, is kept as faults of theirs.
func (c *Config) loadModules(used []string, fail config.Fail) blackbox.Modules {
	all, from := blackbox.Modules{}, map[string]string{}
	for i, file := range c.Modules {
		modules, err := blackbox.Load(c.path(file), used)
		if err != nil {
			c.elsewhere = append(c.elsewhere, config.FaultsIn(c.path(file), err)...)
		}
		for _, name := range slices.Sorted(maps.Keys(modules)) {
			if first, twice := from[name]; twice {
				fail(fmt.Sprintf("modules[%d]", i), "module %q is there twice, first in %s", name, first)
			}
			all[name], from[name] = modules[name], file
		}
	}
	return all
}

func (n *names) gather(services []check.Service, checks []check.Spec) {
	for _, s := range services {
		n.defined[s.Name], n.needs[s.Name] = true, s.Needs
	}
	for _, s := range checks {
		n.known[s.Name] = s.Service
	}
}

func (c *Config) includedFiles(fail config.Fail) []string {
	found := map[string]bool{}
	var files []string
	for i, pattern := range c.Include {
		at := fmt.Sprintf("include[%d]", i)
		matches, err := filepath.Glob(c.path(pattern))
		switch {
		case err != nil:
			fail(at, "%q is no pattern of file names", pattern)
		case len(matches) == 0:
			fail(at, "no file matches %s", c.path(pattern))
		}
		for _, m := range matches {
			if !found[m] {
				found[m] = true
				files = append(files, m)
			}
		}
	}
	if len(files) > maxIncluded {
		fail("include", "%d files: want at most %d", len(files), maxIncluded)
		files = files[:maxIncluded]
	}
	return files
}

// Elsewhere are the faults of the included files.
func (c *Config) Elsewhere() config.Faults { return c.elsewhere }

// merge adds what the included files hold, once everything is sound.
func (c *Config) merge() error {
	for i, s := range c.Checks {
		ready, err := c.prepare(s, c.path)
		if err != nil {
			return err
		}
		c.Checks[i] = ready
	}
	for _, f := range c.included {
		c.Services = append(c.Services, f.Services...)
		for _, s := range f.Checks {
			ready, err := c.prepare(s, f.path)
			if err != nil {
				return err
			}
			c.Checks = append(c.Checks, ready)
		}
	}
	periods := c.Roster.Paces()
	for i := range c.Checks {
		c.Checks[i].Periods = periods
	}
	return nil
}

// prepare fills a check's defaults in, the level that the contract gives its outages, and the certificates that it names files of.
func (c *Config) prepare(s check.Spec, path func(string) string) (check.Spec, error) {
	for _, f := range s.PEMFiles() { // read by Validate before: only a file that vanished since can be missed
		pem, err := os.ReadFile(path(f.Name))
		if err != nil {
			return s, fmt.Errorf("read %s of check %s: %w", f.Path, s.Name, err)
		}
		*f.Into = string(pem)
	}
	return c.graded(s.WithDefaults()), nil
}
