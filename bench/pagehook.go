package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// message is one message about one service, as it came to the receiver.
type message struct {
	watcher, service string
	incident         string // ours number them
	resolved         bool
	at               time.Time
}

// pageHook receives everybody's pages, at a path of each watcher's own.
type pageHook struct {
	*httptest.Server
	mu  sync.Mutex
	all []message
}

func newPageHook() *pageHook {
	h := &pageHook{}
	h.Server = httptest.NewServer(h)
	return h
}

// of is where a watcher sends its pages.
func (h *pageHook) of(watcher string) string { return h.URL + "/" + watcher }

// ServeHTTP takes Alertmanager's payload. However many alerts of a service a message holds, it is one page of it: a resolved
// one when nothing in it fires.
func (h *pageHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var body struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	firing, incidents := map[string]bool{}, map[string]string{}
	for _, a := range body.Alerts {
		service := a.Labels["service"]
		firing[service] = firing[service] || a.Status == "firing"
		incidents[service] = a.Labels["incident"]
	}
	h.mu.Lock()
	for service, fires := range firing {
		h.all = append(h.all, message{strings.Trim(r.URL.Path, "/"), service, incidents[service], !fires, at})
	}
	h.mu.Unlock()
}

// between are a watcher's messages about a service in a stretch of time; an empty service is any.
func (h *pageHook) between(watcher, service string, from, to time.Time) (pages, resolves []message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.all {
		if m.watcher != watcher || service != "" && m.service != service || m.at.Before(from) || !m.at.Before(to) {
			continue
		}
		if m.resolved {
			resolves = append(resolves, m)
		} else {
			pages = append(pages, m)
		}
	}
	return pages, resolves
}
