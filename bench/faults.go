package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"xunjian/pkg/simulator"
)

// faultOptions are the flags of the areas faults and quiet.
type faultOptions struct {
	only  string // services whose faults are made, with commas; empty: all
	table string // file that gets the table
}

// told is what has to be opened for a fault at a key service.
type told struct {
	classes []string
	level   string
}

// general are the faults that every service can have. Faults of its own must open something; which level is the service's
// own affair, and stands in the table.
var general = map[simulator.Mode]told{
	simulator.Refuse:        {[]string{"down"}, "urgent"},
	simulator.Hang:          {[]string{"unusable", "down"}, "urgent"},
	simulator.Slow:          {[]string{"slow", "unusable"}, ""},
	simulator.Error500:      {[]string{"down"}, "urgent"},
	simulator.Reset:         {[]string{"down"}, "urgent"},
	simulator.Wrong:         {[]string{"wrong", "down"}, "urgent"},
	simulator.Flap:          {[]string{"partial", "down"}, ""},
	simulator.LoginPage:     {[]string{"partial"}, "general"},
	simulator.LoginRedirect: {[]string{"partial"}, "general"},
	simulator.TLSExpired:    {[]string{"down"}, "urgent"},
}

// faultRig is the demo's set-up with a simulator of its own, and clocks that let faults follow each other.
type faultRig struct {
	agentRig
	sim   *simulator.Simulator
	url   string
	token string
	stop  func() error
}

// hurried makes a fault that is over be over at once, so that the next one is a new incident.
const hurried = `
contract: {verify: 0s, verify_urgent: 0s, relapse: 0s, recurrence: 0s}
inspect: {slow_hold: 5s}
`

func newFaultRig(ctx context.Context, o options, more string) (_ *faultRig, err error) {
	dir, err := os.MkdirTemp("", "xunjian-bench-")
	if err != nil {
		return nil, err
	}
	r := &faultRig{agentRig: agentRig{dir: dir, bin: o.bin}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", errors.Join(err, r.end()), r.logs())
		}
	}()
	if err := r.simulate(ctx); err != nil {
		return r, err
	}
	if err := r.collect(ctx, more); err != nil {
		return r, err
	}
	return r, r.agents(ctx)
}

func (r *faultRig) end() error {
	r.close()
	var err error
	if r.stop != nil {
		err = r.stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func (r *faultRig) simulate(ctx context.Context) (err error) {
	if r.sim, err = simulator.New(simulator.Options{Folder: r.dir, PageLog: filepath.Join(r.dir, "pages")}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.sim.Run(ctx) }()
	r.stop = func() error { cancel(); return <-done }
	return nil
}

// collect starts a collector on the demo's own configuration.
func (r *faultRig) collect(ctx context.Context, more string) error {
	web, err := freeAddr()
	if err != nil {
		return err
	}
	if r.collectorGRPC, err = freeAddr(); err != nil {
		return err
	}
	t, err := template.ParseFiles("cmd/demo/demo.yml")
	if err != nil {
		return fmt.Errorf("%w (run it in the project's folder)", err)
	}
	ports := map[string]string{}
	for name, url := range r.sim.URLs() {
		ports[name] = url[strings.LastIndex(url, ":")+1:]
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"HTTP": port(web), "GRPC": port(r.collectorGRPC), "Webhook": ports[simulator.Webhook], "Data": filepath.Join(r.dir, "data"),
		"CA": filepath.Join(r.dir, "ca.pem"), "Services": ports, "Folder": r.dir,
	})
	if err != nil {
		return err
	}
	r.config, r.url = filepath.Join(r.dir, "collector.yml"), "http://"+web
	if err := os.WriteFile(r.config, []byte(b.String()+more), 0o600); err != nil {
		return err
	}
	if _, err := r.spawn("collector", "serve", "--config", r.config); err != nil {
		return err
	}
	if err := await(ctx, func() error { return getJSON(ctx, r.url+"/-/ready", nil) }); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(r.bin, "collector"), "token", "api", "--config", r.config, "--name", "bench", "--role", "engineer", "--person", "驻点人员", "--replace").Output()
	r.token = strings.TrimSpace(string(out))
	return err
}

