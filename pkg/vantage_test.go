package pkg_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/agent"
	"xunjian/pkg/api"
	"xunjian/pkg/check"
	"xunjian/pkg/collector"
	"xunjian/pkg/fleet"
	"xunjian/pkg/measure"
	"xunjian/pkg/probe"
	"xunjian/pkg/report"
)

// view is what one agent of the story sees of the services.
type view struct {
	cut  atomic.Bool // none of them
	self atomic.Bool // its own gateway neither
}

// sight is the story with two agents at two places, four services of five checks each.
type sight struct {
	*story
	views map[string]*view
	ctx   context.Context
}

func newSight(t *testing.T, vantages int) *sight {
	s := &sight{story: &story{T: t, net: pipes{}, phone: &phone{}}, views: map[string]*view{"hq": {}, "cloud": {}}}
	return s.begin(vantages)
}

func (s *sight) begin(vantages int) *sight {
	var wg sync.WaitGroup
	world, endWorld := context.WithCancel(s.Context())
	ctx, stop := context.WithCancel(s.Context())
	s.ctx = ctx
	s.serve(world, &wg, "192.0.2.1:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.broken.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
	s.serve(world, &wg, "192.0.2.2:80", s.phone)
	c := s.config()
	c.Services, c.Checks = nil, nil
	for i := range 4 {
		name := fmt.Sprint("service-", i)
		c.Services = append(c.Services, check.Service{Name: name, Key: true})
		for j := range 5 {
			c.Checks = append(c.Checks, check.Spec{
				Name: fmt.Sprint(name, "-", j), Service: name, Kind: "http", Target: "http://192.0.2.1:80/status", Vantages: vantages,
			}.WithDefaults())
		}
	}
	for name := range s.views {
		c.Fleet.Agents = append(c.Fleet.Agents, fleet.Labelled{Name: name, Labels: map[string]string{"site": name}})
	}
	var err error
	s.col, err = collector.New(collector.Options{Config: c, HTTP: s.net.listen("web"), GRPC: s.net.listen("uplink")})
	s.must(err)
	wg.Go(func() { s.must(s.col.Run(ctx)) })
	web := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return s.net.dial(ctx, network, "web") }, DisableKeepAlives: true}
	s.client = &api.Client{URL: "http://web", Token: s.col.ControlToken(), HTTP: &http.Client{Transport: web}}
	for _, name := range slices.Sorted(maps.Keys(s.views)) {
		s.enrol(ctx, &wg, name)
	}
	s.Cleanup(func() {
		stop()
		endWorld()
		wg.Wait()
		s.must(s.col.Close())
	})
	time.Sleep(3 * time.Minute)
	return s
}

func (s *sight) enrol(ctx context.Context, wg *sync.WaitGroup, name string) {
	token, err := s.client.CreateToken(ctx, api.TokenRequest{Agent: name, By: "ops"})
	s.must(err)
	v := s.views[name]
	a, err := agent.New(ctx, agent.Options{
		Config: agent.Config{Collector: "127.0.0.1:9481", Name: name, Token: token.Text, State: s.TempDir(), Spool: agent.DefaultConfig().Spool},
		Probe: probe.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if v.cut.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			c, err := s.net.dial(ctx, network, addr)
			return sightOf{c, v}, err
		}},
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return s.net.dial(ctx, "tcp", "uplink") },
		Self: agent.SelfCheck{
			Gateway: func(context.Context) error {
				if v.self.Load() {
					return errors.New("the default gateway does not answer")
				}
				return nil
			},
			Names: func(context.Context) error { return nil },
		},
	})
	s.must(err)
	wg.Go(func() { s.must(a.Run(ctx)) })
}

// sightOf is a connection that breaks with the agent's network.
type sightOf struct {
	net.Conn
	*view
}

func (c sightOf) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c sightOf) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// open lists what is open as class, service and component.
func (s *sight) open() (out []string) {
	list, err := s.client.Incidents(s.ctx, api.IncidentFilter{State: "open"})
	s.must(err)
	for _, r := range list.Incidents {
		out = append(out, fmt.Sprint(r.Class, " ", r.Service, " ", r.Level))
	}
	slices.Sort(out)
	return out
}

