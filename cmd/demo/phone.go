package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// phone shows the short messages that a gateway would bring to people.
type phone struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

func newPhone() (*phone, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for short messages: %w", err)
	}
	p := &phone{listener: l, done: make(chan struct{}), server: &http.Server{Handler: http.HandlerFunc(ring), ReadTimeout: 5 * time.Second}}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(l) // ends with close
	}()
	return p, nil
}

func (p *phone) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

func (p *phone) close() {
	p.server.Close()
	<-p.done
}

// ring says yes once the message is shown.
func ring(w http.ResponseWriter, r *http.Request) {
	var m struct{ Mobile, Name, Content, Link string }
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&m); err != nil {
		http.Error(w, `{"code":"1"}`, http.StatusBadRequest)
		return
	}
	fmt.Printf("\n  ☎ %s → %s %s\n    %s\n", time.Now().Format("15:04:05"), m.Name, m.Mobile, m.Content)
	if m.Link != "" {
		fmt.Printf("    %s\n", m.Link)
	}
	_, _ = io.WriteString(w, `{"code":"0"}`)
}
