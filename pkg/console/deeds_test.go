package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/deed"
	"xunjian/pkg/fleet"
	"xunjian/pkg/incident"
	"xunjian/pkg/pager"
	"xunjian/pkg/roster"
	"xunjian/pkg/symptom"
)

// The whole life of an incident by plain posts, as from a browser without scripts: each act leads back to the page, on which the
// next is open.
func TestLifeByForms(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "signature", "HTTP 500")
	page := "/incidents/" + rec.ID
	engineer, lead := r.as(access.Engineer), r.as(access.Lead)
	open := func(name string) string { return `id="d-` + name + `" open` }
	do := func(v *visitor, name string, state incident.State, fields ...string) {
		t.Helper()
		leads(t, v.post(page+"/"+name, append([]string{"from", page}, fields...)...), page)
		if got, _, err := r.desk.Get(rec.ID); err != nil || got.State != state {
			t.Fatalf("after %s: %s %v", name, got.State, err)
		}
	}
	do(engineer, "ack", incident.Acknowledged)
	engineer.sees(page, open("diagnose"), `aria-current="step"><b>已响应</b>`, "剩余")
	do(engineer, "diagnose", incident.Diagnosing, "note", "证书过期")
	engineer.sees(page, open("propose"), "证书过期")
	do(engineer, "propose", incident.Awaiting, "measure", "换证", "risk", "中断一分钟", "rollback", "换回")
	engineer.sees(page, open("decide"), "‖ 剩余", "等待甲方同意", "措施：换证", "待甲方同意")
	engineer.sees("/", "待甲方同意")
	do(engineer, "decide", incident.Handling, "consent", "yes", "party_a", "王处")
	engineer.sees(page, open("handle"), "王处 同意")
	do(engineer, "handle", incident.Handling, "action", "已换证")
	do(engineer, "resolve", incident.Recovered, "cause", "证书过期", "category", "configuration", "handling", "换证", "declare", "true", "note", "监测误报")
	engineer.sees(page, open("confirm"))
	do(engineer, "confirm", incident.Confirmed, "party_a", "王处")
	if strings.Contains(engineer.sees(page, "甲方不予确认"), "/archive") {
		t.Error("an engineer may archive")
	}
	lead.sees(page, open("archive"), ">证书过期</textarea>", `value="configuration" selected`)
	do(lead, "archive", incident.Archived, "prevention", "提前提醒")
	lead.sees(page, "提前提醒", "王处", `aria-current="step"><b>已归档</b>`)
	for _, text := range []string{"/ack", "/propose", "/confirm"} {
		if strings.Contains(lead.sees(page), page+text+`"`) {
			t.Errorf("what is filed still offers %s", text)
		}
	}
}

// What a person wrote is not lost when it is refused, and the refusal says what to do.
func TestRefusedFormKeepsItsText(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "signature", "HTTP 500")
	page := "/incidents/" + rec.ID
	v := r.as(access.Engineer)
	w := v.post(page+"/propose", "from", page, "measure", "换证 <b>", "risk", "很小", "rollback", "")
	if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, ">换证 &lt;b&gt;</textarea>") || !strings.Contains(body, "请填写回退办法") || !strings.Contains(body, `id="d-propose" open`) {
		t.Errorf("%d %s", w.Code, body)
	}
	if _, err := r.desk.Ack(rec.ID, incident.Act{Person: "李工"}); err != nil {
		t.Fatal(err)
	}
	w = v.post(page+"/resolve", "from", page, "version", "1", "cause", "原因甲", "handling", "处理乙")
	if body := w.Body.String(); w.Code != http.StatusConflict || !strings.Contains(body, ">原因甲</textarea>") || !strings.Contains(body, "已由 李工 于") {
		t.Errorf("on a version that has passed: %d %s", w.Code, body)
	}
	w = v.post(page+"/arrive", "from", page, "at", "2026-13-01T00:00")
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "时间格式不对") {
		t.Errorf("a time that is none: %d", w.Code)
	}
	if w = v.post(page+"/explode", "from", page); w.Code != http.StatusNotFound {
		t.Errorf("a deed that is not there: %d", w.Code)
	}
}

