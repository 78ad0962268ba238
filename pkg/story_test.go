package pkg_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/agent"
	"xunjian/pkg/api"
	"xunjian/pkg/channel"
	"xunjian/pkg/check"
	"xunjian/pkg/collector"
	"xunjian/pkg/probe"
)

// pipes are all the network there is in the story: listeners in memory, by address.
type pipes map[string]*bufconn.Listener

func (p pipes) listen(addr string) net.Listener {
	p[addr] = bufconn.Listen(1 << 16)
	return p[addr]
}

func (p pipes) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	l, ok := p[addr]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: io.EOF}
	}
	return l.DialContext(ctx)
}

// phone is the receiver of pages.
type phone struct {
	mu  sync.Mutex
	got []map[string]any
	at  []time.Time
}

func (p *phone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page map[string]any
	if err := json.NewDecoder(r.Body).Decode(&page); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got, p.at = append(p.got, page), append(p.at, time.Now())
}

func (p *phone) statuses() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, page := range p.got {
		labels, _ := page["commonLabels"].(map[string]any)
		out = append(out, fmt.Sprint(page["status"], " ", labels["alertname"]))
	}
	return out
}

// story is collector and agent in one bubble: fake time, real parts, memory for a network.
type story struct {
	*testing.T
	net    pipes
	phone  *phone
	broken atomic.Bool
	col    *collector.Collector
	client *api.Client
}

func (s *story) serve(ctx context.Context, wg *sync.WaitGroup, addr string, h http.Handler) {
	srv := &http.Server{Handler: h}
	l := s.net.listen(addr)
	wg.Go(func() { srv.Serve(l) })
	context.AfterFunc(ctx, func() { srv.Close() })
}

func (s *story) config() collector.Config {
	c := collector.DefaultConfig()
	c.Data = filepath.Join(s.TempDir(), "data")
	c.Fleet.Names = []string{"127.0.0.1"}
	c.Services = []check.Service{{Name: "signature", ZH: "签章服务", EN: "Signature service", Key: true}}
	c.Checks = []check.Spec{check.Spec{Name: "sign", Service: "signature", Kind: "http", Target: "http://192.0.2.1:80/status"}.WithDefaults()}
	// This host's processors do next to nothing in an hour that passes in seconds: only its disks can be judged.
	c.Rules.Files = []string{filepath.Join(s.TempDir(), "disk.yml")}
	s.must(os.WriteFile(c.Rules.Files[0], []byte("groups: [{name: disk, rules: [{alert: DiskGone, expr: 'node_filesystem_size_bytes < 0', labels: {level: urgent}, annotations: {summary: gone}}]}]\n"), 0o600))
	c.Pages.Webhooks, c.Pages.Dial = []channel.Webhook{{Name: "phone", URL: "http://192.0.2.2:80/hook"}}, s.net.dial
	return c
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// A broken service becomes a page, an acknowledgement, a recovery and a line in the month's record; a reading of this very
// host becomes a series. Nothing waits for the wall clock.
func TestStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &story{T: t, net: pipes{}, phone: &phone{}}
		world, endWorld := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		s.serve(world, &wg, "192.0.2.1:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if s.broken.Load() {
				http.Error(w, "no", http.StatusInternalServerError)
			}
		}))
		s.serve(world, &wg, "192.0.2.2:80", s.phone)
		ctx, stop := context.WithCancel(t.Context())
		s.start(ctx, &wg)

		time.Sleep(10 * time.Minute)
		if got := s.phone.statuses(); len(got) != 0 {
			t.Fatalf("pages of a sound service: %v", got)
		}
		inc := s.breakIt(ctx)
		s.mendIt(ctx, inc)
		s.record(ctx, inc)

		stop()
		endWorld()
		wg.Wait()
		s.must(s.col.Close())
	})
}

