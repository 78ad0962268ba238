package collector

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/api"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/report"
	"xunjian/pkg/symptom"
)

// court is a collector in a bubble of time in which a history is played: what is observed goes through its board and teller,
// what people do through its desk, whose own loop lets time pass, and what is said of it comes from its API and its monthly
// record. Its day is Monday, 12 October 2026, in Shanghai.
type court struct {
	*testing.T
	*Collector
	dir  string
	day  time.Time
	run  func(func(context.Context) error) // until the end
	end  func()
	lost error // the last act that was refused
}

// courtConfig has a gateway with two services behind it, a host, and a service that is not a key one.
const courtConfig = `
http: {listen: '127.0.0.1:0'}
storage: {reserve_mib: 0}
uplink: {listen: '127.0.0.1:0'}
fleet: {names: [127.0.0.1]}
services:
- {name: gateway, zh: 网关服务, key: true}
- {name: sms, zh: 短信服务, key: true, needs: [gateway]}
- {name: signature, zh: 签章服务, key: true, needs: [gateway]}
- {name: oa, zh: 办公, hosts: [web-1]}
checks:
- {name: gateway, service: gateway, kind: tcp, target: '192.0.2.1:1'}
- {name: sms, service: sms, kind: tcp, target: '192.0.2.1:2'}
- {name: signature, service: signature, kind: tcp, target: '192.0.2.1:3'}
- {name: oa, service: oa, kind: tcp, target: '192.0.2.1:4', slow: 1s}
`

// monday is the day of a court.
var monday = time.Date(2026, 10, 12, 0, 0, 0, 0, beijing)

// hold plays a history in a court whose configuration has these sections too.
func hold(t *testing.T, sections string, play func(*court)) {
	t.Helper()
	holdOn(t, monday, sections, play)
}

// holdOn does so on another day.
func holdOn(t *testing.T, day time.Time, sections string, play func(*court)) {
	t.Helper()
	blank, err := blankData()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := &court{T: t, dir: t.TempDir(), day: day}
		for _, name := range []string{"records.db", "ca.crt", "ca.key"} {
			b, err := os.ReadFile(filepath.Join(blank, "data", name))
			if err != nil {
				t.Fatal(err)
			}
			c.write(filepath.Join("data", name), string(b))
		}
		c.until("08:00")
		c.write("days/2026.json", `{"year":2026,"days":[{"date":"2026-10-13","isOffDay":true},{"date":"2026-10-19","isOffDay":true}]}`)
		c.write("collector.yml", courtConfig+sections)
		c.open()
		defer func() { c.end() }()
		play(c)
	})
}

var beijing = time.FixedZone("Asia/Shanghai", 8*3600)

// blankData is a folder in which a collector has been started once: the first start takes long, for it hashes a password.
var blankData = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "xunjian-court-")
	if err != nil {
		return "", err
	}
	blankDir = dir
	cfg := DefaultConfig()
	cfg.Data = filepath.Join(dir, "data")
	cfg.Fleet.Names, cfg.Storage.ReserveMiB = []string{"127.0.0.1"}, 0
	c, err := New(Options{Config: cfg, HTTP: bufconn.Listen(1), GRPC: bufconn.Listen(1)})
	if err != nil {
		return "", err
	}
	return dir, c.Close()
})

// blankDir is to be removed in the end.
var blankDir string

func (c *court) write(name, text string) {
	c.Helper()
	file := filepath.Join(c.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		c.Fatal(err)
	}
}

// open starts the collector; a second time is a restart.
func (c *court) open() {
	c.Helper()
	file := filepath.Join(c.dir, "collector.yml")
	cfg, err := LoadConfig(file)
	if err != nil {
		c.Fatal(err)
	}
	if c.Collector, err = New(Options{Config: cfg, File: file, HTTP: bufconn.Listen(1), GRPC: bufconn.Listen(1)}); err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.Context())
	var running sync.WaitGroup
	c.run = func(run func(context.Context) error) {
		running.Go(func() {
			if err := run(ctx); err != nil {
				c.Error(err)
			}
		})
	}
	c.run(c.desk.Run)
	c.end = func() {
		cancel()
		running.Wait()
		if err := c.Close(); err != nil {
			c.Error(err)
		}
	}
}

// restart is a collector that was away until a time.
func (c *court) restart(clock string) {
	c.Helper()
	c.end()
	c.until(clock)
	c.open()
}