// Each deed is done only by roles that may, whatever a form says.
func TestDeedRoles(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "signature", "HTTP 500")
	for _, role := range access.Roles {
		v := r.as(role)
		for _, d := range deed.Deeds {
			w := v.post("/incidents/"+rec.ID+"/"+d.Name, "from", "/incidents/"+rec.ID)
			allowed := access.Allow(access.Identity{Role: role}, d.Rule) == nil
			if (w.Code == http.StatusForbidden) == allowed {
				t.Errorf("%s as %s: %d", d.Name, role, w.Code)
			}
		}
	}
}

// A false alarm takes two: who said so first is not offered the second word.
func TestFalseAlarmByTwo(t *testing.T) {
	r := newRig(t)
	rec := r.breaks(time.Now(), "signature", "HTTP 500")
	page := "/incidents/" + rec.ID
	first, second := r.as(access.Engineer), r.as(access.Lead)
	leads(t, first.post(page+"/doubt", "from", page, "note", "演练"), page)
	if body := first.sees(page, "张 engineer 提出误报，待第二人确认"); strings.Contains(body, page+"/dismiss") {
		t.Error("the first person is offered the second word")
	}
	second.sees(page, `id="d-dismiss" open`)
	leads(t, second.post(page+"/dismiss", "from", page), page)
	second.sees(page, "误报", "张 lead")
}

// What is listed under another leads there, and the other lists it.
func TestChildren(t *testing.T) {
	r := newRig(t)
	a, b := r.breaks(time.Now(), "gateway", "HTTP 502"), r.breaks(time.Now(), "sms", "HTTP 502")
	v := r.as(access.Engineer)
	leads(t, v.post("/incidents/"+b.ID+"/merge", "from", "/incidents/"+b.ID, "into", a.ID, "note", "同一原因"), "/incidents/"+b.ID)
	v.sees("/incidents/"+b.ID, "已并入", `href="/incidents/`+a.ID+`"`, `id="d-split"`)
	v.sees("/incidents/"+a.ID, "并入的故障", b.ID)
	v.sees("/", "同一原因的故障 1 起", `id="c-`+a.ID)
}

