package console

import (
	"context"
	"net/http"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/channel"
	"xunjian/pkg/check"
	"xunjian/pkg/fleet"
	"xunjian/pkg/heartbeat"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/pager"
	"xunjian/pkg/roster"
)

// night is 03:07 of a Saturday in December, when much is wrong at once.
var night = time.Date(2026, 12, 4, 19, 7, 0, 0, time.UTC)

// beats are receivers of heartbeats in a state that they can be in.
type beats []heartbeat.State

func (b beats) States() []heartbeat.State { return b }
func (b beats) Now(_ context.Context, name, _ string) ([]heartbeat.State, error) {
	for _, s := range b {
		if s.Name == name {
			return b, nil
		}
	}
	return nil, heartbeat.ErrUnknown
}

// ways are channels in a state that they can be in.
type ways struct {
	names   []string
	pending *[]pager.Pending
}

func (w ways) Channels() []string                    { return w.names }
func (w ways) Undelivered() ([]pager.Pending, error) { return *w.pending, nil }
func (w ways) Test(_ context.Context, name, _ string, _ ...channel.Person) ([]pager.Tested, error) {
	if name != "" && name != "duty-desk" && name != "old-robot" {
		return nil, pager.ErrNoChannel
	}
	return []pager.Tested{
		{Channel: "duty-desk", Answer: "ok", Took: 230 * time.Millisecond},
		{Channel: "old-robot", Error: "answered 410 Gone: robot was removed <b>", Took: 1200 * time.Millisecond},
	}, nil
}

// atNight is a console on which a service is down and nobody has taken it on, a receiver takes no pages, a heartbeat is not
// taken, next year's holidays are not announced, a line has nobody, a window is on and another one is over.
func atNight(t *testing.T) (r *rig, id string) {
	t.Helper()
	person := func(name, duty, phone string) roster.Person {
		return roster.Person{Name: name, Duty: duty, Phone: phone}
	}
	var pending []pager.Pending
	refused := heartbeat.State{
		Name: "watch", Kind: heartbeat.HTTP, Every: time.Minute, At: night.Add(-20 * time.Second), Taken: night.Add(-26 * time.Minute), Error: "HTTP 503: upstream is away", Cause: heartbeat.Refused,
	}
	warnings := func(_ time.Time, p *i18n.Printer) []string {
		return []string{
			p.T("collector.no_notice", "year", "2027"),
			p.T("collector.heart_failing", "name", "watch", "why", refused.Explain(p)),
		}
	}
	r = newRig(t, rostered(t, roster.Config{
		Shifts: []roster.Shift{
			{Name: "驻点白班", People: []string{"张工", "李工"}, Start: "2026-01-05", Days: 1, Hours: []string{"08:00-20:00"}},
			{Name: "驻点夜班", People: []string{"李工", "张工"}, Start: "2026-01-05", Days: 1, Hours: []string{"22:00-08:00"}, Remote: true},
			{Name: "二线", Line: roster.Second, People: []string{"赵工"}, Start: "2026-01-05"},
		},
		Important: []roster.Period{{Name: "全省会议", From: night.Add(time.Hour), To: night.Add(25 * time.Hour), Shift: 12 * time.Hour, People: []string{"张工", "李工"}}},
	}, person("张工", "resident", "13800000001"), person("李工", "resident", "13800000002"), person("赵工", "second", "13800000003"), person("王经理", "manager", "13800000004"), person("张 lead", "", "")),
		func(o *Options) {
			o.Now = func() time.Time { return night }
			o.Windows = o.Desk.(*incident.Desk)
			o.Pages = ways{[]string{"duty-desk", "old-robot"}, &pending}
			o.Hearts = beats{
				refused,
				{Name: "alertmanager", Kind: heartbeat.Alertmanager, Every: time.Minute, At: night.Add(-20 * time.Second), Taken: night.Add(-20 * time.Second)},
			}
			o.Warnings = warnings
			o.Ill = func(p *i18n.Printer) string {
				return p.T("collector.ill", "hearts", p.T("collector.ill_withheld", "names", "watch"), "error", "no space left on device")
			}
		})
	act := func(at time.Time, note string) incident.Act {
		return incident.Act{Person: "王经理", Note: note, Via: "console", At: at}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.desk.Plan(act(night.Add(-26*time.Hour), ""), incident.Window{Services: []string{"sms"}, From: night.Add(-25 * time.Hour), To: night.Add(-24 * time.Hour), Reason: "短信网关升级", PartyA: "王处长", Approval: "变更-6"}))
	over, err := r.desk.Plan(act(night.Add(-2*time.Hour), ""), incident.Window{Hosts: []string{"vm"}, From: night.Add(2 * time.Hour), To: night.Add(3 * time.Hour), Reason: "更换硬盘 <b>", PartyA: "王处长"})
	must(nil, err)
	must(r.desk.CancelWindow(over.ID, act(night.Add(-time.Hour), "备件未到")))
	must(r.desk.Plan(act(night.Add(-40*time.Minute), ""), incident.Window{Services: []string{"gateway"}, From: night.Add(-30 * time.Minute), To: night.Add(90 * time.Minute), Reason: "网关换证书", PartyA: "王处长", Override: "证书当日到期"}))
	r.round(night.Add(-5*time.Second), "signature", check.Fail, check.ClassTimeout)
	r.round(night.Add(-5*time.Second), "sms", check.OK, "")
	rec := r.breaks(night.Add(-3*time.Minute), "signature", "超时无应答")
	r.agents = []fleet.Agent{{Name: "vm", LastHeard: night.Add(-3 * time.Second)}}
	r.unsent = []pager.Pending{
		{Channel: "old-robot", Page: incident.Page{Record: rec, At: night.Add(-3 * time.Minute)}, Tries: 6, NextTry: night.Add(40 * time.Second), Answer: "410 Gone: robot was removed"},
		{Channel: "duty-desk", Page: incident.Page{Record: rec, At: night}, Tries: 0},
	}
	pending = r.unsent
	if _, err := r.o.Duty.Override(night.Add(-time.Hour), "王经理", roster.Override{Line: roster.Resident, Person: "张工", From: night.Add(-time.Hour), To: night.Add(4 * time.Hour), Reason: "李工发烧"}); err != nil {
		t.Fatal(err)
	}
	return r, rec.ID
}

