package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWindowCommands plans, lists and ends a planned window by the command line of a running collector: what fails within it
// pages nobody and is in no figure but its own, what still fails at its end is an incident from there on.
func TestWindowCommands(t *testing.T) {
	t.Parallel()
	r := newKillRig(t)
	r.startAgent()
	state := func(service, want string) {
		t.Helper()
		eventually(t, service+" is "+want, func() error {
			got, err := r.state(service)
			if err == nil && got != want {
				err = fmt.Errorf("it is %s", got)
			}
			return err
		})
	}
	command := func(verb string, args ...string) (string, error) {
		return run(t, "collector", append([]string{"window", verb, "--config", r.config}, args...)...)
	}
	state("sms", "ok")
	stamp := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	if out, err := command("create", "--by", "张工", "--services", "sms", "--from", stamp(0), "--to", stamp(time.Hour), "--reason", "升级短信网关"); err == nil {
		t.Errorf("a window that party A has not approved: %s", out)
	}
	out, err := command("create", "--by", "张工", "--services", "sms", "--from", stamp(0), "--to", stamp(time.Hour), "--reason", "升级短信网关", "--party-a", "王处长", "--approval", "变更-7")
	id := regexp.MustCompile(`WIN-\d{8}-\d{3}`).FindString(out)
	if err != nil || id == "" || !strings.Contains(out, "升级短信网关") {
		t.Fatalf("create: %v\n%s", err, out)
	}
	if out, err := command("list"); err != nil || !strings.Contains(out, id) || !strings.Contains(out, "sms") || !strings.Contains(out, "王处长") {
		t.Errorf("list: %v\n%s", err, out)
	}

	time.Sleep(1100 * time.Millisecond) // the fault begins after the last good round, which is to lie in the window
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "error500"})
	state("sms", "down")
	fault(t, "http://"+r.simulator, "gateway", map[string]any{"mode": "error500"}) // outside the scope
	r.open("gateway")
	if got, err := incidents(r.url(), r.token, "service=sms&state=all"); err != nil || len(got) != 0 {
		t.Errorf("within the window: %+v %v", got, err)
	}
	ended := time.Now()
	if out, err := command("cancel", id, "--by", "李工", "--reason", "升级失败，已回退"); err != nil || !strings.Contains(out, "李工") {
		t.Fatalf("cancel: %v\n%s", err, out)
	}
	found := r.open("sms")
	if found.DetectedAt.Before(ended.Add(-2*time.Second)) || found.SLAStart.Before(ended.Add(-2*time.Second)) {
		t.Errorf("window ended at %v, the incident is %+v", ended, found)
	}
	if n := pagesOf(t, r.log, "sms", "firing"); n > 1 {
		t.Errorf("%d pages", n)
	}
	eventually(t, "the page of what still fails", func() error {
		if n := pagesOf(t, r.log, "sms", "firing"); n != 1 {
			return fmt.Errorf("%d pages", n)
		}
		return nil
	})
	if out, err := command("cancel", id, "--by", "张工", "--reason", "又一次"); err == nil || !strings.Contains(out, "李工") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
	if out, err := command("list"); err != nil || !strings.Contains(out, "李工") {
		t.Errorf("list afterwards: %v\n%s", err, out)
	}
	for _, name := range []string{"sms", "gateway"} {
		fault(t, "http://"+r.simulator, name, map[string]any{"mode": "ok"})
		state(name, "ok")
	}
	r.figures(ended)
}

// state is a service's state by the API.
func (r *killRig) state(service string) (string, error) {
	var got struct {
		Services []struct {
			Service struct{ Name string }
			Name    string
			State   string
		}
	}
	err := call("GET", r.url()+"/api/xunjian/v1/services", r.token, nil, &got)
	for _, s := range got.Services {
		if s.Name == service || s.Service.Name == service {
			return s.State, err
		}
	}
	return "", err
}

// open waits for a service's only incident.
func (r *killRig) open(service string) (found incidentJSON) {
	r.t.Helper()
	eventually(r.t, "the incident of "+service, func() error {
		got, err := incidents(r.url(), r.token, "service="+service+"&state=all")
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%d incidents", len(got))
		}
		if err == nil {
			found = got[0]
		}
		return err
	})
	return found
}

// figures wants the month's record to leave the window out of the outage: it stands beside it.
func (r *killRig) figures(ended time.Time) {
	r.t.Helper()
	var month struct {
		Services []struct {
			Name   string
			Down   time.Duration
			Detail struct{ Planned time.Duration }
		}
	}
	if err := call("GET", r.url()+"/api/xunjian/v1/reports/"+ended.In(time.FixedZone("", 8*3600)).Format("2006-01")+".json", r.token, nil, &month); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range month.Services {
		if s.Name == "sms" && (s.Detail.Planned < time.Second || s.Down > time.Since(ended)+2*time.Second) || s.Name == "gateway" && s.Detail.Planned != 0 {
			r.t.Errorf("figures: %+v", s)
		}
	}
	if len(month.Services) == 0 {
		r.t.Error("no figures")
	}
}

// TestHeartbeatCommands asks a running collector how its heart does, and has it beat in a person's name.
func TestHeartbeatCommands(t *testing.T) {
	t.Parallel()
	var beats, status atomic.Int64
	status.Store(http.StatusOK)
	watch := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		beats.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer watch.Close()
	more, _ := json.Marshal([]map[string]string{{"name": "watch", "url": watch.URL, "every": "1h"}})
	r := newRigOn(t, filepath.Join(t.TempDir(), "data"), "heartbeat: "+string(more)+"\n")
	command := func(args ...string) (string, error) {
		return run(t, "collector", append([]string{"heartbeat"}, append(args, "--config", r.config)...)...)
	}
	eventually(t, "a collector that is well and beats", func() error {
		out, err := command("send", "watch", "--by", "张工")
		if err == nil && !strings.Contains(out, "已接收") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	before := beats.Load()
	if out, err := command("send", "--by", "张工"); err != nil || beats.Load() != before+1 {
		t.Errorf("send: %v, %d beats after %d\n%s", err, beats.Load(), before, out)
	}
	status.Store(http.StatusGone)
	if out, err := command("send", "--by", "张工"); err == nil || !strings.Contains(out, "未送达") || !strings.Contains(out, "410") {
		t.Errorf("refused: %v\n%s", err, out)
	}
	if out, err := command(); err != nil || !strings.Contains(out, "watch") || !strings.Contains(out, "未送达") {
		t.Errorf("show: %v\n%s", err, out)
	}
	if out, err := command("send", "nobody", "--by", "张工"); err == nil || !strings.Contains(out, "没有这个心跳接收端") {
		t.Errorf("a receiver that is not there: %v\n%s", err, out)
	}
}
