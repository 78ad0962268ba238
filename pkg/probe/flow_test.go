package probe

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func flowSpec(target string) check.Spec {
	spec := patient(target)
	spec.Kind, spec.HTTP, spec.Again = "flow", check.HTTP{}, new(0)
	spec.Flow = &check.Flow{Steps: []check.FlowStep{{Name: "a", Request: check.FlowRequest{URL: "/"}, Critical: true}}}
	return spec
}

// A flow meets hostile servers as the kind http does: in time, within its caps, under the right class.
func TestFlowHostile(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) { readRequest(conn); io.WriteString(conn, text) }
	}
	for name, tc := range map[string]struct {
		serve   func(net.Conn)
		outcome check.Outcome
		class   check.Class
		reason  string
	}{
		"accepts and hangs": {hang, check.Fail, check.ClassTimeout, "no answer in time"},
		"hangs up at once":  {func(net.Conn) {}, check.Fail, check.ClassReset, "connection broke"},
		"not HTTP":          {say("SSH-2.0-OpenSSH_9.2\r\n\r\n"), check.Fail, check.ClassContent, "malformed HTTP"},
		"endless headers":   {func(conn net.Conn) { readRequest(conn); io.WriteString(conn, ok); drip(conn, "X: y\r\n", 0) }, check.Fail, check.ClassContent, "headers over 64 KiB"},
		"endless body": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"\r\n")
			drip(conn, strings.Repeat("y", 4096), 0)
		}, check.Fail, check.ClassContent, "body over"},
		"slow drip": {func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, ok+"\r\n")
			drip(conn, "x", 10*time.Millisecond)
		}, check.Fail, check.ClassTimeout, "no answer in time"},
		"redirect to metadata": {say("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"), check.Unknown, check.ClassSetup, "169.254.169.254"},
		"redirect loop":        {say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), check.Fail, check.ClassContent, "more than 5 redirects"},
		"redirect to a file":   {say("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), check.Fail, check.ClassContent, "not an http"},
		"many cookies":         {say(ok + strings.Repeat("Set-Cookie: a=b\r\n", 1000) + "Content-Length: 0\r\n\r\n"), check.OK, "", ""},
		"gzip unasked":         {say(ok + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx"), check.OK, "", ""},
		"deep JSON":            {say(ok + "Content-Type: application/json\r\n\r\n" + strings.Repeat("[", 1<<19)), check.OK, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := flowSpec("http://" + rawServer(t, tc.serve))
			if tc.class == check.ClassTimeout {
				spec = hasty(spec)
			}
			var eaten appetite
			p := newTestProber(t, spec, Options{Dial: eaten.dial})
			start := time.Now()
			a := p.attempt(t.Context(), false)
			if took := time.Since(start); took > spec.Timeout+margin {
				t.Errorf("took %v of %v", took, spec.Timeout)
			}
			if n := eaten.read.Load(); n > 1<<20+64<<10 {
				t.Errorf("read %d bytes", n)
			}
			if a.Outcome != tc.outcome || a.Class != tc.class || !strings.Contains(a.Reason, tc.reason) {
				t.Errorf("%s %s: %s", a.Outcome, a.Class, a.Reason)
			}
		})
	}
}

// Connections are kept within a run.
func TestFlowConnections(t *testing.T) {
	var opened atomic.Int32
	addr := rawServer(t, func(conn net.Conn) {
		opened.Add(1)
		for r := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	spec := flowSpec("http://" + addr)
	get := spec.Flow.Steps[0]
	for _, name := range []string{"b", "c"} {
		get.Name = name
		spec.Flow.Steps = append(spec.Flow.Steps, get)
	}
	p := newTestProber(t, spec, Options{})
	if a := p.attempt(t.Context(), false); a.Outcome != check.OK || len(a.Steps) != 3 {
		t.Fatalf("%s %s", a.Outcome, a.Reason)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for three pages", n)
	}
}

// A secret that cannot be had is a gap; it neither asks nor tells the value of another.
func TestFlowSecrets(t *testing.T) {
	spec := flowSpec("http://127.0.0.1:1")
	spec.Secrets = map[string]check.Ref{"password": {Env: "XUNJIAN_TEST_NOWHERE"}}
	a := newTestProber(t, spec, Options{}).attempt(t.Context(), false)
	if a.Outcome != check.Unknown || a.Class != check.ClassSetup || !strings.Contains(a.Reason, "XUNJIAN_TEST_NOWHERE is not set") {
		t.Errorf("%s %s: %s", a.Outcome, a.Class, a.Reason)
	}
	spec.Flow.Steps[0].Request.Body = "{{ secrets.other }}"
	if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), "no secret other") {
		t.Errorf("%v", err)
	}
}
