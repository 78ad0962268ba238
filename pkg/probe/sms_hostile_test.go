package probe

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/sms"
)

// words are 32-bit numbers as both protocols write them.
func words(n ...uint32) string {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// Each of these gateways is bad in its own way; the verdict comes in time and costs little memory.
func TestHostileGateways(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) { conn.Read(make([]byte, 256)); io.WriteString(conn, text); hang(conn) }
	}
	// 16 bytes are a packet in both protocols; in CMPP the third number is the sequence and the last one body.
	const bindResp, deliver, enquire = 0x80000009, 5, 0x15
	tests := map[string]struct {
		serve  func(net.Conn)
		class  check.Class
		reason string
	}{
		"accepts and hangs":        {hang, check.ClassTimeout, "no login: no answer in time"},
		"hangs up at once":         {func(net.Conn) {}, check.ClassReset, "connection broke"},
		"resets at the login":      {func(conn net.Conn) { conn.Read(make([]byte, 16)); reset(conn) }, check.ClassReset, "connection broke"},
		"huge length":              {say(words(0xffffffff, bindResp, 0, 1)), check.ClassContent, "its length is 4294967295"},
		"64 KiB":                   {say(words(64<<10, bindResp, 0, 1)), check.ClassContent, "its length is 65536"},
		"a byte more than allowed": {say(words(sms.MaxPacket+1, bindResp, 0, 1)), check.ClassContent, "its length is 4097"},
		"length 0":                 {say(words(0, bindResp, 0, 1)), check.ClassContent, "its length is 0"},
		"length 11":                {say(words(11, bindResp, 0, 1)), check.ClassContent, "its length is 11"},
		"length, then nothing":     {say(words(4000)), check.ClassTimeout, "no answer in time"},
		"half a packet, then end":  {func(conn net.Conn) { conn.Read(make([]byte, 256)); io.WriteString(conn, words(64, bindResp)) }, check.ClassReset, "connection broke"},
		"not the protocol":         {say("HTTP/1.1 400 Bad Request\r\n\r\n"), check.ClassContent, "malformed packet"},
		"one byte at a time":       {func(conn net.Conn) { drip(conn, "\x00", 10*time.Millisecond) }, "", ""},
		"a packet drop by drop": {func(conn net.Conn) {
			for _, b := range []byte(words(4000) + strings.Repeat("x", 4000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, check.ClassTimeout, "no answer in time"},
		"endless keepalives":       {func(conn net.Conn) { go hang(conn); drip(conn, strings.Repeat(words(16, enquire, 8, 9), 100), 0) }, check.ClassContent, "more than"},
		"keepalives, never reads":  {func(conn net.Conn) { drip(conn, strings.Repeat(words(16, enquire, 8, 9), 100), 5*time.Millisecond) }, "", ""},
		"endless unknown packets":  {func(conn net.Conn) { drip(conn, words(16, 0x7777, 8, 9), 0) }, check.ClassContent, "more than 5000 packets"},
		"endless large packets":    {func(conn net.Conn) { drip(conn, words(4096, 0x7777, 8, 9)+strings.Repeat("x", 4080), 0) }, check.ClassContent, "more than the probe reads"},
		"answers somebody else":    {func(conn net.Conn) { drip(conn, words(17, bindResp, 0, 77)+"\x00", 10*time.Millisecond) }, check.ClassTimeout, "no answer in time"},
		"a delivery cut off":       {say(words(20, deliver, 0, 9) + "\x00\x01\x02\x03"), "", ""},
		"garbage as long as it is": {say(words(4096, deliver, 0, 9) + strings.Repeat("\xff", 4080)), "", ""},
	}
	t.Setenv("XUNJIAN_SMS", "secret")
	for _, kind := range []string{"smpp", "cmpp"} {
		for name, tc := range tests {
			t.Run(kind+" "+name, func(t *testing.T) {
				spec := smsSpec(check.SMSQuick)
				spec.Kind, spec.Target, spec.SMS.User = kind, rawServer(t, tc.serve), "901234"
				spec.Timeout, spec.Slow = 10*time.Second, 10*time.Second
				if tc.class == check.ClassTimeout || tc.class == "" {
					spec = hasty(spec)
				}
				p := newTestProber(t, spec, Options{})
				before, start := allocated(), time.Now()
				a := p.attempt(t.Context(), true)
				if took := time.Since(start); took > spec.Timeout+margin {
					t.Errorf("verdict after %v, timeout %v", took, spec.Timeout)
				}
				if got := allocated() - before; got > 16<<20 {
					t.Errorf("allocated %d KiB", got>>10)
				}
				if a.Bytes > sms.MaxHeard {
					t.Errorf("read %d bytes", a.Bytes)
				}
				if a.Outcome != check.Fail || a.Trouble != check.Down || tc.class != "" && a.Class != tc.class || !strings.Contains(a.Reason, tc.reason) {
					t.Errorf("%s %q %q: %s, want %q: %s", a.Outcome, a.Class, a.Trouble, a.Reason, tc.class, tc.reason)
				}
			})
		}
	}
}

func TestGatewaysAreGuardedAsAllTargets(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "secret")
	var dials counting
	spec := smsSpec(check.SMSQuick)
	spec.Target = "smsc.example.org:2775"
	p := newTestProber(t, spec, Options{Dial: dials.dial, Resolver: names{addrs: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}})
	wantAttempt(t, p.attempt(t.Context(), true), check.Unknown, check.ClassSetup, "refused to connect")
	if dials.n.Load() != 0 {
		t.Error("connected to the metadata address")
	}
}

// A hundred attempts leave nothing behind.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "secret")
	spec := smsSpec(check.SMSQuick)
	spec.Target = rawServer(t, func(conn net.Conn) { io.WriteString(conn, words(16, 0x80000006, 0, 1)); hang(conn) })
	spec.Timeout, spec.Slow, spec.SMS.Answer = 10*time.Second, 10*time.Second, 5*time.Millisecond
	p := newTestProber(t, spec, Options{})
	p.attempt(t.Context(), true)
	before := runtime.NumGoroutine()
	for range 100 {
		p.attempt(t.Context(), true)
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	p.Close()
	if len(smsOffices.open) != 0 {
		t.Errorf("offices still open: %v", smsOffices.open)
	}
}
