package sms_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xunjian/pkg/channel"
	"xunjian/pkg/config"
)

// A page by SMPP through the message centre of the npm package smpp: it reads the text that was sent, its delivery report is the
// yes, a handset that is off and a wrong password are refusals.
func TestPageThroughNPMServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node", "server.js")
	cmd.Dir, cmd.Stderr = npm(t), os.Stderr
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
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("peerpass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	channels, err := channel.Config{List: []channel.Settings{{
		Name: "duty", Kind: "smpp", Server: fmt.Sprintf("127.0.0.1:%d", first.Port), User: "peer", Token: config.Secret{File: password}, Timeout: ample,
		SMS: &channel.SMS{From: "10690000", Report: ample},
	}}}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	const text = "【紧急】签章服务 中断 INC-20261123-0007 回复1234响应"
	m := channel.Message{Key: "k", Title: "t", Short: text, To: []channel.Person{{Name: "张工", Phone: "13900000001"}}}
	if r, err := channels[0].Send(t.Context(), m); err != nil || !strings.Contains(r.Answer, "DELIVRD") {
		t.Errorf("%q, %v", r.Answer, err)
	}
	m.Key, m.To = "k2", []channel.Person{{Name: "李工", Phone: "13900000000"}}
	if _, err := channels[0].Send(t.Context(), m); !channel.RefusalIn(err).PageOnly || !strings.Contains(err.Error(), "UNDELIV") {
		t.Errorf("a handset that is off: %v", err)
	}
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil { // read anew for each try
		t.Fatal(err)
	}
	m.Key = "k3"
	if _, err := channels[0].Send(t.Context(), m); channel.RefusalIn(err).Cause != channel.CauseCredentials {
		t.Errorf("wrong password: %v", err)
	}
	stdin.Close()
	n := 0
	for lines.Scan() {
		var got struct {
			Number, Text string
			Coding       int
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil || got.Text != text || got.Coding != 8 {
			t.Errorf("it read %+v: %v", got, err)
		}
		n++
	}
	if err := cmd.Wait(); err != nil || n != 2 {
		t.Errorf("%d messages, %v", n, err)
	}
}
