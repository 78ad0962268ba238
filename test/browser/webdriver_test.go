// Package browser looks at the console as a person does: in Chromium, driven through the W3C WebDriver protocol.
package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// patience bounds every wait; it is generous, for a busy machine must not fail a test.
const patience = time.Minute

// driver is a small client of one browser session.
type driver struct {
	t    *testing.T
	base string // of the session
}

var startedOn = regexp.MustCompile(`started successfully on port (\d+)`)

// newDriver starts chromedriver and, with it, a browser that keeps to this machine.
func newDriver(t *testing.T) *driver {
	t.Helper()
	for _, name := range []string{"chromium", "chromedriver"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
				t.Skipf("%s is not installed", name)
			}
			t.Fatalf("%v: test/setup.sh installs it", err)
		}
	}
	cmd := exec.Command("chromedriver", "--port=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	port := ""
	for lines := bufio.NewScanner(out); port == "" && lines.Scan(); {
		if m := startedOn.FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
	}
	if port == "" {
		t.Fatal("chromedriver named no port")
	}
	go io.Copy(io.Discard, out) // ends with the program
	d := &driver{t: t, base: "http://127.0.0.1:" + port}
	var session struct{ SessionID string }
	d.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome",
		"goog:chromeOptions": map[string]any{"args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000", "--user-data-dir=" + t.TempDir(),
		}},
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
	}}}, &session)
	d.base += "/session/" + session.SessionID
	t.Cleanup(func() { d.call("DELETE", "", nil, nil) })
	return d
}

// try is one command; the answer's value goes into the pointer given.
func (d *driver) try(method, path string, body, into any) error {
	var b []byte
	if method == "POST" {
		if body == nil {
			body = struct{}{}
		}
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, d.base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %.300s", method, path, answer.Value)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, into)
}

func (d *driver) call(method, path string, body, into any) {
	d.t.Helper()
	if err := d.try(method, path, body, into); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) open(url string) {
	d.t.Helper()
	d.call("POST", "/url", map[string]string{"url": url}, nil)
}

// js evaluates an expression in the page.
func js[T any](d *driver, expr string) (v T) {
	d.t.Helper()
	d.call("POST", "/execute/sync", map[string]any{"script": "return " + expr, "args": []any{}}, &v)
	return v
}

// await evaluates until the expression is true.
func (d *driver) await(what, expr string) {
	d.t.Helper()
	var last any
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		err := d.try("POST", "/execute/sync", map[string]any{"script": "return " + expr, "args": []any{}}, &last)
		if err == nil && last == true {
			return
		}
		if err != nil {
			last = err // a page that is being left has no answer
		}
	}
	d.t.Fatalf("waited in vain for %s: %s: %v\n%s", what, expr, last, js[string](d, "document.body.innerText"))
}

func (d *driver) element(css string) string {
	d.t.Helper()
	var e map[string]string
	d.call("POST", "/element", map[string]string{"using": "css selector", "value": css}, &e)
	for _, id := range e {
		return "/element/" + id
	}
	d.t.Fatalf("no element %s", css)
	return ""
}

func (d *driver) click(css string) { d.t.Helper(); d.call("POST", d.element(css)+"/click", nil, nil) }

func (d *driver) typeInto(css, text string) {
	d.t.Helper()
	d.call("POST", d.element(css)+"/value", map[string]string{"text": text}, nil)
}

// newWindow opens one and returns its name beside that of the one before.
func (d *driver) newWindow() (before, name string) {
	d.t.Helper()
	d.call("GET", "/window", nil, &before)
	var w struct{ Handle string }
	d.call("POST", "/window/new", map[string]string{"type": "window"}, &w)
	return before, w.Handle
}

func (d *driver) window(name string) {
	d.t.Helper()
	d.call("POST", "/window", map[string]string{"handle": name}, nil)
}

// devtools asks what WebDriver has no word for.
func (d *driver) devtools(cmd string, params map[string]any) {
	d.t.Helper()
	d.call("POST", "/goog/cdp/execute", map[string]any{"cmd": cmd, "params": params}, nil)
}

// screen makes the window a phone's or, with width 0, itself again; scheme is light or dark.
func (d *driver) screen(width, height int, scheme string) {
	d.t.Helper()
	if width == 0 {
		d.devtools("Emulation.clearDeviceMetricsOverride", map[string]any{})
	} else {
		d.devtools("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
	}
	d.devtools("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// tall keeps a picture of the whole page at a width, as far down as it goes.
func (d *driver) tall(name string, width int, scheme string) {
	d.t.Helper()
	if os.Getenv("XUNJIAN_SCREENSHOTS") == "" {
		return
	}
	d.screen(width, 844, scheme)
	d.screen(width, min(js[int](d, "document.documentElement.scrollHeight"), 6000), scheme)
	d.shot(name)
}

// shot keeps a picture of the page where XUNJIAN_SCREENSHOTS says, for people to look at.
func (d *driver) shot(name string) {
	d.t.Helper()
	dir := os.Getenv("XUNJIAN_SCREENSHOTS")
	if dir == "" {
		return
	}
	var text string
	d.call("GET", "/screenshot", nil, &text)
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = os.WriteFile(dir+"/"+name+".png", b, 0o600)
	}
	if err != nil {
		d.t.Error(err)
	}
}

// complaints are the warnings and errors in the browser's log since the last call, policy violations among them.
func (d *driver) complaints() (out []string) {
	d.t.Helper()
	var entries []struct{ Level, Message string }
	d.call("POST", "/se/log", map[string]string{"type": "browser"}, &entries)
	for _, e := range entries {
		if e.Level == "SEVERE" || e.Level == "WARNING" {
			out = append(out, e.Level+" "+e.Message)
		}
	}
	return out
}
