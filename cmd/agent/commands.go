package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"xunjian/pkg/agent"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/host"
	"xunjian/pkg/i18n"
	"xunjian/pkg/metric"
)

// errUsage says that the usage has been shown already.
var errUsage = errors.New("bad usage")

// verbs are the commands in the order of the help. The standard library's flags keep this program small.
var verbs = []struct {
	name string
	run  func(ctx context.Context, p *i18n.Printer, args []string) error
}{
	{"run", run}, {"once", once}, {"check", checkOrTry}, {"unlock", unlock}, {"version", showVersion},
}

// command runs the verb that the arguments begin with.
func command(ctx context.Context, p *i18n.Printer, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	for _, v := range verbs {
		if v.name == name {
			return v.run(ctx, p, args[1:])
		}
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, name) {
		usage(os.Stdout, p)
		return nil
	}
	if name != "" {
		fmt.Fprintln(os.Stderr, p.T("agent.unknown_command", "name", name))
	}
	usage(os.Stderr, p)
	return errUsage
}

func usage(w io.Writer, p *i18n.Printer) {
	fmt.Fprintf(w, "%s\n\n", p.T("agent.about"))
	for _, v := range verbs {
		fmt.Fprintf(w, "  agent %-8s %s\n", v.name, p.T("agent.help."+v.name))
	}
	fmt.Fprintf(w, "\n  agent run -h\n")
}

// settings reads the flags of run and check: the same facts as in a configuration file; a flag beats the file. More adds flags.
func settings(p *i18n.Printer, verb string, args []string, more func(*flag.FlagSet)) (agent.Config, error) {
	c := agent.DefaultConfig()
	flags := flag.NewFlagSet("agent "+verb, flag.ContinueOnError)
	file := flags.String("config", "", p.T("agent.help.config"))
	if more != nil {
		more(flags)
	}
	given := map[string]*string{}
	for _, name := range []string{"collector", "name", "token", "token-file", "state", "secrets"} {
		given[name] = flags.String(name, "", p.T("agent.help."+name))
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, errUsage // the flag package has told what is wrong
	}
	if flags.NArg() > 0 && verb == "check" { // agent check FLOW --verbose: flags may follow
		if f := fileOrCheck(flags.Arg(0)); flags.Lookup(f).Value.String() == "" {
			return settings(p, verb, slices.Concat(args[:len(args)-flags.NArg()], []string{"--" + f, flags.Arg(0)}, flags.Args()[1:]), more)
		}
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *file != "" {
		var err error
		if c, err = config.Load(*file, c); err != nil {
			return c, err
		}
	}
	for name, to := range map[string]*string{"collector": &c.Collector, "name": &c.Name, "token": &c.Token, "token-file": &c.TokenFile, "state": &c.State, "secrets": &c.Secrets} {
		if *given[name] != "" {
			*to = *given[name]
		}
	}
	if c.Token == "" {
		c.Token = os.Getenv("XUNJIAN_TOKEN")
	}
	return c, faults(&c)
}

// fileOrCheck is the flag that an argument without one stands for: a file of checks, or the name of a check.
func fileOrCheck(arg string) string {
	if _, err := os.Stat(arg); err == nil || !check.ValidName(arg) {
		return "flow"
	}
	return "check"
}

// faults are all that is wrong with the settings as a whole.
func faults(c *agent.Config) error {
	var all config.Faults
	c.Validate(func(path, format string, args ...any) {
		all = append(all, config.Fault{File: "agent", Path: path, What: fmt.Sprintf(format, args...)})
	})
	if all == nil {
		return nil
	}
	return all
}

func run(ctx context.Context, p *i18n.Printer, args []string) error {
	c, err := settings(p, "run", args, nil)
	if err != nil {
		return err
	}
	debug.SetGCPercent(50) // a few more collections of a small heap: the host's memory is worth more than this program's time
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	a, err := agent.New(ctx, agent.Options{Config: c, Version: version, Logger: log})
	if err != nil {
		return err
	}
	log.Info("agent runs", "name", a.Name(), "collector", c.Collector, "version", version)
	return a.Run(ctx)
}

// once prints one reading of this host as Prometheus text, without stamps, as exporters do.
func once(ctx context.Context, _ *i18n.Printer, _ []string) error {
	return metric.WriteText(os.Stdout, host.New(host.Options{}).Read(ctx, time.Now()), time.Time{})
}

// checkOrTry says whether the agent could start with these settings; with a flow or the name of a check it asks that check once.
func checkOrTry(ctx context.Context, p *i18n.Printer, args []string) error {
	var f tryFlags
	c, err := settings(p, "check", args, func(flags *flag.FlagSet) {
		flags.StringVar(&f.file, "flow", "", p.T("agent.help.flow"))
		flags.StringVar(&f.name, "check", "", p.T("agent.help.check-name"))
		flags.BoolVar(&f.verbose, "verbose", false, p.T("agent.help.verbose"))
	})
	if f.file != "" || f.name != "" { // needs no collector
		if _, bad := errors.AsType[config.Faults](err); err == nil || bad {
			return try(ctx, p, c, f)
		}
	}
	if err != nil {
		return err
	}
	if st, err := os.Stat(c.State); err == nil && !st.IsDir() {
		return &fs.PathError{Op: "state folder", Path: c.State, Err: fs.ErrInvalid}
	}
	fmt.Println("ok")
	return nil
}

func showVersion(context.Context, *i18n.Printer, []string) error {
	fmt.Println("xunjian agent", version)
	return nil
}