// at is a time of the day, or of so many days later: at("09:00"), at("+1 09:00:00.001").
func (c *court) at(clock string) time.Time {
	c.Helper()
	days := 0
	if rest, later := strings.CutPrefix(clock, "+"); later {
		if _, err := fmt.Sscanf(rest, "%d", &days); err != nil {
			c.Fatal(err)
		}
		_, clock, _ = strings.Cut(rest, " ")
	}
	for _, layout := range []string{"15:04", "15:04:05", "15:04:05.000"} {
		if t, err := time.Parse(layout, clock); err == nil {
			y, m, d := c.day.AddDate(0, 0, days).Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), beijing)
		}
	}
	c.Fatalf("no time: %q", clock)
	return time.Time{}
}

// until lets time pass.
func (c *court) until(clock string) {
	c.Helper()
	if left := time.Until(c.at(clock)); left < 0 {
		c.Fatalf("%s is past at %s", clock, time.Now().In(beijing))
	} else {
		time.Sleep(left)
	}
	synctest.Wait()
}

// round is an agent's word on a service's check.
func (c *court) round(service string, o check.Outcome, took time.Duration) {
	now := time.Now()
	a := check.Attempt{Start: now, Duration: took, Outcome: o}
	if o == check.Fail {
		a.Class, a.Reason = check.ClassConnect, "refused"
	}
	res := check.Result{Check: service, Service: service, Target: "x", At: now, Attempts: []check.Attempt{a, a, a}}
	c.teller.tell(c.Context(), c.board.Observe(now, "host-1", res))
}

// fails sees a service fail at a time: urgent of a key service, general of another.
func (c *court) fails(clock, service string) incident.Record {
	c.Helper()
	c.until(clock)
	c.round(service, check.Fail, time.Millisecond)
	return c.newest(service)
}

// works sees it work from a time on, in as many rounds as a recovery wants.
func (c *court) works(clock, service string) {
	c.Helper()
	c.until(clock)
	c.good(service, 5)
}

// blip is a round that was good only when it was asked again.
func (c *court) blip(service string) {
	now := time.Now()
	fail := check.Attempt{Start: now, Duration: time.Millisecond, Outcome: check.Fail, Class: check.ClassConnect, Reason: "refused"}
	fine := check.Attempt{Start: now, Duration: time.Millisecond, Outcome: check.OK}
	res := check.Result{Check: service, Service: service, Target: "x", At: now, Attempts: []check.Attempt{fail, fine, fine}}
	c.teller.tell(c.Context(), c.board.Observe(now, "host-1", res))
}

// good sees so many good rounds, a second apart.
func (c *court) good(service string, rounds int) {
	for range rounds {
		c.round(service, check.OK, time.Millisecond)
		time.Sleep(time.Second)
	}
	synctest.Wait()
}

// sees tells a finding of its own making, of which the first sample may be older.
func (c *court) sees(clock, since string, s symptom.Symptom) incident.Record {
	c.Helper()
	c.until(clock)
	s.Source, s.At, s.Since, s.Firing = cmp.Or(s.Source, symptom.FromProbe), time.Now(), c.at(since), true
	c.teller.tell(c.Context(), []symptom.Symptom{s})
	return c.newest(s.Service)
}

// ends tells the end of such a finding.
func (c *court) ends(clock string, s symptom.Symptom) {
	c.Helper()
	c.until(clock)
	s.Source, s.At, s.Since = cmp.Or(s.Source, symptom.FromProbe), time.Now(), time.Now()
	c.teller.tell(c.Context(), []symptom.Symptom{s})
}

// newest is the service's latest incident.
func (c *court) newest(service string) incident.Record {
	c.Helper()
	all, err := c.desk.List(incident.Filter{Service: service})
	if err != nil {
		c.Fatal(err)
	}
	if len(all) == 0 {
		return incident.Record{}
	}
	return all[0]
}

// by is a person's act at a time.
func (c *court) by(clock, note string) incident.Act {
	c.Helper()
	c.until(clock)
	return incident.Act{Person: "驻点", Note: note, Via: "cli", At: time.Now()}
}

// did keeps why an act was refused; whoever plays a history says whether that is right.
func (c *court) did(_ incident.Record, err error) { c.lost = err }

func (c *court) ack(clock, id string) {
	c.Helper()
	if _, err := c.desk.Ack(id, c.by(clock, "")); err != nil {
		c.Fatal(err)
	}
}

