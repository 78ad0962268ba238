package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"xunjian/pkg/access"
	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
)

// maxBody bounds what a caller may send.
const maxBody = 64 << 10

// ErrNotFound may be returned by parts of the API for something that is not there.
var ErrNotFound = errors.New("not found")

// Invalid may be returned by parts of the API for input that cannot be; What is for people.
type Invalid struct{ Field, What string }

func (i *Invalid) Error() string { return i.Field + ": " + i.What }

// Text is What, whatever the language.
func (i *Invalid) Text(*i18n.Printer) string { return i.What }

// Error is the body of every refusal, under "error", and what Client returns.
type Error struct {
	Status  int       `json:"-"`
	Code    string    `json:"code"`              // for programs
	Message string    `json:"message"`           // for people
	Field   string    `json:"field,omitempty"`   // of the request, when one is at fault
	Person  string    `json:"person,omitempty"`  // who was first, in a conflict
	At      time.Time `json:"at,omitzero"`       // when they were
	Version int       `json:"version,omitempty"` // of the incident now, in a conflict
	ID      string    `json:"id,omitempty"`      // of the line in the collector's log, for code internal
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Field != "" && !strings.Contains(e.Message, e.Field) {
		b.WriteString(" (" + e.Field + ")")
	}
	if e.ID != "" {
		b.WriteString(" [" + e.ID + "]")
	}
	return b.String()
}

// fault is a refusal of the API's own.
type fault struct {
	status int
	code   string
	field  string
	key    string // of the text; default api.error.<code>
	pairs  []string
	what   string // more, for people
}

func (f *fault) Error() string { return f.code + " " + f.field + " " + f.what }

// invalid is a field at fault; its text is api.bad.<key>.
func invalid(field, key string, pairs ...string) error {
	return &fault{status: http.StatusUnprocessableEntity, code: "invalid", field: field, key: "api.bad." + key, pairs: pairs}
}

// refusal is a fault as an answer.
func refusal(r *http.Request, f *fault) answer {
	e := &Error{Status: f.status, Code: f.code, Field: f.field, Message: printer(r).T(cmp.Or(f.key, "api.error."+f.code), f.pairs...)}
	if f.what != "" {
		e.Message += ": " + f.what
	}
	return wrap(e)
}

func wrap(e *Error) answer {
	return answer{status: e.Status, json: map[string]*Error{"error": e}}
}

// texted is an error of a part about what it was given: it names the field and has a text in each language.
type texted interface {
	error
	Text(p *i18n.Printer) string
}

func fieldOf(t texted) string {
	switch e := t.(type) {
	case *incident.BadAct:
		return e.Field
	case *access.BadInput:
		return e.Field
	case *fleet.BadRequest:
		return e.Field
	case *roster.Bad:
		return e.Field
	case *Invalid:
		return e.Field
	}
	return ""
}

// refuse is the one mapping from errors to statuses.
func (s *server) refuse(r *http.Request, err error) answer {
	p := printer(r)
	var (
		own      *fault
		conflict *incident.Conflict
		bad      texted
	)
	say := func(status int, code string) answer { return refusal(r, &fault{status: status, code: code}) }
	switch {
	case errors.As(err, &own):
		a := refusal(r, own)
		if own.status == http.StatusUnauthorized {
			a.header = map[string]string{"WWW-Authenticate": `Bearer realm="xunjian"`}
		}
		return a
	case errors.Is(err, access.ErrBadToken):
		a := say(http.StatusUnauthorized, "bad_token")
		a.header = map[string]string{"WWW-Authenticate": `Bearer realm="xunjian", error="invalid_token"`}
		return a
	case errors.Is(err, access.ErrForbidden):
		return say(http.StatusForbidden, "forbidden")
	case errors.As(err, &conflict):
		return wrap(&Error{
			Status: http.StatusConflict, Code: "conflict_" + conflict.What, Message: conflict.Text(p, s.Location),
			Person: conflict.Person, At: conflict.At.UTC(), Version: conflict.Version,
		})
	case errors.As(err, &bad):
		return wrap(&Error{Status: http.StatusUnprocessableEntity, Code: "invalid", Message: bad.Text(p), Field: fieldOf(bad)})
	case errors.Is(err, access.ErrTaken), errors.Is(err, fleet.ErrRevoked):
		return say(http.StatusConflict, "taken")
	case errors.Is(err, incident.ErrNotFound), errors.Is(err, fleet.ErrNoToken), errors.Is(err, fleet.ErrUnknownAgent),
		errors.Is(err, access.ErrNotFound), errors.Is(err, roster.ErrNotFound), errors.Is(err, ErrNotFound):
		return say(http.StatusNotFound, "not_found")
	case errors.Is(err, incident.ErrFull):
		return say(http.StatusServiceUnavailable, "full")
	case errors.Is(err, errNotRunning):
		return say(http.StatusServiceUnavailable, "not_running")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return say(http.StatusServiceUnavailable, "busy")
	}
	return s.internal(r, err)
}

