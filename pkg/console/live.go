package console

import (
	"fmt"
	"net/http"
	"time"

	"xunjian/pkg/access"
)

// events tells a browser that something changed; it then pulls the board itself. A lost word costs one poll.
func (c *Console) events(w http.ResponseWriter, r *http.Request, _ access.Identity) {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, printer(r).T("console.failed"), http.StatusServiceUnavailable)
		return
	}
	changed, stop := c.o.Desk.Subscribe()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	beat := time.NewTicker(20 * time.Second)
	defer beat.Stop()
	text := "retry: 3000\n\n"
	for {
		if out.SetWriteDeadline(time.Now().Add(10*time.Second)) != nil {
			return
		}
		if _, err := fmt.Fprint(w, text); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
			text = "event: changed\ndata: board\n\n"
		case <-beat.C:
			text = ": alive\n\n"
		}
	}
}