// The host of an incident is drawn around the fault, without a script.
func TestCurves(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	r.reads(now, "vm")
	r.agents = []fleet.Agent{{Name: "vm", LastHeard: now}}
	rec, _, err := r.desk.Observe(now, symptom.Symptom{
		Source: symptom.FromRule, Service: "host", Component: "vm /data", Class: symptom.Host, Rule: "DiskFull", Level: contract.Urgent, Detail: "满", Firing: true, Since: now.Add(-time.Minute), At: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	page := r.as(access.Viewer).sees("/incidents/"+rec.ID, "主机曲线", "<polyline points=", `class="fault"`, "内存", "20%")
	if n := strings.Count(page, "<figure>"); n != len(curveFigures) {
		t.Errorf("%d curves are drawn, want %d", n, len(curveFigures))
	}
}

// Who was called, how, and how long it took, stands on the page.
func TestCalls(t *testing.T) {
	var rec incident.Record
	sent := time.Now().Add(-time.Minute)
	r := newRig(t, func(o *Options) {
		o.Calls = func(id string) ([]pager.Call, error) {
			return []pager.Call{
				{Person: "张 engineer", Channel: "sms", Kind: "opened", At: sent, SentAt: sent},
				{Person: "李工", Channel: "voice", Kind: "opened", At: sent, FailedAt: sent, Answer: "busy <b>"},
				{Person: "王经理", Channel: "sms", Kind: "opened", At: sent, DroppedAt: sent},
			}, nil
		}
	})
	rec = r.breaks(time.Now().Add(-2*time.Minute), "sms", "HTTP 500")
	v := r.as(access.Engineer)
	leads(t, v.post("/incidents/"+rec.ID+"/ack", "from", "/incidents/"+rec.ID), "/incidents/"+rec.ID)
	v.sees("/incidents/"+rec.ID, "通知记录", "送达后 1:0", "发送失败", "busy &lt;b&gt;", "已有人响应或已恢复，未发送")
}

// rostered gives a rig a roster.
func rostered(t *testing.T, c roster.Config, people ...roster.Person) func(*Options) {
	return func(o *Options) {
		calendar, err := contract.LoadCalendar(shanghai)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := roster.NewPlan(people, c, calendar, shanghai)
		if err != nil {
			t.Fatal(err)
		}
		duty, err := roster.Open(o.Sessions, plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Duty = duty
	}
}

// The roster by plain posts: who is on duty, an override, its withdrawal, a sign-in, and the warning of a gap.
func TestDuty(t *testing.T) {
	now := time.Now()
	r := newRig(t, rostered(t, roster.Config{
		Shifts:    []roster.Shift{{Name: "白班", People: []string{"张工"}, Start: "2020-01-01", Days: 7}},
		Important: []roster.Period{{Name: "两会", From: now.Add(time.Hour), To: now.Add(25 * time.Hour), Shift: 24 * time.Hour, People: []string{"李工"}}},
	}, roster.Person{Name: "张工", Duty: "resident", Phone: "13800000001"}, roster.Person{Name: "李工", Duty: "resident"}, roster.Person{Name: "张 engineer"}, roster.Person{Name: "张 lead"}))
	viewer, engineer, lead := r.as(access.Viewer), r.as(access.Engineer), r.as(access.Lead)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	viewer.sees("/", "当前值班", "张工", `href="tel:13800000001"`, `href="/duty"`)
	if body := viewer.sees("/duty", "张工", "白班", "两会", "今后三周"); strings.Contains(body, "<form class=") {
		t.Error("a viewer is offered changes")
	}
	if strings.Contains(engineer.sees("/duty", "/duty/swap", "/duty/sign-in"), "/duty/override") {
		t.Error("an engineer may override")
	}
	local := func(t time.Time) string { return t.In(shanghai).Format("2006-01-02T15:04") }
	fields := []string{"from", "/duty", "since", local(now.Add(-time.Minute)), "until", local(now.Add(40 * time.Minute)), "line", "resident", "person", "李工", "reason", "病假"}
	if w := engineer.post("/duty/override", fields...); w.Code != http.StatusForbidden {
		t.Errorf("engineer's override: %d", w.Code)
	}
	w := lead.post("/duty/override", append(fields[:len(fields)-1:len(fields)-1], "")...)
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "请写明事由") || !strings.Contains(w.Body.String(), `id="r-override" open`) || !strings.Contains(w.Body.String(), fields[3]) {
		t.Errorf("without a reason: %d %s", w.Code, w.Body)
	}
	leads(t, lead.post("/duty/override", fields...), "/duty")
	lead.sees("/duty", "病假", "张 lead", "撤回")
	viewer.sees("/", "李工")
	leads(t, lead.post("/duty/withdraw", "seq", "1", "reason", "返岗"), "/duty")
	lead.sees("/duty", "已撤回")
	if w := lead.post("/duty/withdraw", "seq", "99", "reason", "x"); w.Code != http.StatusNotFound {
		t.Errorf("withdraw what is not there: %d", w.Code)
	}
	leads(t, engineer.post("/duty/sign-in", "handover", "无", "zero", "true"), "/duty")
	engineer.sees("/duty", "签到", "零报告")
	if w := lead.post("/duty/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("an act that is not there: %d", w.Code)
	}
}

func TestGapsAreTold(t *testing.T) {
	r := newRig(t, rostered(t, roster.Config{Shifts: []roster.Shift{{Name: "白班", People: []string{"张工"}, Start: "2020-01-01", Days: 7, Hours: []string{"08:00-18:00"}}}},
		roster.Person{Name: "张工", Duty: "resident"}), func(o *Options) {
		o.Warnings = nil
	})
	r.as(access.Viewer).sees("/", "驻点无人值班")
	if w := r.visitor().get("/duty"); w.Code != http.StatusSeeOther {
		t.Errorf("nobody sees the roster: %d", w.Code)
	}
}

// named is a pager with its channels' names.
type named struct {
	*pager.Pager
	names []string
}

func (n named) Channels() []string { return n.names }

func (n named) Undelivered() ([]pager.Pending, error) { return n.Pager.Undelivered(10) }

// The channels page sends a test over a real pager, and shows what each receiver answered to everybody who looks.
func TestChannels(t *testing.T) {
	fine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "收到 <b>") }))
	defer fine.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such robot", http.StatusNotFound) }))
	defer broken.Close()
	cfg := channel.DefaultConfig()
	cfg.Webhooks = []channel.Webhook{{Name: "fine", URL: fine.URL}, {Name: "broken", URL: broken.URL}}
	all, err := cfg.Channels()
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	p, err := pager.New(r.desk, r.db, pager.Options{Channels: all, Location: shanghai})
	if err != nil {
		t.Fatal(err)
	}
	r.Console.o.Pages = named{p, []string{"fine", "broken"}}
	engineer := r.as(access.Engineer)
	engineer.sees("/channels", "fine", "broken", "发送测试通知", "没有未送达的通知")
	leads(t, engineer.post("/channels/test"), "/channels")
	engineer.sees("/channels", "收到 &lt;b&gt;", "已接收", "404", "失败", "张 engineer 于")
	viewer := r.as(access.Viewer)
	if strings.Contains(viewer.sees("/channels", "404"), "/channels/test") {
		t.Error("a viewer is offered a test")
	}
	if w := viewer.post("/channels/test"); w.Code != http.StatusForbidden {
		t.Errorf("a viewer's test: %d", w.Code)
	}
	if w := engineer.post("/channels/test", "channel", "nobody"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a channel that is not there: %d", w.Code)
	}
}

