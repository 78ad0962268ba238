package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestConsole is a night on duty: sign in, all is well, a service breaks, the page shows it unasked, the engineer takes it on.
func TestConsole(t *testing.T) {
	b := newDriver(t)
	d := startDemo(t)
	r := &night{t: t, d: d, b: b}
	r.signIn()
	r.allIsWell()
	before, second := b.newWindow()
	b.window(second)
	b.open(d.url + "/")
	b.await("the second window", `!!document.querySelector("#now")`)
	b.window(before)
	r.breaks()
	r.countsDown()
	r.isNotDisturbed()
	r.looks("urgent")
	b.window(second)
	js[any](b, "window.mark = 1")
	b.window(before)
	r.takesOn()
	b.window(second)
	b.await("the acknowledgement in the other window", `!!document.querySelector(".acked") && window.mark === 1`)
	b.window(before)
	r.readsIncident()
	r.plansWindow()
	r.hostile()
	r.looks("taken")
	if got := b.complaints(); len(got) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(got, "\n"))
	}
	r.goesAway()
}

// night is the test's state.
type night struct {
	t  *testing.T
	d  *demo
	b  *driver
	id string // of the incident
}

func (r *night) signIn() {
	r.t.Helper()
	r.b.open(r.d.url + "/incidents/INC-20260101-0001")
	r.b.await("the login page", `location.pathname === "/login"`)
	r.b.shot("login")
	r.phone("login-phone", "light")
	r.b.typeInto("[name=login]", "admin")
	r.b.typeInto("[name=password]", r.d.password)
	r.b.click("button")
	r.b.await("the page first asked for", `location.pathname === "/incidents/INC-20260101-0001" && !!document.querySelector(".notice")`)
	r.b.complaints() // its 404 stands in the log
	r.b.click("a")
	r.b.await("the board", `location.pathname === "/" && !!document.querySelector("#now")`)
}

func (r *night) allIsWell() {
	r.t.Helper()
	r.b.await("five services", `document.querySelectorAll(".wall > li.ok").length === 5`)
	r.b.await("this host's figures", `/CPU\s*\d+%/.test(document.querySelector(".hosts li.ok").innerText)`)
	r.b.shot("calm")
}

func (r *night) breaks() {
	r.t.Helper()
	js[any](r.b, "window.mark = 1")
	r.d.call("PUT", r.d.sim+"/faults/signature", map[string]string{"mode": "error500"})
	begin := time.Now()
	r.b.await("the incident", `!!document.querySelector(".incidents li.urgent")`)
	r.t.Logf("fault to sight: %v", time.Since(begin).Round(time.Millisecond))
	r.id = js[string](r.b, `document.querySelector(".incidents li.urgent").id`)
	if !js[bool](r.b, `window.mark === 1 && document.title.startsWith("(1)")`) {
		r.t.Error("the page was loaded anew, or its title does not count")
	}
	r.b.await("the service's own state", `document.querySelectorAll(".wall > li.down").length === 1`)
}

// left is the seconds on both clocks.
const left = `Array.from(document.querySelectorAll(".due"), e => e.innerText.match(/(\d+):(\d+):(\d+)/).slice(1).reduce((s, n) => s * 60 + +n, 0))`

func (r *night) countsDown() {
	r.t.Helper()
	r.b.shot("board")
	first := js[[]int](r.b, left)
	if len(first) != 2 || first[0] > 600 || first[0] < 600-60 || first[1] > 4*3600 || first[1] < 4*3600-60 {
		r.t.Fatalf("clocks begin at %v seconds, want 10 minutes and 4 hours", first)
	}
	r.b.await("both clocks to count down", fmt.Sprintf(`(v => v[0] < %d && v[1] < %d)(%s)`, first[0]-1, first[1]-1, left))
}

// isNotDisturbed types and reads while the page changes.
func (r *night) isNotDisturbed() {
	r.t.Helper()
	r.b.click("details summary")
	r.b.typeInto("[name=note]", "正在查看")
	js[any](r.b, `window.was = [document.querySelector("[name=note]"), document.querySelector("#now").dataset.now]`)
	other := r.d.api("POST", "/incidents", map[string]string{"service": "gateway", "level": "minor", "detail": "来电：偶尔缓慢", "reporter": "甲方 二线"})
	r.b.await("the other incident to come in", fmt.Sprintf(`!!document.getElementById(%q)`, other.ID))
	if !js[bool](r.b, `(f => f === window.was[0] && f === document.activeElement && f.value === "正在查看" && f.selectionStart === 4)(document.querySelector("[name=note]"))`) {
		r.t.Error("the note being typed was disturbed")
	}
	if !js[bool](r.b, `document.querySelector("details").open && document.querySelector("#now").dataset.now !== window.was[1]`) {
		r.t.Error("the evidence was closed, or the page did not change")
	}
	r.b.click("details summary")
}

func (r *night) takesOn() {
	r.t.Helper()
	r.b.click("#" + r.id + " button")
	r.b.await("the acknowledgement", fmt.Sprintf(`!!document.querySelector("#%s .acked") && window.mark === 1`, r.id))
	if js[bool](r.b, fmt.Sprintf(`!!document.querySelector("#%s form")`, r.id)) {
		r.t.Error("the button is still there")
	}
}