// filed writes down cause and handling and party A's word.
func (c *court) filed(clock, id string, category incident.Category) {
	c.Helper()
	a := c.by(clock, "")
	if _, err := c.desk.Archive(id, a, incident.Account{Cause: "查明", Category: category, Handling: "已处理", PartyA: "王主任"}); err != nil {
		c.Fatal(err)
	}
}

// record is the month's record as its file has it.
func (c *court) record(month string) report.Model {
	c.Helper()
	b, err := c.reports().Report(c.Context(), month, "json", "zh-CN")
	if err != nil {
		c.Fatal(err)
	}
	var m report.Model
	if err := json.Unmarshal(b, &m); err != nil {
		c.Fatal(err)
	}
	return m
}

// text is all that the month's file says in words.
func (c *court) text(month, format, lang string) string {
	c.Helper()
	b, err := c.reports().Report(c.Context(), month, format, lang)
	if err != nil {
		c.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		c.Fatal(err)
	}
	var out strings.Builder
	for _, name := range []string{"word/document.xml", "xl/sharedStrings.xml"} {
		if part, err := fs.ReadFile(z, name); err == nil {
			out.Write(part)
		}
	}
	return out.String()
}

// told is an incident as the API tells it.
func (c *court) told(id string) (out api.Incident) {
	c.Helper()
	req := httptest.NewRequest("GET", "/api/v1/incidents/"+id, nil)
	req.URL.Path = api.Prefix + "/incidents/" + id
	req.Header.Set("Authorization", "Bearer "+c.ControlToken())
	w := httptest.NewRecorder()
	c.web.Handler.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		c.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		c.Fatal(err)
	}
	return out
}

// verdict is what the month's record says of each incident, by the start of its clocks: service, level, how it kept its
// deadlines, and what it costs.
func (c *court) verdict(month string) string {
	c.Helper()
	m := c.record(month)
	var out []string
	for i, f := range append(m.Faults, m.Warnings...) {
		line := fmt.Sprintf("%s %s %s", f.Service, f.Level, f.Late())
		if i >= len(m.Faults) {
			line = "aside: " + line // 3.3
		}
		if i := slices.IndexFunc(m.Score.Lines, func(l report.ScoreLine) bool { return l.Case == f.ID }); i >= 0 {
			line += " costs " + m.Score.Lines[i].Points.String()
		}
		out = append(out, line)
		c.same(f)
	}
	return strings.Join(out, "; ")
}

// same holds the record's row against the API, and both against the events alone (R20).
func (c *court) same(f report.Fault) {
	c.Helper()
	_, events, err := c.desk.Get(f.ID)
	if err != nil {
		c.Fatal(err)
	}
	folded, err := incident.Fold(events)
	if err != nil {
		c.Fatal(err)
	}
	clocks := folded.Clocks(time.Now())
	row, told := slices.Clone(f.Breaches), slices.Clone(c.told(f.ID).Breaches)
	want := slices.Clone(clocks.Breaches)
	for _, list := range [][]contract.Breach{row, told, want} {
		slices.SortFunc(list, func(a, b contract.Breach) int {
			return cmp.Or(cmp.Compare(a.Clock, b.Clock), a.At.Compare(b.At), cmp.Compare(a.Level, b.Level))
		})
		for i := range list {
			list[i].At = list[i].At.UTC()
		}
	}
	if !slices.Equal(row, want) || !slices.Equal(told, want) {
		c.Errorf("%s missed %v by its events, %v in the record, %v by the API", f.ID, want, row, told)
	}
	if f.Net.Known && (f.Net.Value != clocks.Recovery.Net || f.Raw.Value != clocks.Recovery.Raw || f.Paused != clocks.Recovery.Paused) {
		c.Errorf("%s took %v of %v in the record, %v of %v by its events", f.ID, f.Net.Value, f.Raw.Value, clocks.Recovery.Net, clocks.Recovery.Raw)
	}
}

// kinds are an incident's events but those that say nothing of its life.
func (c *court) kinds(id string) string {
	c.Helper()
	_, events, err := c.desk.Get(id)
	if err != nil {
		c.Fatal(err)
	}
	var out []string
	for _, e := range events {
		if e.Kind != incident.EventSeen && e.Kind != incident.EventTold && e.Kind != incident.EventWarned {
			out = append(out, string(e.Kind))
		}
	}
	return strings.Join(out, " ")
}
