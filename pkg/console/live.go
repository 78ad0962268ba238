package console

import (
	"fmt"
	"net/http"
	"time"
)

const (
	beatEvery = 20 * time.Second // so that proxies keep a quiet stream, and one whose person has gone is noticed
	writeWait = 10 * time.Second // for a browser that takes nothing in
)

// events tells a browser that something changed; it then pulls its page itself. A lost word costs one poll.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	if _, err := c.whoseStream(r); err != nil {
		c.refuse(w, r, http.StatusUnauthorized, printer(r).T("console.sign_in_first"))
		return
	}
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		c.refuse(w, r, http.StatusServiceUnavailable, printer(r).T("console.too_many"))
		return
	}
	changed, stop := c.o.Desk.Subscribe()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	text := "retry: 3000\n\n"
	for {
		if out.SetWriteDeadline(time.Now().Add(writeWait)) != nil {
			return
		}
		if _, err := fmt.Fprint(w, text); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.ended:
			return
		case <-changed:
			text = "event: changed\ndata: board\n\n"
		case <-beat.C:
			text = ": alive\n\n"
		}
		if _, err := c.whoseStream(r); err != nil {
			return // signed out, disabled or idle
		}
	}
}
