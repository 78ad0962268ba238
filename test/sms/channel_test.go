package sms_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"xunjian/pkg/channel"
	"xunjian/pkg/config"
)

// A page by SMPP through the message centre of the npm package smpp: it reads the text that was sent, its delivery report is the
// yes, a handset that is off and a wrong password are refusals.
func TestPageThroughNPMServer(t *testing.T) {
	n := startNPMServer(t)
	ch, password := n.channel(t, new(false))
	m := channel.Message{Key: "k", Title: "t", Short: npmText, To: []channel.Person{{Name: "张工", Phone: "13900000001"}}}
	if r, err := ch.Send(t.Context(), m); err != nil || !strings.Contains(r.Answer, "DELIVRD") {
		t.Errorf("%q, %v", r.Answer, err)
	}
	m.Key, m.To = "k2", []channel.Person{{Name: "李工", Phone: "13900000000"}}
	if _, err := ch.Send(t.Context(), m); !channel.RefusalIn(err).PageOnly || !strings.Contains(err.Error(), "UNDELIV") {
		t.Errorf("a handset that is off: %v", err)
	}
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil { // read anew for each try
		t.Fatal(err)
	}
	m.Key = "k3"
	if _, err := ch.Send(t.Context(), m); channel.RefusalIn(err).Cause != channel.CauseCredentials {
		t.Errorf("wrong password: %v", err)
	}
	n.ends(t, 2)
}

// Over a session that stays open the same server takes pages, several at once, and brings what a telephone answers.
func TestReplyThroughNPMServer(t *testing.T) {
	n := startNPMServer(t)
	ch, _ := n.channel(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	heard, open, ended := make(chan channel.Reply, 1), make(chan error, 10), make(chan error, 1)
	go func() {
		ended <- ch.(channel.Listener).Listen(ctx, channel.Hearing{Reply: func(r channel.Reply) bool { heard <- r; return true }, State: func(_ bool, why error) { open <- why }})
	}()
	if err := <-open; err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			m := channel.Message{Key: fmt.Sprint(i), Title: "t", Short: npmText, To: []channel.Person{{Name: "张工", Phone: "13900000001"}}}
			if r, err := ch.Send(t.Context(), m); err != nil || !strings.Contains(r.Answer, "DELIVRD") {
				t.Errorf("%q, %v", r.Answer, err)
			}
		})
	}
	wg.Wait()
	for _, text := range []string{"1234", "收到 1234。"} { // in the centre's own alphabet, and in UCS-2
		fmt.Fprintf(n.stdin, "{\"from\":\"13900000001\",\"text\":%q}\n", text)
		if r := <-heard; r.From != "13900000001" || r.Text != text {
			t.Errorf("heard %+v", r)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	n.ends(t, 4)
}

const npmText = "【紧急】签章服务 中断 INC-20261123-0007 回复1234响应"

// npmServer is the message centre of the npm package, and what it says.
type npmServer struct {
	cmd   *exec.Cmd
	port  int
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startNPMServer(t *testing.T) *npmServer {
	t.Helper()
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
	return &npmServer{cmd, first.Port, stdin, lines}
}

// channel is one to the server; its password's file can be changed.
func (n *npmServer) channel(t *testing.T, replies *bool) (ch channel.Channel, password string) {
	t.Helper()
	password = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("peerpass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	channels, err := channel.Config{List: []channel.Settings{{
		Name: "duty", Kind: "smpp", Server: fmt.Sprintf("127.0.0.1:%d", n.port), User: "peer", Token: config.Secret{File: password}, Timeout: ample,
		SMS: &channel.SMS{From: "10690000", Report: ample, Replies: replies},
	}}}.Channels()
	if err != nil {
		t.Fatal(err)
	}
	return channels[0], password
}

// ends wants the server to have read so many messages, word by word, and nothing but yes to what it has brought.
func (n *npmServer) ends(t *testing.T, messages int) {
	t.Helper()
	n.stdin.Close()
	read := 0
	for n.lines.Scan() {
		var got struct {
			Number, Text, Step string
			Coding, Status     int
		}
		switch err := json.Unmarshal(n.lines.Bytes(), &got); {
		case err == nil && got.Step == "heard" && got.Status == 0:
			continue
		case err != nil || got.Text != npmText || got.Coding != 8:
			t.Errorf("it read %+v: %v", got, err)
		}
		read++
	}
	if err := n.cmd.Wait(); err != nil || read != messages {
		t.Errorf("%d messages, %v", read, err)
	}
}
