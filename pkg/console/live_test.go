package console

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"xunjian/pkg/access"
)

// stream is a browser that listens.
type stream struct {
	t     *testing.T
	lines chan string // closed when the stream ends
}

func listen(t *testing.T, server *httptest.Server, v *visitor) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(v.cookies["xunjian"])
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Security-Policy") == "" {
		t.Fatalf("events: %s %v", resp.Status, resp.Header)
	}
	s := &stream{t, make(chan string)}
	go func() {
		defer close(s.lines)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			select {
			case s.lines <- lines.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range s.lines {
		}
	})
	return s
}

// wants waits for a line, or for the end when it is empty.
func (s *stream) wants(line string) {
	s.t.Helper()
	bound := time.After(time.Minute)
	for {
		select {
		case got, open := <-s.lines:
			if !open && line == "" || open && got == line && line != "" {
				return
			}
			if !open {
				s.t.Fatalf("the stream ended before %q", line)
			}
		case <-bound:
			s.t.Fatalf("no %q", line)
		}
	}
}

func TestEventsTellOfChanges(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r.Console)
	t.Cleanup(server.Close) // after the streams' own
	v := r.as(access.Viewer)
	a, b := listen(t, server, v), listen(t, server, r.as(access.Engineer))
	a.wants("retry: 3000")
	b.wants("retry: 3000")
	id := r.breaks(time.Now(), "sms", "HTTP 500").ID
	a.wants("event: changed")
	b.wants("event: changed")
	leads(t, v.post("/logout"), "/login")
	if _, err := r.desk.Note(id, noteOf("x")); err != nil {
		t.Fatal(err)
	}
	a.wants("") // signed out
	b.wants("event: changed")
	r.EndStreams()
	b.wants("")
}

// A server that shuts down does not wait for those who listen, nor cuts those off whom its read timeout would.
func TestShutdownEndsEvents(t *testing.T) {
	r := newRig(t)
	server := httptest.NewUnstartedServer(r.Console)
	server.Config.ReadTimeout = 200 * time.Millisecond
	server.Config.RegisterOnShutdown(r.EndStreams)
	server.Start()
	t.Cleanup(server.Close)
	s := listen(t, server, r.as(access.Viewer))
	s.wants("retry: 3000")
	time.Sleep(2 * server.Config.ReadTimeout) // longer than a request may take to be read
	r.breaks(time.Now(), "sms", "HTTP 500")
	s.wants("event: changed")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
	s.wants("")
}

func TestStreamsAreBounded(t *testing.T) {
	r := newRig(t)
	v := r.as(access.Viewer)
	for range maxStreams {
		r.streams <- struct{}{}
	}
	w := v.get("/events")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d %v", w.Code, w.Header())
	}
	<-r.streams
	r.EndStreams()
	if w = v.get("/events"); w.Code != http.StatusOK {
		t.Errorf("a free place: %d %s", w.Code, w.Body)
	}
	if len(r.streams) != maxStreams-1 {
		t.Errorf("%d places are taken after the stream ended", len(r.streams))
	}
}
