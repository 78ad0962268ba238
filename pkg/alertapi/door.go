package alertapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Prefix is where Alertmanager's API begins.
const Prefix = "/api/v2"

// Bounds on what strangers can ask at one time.
const (
	maxBody    = 4 << 20
	maxPosts   = 8 // read and parsed at one time; others wait
	maxReads   = 4
	maxCalls   = 256 // waiting or at work; more are told to come again
	waitAtMost = 10 * time.Second
)

// DoorOptions are what the door stands on. Nil functions stand for nothing there.
type DoorOptions struct {
	Book      *Book
	MayRead   func(*http.Request) bool // nil: whoever reaches the door
	MaySend   func(*http.Request) bool // nil: whoever reaches the door
	Receivers func() []string          // names of the channels by which people are told
	Silences  func(now time.Time) []Silence
	Version   string
}

type door struct {
	DoorOptions
	started      time.Time
	posts, reads chan struct{}
	calls        chan struct{}
}

// Handler serves Alertmanager's API v2 under Prefix.
func Handler(o DoorOptions) http.Handler {
	d := &door{
		DoorOptions: o, started: time.Now(), posts: make(chan struct{}, maxPosts), reads: make(chan struct{}, maxReads), calls: make(chan struct{}, maxCalls),
	}
	mux := http.NewServeMux()
	for path, ways := range map[string]map[string]http.HandlerFunc{
		"/alerts":        {"GET": d.reading(d.listAlerts), "POST": d.sending(d.postAlerts)},
		"/alerts/groups": {"GET": d.reading(d.listGroups)},
		"/status":        {"GET": d.reading(d.status)},
		"/receivers":     {"GET": d.reading(d.receivers)},
		"/silences":      {"GET": d.reading(d.listSilences), "POST": d.sending(d.noSilence)},
		"/silence/{id}":  {"GET": d.reading(d.getSilence), "DELETE": d.sending(d.noSilence)},
	} {
		mux.HandleFunc(Prefix+path, d.entry(ways))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "path "+r.URL.Path+" was not found")
	})
	return mux
}

// refusal is how Alertmanager's framework says no before a handler is reached.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, status int, text string) {
	code := status
	if status == http.StatusUnprocessableEntity {
		code = 602 // a required value is missing
	}
	answer(w, status, refusal{code, text})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler) // the peer is gone, or must not take half an answer for a whole one
	}
}

// entry bounds the calls and picks the way of a method.
func (d *door) entry(ways map[string]http.HandlerFunc) http.HandlerFunc {
	var allow []string
	for _, m := range []string{"GET", "POST", "DELETE"} {
		if ways[m] != nil {
			allow = append(allow, m)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.calls <- struct{}{}:
			defer func() { <-d.calls }()
		default:
			d.busy(w)
			return
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if do := ways[method]; do != nil {
			do(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(allow, ","))
		refuse(w, http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed, but [%s] are", r.Method, strings.Join(allow, ",")))
	}
}

func (d *door) busy(w http.ResponseWriter) {
	d.Book.metrics.refused.WithLabelValues("busy").Inc()
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, "too many calls at one time")
}

func (d *door) reading(next http.HandlerFunc) http.HandlerFunc {
	return d.let(d.MayRead, d.reads, next)
}

func (d *door) sending(next http.HandlerFunc) http.HandlerFunc {
	return d.let(d.MaySend, d.posts, next)
}

// let asks whether the caller may come in and waits for a place.
func (d *door) let(may func(*http.Request) bool, lane chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if may != nil && !may(r) {
			d.Book.metrics.refused.WithLabelValues("token").Inc()
			w.Header().Set("WWW-Authenticate", `Basic realm="xunjian", charset="UTF-8"`)
			refuse(w, http.StatusUnauthorized, "an API token is needed, as bearer or as the password of any user: collector token api makes one")
			return
		}
		t := time.NewTimer(waitAtMost)
		defer t.Stop()
		select {
		case lane <- struct{}{}:
			defer func() { <-lane }()
		case <-r.Context().Done():
			return
		case <-t.C:
			d.busy(w)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(30 * time.Second)) // a recorder in a test has none
		defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
		next(w, r)
	}
}

// postAlerts answers as Alertmanager does: what is valid is kept whatever else is in the call.
func (d *door) postAlerts(w http.ResponseWriter, r *http.Request) {
	sent, status, err := readAlerts(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		d.Book.metrics.invalid.WithLabelValues("v2").Inc()
		refuse(w, status, err.Error())
		return
	}
	now := d.Book.now().UTC()
	var valid []Alert
	var faults faults
	for _, s := range sent {
		a := s.alert().arrive(now, d.Book.resolveTimeout())
		if err := a.check(); err != nil {
			d.Book.metrics.invalid.WithLabelValues("v2").Inc()
			faults = append(faults, err)
			continue
		}
		valid = append(valid, a)
	}
	switch err := d.Book.Put(valid); {
	case errors.Is(err, ErrFull):
		w.Header().Set("Retry-After", "60")
		answer(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		d.Book.log.Error("alerts were not taken", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
	case len(faults) > 0:
		answer(w, http.StatusBadRequest, faults.Error())
	default:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
	}
}

// faults are told as Alertmanager tells several: one after the other.
type faults []error

func (f faults) Error() string {
	texts := make([]string, 0, min(len(f), 20))
	for _, e := range f[:min(len(f), 20)] {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}

func readAlerts(body io.Reader) (out []postable, status int, err error) {
	b, err := io.ReadAll(body)
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("alerts of more than %d bytes in one call", maxBody)
	}
	if err == nil && len(b) == 0 {
		return nil, http.StatusUnprocessableEntity, errors.New("alerts in body is required")
	}
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf(`parsing alerts body from "" failed, because %w`, err)
	}
	for i, a := range out {
		if a.Labels == nil {
			return nil, http.StatusUnprocessableEntity, fmt.Errorf("validation failure list:\n%d.labels in body is required", i)
		}
	}
	return out, 0, nil
}
