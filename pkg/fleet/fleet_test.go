package fleet

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"xunjian/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t testing.TB, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newRegistry(t testing.TB, o Options) *Registry {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	r, err := New(openStore(t, o.Dir), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var testKey = func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}()

func request(t testing.TB, name string, key crypto.Signer) []byte {
	t.Helper()
	b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustToken(t testing.TB, r *Registry, agent string) string {
	t.Helper()
	text, _, err := r.CreateToken(time.Now(), TokenRequest{Agent: agent, By: "驻点"})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// enrol brings an agent into the fleet and returns its certificate.
func enrol(t testing.TB, r *Registry, name string) *x509.Certificate {
	t.Helper()
	der, _, err := r.Enroll(t.Context(), mustToken(t, r, name), request(t, name, testKey), "10.0.0.7:4711")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestKnownAndRevoked(t *testing.T) {
	r := newRegistry(t, Options{})
	cert := enrol(t, r, "web-1")
	serial := cert.SerialNumber.Text(16)
	if err := r.Known("web-1", serial); err != nil {
		t.Errorf("fresh certificate: %v", err)
	}
	for name, c := range map[string]struct{ agent, serial string }{
		"other agent": {"web-2", serial}, "other serial": {"web-1", "1"}, "nothing": {"", ""},
	} {
		if err := r.Known(c.agent, c.serial); !errors.Is(err, ErrUnknownAgent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := enrol(t, r, "web-1")
	if err := r.Known("web-1", serial); !errors.Is(err, ErrUnknownAgent) {
		t.Errorf("replaced certificate: %v", err)
	}
	if err := r.Known("web-1", again.SerialNumber.Text(16)); err != nil {
		t.Errorf("new certificate: %v", err)
	}
	if err := r.Revoke(time.Now(), "web-1", "二线", "host is gone"); err != nil {
		t.Fatal(err)
	}
	if err := r.Known("web-1", again.SerialNumber.Text(16)); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked certificate: %v", err)
	}
	if err := r.Revoke(time.Now(), "web-1", "二线", "again"); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked twice: %v", err)
	}
	if err := r.Revoke(time.Now(), "nobody", "二线", ""); !errors.Is(err, ErrUnknownAgent) {
		t.Errorf("revoked a stranger: %v", err)
	}
	a := r.Agents()[0]
	if a.State() != "revoked" || a.RevokedBy != "二线" || a.Reason != "host is gone" || a.EnrolledBy != "驻点" {
		t.Errorf("agent: %+v", a)
	}
}

// What an agent says survives a restart, and is written at most once a minute.
func TestLastWordsPersist(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r, err := New(db, Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		enrol(t, r, "web-1")
		stop := runFor(t, r)
		kept := func() (h heard) {
			db.View(func(tx *store.Tx) error { h, _ = heardTable.Get(tx, "web-1"); return nil })
			return h
		}
		time.Sleep(30 * time.Second)
		r.Heard(time.Now(), "web-1", Info{Version: "1.0", Skew: time.Second, Plan: strings.Repeat("长", 200) + "\x00"})
		first := time.Now()
		time.Sleep(10 * time.Second)
		if h := kept(); !h.LastHeard.IsZero() {
			t.Errorf("written %v after the start: %+v", 40*time.Second, h)
		}
		time.Sleep(30 * time.Second)
		if h := kept(); !h.LastHeard.Equal(first) || h.Info.Version != "1.0" || len(h.Info.Plan) > maxText || strings.Contains(h.Info.Plan, "\x00") {
			t.Errorf("after a minute: %+v", h)
		}
		r.Seen(time.Now(), "web-1")
		last := time.Now()
		r.Seen(time.Now(), "stranger")
		stop()
		again, err := New(db, Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		got := again.Agents()
		if len(got) != 1 || !got[0].LastHeard.Equal(last) || got[0].Info.Version != "1.0" || got[0].State() != "heard" {
			t.Errorf("after the restart: %+v", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r := newRegistry(t, Options{Registerer: reg})
	enrol(t, r, "web-1")
	enrol(t, r, "web-2")
	enrol(t, r, "web-3")
	r.Heard(time.Unix(1_700_000_000, 0), "web-1", Info{Skew: -1500 * time.Millisecond})
	if err := r.Revoke(time.Now(), "web-3", "驻点", "gone"); err != nil {
		t.Fatal(err)
	}
	r.Enroll(t.Context(), "nonsense", nil, "")
	want := `
# HELP xunjian_agent_clock_skew_seconds The agent's clock minus the collector's.
# TYPE xunjian_agent_clock_skew_seconds gauge
xunjian_agent_clock_skew_seconds{agent="web-1"} -1.5
# HELP xunjian_agent_last_heard_timestamp_seconds When the agent was last heard.
# TYPE xunjian_agent_last_heard_timestamp_seconds gauge
xunjian_agent_last_heard_timestamp_seconds{agent="web-1"} 1.7e+09
# HELP xunjian_agents Agents by state: heard, silent, stopped (on purpose), never (enrolled and not heard yet), revoked.
# TYPE xunjian_agents gauge
xunjian_agents{state="heard"} 1
xunjian_agents{state="never"} 1
xunjian_agents{state="revoked"} 1
xunjian_agents{state="silent"} 0
xunjian_agents{state="stopped"} 0
# HELP xunjian_enrolments_total Enrolments by outcome: ok, failed, or the reason of the refusal.
# TYPE xunjian_enrolments_total counter
xunjian_enrolments_total{outcome="ok"} 3
xunjian_enrolments_total{outcome="token_format"} 1
`
	err := testutil.GatherAndCompare(reg, strings.NewReader(want), "xunjian_agents", "xunjian_agent_clock_skew_seconds", "xunjian_agent_last_heard_timestamp_seconds", "xunjian_enrolments_total")
	if err != nil {
		t.Error(err)
	}
	if faults, err := testutil.GatherAndLint(reg); err != nil || len(faults) > 0 {
		t.Errorf("lint: %v %v", faults, err)
	}
}

func TestDamagedIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	r, err := New(db, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	enrol(t, r, "web-1")
	wrong := store.NewTable[[]int]("fleet_agents")
	if err := db.Update(func(tx *store.Tx) error { return wrong.Put(tx, "web-2", []int{1}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := New(db, Options{Dir: dir}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damaged identity: %v", err)
	}
}

func TestConfig(t *testing.T) {
	bad := map[string]Config{
		"silence":       {Silence: time.Second},
		"silence_level": {SilenceLevel: "fatal"},
		"skew_limit":    {SkewLimit: time.Microsecond},
		"max_agents":    {MaxAgents: -1},
		"names":         {Names: []string{"ok.example", "10.0.0.1", "https://x:1"}},
	}
	for want, c := range bad {
		var got []string
		c.Validate(func(path, _ string, _ ...any) { got = append(got, path) })
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: faults %v", want, got)
		}
	}
	for _, c := range []Config{{}, DefaultConfig(), {Names: []string{"collector.example.cn", "::1"}}} {
		c.Validate(func(path, format string, args ...any) {
			t.Errorf("%+v: "+path+": "+format, append([]any{c}, args...)...)
		})
	}
}

func writeTest(t *testing.T, path string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
