// Package sms_test holds our side of short messages against implementations that others wrote.
package sms_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cmpp "github.com/bigwhite/gocmpp"
	cmpputils "github.com/bigwhite/gocmpp/utils"

	"xunjian/pkg/check"
	"xunjian/pkg/probe"
	"xunjian/pkg/simulator"
)

const ample = 30 * time.Second

// npm installs the packages that the lock file names, beside the scripts.
func npm(t *testing.T) string {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "server.js", "client.js"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

func spec(kind, target, user string) check.Spec {
	return check.Spec{
		Name: "sms", Service: "sms", Kind: kind, Target: target, Every: time.Hour, Timeout: 5 * ample, Slow: 5 * ample, Again: new(0), Budget: 40,
		Secrets: map[string]check.Ref{"password": {Env: "XUNJIAN_SMS"}},
		SMS: &check.SMS{
			Account: check.SMSSeparate, Mode: check.SMSFull, User: user, From: "10690000", Numbers: []string{"13800000000", "13900000001"},
			Answer: ample, Report: ample, Slow: check.SMSSlow{Login: ample, Submit: ample, Report: ample},
		},
	}
}

func ask(t *testing.T, s check.Spec) check.Attempt {
	t.Helper()
	s.Validate(func(path, format string, args ...any) { t.Errorf("%s: "+format, append([]any{path}, args...)...) })
	p, err := probe.New(s, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, _ := p.Run(t.Context(), time.Now())
	return r.First()
}

func wantGood(t *testing.T, a check.Attempt) {
	t.Helper()
	if a.Outcome != check.OK || len(a.Steps) != 6 {
		t.Errorf("%s: %s, steps %+v", a.Outcome, a.Reason, a.Steps)
	}
}

// The kind smpp against the message centre of the npm package smpp, which does not reach the first number.
func TestProbeAgainstNPMServer(t *testing.T) {
	dir := npm(t)
	cmd := exec.CommandContext(t.Context(), "node", "server.js")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	var first struct{ Port int }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &first) != nil {
		t.Fatalf("the server says %q", lines.Text())
	}
	t.Setenv("XUNJIAN_SMS", "peerpass")
	s := spec("smpp", fmt.Sprintf("127.0.0.1:%d", first.Port), "peer")
	wantGood(t, ask(t, s))
	t.Setenv("XUNJIAN_SMS", "wrong")
	if a := ask(t, s); a.Outcome != check.Unknown || !strings.Contains(a.Reason, "ESME_RINVPASWD") {
		t.Errorf("wrong password: %s: %s", a.Outcome, a.Reason)
	}
	stdin.Close()
	var numbers []string
	for lines.Scan() {
		var m struct {
			Number, Text   string
			Coding, Report int
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Error(err)
		}
		numbers = append(numbers, m.Number)
		if !strings.HasPrefix(m.Text, "【监测】") || m.Coding != 8 || m.Report != 1 {
			t.Errorf("it read %+v", m)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(numbers, s.SMS.Numbers) {
		t.Errorf("messages to %v, want the second number after the first", numbers)
	}
}

func startSimulator(t *testing.T) *simulator.Simulator {
	t.Helper()
	s, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func portOf(t *testing.T, s *simulator.Simulator, name string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(name), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The client of the npm package smpp against the simulator.
func TestNPMClientAgainstSimulator(t *testing.T) {
	dir := npm(t)
	s := startSimulator(t)
	run := func(password string) (steps []string, last string) {
		cmd := exec.CommandContext(t.Context(), "node", "client.js", portOf(t, s, simulator.SMPP), simulator.SMPPUser, password, "13800000000")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			var m struct {
				Step, Text, Error string
				Status            int
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, fmt.Sprint(m.Step, " ", m.Status))
			last += m.Text
		}
		return steps, last
	}
	steps, text := run(simulator.SMSPassword)
	slices.Sort(steps)
	if want := []string{"bind 0", "deliver_sm 0", "enquire_link 0", "submit_sm 0", "unbind 0"}; !slices.Equal(steps, want) || !strings.Contains(text, "stat:DELIVRD") {
		t.Errorf("%v, report %q", steps, text)
	}
	if steps, _ := run("wrong"); !slices.Equal(steps, []string{"bind 14"}) {
		t.Errorf("wrong password: %v", steps)
	}
}

// The kind cmpp against the server of bigwhite/gocmpp, which sends no reports of its own: its handler does.
func TestProbeAgainstGocmppServer(t *testing.T) {
	const password = "gocmpp-secret"
	t.Setenv("XUNJIAN_SMS", password)
	for version, typ := range map[string]cmpp.Type{"2.0": cmpp.V20, "3.0": cmpp.V30} {
		t.Run(version, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			handler := &gateway{t: t, password: password}
			server := &cmpp.Server{Handler: handler, Typ: typ, T: time.Minute, N: 3, ErrorLog: log.New(io.Discard, "", 0)}
			closed := make(chan error, 1)
			go func() { closed <- server.Serve(l) }()
			defer func() { l.Close(); <-closed }()
			s := spec("cmpp", l.Addr().String(), "900001")
			s.SMS.Version = version
			wantGood(t, ask(t, s))
			s.SMS.User = "900002"
			if a := ask(t, s); a.Outcome != check.Unknown || !strings.Contains(a.Reason, "auth failed") {
				t.Errorf("another account: %s: %s", a.Outcome, a.Reason)
			}
		})
	}
}

// gateway is a handler of gocmpp's server.
type gateway struct {
	t        *testing.T
	password string
}

func (g *gateway) ServeCmpp(r *cmpp.Response, p *cmpp.Packet, _ *log.Logger) (bool, error) {
	switch req := p.Packer.(type) {
	case *cmpp.CmppConnReqPkt:
		return false, g.login(r, req)
	case *cmpp.Cmpp2SubmitReqPkt:
		r.Packer.(*cmpp.Cmpp2SubmitRspPkt).MsgId = 1 << 40
		g.submitted(p, req.MsgContent, func(receipt string) cmpp.Packer {
			return &cmpp.Cmpp2DeliverReqPkt{MsgId: 9, RegisterDelivery: 1, MsgLength: uint8(len(receipt)), MsgContent: receipt}
		})
	case *cmpp.Cmpp3SubmitReqPkt:
		r.Packer.(*cmpp.Cmpp3SubmitRspPkt).MsgId = 1 << 40
		g.submitted(p, req.MsgContent, func(receipt string) cmpp.Packer {
			return &cmpp.Cmpp3DeliverReqPkt{MsgId: 9, RegisterDelivery: 1, MsgLength: uint8(len(receipt)), MsgContent: receipt}
		})
	}
	return false, nil
}

func (g *gateway) login(r *cmpp.Response, req *cmpp.CmppConnReqPkt) error {
	want := &cmpp.CmppConnReqPkt{SrcAddr: "900001", Secret: g.password, Timestamp: req.Timestamp}
	if _, err := want.Pack(0); err != nil {
		return err
	}
	refused := req.AuthSrc != want.AuthSrc
	switch a := r.Packer.(type) {
	case *cmpp.Cmpp2ConnRspPkt:
		a.AuthSrc, a.Secret, a.Version = req.AuthSrc, g.password, cmpp.V20
		if refused {
			a.Status = cmpp.ErrnoConnAuthFailed
		}
	case *cmpp.Cmpp3ConnRspPkt:
		a.AuthSrc, a.Secret, a.Version = req.AuthSrc, g.password, cmpp.V30
		if refused {
			a.Status = uint32(cmpp.ErrnoConnAuthFailed)
		}
	}
	if refused {
		return cmpp.ConnRspStatusErrMap[cmpp.ErrnoConnAuthFailed]
	}
	return nil
}

// submitted reads the text, and sends the report even before the answer.
func (g *gateway) submitted(p *cmpp.Packet, content string, deliver func(receipt string) cmpp.Packer) {
	if text, err := cmpputils.Ucs2ToUtf8(content); err != nil || !strings.HasPrefix(text, "【监测】") {
		g.t.Errorf("text %q: %v", text, err)
	}
	receipt, err := (&cmpp.CmppReceiptPkt{MsgId: 1 << 40, Stat: "DELIVRD", SubmitTime: "2611240000", DoneTime: "2611240001", DestTerminalId: "13800000000"}).Pack()
	if err == nil {
		err = p.Conn.SendPkt(deliver(string(receipt)), <-p.Conn.SeqId)
	}
	if err != nil {
		g.t.Error(err)
	}
}

// The client of bigwhite/gocmpp against the simulator.
func TestGocmppClientAgainstSimulator(t *testing.T) {
	s := startSimulator(t)
	for _, typ := range []cmpp.Type{cmpp.V20, cmpp.V30} {
		t.Run(typ.String(), func(t *testing.T) {
			c := cmpp.NewClient(typ)
			addr := "127.0.0.1:" + portOf(t, s, simulator.CMPP)
			if err := c.Connect(addr, simulator.CMPPUser, "wrong", ample); err == nil || !strings.Contains(err.Error(), "auth failed") {
				t.Fatalf("wrong password: %v", err)
			}
			if err := c.Connect(addr, simulator.CMPPUser, simulator.SMSPassword, ample); err != nil {
				t.Fatal(err)
			}
			defer c.Disconnect()
			var submit cmpp.Packer = &cmpp.Cmpp3SubmitReqPkt{RegisteredDelivery: 1, FeeType: "01", DestUsrTl: 1, DestTerminalId: []string{"13800000000"}, MsgLength: 2, MsgContent: "hi"}
			if typ == cmpp.V20 {
				submit = &cmpp.Cmpp2SubmitReqPkt{RegisteredDelivery: 1, FeeType: "01", DestUsrTl: 1, DestTerminalId: []string{"13800000000"}, MsgLength: 2, MsgContent: "hi"}
			}
			if _, err := c.SendReqPkt(submit); err != nil {
				t.Fatal(err)
			}
			id, receipt := hear(t, c), hear(t, c)
			var r cmpp.CmppReceiptPkt
			if err := r.Unpack([]byte(receipt.text)); err != nil || r.MsgId != id.id || r.Stat != "DELIVRD" || !bytes.HasPrefix([]byte(r.DestTerminalId), []byte("13800000000")) {
				t.Errorf("taken as %d, report %+v: %v", id.id, r, err)
			}
		})
	}
}

type heard struct {
	id   uint64
	text string
}

func hear(t *testing.T, c *cmpp.Client) heard {
	t.Helper()
	p, err := c.RecvAndUnpackPkt(ample)
	if err != nil {
		t.Fatal(err)
	}
	switch p := p.(type) {
	case *cmpp.Cmpp2SubmitRspPkt:
		return heard{id: p.MsgId}
	case *cmpp.Cmpp3SubmitRspPkt:
		return heard{id: p.MsgId}
	case *cmpp.Cmpp2DeliverReqPkt:
		return heard{text: p.MsgContent}
	case *cmpp.Cmpp3DeliverReqPkt:
		return heard{text: p.MsgContent}
	}
	t.Fatalf("heard %T", p)
	return heard{}
}
