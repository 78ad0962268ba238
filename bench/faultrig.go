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

// faultRig is the demo, with clocks that let faults follow each other.
type faultRig struct {
	dir   string
	bin   string
	demo  *child
	env   map[string]string // of demo.env
	doors []door
	born  time.Time
	lasts map[string]bool // incidents whose end nobody waits for
}

// door is one of those that the simulator plays, and the faults that it can have.
type door struct {
	Name  string
	Modes []simulator.Mode
}

// hurried makes a fault that is over be over at once, so that the next one is a new incident.
const hurried = `
contract: {verify: 0s, verify_urgent: 0s, verify_samples: 0, relapse: 0s, recurrence: 0s}
inspect: {slow_hold: 5s}
`

// seldom are paces of checks that a fault would have to wait for.
var seldom = regexp.MustCompile(`(?m)^(\s+every: )([0-9]+m|[1-9][0-9]{2,}s)\b`)

func newFaultRig(ctx context.Context, o options, hurry bool) (_ *faultRig, err error) {
	r := &faultRig{bin: o.bin, born: time.Now(), lasts: map[string]bool{}}
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
	if err := getJSON(ctx, r.env["XUNJIAN_SIMULATOR_URL"]+"/services", &r.doors); err != nil {
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
	return r.edit(ctx, append(files, r.env["XUNJIAN_CONFIG"]), func(file, text string) string {
		text = seldom.ReplaceAllString(text, "${1}35s")
		if file == r.env["XUNJIAN_CONFIG"] {
			text += hurried
		}
		return text
	})
}

// edit changes files of the configuration and has the collector read them.
func (r *faultRig) edit(ctx context.Context, files []string, change func(file, text string) string) error {
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(change(file, string(b))), 0o600); err != nil {
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

// controlSpread is within how long of its start an agent makes negative controls that it has never made.
const controlSpread = 10*time.Minute + 15*time.Second

// controlledChecks are those that have one, as the rig has named them so far.
var controlledChecks = regexp.MustCompile(`(?m)^  - name: (?:wopi-document|onlyoffice-document|wps-document|signature-sign|sms-login|sms-smpp-login|sms-aliyun|sms-tencent)(?:-x)*`)

// ripe waits until checks with new names have their control at once.
func (r *faultRig) ripe(ctx context.Context) error {
	return sleep(ctx, time.Until(r.born.Add(controlSpread)))
}

// control has the daily negative controls made now: of checks with new names none is known.
func (r *faultRig) control(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(r.dir, "run", "services", "*.yml"))
	if err != nil {
		return err
	}
	return r.edit(ctx, files, func(_, text string) string {
		return controlledChecks.ReplaceAllString(text, "${0}-x")
	})
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

// fault orders one of a door, with slow answers that still come in time: mode hang is for those that do not.
func (r *faultRig) fault(ctx context.Context, door string, mode simulator.Mode, delay int) error {
	order := fmt.Sprintf(`{"mode":%q}`, mode)
	if mode == simulator.Slow {
		order = fmt.Sprintf(`{"mode":"slow","delay_ms":%d}`, delay)
	}
	return r.send(ctx, http.MethodPut, r.env["XUNJIAN_SIMULATOR_URL"]+"/faults/"+door, order)
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
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if check.ValidName(name) {
			if _, err := agent(name); err != nil {
				return fmt.Errorf("unlock %s: %w", name, err)
			}
		}
	}
	return nil
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

// settled waits until the service, or all of them, are well and no incident is open on them but those that last.
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
		open, err := r.troubles(ctx, "open")
		if err != nil {
			return err
		}
		if bad < 0 && len(got.Services) > 0 && !slices.ContainsFunc(open, func(i opened) bool { return !i.over() && !r.lasts[i.ID] && (service == "" || i.Service == service) }) {
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

// asked is the newest round of a check as the API tells it.
type asked struct {
	Check, Outcome, Reason string
	At                     time.Time
	Steps                  []struct{ Name, Outcome, Reason string }
}

func (r *faultRig) round(ctx context.Context, name string) (asked, error) {
	var got struct {
		Services []struct{ Checks []asked } `json:"services"`
	}
	if err := r.ask(ctx, "/services", &got); err != nil {
		return asked{}, err
	}
	for _, s := range got.Services {
		for _, c := range s.Checks {
			if c.Check == name {
				return c, nil
			}
		}
	}
	return asked{}, fmt.Errorf("no check %s in the demo", name)
}

// opened is an incident as the API tells it.
type opened struct {
	ID, Service, Component, Class, Level, State, Detail string
	RecoveredAt                                         time.Time `json:"recovered_at"`
}

func (o opened) over() bool { return !o.RecoveredAt.IsZero() }

// troubles are the incidents of services: how busy the machine is on which all this runs is not what is tried.
func (r *faultRig) troubles(ctx context.Context, state string) ([]opened, error) {
	all, err := r.incidents(ctx, state)
	return slices.DeleteFunc(all, func(o opened) bool { return o.Service == "host" }), err
}

func (r *faultRig) incidents(ctx context.Context, state string) (out []opened, err error) {
	var got struct {
		Incidents []opened `json:"incidents"`
	}
	err = r.ask(ctx, "/incidents?limit=500&state="+state, &got)
	return got.Incidents, err
}