// start brings both programs up and enrols the agent with a one-time token.
func (s *story) start(ctx context.Context, wg *sync.WaitGroup) {
	var err error
	s.col, err = collector.New(collector.Options{Config: s.config(), HTTP: s.net.listen("web"), GRPC: s.net.listen("uplink")})
	s.must(err)
	wg.Go(func() {
		if err := s.col.Run(ctx); err != nil {
			s.Error(err)
		}
	})
	web := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return s.net.dial(ctx, network, "web") }, DisableKeepAlives: true}
	s.client = &api.Client{URL: "http://web", Token: s.col.ControlToken(), HTTP: &http.Client{Transport: web}}
	token, err := s.client.CreateToken(ctx, api.TokenRequest{Agent: "host-1", By: "ops"})
	s.must(err)
	a, err := agent.New(ctx, agent.Options{
		Config: agent.Config{Collector: "127.0.0.1:9481", Name: "host-1", Token: token.Text, State: s.TempDir(), Spool: agent.DefaultConfig().Spool},
		Probe:  probe.Options{Dial: s.net.dial},
		Dial:   func(ctx context.Context, _ string) (net.Conn, error) { return s.net.dial(ctx, "tcp", "uplink") },
	})
	s.must(err)
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			s.Error(err)
		}
	})
}

// breakIt wants one page within 15 s, an urgent incident with the contract's clocks, and takes it on.
func (s *story) breakIt(ctx context.Context) api.Incident {
	began := time.Now()
	s.broken.Store(true)
	time.Sleep(15 * time.Second)
	if got := s.phone.statuses(); len(got) != 1 || got[0] != "firing ServiceDown" {
		s.Fatalf("pages within 15 s: %v", got)
	}
	open, err := s.client.Incidents(ctx, api.IncidentFilter{State: "open"})
	s.must(err)
	if len(open.Incidents) != 1 {
		s.Fatalf("open: %+v", open.Incidents)
	}
	inc := open.Incidents[0]
	if inc.Level != "urgent" || inc.ResponseDue.Sub(inc.DetectedAt) != 10*time.Minute || inc.RecoveryDue.Sub(inc.DetectedAt) != 4*time.Hour {
		s.Errorf("clocks: %+v", inc)
	}
	if inc.FaultStart.Before(began) || inc.FaultStart.After(inc.DetectedAt) {
		s.Errorf("fault began %v, broken %v, detected %v", inc.FaultStart, began, inc.DetectedAt)
	}
	time.Sleep(3 * time.Minute)
	inc, err = s.client.Ack(ctx, inc.ID, api.Act{Person: "resident engineer", Note: "on it"})
	s.must(err)
	if inc.AckBy == "" || len(inc.Breaches) != 0 {
		s.Errorf("acknowledged in time: %+v", inc)
	}
	time.Sleep(30 * time.Minute)
	return inc
}

// mendIt wants the recovery at the first good answer, known after ten minutes' verification, and one page for it.
func (s *story) mendIt(ctx context.Context, inc api.Incident) {
	mended := time.Now()
	s.broken.Store(false)
	time.Sleep(11 * time.Minute)
	got, err := s.client.Incident(ctx, inc.ID)
	s.must(err)
	if got.State != "recovered" || got.RecoveredAt.Before(mended) || got.RecoveredAt.Sub(mended) > 15*time.Second {
		s.Errorf("recovered %v after the mending, state %s", got.RecoveredAt.Sub(mended), got.State)
	}
	if st := s.phone.statuses(); len(st) != 2 || st[1] != "resolved ServiceDown" {
		s.Errorf("pages: %v", st)
	}
	_, err = s.client.Close(ctx, inc.ID, api.Account{Act: api.Act{Person: "resident engineer"}, Category: "software", PartyA: "王处", Cause: "证书服务进程退出", Handling: "重启签章服务"})
	s.must(err)
}

// record wants the incident in the month's Word file, in this host's and the service's company.
func (s *story) record(ctx context.Context, inc api.Incident) {
	b, err := s.client.MonthReport(ctx, time.Now().UTC().Format("2006-01"), "docx")
	s.must(err)
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	s.must(err)
	f, err := z.Open("word/document.xml")
	s.must(err)
	text, err := io.ReadAll(f)
	s.must(err)
	for _, want := range []string{inc.ID, "签章服务", "host-1", "证书服务进程退出", "resident engineer"} {
		if !strings.Contains(string(text), want) {
			s.Errorf("the record does not say %q", want)
		}
	}
}