// TestPagesAtNight holds the board with all its banners, the roster, the planned windows and the channels to their golden
// files, as a lead sees them who may do everything there.
func TestPagesAtNight(t *testing.T) {
	r, _ := atNight(t)
	who := access.Identity{Person: "张 lead", Login: "lead", Role: access.Lead}
	r.lastTest.at, r.lastTest.by = night.Add(-time.Minute), "张工"
	r.lastTest.tests, _ = r.o.Pages.Test(t.Context(), "", "张工")
	for _, lang := range i18n.Languages {
		golden(t, "night."+lang+".html", r.render(lang, "board-part", func(req *http.Request) any {
			v, err := r.Console.board(req, who, night)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}))
		golden(t, "duty."+lang+".html", r.render(lang, "duty-part", func(req *http.Request) any { return r.dutyPage(r.frame(req, who, night), nil) }))
		golden(t, "windows."+lang+".html", r.render(lang, "windows-part", func(req *http.Request) any { return r.windowsPage(r.frame(req, who, night), nil) }))
		golden(t, "channels."+lang+".html", r.render(lang, "channels-part", func(req *http.Request) any {
			v, err := r.channelsPage(r.frame(req, who, night))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}))
	}
}

// A heartbeat is sent out of turn by who may act, in that name, and to a receiver that there is.
func TestBeatByHand(t *testing.T) {
	r, _ := atNight(t)
	viewer, engineer := r.as(access.Viewer), r.as(access.Engineer)
	viewer.sees("/channels", "采集端自身的心跳", "未送达", "26 分钟前最后接收")
	engineer.sees("/channels", `action="/channels/heartbeat"`)
	if w := viewer.post("/channels/heartbeat", "receiver", "watch"); w.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", w.Code)
	}
	if w := engineer.post("/channels/heartbeat", "receiver", "nobody"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("nobody: %d", w.Code)
	}
	leads(t, engineer.post("/channels/heartbeat", "receiver", "watch"), "/channels")
}
