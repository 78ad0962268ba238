package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// kills is how often each program is killed; XUNJIAN_KILLS asks for another number.
func kills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("XUNJIAN_KILLS")
	if s == "" {
		return 100
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// killRig is collector, agent and services without the demo around them.
type killRig struct {
	t                    *testing.T
	dir, data, config    string
	web, grpc, simulator string
	log                  string // of pages
	token                string
	collector, agent     *proc
}

// replyToken is the gateway's, for what people answer to short messages.
var replyToken = strings.Repeat("r", 32)

func newKillRig(t *testing.T) *killRig { return newRigOn(t, filepath.Join(t.TempDir(), "data"), "") }

// newRigOn keeps the collector's data in a folder; more is put at the end of the configuration, and channels page too.
func newRigOn(t *testing.T, data, more string, channels ...string) *killRig {
	r := &killRig{t: t, dir: t.TempDir(), data: data, web: freeAddr(t), grpc: freeAddr(t), simulator: freeAddr(t)}
	r.log = filepath.Join(r.dir, "pages.jsonl")
	hook := freeAddr(t)
	start(t, r.dir, "simulator", "--folder", r.dir, "--control="+port(r.simulator), "--webhook="+port(hook), "--pages", r.log,
		"--cloud-doc=0", "--signature=0", "--sms=0", "--gateway=0", "--oa=0", "--smpp=0", "--cmpp=0", "--office=none")
	var got []struct{ Name, URL string }
	eventually(t, "simulator", func() error { return call("GET", "http://"+r.simulator+"/services", "", nil, &got) })
	paths := map[string]string{"cloud-doc": "/healthcheck", "signature": "/api/v1/status", "sms": "/balance", "gateway": "/get/echo"}
	got = slices.DeleteFunc(got, func(s struct{ Name, URL string }) bool { return paths[s.Name] == "" }) // the others are not asked by a single request
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nhttp: {listen: '%s', external_url: 'http://%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1]}\nhost: {every: 1s}\nservices:\n", r.data, r.web, r.web, r.grpc)
	for _, s := range got {
		fmt.Fprintf(&b, "- {name: %s, zh: %s, key: true}\n", s.Name, s.Name)
	}
	b.WriteString("checks:\n")
	for _, s := range got {
		fmt.Fprintf(&b, "- {name: %s, service: %s, kind: http, target: '%s%s', every: 1s, timeout: 500ms, tls: {ca_file: ca.pem}}\n", s.Name, s.Name, s.URL, paths[s.Name])
	}
	fmt.Fprintf(&b, "pages: {webhooks: [{name: sim, url: 'http://%s/webhook/kill'}], channels: [%s], replies: {token: {file: reply.token}, phone: mobile, text: content}}\n%s", hook, strings.Join(channels, ", "), more)
	r.config = filepath.Join(r.dir, "collector.yml")
	for file, text := range map[string]string{r.config: b.String(), filepath.Join(r.dir, "reply.token"): replyToken} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.startCollector()
	r.token = mustRun(t, "collector", "token", "api", "--config", r.config, "--name", "test", "--role", "engineer", "--person", "tester")
	return r
}

func (r *killRig) url() string { return "http://" + r.web }

func (r *killRig) startCollector() { r.t.Helper(); r.startUntil("/-/ready") }

// startUntil starts the collector and waits for a good answer.
func (r *killRig) startUntil(path string) {
	r.t.Helper()
	r.collector = start(r.t, r.dir, "collector", "serve", "--config", r.config)
	eventually(r.t, "collector", func() error {
		select {
		case <-r.collector.done:
			r.t.Fatalf("collector ended: %v", r.collector.err)
		default:
		}
		return call("GET", r.url()+path, "", nil, nil)
	})
}

func (r *killRig) enrolToken(name string) string {
	r.t.Helper()
	return mustRun(r.t, "collector", "token", "create", "--config", r.config, "--agent", name, "--by", "tester")
}

func (r *killRig) startAgent() {
	r.t.Helper()
	args := []string{"run", "--collector", r.grpc, "--state", filepath.Join(r.dir, "agent")}
	if r.agent == nil {
		args = append(args, "--name", "host-1", "--token", r.enrolToken("host-1"))
	}
	r.agent = start(r.t, r.dir, "agent", args...)
}

// TestKillCollector kills the collector at any moment, again and again, while an agent sends numbered reports and services
// break and mend. Nothing acknowledged may be lost, nothing counted twice, no clock moved, no page lost.
func TestKillCollector(t *testing.T) {
	t.Parallel()
	r := newKillRig(t)
	r.startAgent()
	stop := r.startSender()
	clocks := map[string]incidentJSON{}
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	services := []string{"cloud-doc", "signature", "sms", "gateway"}
	for i := range kills(t) {
		mode := "ok"
		if i%8 < 4 {
			mode = "error500"
		}
		fault(t, "http://"+r.simulator, services[i%4], map[string]any{"mode": mode})
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
		r.sameClocks(clocks)
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		r.collector.kill()
		r.startCollector()
	}
	for _, s := range services {
		fault(t, "http://"+r.simulator, s, map[string]any{"mode": "ok"})
	}
	sent := stop()
	r.sameClocks(clocks)
	if len(clocks) == 0 {
		t.Fatal("no incident was opened: the test has shown nothing")
	}
	eventually(t, "every incident's page", func() error { return r.everyPage(clocks) })
	r.agent.stop(t)
	r.collector.stop(t)
	r.eachOnce(sent)
	t.Logf("%d kills, %d reports, %d incidents", kills(t), sent, len(clocks))
}

// startSender is an agent of its own whose reports are numbered, one each 20 ms; stop says how many it sent.
func (r *killRig) startSender() func() int {
	t := r.t
	t.Helper()
	id, err := uplink.Enroll(t.Context(), uplink.EnrollOptions{Address: r.grpc, Token: r.enrolToken("numbered"), Name: "numbered"})
	if err != nil {
		t.Fatal(err)
	}
	tls, err := id.TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.NewClient(uplink.ClientOptions{Address: r.grpc, TLS: tls, MaxMemory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	count, halt, halted := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(halted)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-halt:
				return
			case now := <-tick.C:
				count++
				c.Send(uplink.Batch{Reports: []metric.Report{{
					Kind: metric.KindHost, Every: 20 * time.Millisecond, At: now,
					Samples: []metric.Sample{{Series: metric.New("test_number"), Value: float64(count)}},
				}}}, false)
			}
		}
	}()
	return func() int {
		close(halt)
		<-halted
		eventually(t, "last reports acknowledged", func() error {
			if st := c.Stats(); st.Waiting > 0 {
				return fmt.Errorf("%d waiting, last error %q", st.Waiting, st.LastError)
			}
			return nil
		})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("sender: %v", err)
		}
		return count
	}
}

