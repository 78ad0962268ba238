package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// faultOptions are the flags of the areas faults and quiet.
type faultOptions struct {
	only  string // services whose faults are made, with commas; empty: all
	modes string // faults that are made, with commas; empty: all
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
	simulator.LoginPage:     {[]string{"partial", "down"}, ""},
	simulator.LoginRedirect: {[]string{"partial", "down"}, ""},
	simulator.TLSExpired:    {[]string{"down"}, "urgent"},
}

// faultRig is the demo, with clocks that let faults follow each other.
type faultRig struct {
	dir   string
	bin   string
	demo  *child
	env   map[string]string // of demo.env
	modes []services
}

// services are what the simulator plays, and the faults that each can have.
type services struct {
	Name  string
	Modes []simulator.Mode
}

// hurried makes a fault that is over be over at once, so that the next one is a new incident.
const hurried = `
contract: {verify: 0s, verify_urgent: 0s, relapse: 0s, recurrence: 0s}
inspect: {slow_hold: 5s}
`

// seldom are paces of checks that a fault would have to wait for.
var seldom = regexp.MustCompile(`(?m)^(\s+every: )([0-9]+m|[1-9][0-9]{2,}s)\b`)

func newFaultRig(ctx context.Context, o options, hurry bool) (_ *faultRig, err error) {
	r := &faultRig{bin: o.bin}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, r.log())
			r.end()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "xunjian-bench-"); err != nil {
		return nil, err
	}
	data := filepath.Join(r.dir, "run")
	if r.demo, err = spawn(r.dir, filepath.Join(o.bin, "demo"), "--data", data, "--bin", o.bin, "--http", "0", "--grpc", "0"); err != nil {
		return r, err
	}
	if err := await(ctx, func() error { return r.readEnv(filepath.Join(data, "demo.env")) }); err != nil {
		return r, err
	}
	if err := getJSON(ctx, r.env["XUNJIAN_SIMULATOR_URL"]+"/services", &r.modes); err != nil {
		return r, err
	}
	if hurry {
		if err := r.hurry(ctx, data); err != nil {
			return r, err
		}
	}
	return r, r.settled(ctx, 3*time.Minute, "")
}

func (r *faultRig) readEnv(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r.env = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			r.env[k] = strings.Trim(v, "'")
		}
	}
	return nil
}

// hurry changes the demo's configuration and has it read again.
func (r *faultRig) hurry(ctx context.Context, data string) error {
	files, err := filepath.Glob(filepath.Join(data, "services", "*.yml"))
	if err != nil {
		return err
	}
	for _, file := range append(files, r.env["XUNJIAN_CONFIG"]) {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := seldom.ReplaceAllString(string(b), "${1}35s")
		if file == r.env["XUNJIAN_CONFIG"] {
			text += hurried
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	pid, err := strconv.Atoi(r.env["XUNJIAN_COLLECTOR_PID"])
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("have the collector reload: %w", err)
	}
	return sleep(ctx, 3*time.Second) // a plan that comes later only makes the first fault wait
}

// send wants a 2xx.
func (r *faultRig) send(ctx context.Context, method, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.env["XUNJIAN_API_TOKEN"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return err
}

func (r *faultRig) fault(ctx context.Context, service string, mode simulator.Mode) error {
	return r.send(ctx, http.MethodPut, r.env["XUNJIAN_SIMULATOR_URL"]+"/faults/"+service, order(mode))
}

// unlock does what a person does after credentials were refused: checks that guard an account ask no more by themselves.
func (r *faultRig) unlock(ctx context.Context) error {
	agent := func(args ...string) ([]byte, error) {
		args = append([]string{"unlock", "--state", filepath.Join(r.dir, "run", "agent")}, args...)
		return exec.CommandContext(ctx, filepath.Join(r.bin, "agent"), args...).Output()
	}
	out, err := agent()
	if err != nil {
		return fmt.Errorf("list refused accounts: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if check.ValidName(name) {
			if _, err := agent(name); err != nil {
				return fmt.Errorf("unlock %s: %w", name, err)
			}
		}
	}
	return nil
}

// order makes slow answers that still come in time; mode hang is for those that do not.
func order(mode simulator.Mode) string {
	if mode == simulator.Slow {
		return `{"mode":"slow","delay_ms":1500}`
	}
	return fmt.Sprintf(`{"mode":%q}`, mode)
}

func (r *faultRig) log() string {
	b, err := os.ReadFile(filepath.Join(r.dir, "demo.log"))
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-2000):])
}

func (r *faultRig) end() {
	if r.demo != nil {
		r.demo.stop()
	}
	os.RemoveAll(r.dir)
}

// ask is a question to the API.
func (r *faultRig) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.env["XUNJIAN_URL"]+"/api/xunjian/v1"+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.env["XUNJIAN_API_TOKEN"])
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
	well := time.Now() // since when
	for end := well.Add(limit); ; {
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
			if time.Since(well) > calm {
				return nil
			}
		} else {
			well = time.Now()
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
}

func (o opened) over() bool { return !o.RecoveredAt.IsZero() }

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

// calm is how long all must be well: a transaction that began during the fault before may still be under way.
const calm = 17 * time.Second

// patience is how long a fault may take to be told.
const patience = 150 * time.Second

// faultsArea makes every fault that the simulator can make, one after the other, and looks what is opened.
func faultsArea(ctx context.Context, o options) ([]figure, error) {
	r, err := newFaultRig(ctx, o, true)
	if err != nil {
		return nil, err
	}
	defer r.end()
	var all []outcome
	for _, s := range r.modes {
		service := s.Name
		if o.faults.only != "" && !slices.Contains(strings.Split(o.faults.only, ","), service) {
			continue
		}
		for _, mode := range s.Modes {
			if mode == simulator.OK || o.faults.modes != "" && !slices.Contains(strings.Split(o.faults.modes, ","), string(mode)) {
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
	if err := r.fault(ctx, service, mode); err != nil {
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
	if err := r.fault(ctx, service, simulator.OK); err != nil {
		return out, err
	}
	if err := r.unlock(ctx); err != nil {
		return out, err
	}
	if err := r.settled(ctx, 3*time.Minute, ""); err != nil {
		out.trouble += "; does not recover: " + err.Error()
	}
	return out, nil
}

func (x *outcome) judge(now, before []opened) {
	x.found = slices.DeleteFunc(now, func(n opened) bool { // an incident may be opened again: its trouble had begun before
		return n.over() && slices.ContainsFunc(before, func(b opened) bool { return b.ID == n.ID })
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
	r, err := newFaultRig(ctx, o, false)
	if err != nil {
		return nil, err
	}
	defer r.end()
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
