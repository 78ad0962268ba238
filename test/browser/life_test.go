package browser

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// desk is a collector with people, a roster, two channels, of which one refuses, and two receivers of its heartbeat.
type desk struct {
	t                    *testing.T
	b                    *driver
	url, token, password string
	process              *os.Process
	watch                *watch
}

func startDesk(t *testing.T) *desk {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "../../cmd/collector").CombinedOutput(); err != nil {
		t.Fatalf("build collector: %v\n%s", err, out)
	}
	fine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); fmt.Fprint(w, "ok") }))
	t.Cleanup(fine.Close)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "robot was removed", http.StatusGone) }))
	t.Cleanup(refuses.Close)
	watch := newWatch(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	config := filepath.Join(dir, "collector.yml")
	now := time.Now()
	text := fmt.Sprintf(`data: %s
http: {listen: '%s'}
uplink: {listen: '127.0.0.1:0'}
report: {project: 某省协同办公平台运维服务}
services: [{name: printing, zh: 文印服务, en: Printing}]
checks: [{name: printing, service: printing, kind: tcp, target: '127.0.0.1:1'}]
people:
- {name: 张工, duty: resident, phone: '13800000001'}
- {name: 李工, duty: resident, phone: '13800000002'}
- {name: 赵工, duty: second, phone: '13800000003'}
- {name: 王经理, duty: manager, phone: '13800000004'}
- {name: admin}
roster:
  shifts:
  - {name: 驻点白班, people: [张工, 李工], start: 2026-01-05, days: 1, hours: ['08:00-20:00']}
  - {name: 驻点夜班, people: [李工, 张工], start: 2026-01-05, days: 1, hours: ['20:00-08:00'], remote: true}
  important:
  - {name: 全省会议, from: %s, to: %s, people: [李工, 张工]}
pages: {webhooks: [{name: duty-desk, url: '%s'}, {name: old-robot, url: '%s'}]}
rules: {files: [always.yml], interval: 1s}
heartbeat:
- {name: watchtower, url: '%s', every: 1s, timeout: 500ms}
- {name: second-site, url: '%s', every: 1s}
`, filepath.Join(dir, "data"), addr, now.Add(time.Hour).Format(time.RFC3339), now.Add(49*time.Hour).Format(time.RFC3339), fine.URL, refuses.URL, watch.URL, fine.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	always := "groups: [{name: always, rules: [{record: always, expr: vector(1)}]}]\n" // so that there is something to be written
	if err := os.WriteFile(filepath.Join(dir, "always.yml"), []byte(always), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "collector"), "serve", "--config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	d := &desk{t: t, url: "http://" + addr, process: cmd.Process, watch: watch}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(d.url + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begin) > patience {
			t.Fatalf("the collector is not ready: %s", log.String())
		}
	}
	out, err := exec.Command(filepath.Join(dir, "collector"), "token", "api", "--config", config, "--name", "test", "--role", "engineer", "--person", "张工").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, err := os.ReadFile(filepath.Join(dir, "data", "first-start.txt"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(first))
	d.token, d.password = strings.TrimSpace(string(out)), words[len(words)-1]
	return d
}

// TestLife takes an incident through its whole life by what a person sees: acknowledged, proposed, agreed, handled, recovered,
// confirmed, archived. Then the roster, the channels, and the collector's own heartbeat.
func TestLife(t *testing.T) {
	d := startDesk(t)
	d.b = newDriver(t)
	id := d.opens()
	d.b.open(d.url + "/incidents/" + id)
	d.b.await("the login page", `location.pathname === "/login"`)
	d.b.typeInto("[name=login]", "admin")
	d.b.typeInto("[name=password]", d.password)
	d.b.click("button")
	d.b.await("the incident", `!!document.querySelector(".life .now")`)
	js[any](d.b, "window.mark = 1")
	d.looks("life-detected")

	d.b.click("form.ack button")
	d.stands("已响应", "diagnose")
	d.fill("diagnose", map[string]string{"note": "驱动服务已停"})
	d.stands("诊断中", "propose")
	d.fill("propose", map[string]string{"measure": "重装打印驱动", "risk": "打印中断五分钟", "rollback": "恢复旧驱动"})
	d.stands("待甲方同意", "decide")
	if text := js[string](d.b, `document.querySelector(".halted").innerText`); !strings.Contains(text, "剩余") {
		t.Errorf("the recovery clock does not stand: %s", text)
	}
	d.looks("life-awaiting")
	d.choose("decide", "consent", "yes")
	d.fill("decide", map[string]string{"party_a": "王处长"})
	d.stands("处理中", "handle")
	d.fill("handle", map[string]string{"action": "已重装驱动，试打正常"})
	d.b.await("what was done", `!!document.querySelector(".timeline .k-acted")`)
	d.b.click("#d-resolve summary")
	d.choose("resolve", "category", "software")
	d.fill("resolve", map[string]string{"cause": "驱动升级失败", "handling": "重装驱动"})
	d.stands("已恢复", "confirm")
	d.looks("life-recovered")
	d.fill("confirm", map[string]string{"party_a": "王处长"})
	d.stands("已确认", "archive")
	d.fill("archive", map[string]string{"prevention": "升级前备份驱动"})
	d.b.await("the file", `document.querySelector(".life .now").innerText.includes("已归档") && window.mark === 1`)
	d.looks("life-archived")
	d.english(id)
	d.roster()
	d.channels()
	d.hearts()
	if got := d.b.complaints(); len(got) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(got, "\n"))
	}
}