func (r *faultRig) agents(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, filepath.Join(r.bin, "collector"), "token", "create", "--config", r.config, "--agent", "bench", "--by", "bench").Output()
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	r.agent, err = r.spawn("agent", "run", "--collector", r.collectorGRPC, "--name", "bench", "--token", strings.TrimSpace(string(out)), "--state", filepath.Join(r.dir, "agent"))
	if err != nil {
		return err
	}
	return r.settled(ctx, 2*time.Minute, "")
}

// ask is a question to the API.
func (r *faultRig) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/xunjian/v1"+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s (%w)", path, resp.Status, b, err)
	}
	return json.Unmarshal(b, into)
}

// settled waits until the service, or all of them, are well and no incident is open on them.
func (r *faultRig) settled(ctx context.Context, limit time.Duration, service string) error {
	for end := time.Now().Add(limit); ; {
		var got struct {
			Services []struct{ Name, State string } `json:"services"`
		}
		if err := r.ask(ctx, "/services", &got); err != nil {
			return err
		}
		bad := slices.IndexFunc(got.Services, func(s struct{ Name, State string }) bool {
			return s.State != "ok" && (service == "" || s.Name == service)
		})
		open, err := r.incidents(ctx, "open")
		if err != nil {
			return err
		}
		if bad < 0 && len(got.Services) > 0 && !slices.ContainsFunc(open, func(i opened) bool { return !i.over() && (service == "" || i.Service == service) }) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not well after %v: services %+v, incidents %+v", limit, got.Services, open)
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// opened is an incident as the API tells it.
type opened struct {
	ID, Service, Component, Class, Level, State, Detail string
	RecoveredAt                                         time.Time `json:"recovered_at"`
	VerifyingSince                                      time.Time `json:"verifying_since"`
}

func (o opened) over() bool { return !o.RecoveredAt.IsZero() || !o.VerifyingSince.IsZero() }

func (r *faultRig) incidents(ctx context.Context, state string) (out []opened, err error) {
	var got struct {
		Incidents []opened `json:"incidents"`
	}
	err = r.ask(ctx, "/incidents?limit=500&state="+state, &got)
	return got.Incidents, err
}

// outcome is what became of one fault.
type outcome struct {
	service string
	mode    simulator.Mode
	found   []opened
	after   time.Duration
	trouble string // empty: as it must be
}

// patience is how long a fault may take to be told.
const patience = 150 * time.Second

// faultsArea makes every fault that the simulator can make, one after the other, and looks what is opened.
func faultsArea(ctx context.Context, o options) ([]figure, error) {
	r, err := newFaultRig(ctx, o, hurried)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.end() }()
	var all []outcome
	for _, service := range r.sim.Names() {
		if o.faults.only != "" && !slices.Contains(strings.Split(o.faults.only, ","), service) {
			continue
		}
		for _, mode := range r.sim.Modes(service) {
			if mode == simulator.OK {
				continue
			}
			got, err := r.try(ctx, service, mode)
			if err != nil {
				return nil, err
			}
			fmt.Printf("# %-12s %-24s %6.1f s  %s%s\n", service, mode, got.after.Seconds(), got.words(), got.trouble)
			all = append(all, got)
		}
	}
	missed := 0
	for _, x := range all {
		if x.trouble != "" {
			missed++
		}
	}
	if o.faults.table != "" {
		if err := os.WriteFile(o.faults.table, []byte(table(all)), 0o644); err != nil {
			return nil, err
		}
	}
	return []figure{{"faults.made", "", "", float64(len(all)), 0}, {"faults.not_as_they_must", "", "", float64(missed), 0}}, nil
}

// try makes one fault, waits for what it opens, ends it and waits until all is well.
func (r *faultRig) try(ctx context.Context, service string, mode simulator.Mode) (outcome, error) {
	out := outcome{service: service, mode: mode}
	before, err := r.incidents(ctx, "all")
	if err != nil {
		return out, err
	}
	if err := r.sim.Break(service, simulator.Fault{Mode: mode}); err != nil {
		return out, err
	}
	begin := time.Now()
	for out.trouble = "nothing was opened"; time.Since(begin) < patience && out.trouble != ""; {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return out, err
		}
		now, err := r.incidents(ctx, "all")
		if err != nil {
			return out, err
		}
		out.judge(now, before)
	}
	out.after = time.Since(begin)
	if err := r.sim.Break(service, simulator.Fault{Mode: simulator.OK}); err != nil {
		return out, err
	}
	if err := r.settled(ctx, 3*time.Minute, ""); err != nil {
		out.trouble += "; does not recover: " + err.Error()
	}
	return out, nil
}

