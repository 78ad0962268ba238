package rule

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	shipped "xunjian/configs/rules"
	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// Bounds on what is loaded; config.MaxBytes bounds each file.
const (
	maxFiles = 100
	maxRules = 5000
)

// builtIn stands for the file's name when the rules that ship with the program are used.
const builtIn = "built-in/host.yml"

var promParser = parser.NewParser(parser.Options{})

// set is a checked rule set; Prometheus' manager takes its groups from it, so what was checked is what runs.
type set struct {
	files  []string
	groups map[string]*rulefmt.RuleGroups // by file
}

// loader gives Prometheus' manager the set in use; it asks only within Update, while reloading is held.
type loader struct{ m *Manager }

func (l loader) Load(file string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	g, ok := l.m.set.groups[file]
	if !ok {
		return nil, []error{fmt.Errorf("rule file %s was not loaded", file)}
	}
	return g, nil
}

func (loader) Parse(expr string) (parser.Expr, error) { return promParser.ParseExpr(expr) }

func (s *set) each(fn func(file string, g rulefmt.RuleGroup, r rulefmt.Rule)) {
	for _, file := range s.files {
		for _, g := range s.groups[file].Groups {
			for _, r := range g.Rules {
				fn(file, g, r)
			}
		}
	}
}

// Check parses rule files (none: the built-in ones) as the manager would and reports every fault with its file and line (config.Faults).
func Check(files []string) error {
	_, err := load(files)
	return err
}

// Count is what a rule file without faults holds.
type Count struct {
	File                       string
	Groups, Alerts, Recordings int
}

// Examine is Check, and counts what is in the files that have no fault.
func Examine(files []string) ([]Count, error) {
	s, faults := read(files)
	var out []Count
	for _, file := range s.files {
		c := Count{File: file, Groups: len(s.groups[file].Groups)}
		for _, g := range s.groups[file].Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					c.Alerts++
				} else {
					c.Recordings++
				}
			}
		}
		out = append(out, c)
	}
	if len(faults) > 0 {
		return out, faults
	}
	return out, nil
}

func load(patterns []string) (*set, error) {
	s, faults := read(patterns)
	if len(faults) > 0 {
		return nil, faults
	}
	return s, nil
}

// read loads what has no fault, and says what has.
func read(patterns []string) (*set, config.Faults) {
	files, faults := expand(patterns)
	read := loadFile
	if len(patterns) == 0 {
		files, read = []string{builtIn}, func(string) (*rulefmt.RuleGroups, config.Faults) { return parse(builtIn, shipped.Host) }
	}
	s := &set{groups: map[string]*rulefmt.RuleGroups{}}
	n := 0
	for _, file := range files {
		groups, fs := read(file)
		faults = append(faults, fs...)
		if groups == nil {
			continue
		}
		s.files, s.groups[file] = append(s.files, file), groups
		for _, g := range groups.Groups {
			n += len(g.Rules)
		}
	}
	if n > maxRules {
		faults = append(faults, config.Fault{File: "rules", What: fmt.Sprintf("%d rules are more than %d: remove some", n, maxRules)})
	}
	return s, faults
}

// Named is the rule files that patterns stand for now; what is wrong with a pattern is Check's to say.
func Named(patterns []string) []string {
	files, _ := expand(patterns)
	return files
}

// expand turns files, globs and directories into the sorted list of rule files. In a directory or a glob, names that
// end in _test.yml are promtool's unit tests and are passed over.
func expand(patterns []string) (files []string, faults config.Faults) {
	fail := func(pattern, what string) { faults = append(faults, config.Fault{File: pattern, What: what}) }
	for _, p := range patterns {
		found, what := match(p)
		if what != "" {
			fail(p, what)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	if len(files) > maxFiles {
		fail("rules", fmt.Sprintf("%d rule files are more than %d: join some", len(files), maxFiles))
		files = nil
	}
	return files, faults
}

func match(pattern string) (files []string, fault string) {
	globs := []string{pattern}
	if st, err := os.Stat(pattern); err == nil {
		if !st.IsDir() {
			return []string{filepath.Clean(pattern)}, ""
		}
		globs = []string{filepath.Join(pattern, "*.yml"), filepath.Join(pattern, "*.yaml")}
	} else if !strings.ContainsAny(pattern, "*?[") {
		if errors.Is(err, os.ErrNotExist) {
			return nil, "no such rule file or directory"
		}
		return nil, err.Error()
	}
	for _, g := range globs {
		found, err := filepath.Glob(g)
		if err != nil {
			return nil, "bad glob: " + err.Error()
		}
		files = append(files, slices.DeleteFunc(found, isUnitTest)...)
	}
	if len(files) == 0 {
		return nil, "no rule file matches"
	}
	return files, ""
}

func isUnitTest(file string) bool {
	stem := strings.TrimSuffix(strings.TrimSuffix(file, ".yml"), ".yaml")
	return strings.HasSuffix(stem, "_test")
}

func loadFile(file string) (*rulefmt.RuleGroups, config.Faults) {
	f, err := os.Open(file)
	if err != nil {
		return nil, config.Faults{{File: file, What: err.Error()}}
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
	if err != nil {
		return nil, config.Faults{{File: file, What: err.Error()}}
	}
	return parse(file, content)
}

// parse reads a file twice: once by our own strict reader, which knows the line of every key and asks for what we need
// beside Prometheus, and through it by Prometheus' reader, whose groups are used.
func parse(file string, content []byte) (*rulefmt.RuleGroups, config.Faults) {
	out, err := config.Parse(file, content, ruleFile{content: content})
	var faults config.Faults
	switch {
	case err == nil:
		var groups *rulefmt.RuleGroups
		groups, errs := rulefmt.Parse(out.content, false, model.UTF8Validation, promParser, slog.New(slog.DiscardHandler))
		if len(errs) > 0 { // Validate has passed on the same reader's faults already
			return nil, config.Faults{{File: file, What: errors.Join(errs...).Error()}}
		}
		return groups, nil
	case errors.As(err, &faults):
		return nil, faults
	}
	return nil, config.Faults{{File: file, What: err.Error()}}
}

// ruleFile is a rule file as Prometheus defines it.
type ruleFile struct {
	Groups  []ruleGroup `yaml:"groups"`
	content []byte
}

type ruleGroup struct {
	Name        string            `yaml:"name"`
	Interval    string            `yaml:"interval"`
	QueryOffset string            `yaml:"query_offset"`
	Limit       int               `yaml:"limit"`
	Labels      map[string]string `yaml:"labels"`
	Rules       []ruleEntry       `yaml:"rules"`
}

type ruleEntry struct {
	Record        string            `yaml:"record"`
	Alert         string            `yaml:"alert"`
	Expr          string            `yaml:"expr"`
	For           string            `yaml:"for"`
	KeepFiringFor string            `yaml:"keep_firing_for"`
	Labels        map[string]string `yaml:"labels"`
	Annotations   map[string]string `yaml:"annotations"`
}

// Validate reports what Prometheus' reader and the desk behind the alerts would not take.
func (f ruleFile) Validate(fail config.Fail) {
	if len(f.Groups) == 0 {
		fail("groups", "no rule group is here")
	}
	bad := false
	count := func(path, format string, args ...any) { bad = true; fail(path, format, args...) }
	for i, g := range f.Groups {
		g.validate(config.Under(count, fmt.Sprintf("groups[%d]", i)))
	}
	if bad {
		return
	}
	_, errs := rulefmt.Parse(f.content, false, model.UTF8Validation, promParser, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		fail(f.place(err))
	}
}

var position = regexp.MustCompile(`^(?:\d+:\d+: )+`)

// place finds the rule that one of Prometheus' errors speaks of.
func (f ruleFile) place(err error) (path, format, what string) {
	var e *rulefmt.Error
	if !errors.As(err, &e) {
		return "groups", "%s", position.ReplaceAllString(err.Error(), "")
	}
	inner := errors.Unwrap(errors.Unwrap(e))
	what = fmt.Sprintf("group %q, rule %q: %v", e.Group, e.RuleName, inner)
	i := slices.IndexFunc(f.Groups, func(g ruleGroup) bool { return g.Name == e.Group })
	path = fmt.Sprintf("groups[%d].rules[%d]", i, e.Rule-1)
	if strings.HasPrefix(inner.Error(), "could not parse expression") {
		path += ".expr"
	}
	return path, "%s", what
}

func (g ruleGroup) validate(fail config.Fail) {
	if g.Name == "" {
		fail("name", "a group needs a name")
	}
	durations(fail, map[string]string{"interval": g.Interval, "query_offset": g.QueryOffset})
	for i, r := range g.Rules {
		under := config.Under(fail, fmt.Sprintf("rules[%d]", i))
		durations(under, map[string]string{"for": r.For, "keep_firing_for": r.KeepFiringFor})
		if r.Alert == "" {
			continue
		}
		at := fmt.Sprintf("group %q, alert %q: ", g.Name, r.Alert)
		labels := rules.FromMaps(g.Labels, r.Labels)
		if l := labels.Get(labelLevel); l != "" && !templated(l) { // else its severity counts
			if _, err := contract.ParseLevel(l); err != nil {
				under("labels.level", "%slabel %v", at, err)
			}
		}
		if c := labels.Get(labelClass); c != "" && !templated(c) && !slices.Contains(classes, symptom.Class(c)) {
			under("labels.class", "%slabel class %q: want one of %v", at, c, classes)
		}
	}
}

func durations(fail config.Fail, values map[string]string) {
	for key, v := range values {
		if v == "" {
			continue
		}
		if _, err := model.ParseDuration(v); err != nil {
			fail(key, "%q is not a duration: write a number with a unit, as 30s or 5m", v)
		}
	}
}