// sameClocks remembers each incident's clocks at first sight and wants them the same ever after.
func (r *killRig) sameClocks(seen map[string]incidentJSON) {
	r.t.Helper()
	got, err := incidents(r.url(), r.token, "state=all")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, inc := range got {
		was, ok := seen[inc.ID]
		if !ok {
			seen[inc.ID] = inc
			continue
		}
		if !was.DetectedAt.Equal(inc.DetectedAt) || !was.ResponseDue.Equal(inc.ResponseDue) || !was.RecoveryDue.Equal(inc.RecoveryDue) {
			r.t.Errorf("%s: clocks moved from %+v to %+v", inc.ID, was, inc)
		}
	}
	for id := range seen {
		found := false
		for _, inc := range got {
			found = found || inc.ID == id
		}
		if !found {
			r.t.Errorf("incident %s is gone", id)
		}
	}
}

// everyPage wants a page for each incident; pages of one cause share one key.
func (r *killRig) everyPage(seen map[string]incidentJSON) error {
	ps, err := pages(r.log)
	if err != nil {
		return err
	}
	paged := map[string]bool{}
	for _, p := range ps {
		for _, a := range p.Body.Alerts {
			paged[a.Labels["incident"]] = true
		}
	}
	for id := range seen {
		if !paged[id] {
			return fmt.Errorf("no page of %s among %d pages", id, len(ps))
		}
	}
	return nil
}