func (x *outcome) judge(now, before []opened) {
	x.found = slices.DeleteFunc(now, func(n opened) bool {
		return slices.ContainsFunc(before, func(b opened) bool { return b.ID == n.ID })
	})
	if len(x.found) == 0 {
		return
	}
	x.trouble = ""
	want, ok := general[x.mode]
	if ok && !slices.ContainsFunc(x.found, func(f opened) bool {
		return slices.Contains(want.classes, f.Class) && (want.level == "" || f.Level == want.level)
	}) {
		x.trouble = fmt.Sprintf("want %v, %s", want.classes, want.level)
	}
	if i := slices.IndexFunc(x.found, func(f opened) bool { return f.Service != x.service }); i >= 0 {
		x.trouble = "opened on " + x.found[i].Service
	}
}

func (x outcome) words() string {
	var out []string
	for _, f := range x.found {
		out = append(out, fmt.Sprintf("%s/%s %s", f.Class, f.Level, f.Detail))
	}
	return strings.Join(out, " ┃ ")
}

// table is what people read: a row for each fault.
func table(all []outcome) string {
	var b strings.Builder
	b.WriteString("| service | fault | class | level | seconds | what was said | |\n|---|---|---|---|---|---|---|\n")
	for _, x := range all {
		verdict := "✓"
		if x.trouble != "" {
			verdict = "✗ " + x.trouble
		}
		var classes, levels, details []string
		for _, f := range x.found {
			classes, levels, details = append(classes, f.Class), append(levels, f.Level), append(details, strings.ReplaceAll(f.Detail, "|", "\\|"))
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %.1f | %s | %s |\n", x.service, x.mode, strings.Join(classes, "<br>"), strings.Join(levels, "<br>"), x.after.Seconds(), strings.Join(details, "<br>"), verdict)
	}
	return b.String()
}

// quietArea lets everything run while nothing is broken, and counts what was told all the same.
func quietArea(ctx context.Context, o options) ([]figure, error) {
	r, err := newFaultRig(ctx, o, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.end() }()
	before, err := r.incidents(ctx, "all")
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); time.Since(begin) < o.window; {
		if err := sleep(ctx, min(time.Minute, o.window-time.Since(begin))); err != nil {
			return nil, err
		}
		now, err := r.incidents(ctx, "all")
		if err != nil {
			return nil, err
		}
		for _, i := range now[:max(len(now)-len(before), 0)] {
			fmt.Printf("# after %v: %+v\n", time.Since(begin).Round(time.Second), i)
		}
		before = now
	}
	var checks struct {
		Services []struct {
			Checks []struct{ Check string } `json:"checks"`
		} `json:"services"`
	}
	if err := r.ask(ctx, "/services", &checks); err != nil {
		return nil, err
	}
	n := 0
	for _, s := range checks.Services {
		n += len(s.Checks)
	}
	return []figure{
		{"quiet.minutes", "", "", o.window.Minutes(), 0}, {"quiet.checks", "", "", float64(n), 0}, {"quiet.incidents", "", "", float64(len(before)), 0},
	}, nil
}
