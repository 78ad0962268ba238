package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/agent"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/flow"
	"xunjian/pkg/i18n"
)

// errNotOK says that a check that was tried by hand was not ok, as has been shown already.
var errNotOK = errors.New("not ok")

// tryFlags are those of a check by hand.
type tryFlags struct {
	file, name string
	verbose    bool
}

// try asks one check once, and shows what it does.
func try(ctx context.Context, p *i18n.Printer, c agent.Config, f tryFlags) error {
	load := func() ([]check.Spec, error) { return agent.LoadChecks(f.file) }
	if f.file == "" {
		load = func() ([]check.Spec, error) { return agent.PlannedChecks(c) }
	}
	checks, err := load()
	if err != nil {
		return err
	}
	spec, err := agent.Pick(checks, f.name)
	if err != nil {
		return err
	}
	spec = spec.WithDefaults()
	s := &story{w: os.Stdout, p: p, verbose: f.verbose}
	s.begin(spec)
	a, err := agent.Try(ctx, c, spec, s.step)
	if err != nil {
		return err
	}
	s.end(spec, a)
	if a.Outcome == check.Fail || a.Outcome == check.Unknown {
		return errNotOK
	}
	return nil
}

// story tells a run to somebody at a terminal. What it is given is masked.
type story struct {
	w       io.Writer
	p       *i18n.Printer
	verbose bool
	made    int
	list    string
}

func (s *story) begin(spec check.Spec) {
	fmt.Fprintln(s.w, s.p.T("agent.try.begin", "check", spec.Name, "service", spec.Service, "kind", spec.Kind, "target", spec.Target, "timeout", spec.Timeout.String()))
}

// step tells one step when it is over.
func (s *story) step(e flow.Event) {
	if e.List != s.list && e.List != "steps" {
		fmt.Fprintf(s.w, "\n%s\n", s.p.T("agent.try.list."+e.List))
	}
	s.list = e.List
	s.made++
	critical := ""
	if e.Step.Critical {
		critical = " " + s.p.T("agent.try.critical")
	}
	fmt.Fprintf(s.w, "\n%2d. %s %s%s  %s  %s\n", s.made, s.mark(e.Result.Outcome), s.title(e.Step), critical, s.outcome(e.Result.Outcome), short(e.Result.Duration))
	if e.Result.Reason != "" {
		fmt.Fprintf(s.w, "    %s\n", s.p.Sentence(e.Result.Reason))
	}
	if s.verbose {
		for _, x := range e.Exchanges {
			s.exchange(x, e.Result.Outcome != check.OK)
		}
		for _, name := range slices.Sorted(maps.Keys(e.Values)) {
			fmt.Fprintf(s.w, "    %s %s = %s\n", s.p.T("agent.try.got"), name, e.Values[name])
		}
	}
}

// exchange shows more of what went wrong than of what went well.
func (s *story) exchange(x flow.Exchange, bad bool) {
	most := 240
	if bad {
		most = 2000
	}
	fmt.Fprintf(s.w, "    → %s %s\n", x.Method, x.URL)
	s.headers(x.Header)
	if x.Body != "" {
		fmt.Fprintf(s.w, "      %s\n", cut(strings.TrimSpace(x.Body), most))
	}
	if x.Fault != "" {
		fmt.Fprintf(s.w, "    ✗ %s  %s\n", x.Fault, short(x.Duration))
		return
	}
	var phases []string
	for _, p := range x.Answer.Phases {
		phases = append(phases, s.p.T("agent.try.phase."+p.Name)+" "+short(p.Duration))
	}
	fmt.Fprintf(s.w, "    ← %d  %s  (%s)\n", x.Answer.Status, short(x.Duration), strings.Join(phases, s.p.T("agent.try.comma")))
	s.headers(x.Answer.Header)
	if len(x.Answer.Body) > 0 {
		fmt.Fprintf(s.w, "      %s\n", cut(strings.TrimSpace(string(x.Answer.Body)), most))
	}
}

// dull headers are the same in every request, or tell nothing that is not shown otherwise.
var dull = []string{"Accept", "Content-Length", "Date", "User-Agent"}

func (s *story) headers(h map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if slices.Contains(dull, name) {
			continue
		}
		for _, v := range h[name] {
			fmt.Fprintf(s.w, "      %s: %s\n", name, v)
		}
	}
}

// end tells the verdict, what it means, and what was noticed beside it.
func (s *story) end(spec check.Spec, a check.Attempt) {
	fmt.Fprintf(s.w, "\n%s %s %s  %s\n", s.mark(a.Outcome), s.p.T("agent.try.verdict"), s.outcome(a.Outcome), short(a.Duration))
	if a.Trouble != "" {
		fmt.Fprintf(s.w, "  %s\n", s.p.T("agent.try.trouble."+string(a.Trouble)))
	}
	if a.Reason != "" {
		fmt.Fprintf(s.w, "  %s\n", s.p.Sentence(a.Reason))
	}
	if left := notMade(spec, a); len(left) > 0 {
		fmt.Fprintf(s.w, "  %s %s\n", s.p.T("agent.try.not_made"), strings.Join(left, ", "))
	}
	for _, f := range a.Findings {
		if f.Level != "" {
			fmt.Fprintf(s.w, "  ! %s  %s: %s\n", s.p.T("agent.try.level."+f.Level), f.Name, s.p.Sentence(f.Reason))
		}
	}
}

func notMade(spec check.Spec, a check.Attempt) []string {
	var out []string
	for _, name := range flow.StepNames(spec.Flow) {
		if !slices.ContainsFunc(a.Steps, func(s check.Step) bool { return s.Name == name }) {
			out = append(out, name)
		}
	}
	return out
}

func (s *story) mark(o check.Outcome) string {
	switch o {
	case check.OK:
		return "✓"
	case check.Slow:
		return "~"
	case check.Fail:
		return "✗"
	}
	return "?"
}

func (s *story) outcome(o check.Outcome) string { return s.p.T("agent.try.outcome." + string(o)) }

// title is the step's name for people before its name.
func (s *story) title(st check.FlowStep) string {
	title := st.ZH
	if s.p.Lang == "en" {
		title = st.EN
	}
	if title == "" {
		return st.Name
	}
	return title + " (" + st.Name + ")"
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// cut keeps whole characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// unlock lets a check ask again; without a name it lists those that do not.
func unlock(_ context.Context, p *i18n.Printer, args []string) error {
	c := agent.DefaultConfig()
	flags := flag.NewFlagSet("agent unlock", flag.ContinueOnError)
	file := flags.String("config", "", p.T("agent.help.config"))
	state := flags.String("state", "", p.T("agent.help.state"))
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if *file != "" {
		var err error
		if c, err = config.Load(*file, c); err != nil {
			return err
		}
	}
	if *state != "" {
		c.State = *state
	}
	if flags.NArg() == 0 {
		locked, err := agent.Locked(c)
		if err != nil {
			return err
		}
		if len(locked) == 0 {
			fmt.Println(p.T("agent.unlock.none"))
		}
		for _, l := range locked {
			fmt.Println(l)
		}
		return nil
	}
	for _, name := range flags.Args() {
		if err := agent.Unlock(c, name); err != nil {
			return err
		}
		fmt.Println(p.T("agent.unlock.done", "check", name))
	}
	return nil
}
