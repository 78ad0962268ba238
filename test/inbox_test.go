package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// inbox is a receiver of pages in the test's own process.
type inbox struct {
	*httptest.Server
	around func(answer func()) // answers; nil: at once

	mu  sync.Mutex
	got []delivery
}

// delivery is one message, once it has come whole.
type delivery struct {
	key   string
	pages []string // keys of the pages in it
	at    time.Time
	level string // of a page alone
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct{ Labels, Annotations map[string]string }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d := delivery{key: r.Header.Get("Idempotency-Key"), at: time.Now()}
	for _, a := range body.Alerts {
		if keys := a.Annotations["pages"]; keys != "" {
			d.pages = append(d.pages, strings.Fields(keys)...)
		} else {
			d.pages, d.level = append(d.pages, d.key), a.Labels["level"]
		}
	}
	b.mu.Lock()
	b.got = append(b.got, d)
	b.mu.Unlock()
	if b.around != nil {
		b.around(func() { w.WriteHeader(http.StatusOK); http.NewResponseController(w).Flush() })
	}
}

// all are the messages so far.
func (b *inbox) all() []delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]delivery(nil), b.got...)
}

// pages counts how often each page came.
func (b *inbox) pages() map[string]int {
	out := map[string]int{}
	for _, d := range b.all() {
		for _, key := range d.pages {
			out[key]++
		}
	}
	return out
}

// pageOf takes a page's key apart: the incident, and why people are told.
func pageOf(key string) (incident, kind string) {
	parts := strings.Split(key, ".")
	if len(parts) < 3 {
		return key, ""
	}
	return parts[0], parts[2]
}