func (r *night) readsIncident() {
	r.t.Helper()
	r.b.click("#" + r.id + " h3 a")
	r.b.await("the incident's page", `document.querySelectorAll(".timeline li").length >= 2`)
	text := js[string](r.b, `document.body.innerText`)
	for _, want := range []string{r.id, "发现", "响应", "正在查看", "admin", "控制台"} {
		if !strings.Contains(text, want) {
			r.t.Errorf("the incident's page lacks %q:\n%s", want, text)
		}
	}
	r.looks("incident")
	r.b.click("nav a[lang=en]")
	r.b.await("English", `document.documentElement.lang === "en"`)
	r.b.shot("incident-en")
	r.b.click(".back a")
	r.b.await("the English board", `document.documentElement.lang === "en" && location.pathname === "/" && document.body.innerText.includes("Signature service")`)
	r.b.shot("board-en")
	if text := js[string](r.b, `Array.from(document.querySelectorAll("h2,dt,.state,.level,.wall,.clocks,button,.acked,footer"), e => e.innerText).join(" ")`); strings.ContainsFunc(text, func(c rune) bool { return c >= 0x4e00 && c <= 0x9fff }) {
		r.t.Errorf("Chinese on the English page: %s", text)
	}
	r.b.click("nav a[lang=zh-CN]")
	r.b.await("Chinese", `document.documentElement.lang === "zh-CN"`)
}

// plansWindow plans a window by its form: what breaks within it is seen and is no incident, until the window is ended.
func (r *night) plansWindow() {
	r.t.Helper()
	r.b.click(`.pages a[href="/windows"]`)
	r.b.await("the planned windows", `location.pathname === "/windows" && !!document.querySelector("#w-plan summary")`)
	r.b.click("#w-plan summary")
	r.b.click(`#w-plan input[name=services][value=sms]`)
	local := func(d time.Duration) string {
		return time.Now().Add(d).In(time.FixedZone("", 8*3600)).Format("2006-01-02T15:04")
	}
	js[any](r.b, fmt.Sprintf(`(document.querySelector("#p-since").value = %q, document.querySelector("#p-until").value = %q)`, local(-time.Minute), local(2*time.Hour)))
	r.b.typeInto("#p-reason", "短信网关升级")
	r.b.typeInto("#p-party", "王处长")
	r.b.click("#w-plan form button")
	r.b.await("the window", `document.querySelector("#s-windows li.slow")?.innerText.includes("短信网关升级")`)
	r.looks("windows")

	r.d.call("PUT", r.d.sim+"/faults/sms", map[string]string{"mode": "error500"})
	r.b.click(`.pages a[href="/"]`)
	const sms = `Array.from(document.querySelectorAll("%s")).some(e => e.innerText.includes("短信"))`
	r.b.await("the service to be down", fmt.Sprintf(sms, "#s-services .wall > li.down"))
	time.Sleep(3 * time.Second) // an incident would have been there at once
	if js[bool](r.b, fmt.Sprintf(sms, ".incidents > li")) {
		r.t.Error("a fault within a planned window became an incident")
	}
	r.b.click(`.pages a[href="/windows"]`)
	r.b.await("the window once more", `!!document.querySelector("#s-windows li.slow details summary")`)
	r.b.click("#s-windows li.slow details summary")
	r.b.typeInto("#s-windows li.slow [name=reason]", "升级失败，已回退")
	r.b.click("#s-windows li.slow form button")
	r.b.await("its end", `document.querySelector("#s-windows li.unknown")?.innerText.includes("升级失败")`)
	r.b.click(`.pages a[href="/"]`)
	r.b.await("what still fails to be an incident", fmt.Sprintf(sms, ".incidents > li"))
	r.d.call("PUT", r.d.sim+"/faults/sms", map[string]string{"mode": "ok"})
	r.b.await("the service to be well", fmt.Sprintf(sms, "#s-services .wall > li.ok"))
}

// hostile texts come from users' calls and from what services answer.
func (r *night) hostile() {
	r.t.Helper()
	detail := "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>{{.}} \u202etxt.exe " + strings.Repeat("很长", 100) + strings.Repeat("W", 180)
	bad := r.d.api("POST", "/incidents", map[string]string{"service": "sms", "level": "minor", "detail": detail, "reporter": strings.Repeat("M", 60)})
	r.b.await("the hostile incident", fmt.Sprintf(`document.getElementById(%q)?.innerText.includes("onerror")`, bad.ID))
	if js[bool](r.b, `window.hit === 1 || document.body.innerText.includes("\u202e")`) {
		r.t.Error("a text was obeyed")
	}
	r.phone("hostile-phone", "light")
	r.b.open(r.d.url + "/incidents/" + bad.ID)
	r.phone("hostile-incident-phone", "light")
	r.b.open(r.d.url + "/")
}

// looks takes pictures, and sees that nothing leaves a phone's screen.
func (r *night) looks(name string) {
	r.t.Helper()
	r.b.shot(name)
	r.phone(name+"-phone", "light")
	r.phone(name+"-phone-dark", "dark")
}

func (r *night) phone(name, scheme string) {
	r.t.Helper()
	r.b.screen(390, 844, scheme)
	if got := js[int](r.b, "document.documentElement.scrollWidth"); got > 390 {
		r.t.Errorf("%s: the page is %d pixels wide on a screen of 390", name, got)
	}
	r.b.shot(name)
	r.b.screen(0, 0, "light")
}

// goesAway stops the collector: the page must say that it stands still.
func (r *night) goesAway() {
	r.t.Helper()
	r.d.stop()
	r.b.await("the warning that the page stands still", `!document.querySelector("#lost").hidden`)
	r.b.shot("lost")
}
