package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"xunjian/pkg/agent"
	"xunjian/pkg/config"
	"xunjian/pkg/host"
	"xunjian/pkg/i18n"
	"xunjian/pkg/metric"
)

type commands struct {
	Run     runCmd     `cmd:"" help:"${run}"`
	Once    onceCmd    `cmd:"" help:"${once}"`
	Check   checkCmd   `cmd:"" help:"${check}"`
	Version versionCmd `cmd:"" help:"${version}"`
}

// texts are the help texts in the reader's language.
func texts(p *i18n.Printer) kong.Vars {
	v := kong.Vars{}
	for _, k := range []string{"run", "once", "check", "version", "config", "collector", "name", "token", "token_file", "state"} {
		v[k] = p.T("agent.help." + k)
	}
	return v
}

// settings are the same facts as in a configuration file; a flag beats the file.
type settings struct {
	Config    string `help:"${config}" type:"path"`
	Collector string `help:"${collector}" placeholder:"HOST:PORT" env:"XUNJIAN_COLLECTOR"`
	Name      string `help:"${name}"`
	Token     string `help:"${token}" env:"XUNJIAN_TOKEN"`
	TokenFile string `help:"${token_file}" type:"path"`
	State     string `help:"${state}" type:"path"`
}

func (s settings) load() (agent.Config, error) {
	c := agent.DefaultConfig()
	if s.Config != "" {
		var err error
		if c, err = config.Load(s.Config, c); err != nil {
			return c, err
		}
	}
	for _, f := range []struct {
		flag string
		to   *string
	}{{s.Collector, &c.Collector}, {s.Name, &c.Name}, {s.Token, &c.Token}, {s.TokenFile, &c.TokenFile}, {s.State, &c.State}} {
		if f.flag != "" {
			*f.to = f.flag
		}
	}
	var faults config.Faults
	c.Validate(func(path, format string, args ...any) {
		faults = append(faults, config.Fault{File: "agent", Path: path, What: fmt.Sprintf(format, args...)})
	})
	if faults != nil {
		return c, faults
	}
	return c, nil
}

type runCmd struct{ settings }

func (r runCmd) Run(ctx context.Context, log *slog.Logger) error {
	c, err := r.load()
	if err != nil {
		return err
	}
	a, err := agent.New(ctx, agent.Options{Config: c, Version: version, Logger: log})
	if err != nil {
		return err
	}
	log.Info("agent runs", "name", a.Name(), "collector", c.Collector, "version", version)
	return a.Run(ctx)
}

type onceCmd struct{}

// Run prints one reading of this host as Prometheus text.
func (onceCmd) Run(ctx context.Context) error {
	now := time.Now()
	return metric.WriteText(os.Stdout, host.New(host.Options{}).Read(ctx, now), now)
}

type checkCmd struct{ settings }

// Run says whether the agent could start with these settings.
func (c checkCmd) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	st, err := os.Stat(cfg.State)
	if err == nil && !st.IsDir() {
		return &fs.PathError{Op: "state folder", Path: cfg.State, Err: fs.ErrInvalid}
	}
	fmt.Println("ok")
	return nil
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("xunjian agent", version)
	return nil
}