// internal logs what went wrong here under an id, which is all that the caller learns.
func (s *server) internal(r *http.Request, err error) answer {
	b := make([]byte, 6)
	rand.Read(b) // never fails
	id := hex.EncodeToString(b)
	s.log.Error("API call failed", "id", id, "method", r.Method, "path", r.URL.Path, "err", err)
	return wrap(&Error{Status: http.StatusInternalServerError, Code: "internal", Message: printer(r).T("api.error.internal"), ID: id})
}

// write sends an answer.
func (s *server) write(w http.ResponseWriter, r *http.Request, path string, a answer) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.json != nil {
		b, err := json.Marshal(a.json)
		if err != nil { // a value that JSON cannot hold
			s.write(w, r, path, s.internal(r, fmt.Errorf("encode answer: %w", err)))
			return
		}
		a.kind, a.body = "application/json", append(b, '\n')
	}
	s.metrics.requests.WithLabelValues(path, method(r), strconv.Itoa(a.status)).Inc()
	h := w.Header()
	for k, v := range a.header {
		h.Set(k, v)
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write(a.body)
	}
}

// method keeps made-up methods out of the metrics.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
		return r.Method
	}
	return "other"
}

// text is a plain answer for people at a terminal.
func text(status int, s string) answer {
	return answer{status: status, kind: "text/plain; charset=utf-8", body: []byte(s + "\n")}
}

// read decodes the body into v, strictly: one JSON object with known fields, or nothing at all.
func (c *call) read(v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &fault{status: http.StatusRequestEntityTooLarge, code: "too_large"}
	}
	if err != nil {
		return &fault{status: http.StatusBadRequest, code: "bad_json", what: "body broke off"}
	}
	return decode(b, v)
}

func badJSON(field, what string) error {
	return &fault{status: http.StatusBadRequest, code: "bad_json", field: field, what: what}
}

func decode(b []byte, v any) error {
	bad := badJSON
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return nil
	case b[0] != '{':
		return bad("", "want an object {…}")
	case !utf8.Valid(b):
		return bad("", "not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return bad(kind.Field, "not a "+plain(kind.Type))
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field "):
		name := strings.Trim(strings.TrimPrefix(err.Error(), "json: unknown field "), `"`)
		return bad(name, "unknown field")
	case err != nil:
		return bad("", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("", "more than one value")
	}
	return nil
}

// plain is a type in the words of JSON.
func plain(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "number"
	}
	return "string"
}

// duration is a time span in a request: "1h30m".
func duration(field, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, invalid(field, "duration")
	}
	return d, nil
}

// query allows the named parameters only, each once: a mistyped filter must not list everything.
func (c *call) query(names ...string) (map[string]string, error) {
	out := map[string]string{}
	for k, v := range c.URL.Query() {
		known := false
		for _, n := range names {
			known = known || n == k
		}
		if !known {
			return nil, invalid(clip(k), "parameter")
		}
		if len(v) != 1 {
			return nil, invalid(k, "twice")
		}
		out[k] = v[0]
	}
	return out, nil
}

// clip bounds a word from outside that is told back.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }
