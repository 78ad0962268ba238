package flow

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
)

// Options are what a flow is compiled with.
type Options struct {
	Target  string   // URL that the steps' URLs are relative to
	Secrets []string // names that texts may refer to
}

// Program is a compiled flow; safe for concurrent use.
type Program struct {
	base    *url.URL
	vars    []named // in the order in which they are worked out
	marks   *regexp.Regexp
	steps   []*step
	control []*step
	sweep   []*step
	finally []*step
	answers map[string]bool // variables that come out of answers
}

// named is a text with the name of what it gives a value to.
type named struct {
	name string
	text text
}

// step is a compiled check.FlowStep.
type step struct {
	check.FlowStep
	list     string
	each     text
	url      text
	body     text
	headers  []named
	form     []named
	files    []text
	expects  []*expect
	until    *expect
	extracts []*extract
	throttle *regexp.Regexp
	refused  *regexp.Regexp
	needs    []string // variables without which it cannot be made
}

// defaultMarks are the error pages that come with 200, and defaultRefused what logins say of credentials that they do not take.
var (
	defaultMarks   = regexp.MustCompile(`系统异常|系统错误|系统繁忙|系统维护|服务器内部错误|服务不可用|Internal Server Error|Whitelabel Error Page|HTTP Status 50\d`)
	defaultRefused = regexp.MustCompile(`(?i)用户名或密码|账号或密码|帐号或密码|密码(?:错误|不正确|已过期)|[账帐]号.{0,24}(?:锁定|冻结|禁用|停用)|(?:bad|invalid|incorrect|wrong)[ _-](?:credential|password|username|user ?name)|account.{0,24}(?:locked|disabled)|invalid_grant|invalid_client`)
)

// Compile finds every fault before the first run: unknown names and functions, expressions that cannot be read.
func Compile(f *check.Flow, o Options) (*Program, error) {
	var faults []error
	p := compile(f, o, func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
	})
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// Validate tells fail of what check.Flow's own validation cannot see: what stands between {{ and }}.
func Validate(spec check.Spec, fail func(path, format string, args ...any)) {
	if f := spec.OwnFlow(); f != nil {
		if written := fail; spec.Flow == nil { // the kind has written it of its section: nobody would find a line of the flow
			fail = func(path, format string, args ...any) { written("document", format+" (in "+path+")", args...) }
		}
		named := fail
		fail = func(path, format string, args ...any) {
			if path != "target" { // the check's own validation says more
				named(path, format, args...)
			}
		}
		compile(f, Options{Target: spec.Target, Secrets: slices.Collect(maps.Keys(spec.Secrets))}, fail)
	}
}

// StepNames are the names of the steps whose outcomes are series.
func StepNames(f *check.Flow) []string {
	var out []string
	if f != nil {
		for _, s := range f.Steps {
			out = append(out, s.Name)
		}
	}
	return out
}

// compiler keeps what is known while texts are read in the order of their use.
type compiler struct {
	fail  func(path, format string, args ...any)
	known map[string]bool
}

func compile(f *check.Flow, o Options, fail func(path, format string, args ...any)) *Program {
	c := &compiler{fail: fail, known: map[string]bool{}}
	p := &Program{answers: map[string]bool{}, marks: defaultMarks}
	base, err := url.Parse(o.Target)
	if err != nil || base.Host == "" {
		fail("target", "not a URL")
		base = &url.URL{}
	}
	p.base = base
	c.known["target"] = true
	for _, name := range o.Secrets {
		c.known[secretPrefix+name] = true
	}
	if f.Marks != nil {
		p.marks = c.pattern("flow.marks", *f.Marks)
	}
	c.vars(f, p)
	for _, l := range f.Lists() {
		steps := make([]*step, 0, len(l.Steps))
		for i, s := range l.Steps {
			steps = append(steps, c.step(l.Name, fmt.Sprintf("flow.%s[%d]", l.Name, i), s))
			for name := range s.Extract {
				p.answers[name] = true
			}
		}
		*p.list(l.Name) = steps
	}
	return p
}

func (p *Program) list(name string) *[]*step {
	return map[string]*[]*step{"steps": &p.steps, "control": &p.control, "sweep": &p.sweep, "finally": &p.finally}[name]
}

// vars puts variables behind those that they refer to.
func (c *compiler) vars(f *check.Flow, p *Program) {
	texts, todo := map[string]text{}, slices.Sorted(maps.Keys(f.Vars))
	for _, name := range todo {
		t, err := parseText(f.Vars[name])
		if err != nil {
			c.fail("flow.vars."+name, "%v", err)
		}
		texts[name] = t
		t.names(func(n string) {
			if _, variable := f.Vars[n]; !variable && !c.known[n] {
				c.fail("flow.vars."+name, "nothing gives %s a value: want another variable of vars, or a secret", n)
				c.known[n] = true
			}
		})
	}
	for len(todo) > 0 {
		i := slices.IndexFunc(todo, func(name string) bool { return c.allKnown(texts[name]) })
		if i < 0 {
			c.fail("flow.vars", "%s refer to each other in a circle", strings.Join(todo, ", "))
			return
		}
		p.vars = append(p.vars, named{todo[i], texts[todo[i]]})
		c.known[todo[i]] = true
		todo = slices.Delete(todo, i, i+1)
	}
}

func (c *compiler) allKnown(t text) bool {
	all := true
	t.names(func(n string) { all = all && c.known[n] })
	return all
}

func (c *compiler) step(list, path string, s check.FlowStep) *step {
	out := &step{FlowStep: s, list: list}
	need := func(n string) {
		if n != "each" && !slices.Contains(out.needs, n) {
			out.needs = append(out.needs, n)
		}
	}
	out.each = c.text(path+".each", s.Each, need)
	c.known["each"] = s.Each != ""
	c.request(path+".request", out, need)
	out.throttle, out.refused = c.pattern(path+".throttle", s.Throttle), c.pattern(path+".refused", s.Refused)
	if s.Login && s.Refused == "" {
		out.refused = defaultRefused
	}
	for _, name := range slices.Sorted(maps.Keys(s.Extract)) {
		out.extracts = append(out.extracts, c.extract(path+".extract."+name, name, s.Extract[name], need))
	}
	for name := range s.Extract {
		c.known[name] = true
	}
	own := func(n string) {
		if _, ok := s.Extract[n]; !ok {
			need(n)
		}
	}
	for i, e := range s.Expect {
		out.expects = append(out.expects, c.expect(fmt.Sprintf("%s.expect[%d]", path, i), e, own))
	}
	if s.Until != nil {
		out.until = c.expect(path+".until", *s.Until, own)
	}
	delete(c.known, "each")
	return out
}

func (c *compiler) request(path string, out *step, need func(string)) {
	r := out.Request
	out.url = c.text(path+".url", r.URL, need)
	key := ".body"
	if r.JSON != "" {
		key = ".json"
	}
	out.body = c.text(path+key, r.Body+r.JSON, need) // one of the two
	for _, name := range sent {
		c.known[name] = true
	}
	defer func() {
		for _, name := range sent {
			delete(c.known, name)
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		out.headers = append(out.headers, named{name, c.text(path+".headers."+name, r.Headers[name], need)})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		out.form = append(out.form, named{name, c.text(path+".form."+name, r.Form[name], need)})
	}
	for i, f := range r.Files {
		out.files = append(out.files, c.text(fmt.Sprintf("%s.files[%d].content", path, i), f.Content, need))
	}
}

// text reads a text, tells of names that nothing gives a value, and hands the others on.
func (c *compiler) text(path, s string, need func(string)) text {
	t, err := parseText(s)
	if err != nil {
		c.fail(path, "%v", err)
	}
	t.names(func(n string) {
		switch {
		case slices.Contains(sent, n) && c.known[n]: // made with the request
		case c.known[n]:
			need(n)
		case strings.HasPrefix(n, secretPrefix):
			c.fail(path, "the check has no secret %s: add it to its secrets", strings.TrimPrefix(n, secretPrefix))
		default:
			c.fail(path, "nothing gives %s a value: want a variable of vars, or one that an earlier step extracts", n)
		}
	})
	return t
}

func (c *compiler) pattern(path, s string) *regexp.Regexp {
	if s == "" {
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		c.fail(path, "%v", err)
	}
	return re
}

// pause is the time between two askings of a step that waits for something.
func (st *step) pause() time.Duration {
	if st.Pause == 0 {
		return 500 * time.Millisecond
	}
	return st.Pause
}