// eachOnce reads the store itself: every number from 1 to n exactly once.
func (r *killRig) eachOnce(n int) {
	t := r.t
	t.Helper()
	db, err := tsdb.Open(filepath.Join(r.data, "series"), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, "test_number")
	if err != nil {
		t.Fatal(err)
	}
	times := map[int]int{}
	for s, err := range db.Select(t.Context(), 0, time.Now().Add(time.Hour).UnixMilli(), m) {
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range s.V {
			times[int(v)]++
		}
	}
	lost, doubled := 0, 0
	for i := 1; i <= n; i++ {
		switch {
		case times[i] == 0:
			lost++
		case times[i] > 1:
			doubled++
		}
	}
	if lost+doubled > 0 || len(times) != n {
		t.Errorf("of %d reports %d are lost and %d doubled; %d numbers stored", n, lost, doubled, len(times))
	}
}

// TestKillAgent kills the agent again and again while the collector is away: what it had spooled arrives when the collector
// is back, each reading once, and only readings around a kill may be missing.
func TestKillAgent(t *testing.T) {
	t.Parallel()
	r := newKillRig(t)
	r.startAgent()
	eventually(t, "the agent's first report", func() error {
		var got struct {
			Agents []struct {
				LastHeard time.Time `json:"last_heard"`
			} `json:"agents"`
		}
		if err := call("GET", r.url()+"/api/xunjian/v1/agents", r.token, nil, &got); err != nil {
			return err
		}
		if len(got.Agents) != 1 || got.Agents[0].LastHeard.IsZero() {
			return fmt.Errorf("agents: %+v", got.Agents)
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	r.collector.stop(t)
	began := time.Now()
	rng := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	const rounds = 5
	for range rounds {
		time.Sleep(8*time.Second + time.Duration(rng.IntN(1000))*time.Millisecond)
		r.agent.kill()
		r.startAgent()
	}
	for range kills(t) - rounds {
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		r.agent.kill()
		r.startAgent()
	}
	time.Sleep(6 * time.Second)
	away := time.Since(began)
	r.startCollector()
	eventually(t, "the spool to empty", func() error {
		left, err := filepath.Glob(filepath.Join(r.dir, "agent", "spool", "*"))
		if err != nil {
			return err
		}
		size := int64(0)
		for _, f := range left {
			if st, err := os.Stat(f); err == nil {
				size += st.Size()
			}
		}
		if size > 4096 {
			return fmt.Errorf("%d bytes left", size)
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	r.agent.stop(t)
	r.collector.stop(t)
	r.spooledReadings(began, away)
}

// spooledReadings counts the host readings made while the collector was away: at least those of the long rounds, less
// the few seconds that are still in memory when a kill comes.
func (r *killRig) spooledReadings(began time.Time, away time.Duration) {
	t := r.t
	t.Helper()
	db, err := tsdb.Open(filepath.Join(r.data, "series"), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, "node_load1")
	if err != nil {
		t.Fatal(err)
	}
	stamps := map[int64]int{}
	for s, err := range db.Select(t.Context(), began.UnixMilli(), began.Add(away).UnixMilli(), m) {
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range s.T {
			stamps[at]++
		}
	}
	for at, n := range stamps {
		if n != 1 {
			t.Errorf("reading at %d is stored %d times", at, n)
		}
	}
	if n := len(stamps); n < 15 {
		t.Errorf("%d readings of %v without a collector have arrived, want at least 15", n, away.Round(time.Second))
	}
	t.Logf("%d readings of %v without a collector arrived", len(stamps), away.Round(time.Second))
}