func eachService(class, level string) (out []string) {
	for i := range 4 {
		out = append(out, fmt.Sprint(class, " service-", i, " ", level))
	}
	return out
}

// bubbles runs each way of choosing vantages in fake time: both on time, and one with the other standing by.
func bubbles(t *testing.T, fn func(t *testing.T, s *sight)) {
	for _, vantages := range []int{0, 1} {
		t.Run(fmt.Sprint("vantages ", vantages), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fn(t, newSight(t, vantages)) })
		})
	}
}

// An outage is confirmed by the second vantage within the second, and never told as a partial one before.
func TestOutageIsConfirmedBySecondVantage(t *testing.T) {
	bubbles(t, func(t *testing.T, s *sight) {
		if got := s.open(); len(got) != 0 {
			t.Fatalf("while all is well: %v", got)
		}
		s.broken.Store(true)
		time.Sleep(12 * time.Second) // a tick, and what it takes to ask again
		if got, want := s.open(), eachService("down", "urgent"); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for _, page := range s.phone.statuses() {
			if !strings.Contains(page, "Down") {
				t.Errorf("page %q", page)
			}
		}
		if n := len(s.phone.statuses()); n == 0 {
			t.Error("nobody was told")
		}
	})
}

// FAULTS row 44: one agent's network fails, with 20 checks. One symptom, no outage; its checks are others' to run.
func TestVantageLostIsOneSymptom(t *testing.T) {
	bubbles(t, func(t *testing.T, s *sight) {
		for _, v := range s.views {
			v.cut.Store(true)
			time.Sleep(2 * time.Minute)
			got := s.open()
			if len(got) > 1 || len(got) == 1 && got[0] != "unknown host minor" {
				t.Errorf("%v, want one vantage lost", got)
			}
			v.cut.Store(false)
			time.Sleep(time.Minute)
			for _, st := range s.services() {
				if st.State != "ok" {
					t.Errorf("%s is %s when all is well again", st.Name, st.State)
				}
			}
			time.Sleep(6 * time.Minute)
		}
		closed, err := s.client.Incidents(s.ctx, api.IncidentFilter{})
		s.must(err)
		if n := len(closed.Incidents); n == 0 || n > 2 {
			t.Errorf("%d incidents of two lost vantages", n)
		}
		for _, r := range closed.Incidents {
			if r.Class != "unknown" || r.Service != "host" {
				t.Errorf("%+v", r)
			}
		}
		s.wantNoDowntime()
	})
}

// The agent whose gateway is gone says so itself: that needs no other agent to see it.
func TestVantageLostByItsOwnWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSight(t, 0)
		for _, v := range s.views {
			v.self.Store(true)
			v.cut.Store(true)
		}
		time.Sleep(time.Minute)
		if got := s.open(); !slices.Equal(got, []string{"unknown host minor", "unknown host minor"}) {
			t.Errorf("%v, want two vantages lost", got)
		}
		s.wantNoDowntime()
	})
}

// wantNoDowntime holds the month's figures to the board: what an agent that was cut off could not reach was nobody's outage.
func (s *sight) wantNoDowntime() {
	s.Helper()
	file, err := s.client.MonthReport(s.ctx, time.Now().UTC().Format("2006-01"), "json")
	s.must(err)
	var month report.Model
	s.must(json.Unmarshal(file, &month))
	for _, l := range month.Services {
		if l.Down != 0 || l.Up == 0 || l.Passed != l.Done || value(l.Outages) != 0 {
			s.Errorf("%s: up %v, down %v, unknown %v, %d of %d rounds passed", l.Name, l.Up, l.Down, l.Unknown, l.Passed, l.Done)
		}
	}
}

func value[T any](m measure.Maybe[T]) T { return m.Value }

func (s *sight) services() []api.Service {
	list, err := s.client.Services(s.ctx)
	s.must(err)
	return list.Services
}
