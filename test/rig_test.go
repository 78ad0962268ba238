// Package test runs the real programs as their users would, and kills them.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bin is where TestMain built the programs.
var bin string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "xunjian-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin = dir
	for _, sources := range []string{"../pkg", "../cmd"} { // makes the tests' cached results depend on the programs' sources
		if err := filepath.WalkDir(sources, func(string, fs.DirEntry, error) error { return nil }); err != nil {
			return 0, err
		}
	}
	out, err := exec.Command("go", "build", "-o", dir, "../cmd/...").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("build programs: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// patience bounds every wait; it is generous, for a busy machine must not fail a test.
const patience = 2 * time.Minute

// proc is one program under test.
type proc struct {
	*exec.Cmd
	name string
	log  *os.File
	done chan struct{}
	err  error
}

func start(t *testing.T, dir, name string, args ...string) *proc {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{Cmd: exec.Command(filepath.Join(bin, name), args...), name: name, log: log, done: make(chan struct{})}
	p.Stdout, p.Stderr = log, log
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.Wait(); log.Close(); close(p.done) }()
	t.Cleanup(func() { p.kill(); p.show(t) })
	return p
}

// kill is kill -9, for the program alone.
func (p *proc) kill() {
	p.Process.Kill()
	<-p.done
}

// stop asks politely and wants a clean end.
func (p *proc) stop(t *testing.T) {
	t.Helper()
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		t.Fatalf("%s did not stop", p.name)
	}
	if p.err != nil {
		t.Fatalf("%s ended badly: %v", p.name, p.err)
	}
}

func (p *proc) show(t *testing.T) {
	if !t.Failed() {
		return
	}
	b, err := os.ReadFile(p.log.Name())
	if err == nil {
		t.Logf("--- %s\n%s", p.name, b[max(0, len(b)-6000):])
	}
}

// run is one command to its end; the output is both streams.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, name), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// freeAddr is one that outgoing connections do not take before it is listened on: Linux takes their ports from 32768 on.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 16 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.N(12_000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

// call is one HTTP request; into may be nil.
func call(method, url, token string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

// incidentJSON is what the API says of an incident, as far as the tests read it.
type incidentJSON struct {
	ID          string    `json:"id"`
	Level       string    `json:"level"`
	State       string    `json:"state"`
	Service     string    `json:"service"`
	Class       string    `json:"class"`
	DetectedAt  time.Time `json:"detected_at"`
	ResponseDue time.Time `json:"response_due"`
	RecoveryDue time.Time `json:"recovery_due"`
	AckBy       string    `json:"ack_by"`
	Source      string    `json:"source"`
	Rule        string    `json:"rule"`
	Verifying   time.Time `json:"verifying_since"`
	SLAStart    time.Time `json:"sla_start"`
	AckAt       time.Time `json:"ack_at"`
	RecoveredAt time.Time `json:"recovered_at"`
}

func incidents(url, token, query string) ([]incidentJSON, error) {
	var got struct {
		Incidents []incidentJSON `json:"incidents"`
	}
	err := call("GET", url+"/api/xunjian/v1/incidents?"+query, token, nil, &got)
	return got.Incidents, err
}

// page is one line of the simulator's webhook log.
type page struct {
	ReceivedAt time.Time `json:"received_at"`
	Body       struct {
		Version string
		Status  string
		Alerts  []struct {
			Status      string
			Labels      map[string]string
			Annotations map[string]string
			Fingerprint string
		}
	} `json:"body"`
}

func pages(file string) (out []page, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(b) {
		var p page
		if err := json.Unmarshal(line, &p); err != nil {
			return nil, fmt.Errorf("page %q: %w", line, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// pagesOf counts the pages of a service with a status.
func pagesOf(t *testing.T, file, service, status string) (n int) {
	t.Helper()
	ps, err := pages(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		for _, a := range p.Body.Alerts {
			if a.Labels["service"] == service && a.Status == status {
				n++
			}
		}
	}
	return n
}

// fault sets a simulated service's fault.
func fault(t *testing.T, simulator, service string, body map[string]any) {
	t.Helper()
	if err := call("PUT", simulator+"/faults/"+service, "", body, nil); err != nil {
		t.Fatal(err)
	}
}

// readEnv reads a file of shell assignments.
func readEnv(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			return nil, fmt.Errorf("line %q", line)
		}
		out[k] = strings.Trim(v, "'")
	}
	return out, nil
}