// No template speaks a language of its own.
func TestTemplatesHoldNoWords(t *testing.T) {
	entries, err := os.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile("pages/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(string(b), func(c rune) bool { return c >= 0x4e00 && c <= 0x9fff }); i >= 0 {
			t.Errorf("%s: %s", e.Name(), string(b)[i:min(len(b), i+30)])
		}
	}
}

// Planned windows by plain posts: planned with party A's name, on now, taken back; what is refused keeps its text.
func TestWindows(t *testing.T) {
	r := newRig(t)
	r.Console.o.Windows = r.desk
	viewer, lead := r.as(access.Viewer), r.as(access.Lead)
	if strings.Contains(viewer.sees("/windows", "计划维护"), "<form class=") {
		t.Error("a viewer is offered a plan")
	}
	local := func(d time.Duration) string { return time.Now().Add(d).In(shanghai).Format("2006-01-02T15:04") }
	fields := []string{"from", "/windows", "services", "sms", "since", local(0), "until", local(2 * time.Hour), "reason", "升级 <b>", "approval", "变更-7"}
	if w := viewer.post("/windows/plan", fields...); w.Code != http.StatusForbidden {
		t.Errorf("a viewer's plan: %d", w.Code)
	}
	w := lead.post("/windows/plan", fields...)
	if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, "升级 &lt;b&gt;</textarea>") || !strings.Contains(body, `value="sms" checked`) || !strings.Contains(body, "请填写甲方人员姓名") {
		t.Errorf("without party A: %d %s", w.Code, body)
	}
	leads(t, lead.post("/windows/plan", append(fields, "party_a", "王处")...), "/windows")
	viewer.sees("/windows", "短信服务", "进行中", "升级 &lt;b&gt;", "王处", "变更-7", "张 lead")
	viewer.sees("/windows?lang=en", "on now", "SMS service")
	all := r.desk.Windows(time.Time{}, time.Time{})
	if len(all) != 1 {
		t.Fatal(all)
	}
	if w := lead.post("/windows/cancel", "id", all[0].ID); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("cancelled without a reason: %d", w.Code)
	}
	leads(t, lead.post("/windows/cancel", "id", all[0].ID, "reason", "改期"), "/windows")
	lead.sees("/windows", "已取消", "改期")
	if w := lead.post("/windows/cancel", "id", all[0].ID, "reason", "再来"); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "张 lead") {
		t.Errorf("cancelled twice: %d %s", w.Code, w.Body)
	}
}
