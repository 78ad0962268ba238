// Package login_test tries logins against programs that others have written: sm-crypto, and oidc-provider.
package login_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/flow"
	"xunjian/pkg/probe"
	"xunjian/pkg/simulator"
)

// peer is a script that runs until the test ends: a line in, a line out.
type peer struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// start installs the packages that the lock file names, and runs the script among them.
func start(t *testing.T, script string) *peer {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", script} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // ended by its input's end, or with the test
	})
	return &peer{t, in, bufio.NewScanner(out)}
}

func (p *peer) read(to any) {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("the peer has gone: %v", p.out.Err())
	}
	if err := json.Unmarshal(p.out.Bytes(), to); err != nil {
		p.t.Fatalf("%s: %v", p.out.Bytes(), err)
	}
}

func (p *peer) ask(q map[string]any, to any) {
	p.t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", b); err != nil {
		p.t.Fatal(err)
	}
	p.read(to)
}

// worked is what an expression comes to.
func worked(t *testing.T, text string) string {
	t.Helper()
	p, err := flow.Compile(&check.Flow{
		Vars:  map[string]string{"x": text},
		Steps: []check.FlowStep{{Name: "a", Expect: []check.FlowExpect{{Value: "{{ x }}", Exists: true}}}},
	}, flow.Options{Target: "http://127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Run(t.Context(), flow.Call{})
	if r.Outcome != check.OK {
		t.Fatal(r.Reason)
	}
	return r.Vars["x"]
}

// What our function encrypts, sm-crypto decrypts, in both orders.
func TestSMCryptoDecryptsOurs(t *testing.T) {
	p := start(t, "sm2.js")
	var pair struct{ PrivateKey, PublicKey string }
	p.ask(map[string]any{"op": "pair"}, &pair)
	for mode, order := range map[int]string{1: "c1c3c2", 0: "c1c2c3"} {
		for _, text := range []string{"Jiance@2026", "密码 mit Leerzeichen", "x", strings.Repeat("a", 1000)} {
			cipher := worked(t, fmt.Sprintf("{{ sm2_encrypt('%s', '%s', '%s', '') }}", pair.PublicKey, text, order))
			var plain string
			if p.ask(map[string]any{"op": "decrypt", "text": cipher, "key": pair.PrivateKey, "mode": mode}, &plain); plain != text {
				t.Errorf("%s: %q came back as %q", order, text, plain)
			}
		}
	}
	with := worked(t, fmt.Sprintf("{{ sm2_encrypt('%s', 'x') }}", pair.PublicKey))
	if !strings.HasPrefix(with, "04") || len(with) != 2*(1+64+32+1) {
		t.Errorf("%d digits: %s", len(with), with)
	}
}

func play(t *testing.T) *simulator.Simulator {
	t.Helper()
	s, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return s
}

// What sm-crypto encrypts, as a login page does in the browser, the simulator's office platform decrypts.
func TestSMCryptoLogsIn(t *testing.T) {
	p := start(t, "sm2.js")
	s := play(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Jar: jar}
	var key, captcha struct {
		Data struct{ PublicKey, UUID string }
	}
	for path, to := range map[string]any{"/api/public-key": &key, "/captcha": &captcha} {
		resp, err := client.Get(s.URL(simulator.OA) + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var cipher string
	p.ask(map[string]any{"op": "encrypt", "text": simulator.OAPassword, "key": key.Data.PublicKey, "mode": 1}, &cipher)
	body, err := json.Marshal(map[string]string{"username": simulator.OAUser, "password": cipher, "uuid": captcha.Data.UUID})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Post(s.URL(simulator.OA)+"/api/login", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct{ Code int }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.Code != 200 {
		t.Errorf("%+v %v", said, err)
	}
}

// A flow logs in by authorization code with state and PKCE, through the pages of oidc-provider, and by client credentials.
func TestOIDCProvider(t *testing.T) {
	p := start(t, "oidc.js")
	var told struct{ Issuer string }
	p.read(&told)
	b, err := os.ReadFile("oidc.yml")
	if err != nil {
		t.Fatal(err)
	}
	type fragment struct {
		Checks []check.Spec `yaml:"checks"`
	}
	f, err := config.Parse("oidc.yml", b, fragment{})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XUNJIAN_OIDC_PASSWORD", "any-password")
	t.Setenv("XUNJIAN_OIDC_CLIENT", "peer-client-secret-0123456789")
	for _, spec := range f.Checks {
		spec.Target = told.Issuer
		spec.Validate(func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
		if a := try(t, spec); a.Outcome != check.OK {
			t.Errorf("%s: %s %s: %s", spec.Name, a.Outcome, a.Class, a.Reason)
		}
	}
	t.Setenv("XUNJIAN_OIDC_CLIENT", "not-the-secret")
	for _, spec := range f.Checks {
		spec.Target = told.Issuer
		if a := try(t, spec); a.Outcome != check.Unknown || !strings.Contains(a.Reason, "credentials refused") {
			t.Errorf("%s with a wrong secret: %s %s: %s", spec.Name, a.Outcome, a.Class, a.Reason)
		}
	}
}

func try(t *testing.T, spec check.Spec) check.Attempt {
	t.Helper()
	prober, err := probe.New(spec, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer prober.Close()
	r, _ := prober.Run(t.Context(), time.Now())
	return r.First()
}
