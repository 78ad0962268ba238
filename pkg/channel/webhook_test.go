package channel

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
)

// sample is a page as the pager makes them.
func sample() Message {
	nine := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	labels := map[string]string{"alertname": "ServiceDown", "severity": "critical", "incident": "INC-20261123-0007", "service": "signature"}
	annotations := map[string]string{"summary": "【紧急】签章服务 中断", "description": "INC-20261123-0007 502"}
	return Message{
		Key: "INC-20261123-0007.1.opened", Level: contract.Urgent, Title: annotations["summary"], Text: annotations["description"],
		Payload: Payload{
			Receiver: "ops", Status: "firing", Version: "4", GroupKey: `{}:{incident="INC-20261123-0007"}`,
			Alerts:      []Alert{{Status: "firing", Labels: labels, Annotations: annotations, StartsAt: nine, Fingerprint: "0123456789abcdef"}},
			GroupLabels: map[string]string{"incident": "INC-20261123-0007"}, CommonLabels: labels, CommonAnnotations: annotations,
		},
	}
}

func send(t *testing.T, w Webhook) error {
	t.Helper()
	channels, err := Config{Webhooks: []Webhook{w}}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	defer channels[0].(*hook).client.CloseIdleConnections()
	_, err = channels[0].Send(context.Background(), sample())
	return err
}

// The token is read for each try, so that it can be changed without a restart.
func TestToken(t *testing.T) {
	var auth []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		auth = append(auth, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	for _, token := range []string{"one\n", "two"} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := send(t, Webhook{URL: server.URL, TokenFile: file}); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XUNJIAN_TEST_TOKEN", "three")
	if err := send(t, Webhook{URL: server.URL, TokenEnv: "XUNJIAN_TEST_TOKEN"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Bearer one", "Bearer two", "Bearer three"}, auth); diff != "" {
		t.Error(diff)
	}
	for _, w := range []Webhook{{URL: server.URL, TokenFile: file + "x"}, {URL: server.URL, TokenEnv: "XUNJIAN_TEST_NONE"}} {
		if err := send(t, w); err == nil || len(auth) != 3 {
			t.Errorf("sent without its token: %v", err)
		}
	}
}

func TestOwnCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := send(t, Webhook{URL: server.URL, CAFile: file}); err != nil {
		t.Error(err)
	}
	if err := send(t, Webhook{URL: server.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate was trusted: %v", err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, file + "x"} {
		if _, err := (Config{Webhooks: []Webhook{{Name: "a", URL: "https://x/", CAFile: f}}}).Channels(); err == nil {
			t.Errorf("%s: accepted", f)
		}
	}
}

func TestProxy(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer proxy.Close()
	if err := send(t, Webhook{URL: "http://receiver.example/hook", Proxy: proxy.URL}); err != nil || asked != "http://receiver.example/hook" {
		t.Errorf("%v, proxy was asked for %q", err, asked)
	}
}

// Addresses of receivers hold secrets and never stand in errors.
func TestErrorsHideTheAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = send(t, Webhook{URL: "http://" + l.Addr().String() + "/hook?key=geheim"})
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "-5": 0, "soon": 0, "99999999999": (1 << 20) * time.Second, "99999999999999999999": 0, "1999999999": (1 << 20) * time.Second,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func reply(code int, body []byte, after string) answer {
	return answer{code, body, shorten(string(body)), http.Header{"Retry-After": {after}}, time.Unix(0, 0)}
}

// Whatever a receiver answers is a yes or a no with a short, readable reason.
func FuzzJudge(f *testing.F) {
	f.Add(200, []byte(`{"errcode":0}`), "")
	f.Add(200, []byte(`{"errcode":"93000"}`), "")
	f.Add(429, []byte("slow down"), "120")
	f.Add(503, []byte("\xff\x00"), "Mon, 23 Nov 2026 09:00:00 GMT")
	f.Fuzz(func(t *testing.T, code int, body []byte, after string) {
		_, err := judge(reply(code, body, after))
		if err == nil {
			if code < 200 || code > 299 {
				t.Errorf("%d is a yes", code)
			}
			return
		}
		if r := RefusalIn(err); len(r.Text) > 200 || r.RetryAfter < 0 || strings.ContainsAny(r.Text, "\n\r") {
			t.Errorf("refusal %+v", r)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	var got []string
	fail := func(path, format string, args ...any) { got = append(got, path) }
	good := Webhook{Name: "ops", URL: "https://receiver.example/hook"}
	Config{Webhooks: []Webhook{good}}.Validate(fail)
	DefaultConfig().Validate(fail)
	if got != nil {
		t.Errorf("good ones: %v", got)
	}
	Config{Webhooks: []Webhook{
		good, good,
		{Name: "Ops Team", URL: "receiver.example", TokenFile: "a", TokenEnv: "b", Timeout: time.Hour, Proxy: "proxy:80"},
	}}.Validate(fail)
	want := []string{"webhooks[1].name", "webhooks[2].name", "webhooks[2].timeout", "webhooks[2].proxy", "webhooks[2].url", "webhooks[2].token_env"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	many := Config{}
	for i := range maxChannels + 1 {
		many.Webhooks = append(many.Webhooks, Webhook{Name: fmt.Sprint("w", i), URL: good.URL})
	}
	if many.Validate(fail); !slices.Equal(got, []string{"webhooks"}) {
		t.Errorf("too many: %v", got)
	}
}
