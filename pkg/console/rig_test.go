package console

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/metric"
	"xunjian/pkg/pager"
	"xunjian/pkg/query"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var services = []check.Service{
	{Name: "signature", ZH: "签章服务", EN: "Signature service", Key: true},
	{Name: "sms", ZH: "短信服务", EN: "SMS service", Key: true},
	{Name: "gateway", ZH: "网关服务", EN: "API gateway"},
}

// shanghai needs no zone files.
var shanghai = time.FixedZone("Asia/Shanghai", 8*3600)

const password = "correct horse battery"

// rig is the console over the real parts.
type rig struct {
	t      testing.TB
	o      Options
	db     *store.DB
	desk   *incident.Desk
	people *access.Directory
	board  *inspect.Board
	series *tsdb.DB
	agents []fleet.Agent
	unsent []pager.Pending
	broken error // of undelivered
	log    bytes.Buffer
	*Console
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.db, err = store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	must(err)
	t.Cleanup(func() { r.db.Close() })
	r.series, err = tsdb.Open(t.TempDir(), tsdb.Options{Linger: -1, MmapSize: 1 << 24})
	must(err)
	t.Cleanup(func() { r.series.Close() })
	r.desk, err = incident.New(r.db, incident.Options{Settings: incident.Settings{Services: services}, Location: shanghai})
	must(err)
	r.people, err = access.New(r.db, access.Options{Hash: access.HashCost{Time: 1, Memory: 64, Threads: 1}})
	must(err)
	for _, role := range access.Roles {
		_, err := r.people.Add(time.Now(), access.Identity{Role: access.Admin, Person: "test", Via: "local"}, access.NewPerson{Login: string(role), Name: "张 " + string(role), Role: role, Password: password})
		must(err)
	}
	specs := []check.Spec{}
	for _, s := range services {
		specs = append(specs, check.Spec{Name: s.Name + "-health", Service: s.Name, Kind: "http", Target: "http://127.0.0.1/", Every: 10 * time.Second, Timeout: 2 * time.Second, Slow: time.Second})
	}
	r.board = inspect.New("zh-CN", inspect.DefaultConfig(), services, specs)
	r.o = Options{
		Desk: r.desk, People: r.people, Services: r.board.Services, Agents: func() []fleet.Agent { return r.agents },
		Undelivered: func() ([]pager.Pending, error) { return r.unsent, r.broken },
		Query:       query.New(query.Options{Store: r.series}), Sessions: r.db, Location: shanghai, Title: "某省协同办公平台", Version: "1.2.3",
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	for _, f := range change {
		f(&r.o)
	}
	r.Console, err = New(r.o)
	must(err)
	t.Cleanup(r.EndStreams)
	return r
}

// breaks lets monitoring open an incident.
func (r *rig) breaks(at time.Time, service, detail string) incident.Record {
	r.t.Helper()
	rec, _, err := r.desk.Observe(at, symptom.Symptom{
		Source: symptom.FromProbe, Service: service, Class: symptom.Down, Level: contract.Urgent, Detail: detail, Firing: true, Since: at.Add(-time.Second), At: at,
		Evidence: []symptom.Evidence{{At: at, Agent: "vm", Text: service + "-health " + detail}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// round lets an agent see a service.
func (r *rig) round(at time.Time, service string, o check.Outcome, class check.Class) {
	a := check.Attempt{Start: at, Duration: 12 * time.Millisecond, Outcome: o, Class: class, Reason: "seen"}
	r.board.Observe(at, "vm", check.Result{Check: service + "-health", Service: service, At: at, Attempts: []check.Attempt{a, a, a}})
}

// reads stores what an agent reads of its host, at two times, so that there are rates.
func (r *rig) reads(at time.Time, agent string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running, stored sync.WaitGroup
	running.Go(func() {
		if err := r.series.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	for i := range 5 {
		when := at.Add(time.Duration(i-4) * 15 * time.Second)
		sample := func(v float64, name string, labels ...string) metric.Sample {
			return metric.Sample{Series: metric.New(name, labels...), Value: v}
		}
		samples := []metric.Sample{
			sample(float64(i)*6, "node_cpu_seconds_total", "cpu", "0", "mode", "idle"), sample(float64(i)*9, "node_cpu_seconds_total", "cpu", "0", "mode", "user"),
			sample(8, "node_memory_MemAvailable_bytes"), sample(10, "node_memory_MemTotal_bytes"), sample(1.5, "node_load1"),
			sample(1, "node_filesystem_avail_bytes", "mountpoint", "/data", "fstype", "ext4", "device", "/dev/vdb"),
			sample(1, "node_filesystem_free_bytes", "mountpoint", "/data", "fstype", "ext4", "device", "/dev/vdb"),
			sample(25, "node_filesystem_size_bytes", "mountpoint", "/data", "fstype", "ext4", "device", "/dev/vdb"),
		}
		stored.Add(1)
		stream := tsdb.Stream{Agent: agent, Kind: metric.KindHost, Every: 15 * time.Second, Labels: []metric.Label{{Name: "instance", Value: agent}}}
		report := metric.Report{Agent: agent, Boot: 1, Seq: uint64(i + 1), Kind: metric.KindHost, Every: 15 * time.Second, At: when, Samples: samples}
		err := r.series.Append(ctx, stream, report, func(o tsdb.Outcome, err error) {
			if err != nil || o != tsdb.Stored {
				r.t.Errorf("report of %v: %v %v", when, o, err)
			}
			stored.Done()
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	stored.Wait()
	cancel()
	running.Wait()
}

// visitor is a browser: it keeps cookies and follows nothing.
type visitor struct {
	t       testing.TB
	h       http.Handler
	cookies map[string]*http.Cookie
}

func (r *rig) visitor() *visitor {
	return &visitor{r.t, r.Console, map[string]*http.Cookie{}}
}

// as is a visitor who has signed in.
func (r *rig) as(role access.Role) *visitor {
	r.t.Helper()
	v := r.visitor()
	if w := v.post("/login", "login", string(role), "password", password); w.Code != http.StatusSeeOther {
		r.t.Fatalf("sign in as %s: %d %s", role, w.Code, w.Body)
	}
	return v
}

func (v *visitor) get(path string, headers ...string) *httptest.ResponseRecorder {
	return v.do(httptest.NewRequest("GET", path, nil), headers...)
}

func (v *visitor) post(path string, fields ...string) *httptest.ResponseRecorder {
	return v.do(form(path, fields...))
}

func form(path string, fields ...string) *http.Request {
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		q.Set(fields[i], fields[i+1])
	}
	req := httptest.NewRequest("POST", path, strings.NewReader(q.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func (v *visitor) do(req *http.Request, headers ...string) *httptest.ResponseRecorder {
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	for _, k := range v.cookies {
		req.AddCookie(k)
	}
	w := httptest.NewRecorder()
	v.h.ServeHTTP(w, req)
	for _, k := range w.Result().Cookies() {
		if v.cookies[k.Name] = k; k.MaxAge < 0 {
			delete(v.cookies, k.Name)
		}
	}
	return w
}

// sees wants a page with these texts.
func (v *visitor) sees(path string, texts ...string) string {
	v.t.Helper()
	w := v.get(path)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		v.t.Fatalf("GET %s: %d %s %v", path, w.Code, b, err)
	}
	for _, text := range texts {
		if !strings.Contains(string(b), text) {
			v.t.Errorf("GET %s lacks %q:\n%s", path, text, b)
		}
	}
	return string(b)
}

// leads wants a redirect.
func leads(t testing.TB, w *httptest.ResponseRecorder, to string) {
	t.Helper()
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != to {
		t.Errorf("answer %d to %q, want 303 to %q", w.Code, w.Header().Get("Location"), to)
	}
}
