package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// phones is an operator's gateway for short messages; what it is asked to send lands here.
type phones struct {
	*httptest.Server
	around func(answer func()) // answers; nil: at once

	mu   sync.Mutex
	got  []shortMessage
	deaf map[string]bool // numbers that it refuses
}

type shortMessage struct {
	Mobile, Content, Link, Code, Key string
	at                               time.Time
}

func newPhones(t *testing.T) *phones {
	p := &phones{deaf: map[string]bool{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := shortMessage{at: time.Now()}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Errorf("short message: %v", err)
		}
		p.mu.Lock()
		p.got = append(p.got, m)
		verdict := `{"code":"0"}`
		if p.deaf[m.Mobile] {
			verdict = `{"code":"7"}`
		}
		p.mu.Unlock()
		answer := func() {
			io.WriteString(w, verdict)
			http.NewResponseController(w).Flush()
		}
		if p.around != nil {
			p.around(answer)
		} else {
			answer()
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// to are the messages that a number has got.
func (p *phones) to(number string) (out []shortMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		if m.Mobile == number {
			out = append(out, m)
		}
	}
	return out
}

// await is the n-th message to a number.
func (p *phones) await(t *testing.T, number string, n int) shortMessage {
	t.Helper()
	eventually(t, fmt.Sprintf("message %d to %s", n, number), func() error {
		if have := len(p.to(number)); have < n {
			return fmt.Errorf("%d so far", have)
		}
		return nil
	})
	return p.to(number)[n-1]
}

const (
	zhang = "13800000001" // resident
	wang  = "13800000002" // second line
	zhao  = "13800000003" // manager
)

// channel is the gateway as a channel of the configuration.
func (p *phones) channel() string {
	return fmt.Sprintf(`{name: phone, kind: sms, url: '%s/send', limit: 0, gateway: {body: '{"mobile":"{phone}","content":"{short}","link":"{link}","code":"{code}","key":"{key}"}', yes: {json: code, equals: "0"}}}`, p.URL)
}

// duty starts a collector with three people who are reached by short message.
func duty(t *testing.T, respond string) (c *proc, p *phones, config, web string) {
	t.Helper()
	p = newPhones(t)
	c, config, web = dutyOver(t, t.TempDir(), respond, p.channel())
	return c, p, config, web
}

// dutyOver is the same with any channels.
func dutyOver(t *testing.T, dir, respond, channels string) (c *proc, config, web string) {
	t.Helper()
	web = freeAddr(t)
	config = filepath.Join(dir, "collector.yml")
	text := fmt.Sprintf(`
data: data
http: {listen: '%s', external_url: 'http://%s'}
uplink: {listen: '127.0.0.1:0'}
fleet: {names: [127.0.0.1]}
services: [{name: sms, zh: 短信服务, en: SMS service, key: true}]
contract: {urgent: {respond: %s, recover: 4h}}
people:
- {name: 张三, duty: resident, phone: "%s"}
- {name: 王五, duty: second, phone: "%s", language: en}
- {name: 赵六, duty: manager, phone: "%s"}
pages:
  channels: [%s]
  replies: {token: {file: reply.token}, phone: mobile, text: content}
`, web, web, respond, zhang, wang, zhao, channels)
	for name, text := range map[string]string{"collector.yml": text, "reply.token": replyToken} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = start(t, dir, "collector", "serve", "--config", config)
	eventually(t, "collector is ready", func() error { return call("GET", "http://"+web+"/-/ready", "", nil, nil) })
	eventually(t, "command line finds it", func() error {
		_, err := os.Stat(filepath.Join(dir, "data", "control.json"))
		return err
	})
	return c, config, "http://" + web
}

var number = regexp.MustCompile(`INC-\d{8}-\d{4}`)

func report(t *testing.T, config string, more ...string) string {
	t.Helper()
	args := append([]string{"incident", "open", "--config", config, "--by", "张三", "--service", "sms", "--level", "urgent", "--detail", "收不到验证码"}, more...)
	id := number.FindString(mustRun(t, "collector", args...))
	if id == "" {
		t.Fatal("no incident number")
	}
	return id
}

// tap is what a phone does with a link.
func tap(t *testing.T, method, link string) (status int, page string) {
	t.Helper()
	req, err := http.NewRequest(method, link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Phone of a test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The resident gets a link: looking at it does nothing, tapping acknowledges once, in the resident's name.
func TestAcknowledgeFromThePhone(t *testing.T) {
	_, p, config, _ := duty(t, "10m")
	begin := time.Now()
	id := report(t, config)
	m := p.await(t, zhang, 1)
	if took := m.at.Sub(begin); took > 10*time.Second {
		t.Errorf("the message took %v", took)
	}
	if !strings.Contains(m.Content, "【紧急】") || !strings.Contains(m.Content, m.Code) || len([]rune(m.Content)) > 70 {
		t.Errorf("message %q", m.Content)
	}
	if token := m.Link[strings.LastIndex(m.Link, "/")+1:]; len(token) > 25 {
		t.Errorf("link %s", m.Link)
	}
	for _, method := range []string{"HEAD", "GET", "GET"} {
		if status, _ := tap(t, method, m.Link); status != http.StatusOK {
			t.Errorf("%s: %d", method, status)
		}
	}
	if out := mustRun(t, "collector", "incident", "show", id, "--config", config); strings.Contains(out, "Phone of a test") || strings.Contains(out, "已响应") {
		t.Errorf("looking acknowledged:\n%s", out)
	}
	status, page := tap(t, "POST", m.Link)
	if status != http.StatusOK || !strings.Contains(page, "张三") || !strings.Contains(page, "确认响应") {
		t.Errorf("POST: %d\n%s", status, page)
	}
	if status, page := tap(t, "POST", m.Link); status != http.StatusConflict || !strings.Contains(page, "张三") {
		t.Errorf("second POST: %d\n%s", status, page)
	}
	if status, _ := tap(t, "POST", m.Link[:len(m.Link)-1]+"_"); status != http.StatusNotFound {
		t.Errorf("changed link: %d", status)
	}
	if out := mustRun(t, "collector", "incident", "show", id, "--config", config); !strings.Contains(out, "张三") {
		t.Errorf("incident:\n%s", out)
	}
	if n := len(p.to(wang)) + len(p.to(zhao)); n != 0 {
		t.Errorf("%d messages to others", n)
	}
}

// Nobody acknowledges: second line and manager are called at half of the time and at 80 %, each with a link of their own;
// a collector that is killed meanwhile goes on where it was, and a reply by short message ends it.
func TestEscalationReachesTheSecondLine(t *testing.T) {
	c, p, config, web := duty(t, "40s")
	report(t, config)
	first := p.await(t, zhang, 1)
	c.kill()
	c = start(t, filepath.Dir(config), "collector", "serve", "--config", config)
	second, third := p.await(t, wang, 1), p.await(t, zhao, 1)
	if took := second.at.Sub(first.at); took < 15*time.Second || took > 38*time.Second {
		t.Errorf("second line was called after %v", took)
	}
	if second.Link == first.Link || second.Link == third.Link || !strings.Contains(second.Content, "urgent") {
		t.Errorf("second line got %+v", second)
	}
	if n := len(p.to(zhang)); n > 2 || n == 2 && p.to(zhang)[1].Key != first.Key {
		t.Errorf("the resident got %d messages: %+v", n, p.to(zhang))
	}
	reply := func(token, phone, text string) string {
		resp, err := http.PostForm(web+"/api/xunjian/v1/replies?token="+token, url.Values{"mobile": {phone}, "content": {text}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return strings.TrimSpace(string(b))
	}
	eventually(t, "collector is ready again", func() error { return call("GET", web+"/-/ready", "", nil, nil) })
	if got := reply("wrong", wang, second.Code); !strings.Contains(got, "error") {
		t.Errorf("wrong token: %s", got)
	}
	if got := reply(replyToken, "13900000000", second.Code); got != `{"taken":0,"refused":1}` {
		t.Errorf("a stranger's phone: %s", got)
	}
	if got := reply(replyToken, "+86"+wang, "收到 "+second.Code); got != `{"taken":1,"refused":0}` {
		t.Errorf("the second line's reply: %s", got)
	}
	p.mu.Lock()
	before := len(p.got)
	p.mu.Unlock()
	time.Sleep(15 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.got) != before {
		t.Errorf("%d messages after the acknowledgement", len(p.got)-before)
	}
	c.stop(t)
}

// People who do not exist cannot act.
func TestActsBearPeoplesNames(t *testing.T) {
	_, _, config, _ := duty(t, "10m")
	id := report(t, config)
	out, err := run(t, "collector", "incident", "ack", id, "--config", config, "--by", "路人")
	if err == nil || !strings.Contains(out, "路人") {
		t.Errorf("a stranger: %v\n%s", err, out)
	}
	mustRun(t, "collector", "incident", "ack", id, "--config", config, "--by", "王五")
}