func (d *desk) opens() (id string) {
	d.t.Helper()
	demo := &demo{t: d.t, url: d.url, token: d.token}
	return demo.api("POST", "/incidents", map[string]string{"service": "printing", "level": "general", "detail": "三楼打印机不出纸，多人反映", "reporter": "办公室 刘科"}).ID
}

// stands waits for a state, and for the form of what comes next to be open.
func (d *desk) stands(state, next string) {
	d.t.Helper()
	d.b.await(state, fmt.Sprintf(`document.querySelector(".life .now").innerText.includes(%q) && document.querySelector("#d-%s").open`, state, next))
}

func (d *desk) fill(deed string, fields map[string]string) {
	d.t.Helper()
	for name, text := range fields {
		d.b.typeInto(fmt.Sprintf("#df-%s [name=%s]", deed, name), text)
	}
	d.b.click("#df-" + deed + " button")
}

func (d *desk) choose(deed, field, value string) {
	d.t.Helper()
	d.b.click(fmt.Sprintf("#df-%s [name=%s] option[value=%s]", deed, field, value))
}

// looks takes pictures on a desktop and a phone, light and dark, and sees that nothing leaves a phone's screen and that
// everything to be touched is large enough for a finger.
func (d *desk) looks(name string) {
	d.t.Helper()
	d.b.shot(name)
	for _, scheme := range []string{"light", "dark"} {
		d.b.screen(390, 844, scheme)
		if got := js[int](d.b, "document.documentElement.scrollWidth"); got > 390 {
			d.t.Errorf("%s: the page is %d pixels wide on a screen of 390", name, got)
		}
		if small := js[[]string](d.b, `Array.from(document.querySelectorAll("main button, main select, main textarea, main summary, main input:not([type=hidden]):not([type=checkbox])")).filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, 80))`); len(small) > 0 {
			d.t.Errorf("%s: too small for a finger: %v", name, small)
		}
		d.b.tall(name+"-phone-"+scheme, 390, scheme)
	}
	d.b.tall(name+"-whole", 1280, "light")
	d.b.screen(0, 0, "light")
}

func (d *desk) english(id string) {
	d.t.Helper()
	d.b.open(d.url + "/incidents/" + id + "?lang=en")
	d.b.await("English", `document.documentElement.lang === "en"`)
	d.looks("life-en")
	if text := js[string](d.b, `Array.from(document.querySelectorAll("h2,dt,.level,.life,.clocks,button,summary,label,.pages,.timeline b,footer"), e => e.innerText).join(" ")`); strings.ContainsFunc(text, func(c rune) bool { return c >= 0x4e00 && c <= 0x9fff }) {
		d.t.Errorf("Chinese on the English page: %s", text)
	}
	d.b.open(d.url + "/?lang=zh-CN")
	d.b.await("who is on duty", `!!document.querySelector(".onduty")`)
	d.looks("board-duty")
}

// roster puts somebody on duty and takes it back.
func (d *desk) roster() {
	d.t.Helper()
	d.b.click(`.pages a[href="/duty"]`)
	d.b.await("the roster", `location.pathname === "/duty" && document.querySelectorAll(".days > li").length > 10`)
	d.looks("duty")
	d.b.click("#r-override summary")
	d.b.click("#o-person option:nth-child(4)")
	local := func(t time.Time) string { return t.Format("2006-01-02T15:04") }
	begin := time.Now().In(time.FixedZone("", 8*3600))
	js[any](d.b, fmt.Sprintf(`(document.querySelector("#o-from").value = %q, document.querySelector("#o-to").value = %q)`, local(begin.Add(-time.Minute)), local(begin.Add(3*time.Hour))))
	d.b.typeInto("#o-reason", "张工外出")
	d.b.click("#r-override button")
	d.b.await("the override", `document.querySelector("#s-now").innerText.includes("赵工") && document.querySelector("#s-change").innerText.includes("张工外出")`)
	d.looks("duty-override")
}

// channels sends a test page over both.
func (d *desk) channels() {
	d.t.Helper()
	d.b.click(`.pages a[href="/channels"]`)
	d.b.await("the channels", `location.pathname === "/channels" && document.querySelectorAll("#s-channels li").length === 2`)
	d.b.click("#s-channels > form button")
	d.b.await("what they answered", `document.querySelectorAll("#s-tests li.ok").length === 1 && document.querySelector("#s-tests li.down").innerText.includes("410")`)
	d.looks("channels")
}
