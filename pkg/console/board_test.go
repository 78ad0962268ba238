package console

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/access"
	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/metric"
	"xunjian/pkg/pager"
	"xunjian/pkg/query"
	"xunjian/pkg/symptom"
)

var update = flag.Bool("update", false, "write the golden files anew")

// t0 is when the story of the golden files begins: 09:00 in Shanghai.
var t0 = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -update when this is meant): %s", name, diff)
	}
}

// story is a rig two minutes after a service broke and a minute after somebody took it on, with a hostile text beside it.
func story(t *testing.T) (r *rig, id string) {
	t.Helper()
	r = newRig(t)
	now := t0.Add(2 * time.Minute)
	r.round(now, "gateway", check.OK, "")
	r.round(now, "signature", check.Fail, check.ClassTimeout)
	rec := r.breaks(t0, "signature", "超时无应答")
	if _, err := r.desk.Ack(rec.ID, incident.Act{Person: "驻点", Note: "正在查看", Via: "console", At: t0.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	r.breaks(t0.Add(90*time.Second), "gateway", "<b>HTTP 500</b> \u202etxt.exe\x1b[31m")
	r.agents = []fleet.Agent{{Name: "vm", LastHeard: now.Add(-3 * time.Second)}, {Name: "gone", LastHeard: now.Add(-2 * time.Hour), Silent: true}, {Name: "new"}, {Name: "maintained", LastHeard: now.Add(-20 * time.Minute), LeftAt: now.Add(-20 * time.Minute), LeftBy: "SIGTERM", Silent: true, Host: fleet.Alive}, {Name: "revoked", RevokedAt: t0}}
	r.unsent = []pager.Pending{{Tries: 2}, {Tries: 0}}
	return r, rec.ID
}

func (r *rig) render(lang, name string, view func(*http.Request) any) string {
	r.t.Helper()
	var b bytes.Buffer
	if err := r.pages.ExecuteTemplate(&b, name, view(httptest.NewRequest("GET", "/?lang="+lang, nil))); err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

func TestPages(t *testing.T) {
	r, id := story(t)
	who := access.Identity{Person: "二线", Login: "lisi", Role: access.Engineer}
	for _, lang := range i18n.Languages {
		now := t0.Add(2 * time.Minute)
		golden(t, "board."+lang+".html", r.render(lang, "board-part", func(req *http.Request) any {
			v, err := r.Console.board(req, who, now)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}))
		golden(t, "incident."+lang+".html", r.render(lang, "incident-part", func(req *http.Request) any {
			rec, events, err := r.desk.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			v := r.incidentPage(r.frame(req, who, now), rec, events)
			v.Deeds = r.deeds(v.frame, rec, outcome{})
			return v
		}))
	}
}

// Clocks that run show their deadline to browsers without scripts; those that stopped say how it ended.
func TestClocks(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(t0, "signature", "HTTP 500")
	get := func() card {
		t.Helper()
		rec, _, err := r.desk.Get(rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		return r.card(r.frame(httptest.NewRequest("GET", "/", nil), access.Identity{Role: access.Engineer}, t0.Add(11*time.Minute)), rec)
	}
	want := clock{Has: true, Running: true, Due: t0.Add(10 * time.Minute).In(shanghai), Late: true, Took: "11:00", Left: "超时 1:00", Spent: "已用 110%（11:00 / 10:00）", Used: 100}
	if diff := cmp.Diff(want, get().Response); diff != "" {
		t.Errorf("late and running: %s", diff)
	}
	if _, err := r.desk.Ack(rec.ID, incident.Act{Person: "驻点", At: t0.Add(9 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	want = clock{Has: true, Due: want.Due, Took: "9:00"}
	if diff := cmp.Diff(want, get().Response); diff != "" {
		t.Errorf("acknowledged in time: %s", diff)
	}
	want = clock{Has: true, Running: true, Due: t0.Add(4 * time.Hour).In(shanghai), Took: "11:00", Left: "剩余 3:49:00", Spent: "已用 4%（11:00 / 4:00:00）", Used: 4}
	if diff := cmp.Diff(want, get().Recovery); diff != "" {
		t.Errorf("recovery: %s", diff)
	}
}

func TestUrgency(t *testing.T) {
	acked := time.Now()
	order := []incident.Record{
		{Level: contract.Urgent, ResponseDue: acked},
		{Level: contract.General, ResponseDue: acked},
		{Level: contract.Urgent, ResponseDue: acked, AckAt: acked},
		{Level: contract.General, ResponseDue: acked, AckAt: acked},
		{Level: contract.Minor},
		{Level: contract.Minor, AckAt: acked},
	}
	if !slices.IsSortedFunc(order, func(a, b incident.Record) int { return urgency(b) - urgency(a) }) {
		t.Error("what must be done first does not come first")
	}
	for i := range order[1:] {
		if urgency(order[i]) == urgency(order[i+1]) {
			t.Errorf("%d and %d are equal", i, i+1)
		}
	}
}

func TestBoardIsBounded(t *testing.T) {
	r := newRig(t)
	for i := range maxShown + 7 {
		if _, err := r.desk.Open(incident.Act{Person: "驻点"}, incident.Opening{Service: fmt.Sprint("s", i), Level: contract.Minor, Detail: "x", Reporter: "二线"}); err != nil {
			t.Fatal(err)
		}
	}
	page := r.as(access.Viewer).sees("/", "另有 7 起未恢复故障未列出", fmt.Sprintf("(%d)", maxShown+7))
	if n := strings.Count(page, `<li id="INC-`); n != maxShown {
		t.Errorf("%d incidents are shown", n)
	}
}

// The board's storm is the desk's.
func TestBoardShowsTheStorm(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	viewer := r.as(access.Viewer)
	for n := range incident.StormOf {
		if page := viewer.sees("/"); strings.Contains(page, `id="storm"`) {
			t.Fatalf("%d incidents are shown as a storm", n)
		}
		at := now.Add(time.Duration(n) * time.Millisecond)
		if _, _, err := r.desk.Observe(at, symptom.Symptom{
			Source: symptom.FromFleet, Service: "host", Component: fmt.Sprint("web-", n), Class: symptom.Silent, Level: contract.General, Firing: true, Since: at, At: at,
		}); err != nil {
			t.Fatal(err)
		}
	}
	viewer.sees("/", fmt.Sprintf(`id="storm">五分钟内新增 %d 起故障`, incident.StormOf))
}

func TestBoardShowsWhatIsUsual(t *testing.T) {
	r := newRig(t)
	r.round(time.Now(), "gateway", check.OK, "")
	r.as(access.Viewer).sees("/", "<small>响应 12 ms</small>")
	r.board.Usual(func(name, agent, _ string, _ time.Time) (time.Duration, bool) {
		return 9 * time.Millisecond, name == "gateway-health" && agent == "vm"
	})
	r.as(access.Viewer).sees("/", "<small>响应 12 ms（此时段平时 9 ms）</small>")
}

func TestRecoveredWaitsForItsAccount(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "sms", "HTTP 500")
	r.mend(rec.ID)
	page := r.as(access.Engineer).sees("/", "没有未恢复的故障", "待甲方确认并归档", "/incidents/"+rec.ID)
	if strings.Contains(page, "/ack") {
		t.Error("what is over can be acknowledged")
	}
}

// A collector that is not well cannot say that all is.
func TestIllIsNotCalm(t *testing.T) {
	ill := ""
	r := newRig(t, func(o *Options) { o.Ill = func(*i18n.Printer) string { return ill } })
	r.as(access.Viewer).sees("/", "没有未恢复的故障")
	ill = "采集端运行不正常"
	if page := r.as(access.Viewer).sees("/", ill, "此刻有无新故障无法确认"); strings.Contains(page, "没有未恢复的故障") {
		t.Error("all is said to be well, too")
	}
}

func TestHosts(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	r.reads(now, "vm")
	r.agents = []fleet.Agent{{Name: "vm", LastHeard: now}}
	r.as(access.Viewer).sees("/", "60%", "20%", "96%", "<small>/data</small>", "1.50", `class="down"`)
	r.agents[0].Silent, r.agents[0].LastHeard = true, now.Add(-5*time.Minute)
	page := r.as(access.Viewer).sees("/", "失联，5 分钟前最后上报", "无数据")
	_, hosts, _ := strings.Cut(page, "s-hosts")
	if n := strings.Count(hosts, "无数据"); n != 4 || strings.Contains(page, "60%") {
		t.Errorf("a silent host shows %d times 无数据 and maybe old readings:\n%s", n, page)
	}
}

func TestShares(t *testing.T) {
	for v, want := range map[float64]share{-0.1: {true, 0}, 0: {true, 0}, 84: {true, 84}, 101: {true, 100}, math.Inf(1): {}, math.Inf(-1): {}} {
		if got := (readings{"a": {Series: metric.Series{}, Value: v}}).share("a"); got != want {
			t.Errorf("%v shows as %v, want %v", v, got, want)
		}
	}
	if (readings{"a": {Value: math.NaN()}}).share("a").Has || readings(nil).share("a").Has {
		t.Error("no number shows as one")
	}
	for v, want := range map[share]string{{}: "unknown", {true, 84.9}: "ok", {true, 85}: "slow", {true, 95}: "down"} {
		if v.Grade() != want {
			t.Errorf("%v is %s, want %s", v, v.Grade(), want)
		}
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 2*time.Hour + time.Minute: "2 h", 72 * time.Hour: "3 d"} {
		if got := ageOf(i18n.For("en"), d); got != want {
			t.Errorf("%v shows as %s, want %s", d, got, want)
		}
	}
}

// What cannot be read hides nothing else.
func TestBoardOutlivesItsParts(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "signature", "HTTP 500")
	r.agents = []fleet.Agent{{Name: "vm", LastHeard: time.Now()}}
	r.broken = errors.New("disk fell off")
	r.Console.o.Query = query.New(query.Options{Store: r.series, Config: query.Config{MaxSamples: 1, Timeout: time.Nanosecond, Concurrency: 1, Lookback: time.Minute}})
	r.as(access.Engineer).sees("/", rec.ID, "无数据", "vm")
	if text := r.log.String(); !strings.Contains(text, "disk fell off") || !strings.Contains(text, "read figure") {
		t.Errorf("the log does not say what is missing: %s", text)
	}
}

func TestEveryWordIsThere(t *testing.T) {
	keys := []string{}
	for _, k := range incident.EventKinds {
		keys = append(keys, "incident.event."+string(k))
	}
	for _, s := range incident.States {
		keys = append(keys, "incident.state."+string(s))
	}
	for _, s := range []inspect.State{inspect.OK, inspect.Slow, inspect.Partial, inspect.Down, inspect.Unknown} {
		keys = append(keys, "console.state."+string(s))
	}
	for _, f := range []string{
		"state", "fault_start", "detected_at", "reported_at", "response_due", "acked", "recovery_due", "recovered_at", "cause", "handling", "closed", "level",
		"confirmed", "proposal", "extended", "workaround", "impact", "category", "prevention", "excused",
	} {
		keys = append(keys, "collector.field."+f)
	}
	for name := range figures {
		keys = append(keys, "console."+name)
	}
	for _, lang := range i18n.Languages {
		for _, k := range keys {
			if !i18n.For(lang).Has(k) {
				t.Errorf("%s: no text for %s", lang, k)
			}
		}
	}
}

// The whole life of an incident stands on its page.
func TestIncidentWhole(t *testing.T) {
	r := newRig(t)
	rec, err := r.desk.Open(noteOf("来电"), incident.Opening{Service: "sms", Level: contract.Urgent, Detail: "短信收不到", Reporter: "甲方 用户"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() (incident.Record, error){
		func() (incident.Record, error) { return r.desk.Ack(rec.ID, noteOf("收到")) },
		func() (incident.Record, error) {
			return r.desk.SetLevel(rec.ID, noteOf("影响很小"), incident.Grading{Level: contract.General, PartyA: "主管"})
		},
		func() (incident.Record, error) {
			return r.desk.Resolve(rec.ID, noteOf("已核对"), incident.Account{Cause: "通道欠费", Handling: "充值"})
		},
		func() (incident.Record, error) {
			return r.desk.Archive(rec.ID, noteOf("结案"), incident.Account{Category: incident.ThirdParty, PartyA: "王处", Cause: "通道欠费", Handling: "充值"})
		},
	} {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	v := r.as(access.Viewer)
	v.sees("/incidents/"+rec.ID, "短信收不到", "甲方 用户", "收到", "影响很小", "主管", "通道欠费", "充值", "结案", "已归档", "级别：一般", "命令行")
	v.sees("/incidents/"+rec.ID+"?lang=en", "consent", "closed", "command line")
}

// The step that failed stands on the board, in the reader's language, beside those that did not and what is about to end.
func TestBoardShowsSteps(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	a := check.Attempt{
		Start: now, Duration: 3 * time.Second, Outcome: check.Fail, Class: check.ClassContent, Reason: "seen", Trouble: check.Wrong,
		Steps: []check.Step{
			{Name: "login", Outcome: check.OK, Duration: 120 * time.Millisecond},
			{Name: "verify", Outcome: check.Fail, Class: check.ClassContent, Duration: 30 * time.Millisecond, Reason: `expect[0]: value {{ <b> }} is "false", want "true"`},
		},
		Findings: []check.Finding{{Name: "certificate", Level: "minor", Reason: "certificate of a.cn ends 2026-12-20, 29 days left"}},
	}
	r.board.Observe(now, "vm", check.Result{Check: "signature-health", Service: "signature", At: now, Attempts: []check.Attempt{a, a, a}})
	v := r.as(access.Viewer)
	for lang, wants := range map[string][]string{
		"zh-CN": {"signature-health 的步骤", "步骤 verify：应答内容不符", "证书：a.cn 的证书将于 2026-12-20 到期，还剩 29 天", "<b>login</b> <span>正常</span> <small>120 ms</small>", "值 {{ &lt;b&gt; }} 为"},
		"en":    {"Steps of signature-health", "step verify: wrong content", "certificate: certificate of a.cn ends 2026-12-20, 29 days left", "<b>verify</b> <span>failed</span> <small>30 ms · expect[0]: value"},
	} {
		page := v.get("/?lang=" + lang).Body.String()
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the board does not say %q", lang, want)
			}
		}
	}
}
