package promapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"xunjian/pkg/query"
)

// errorType is how Prometheus names a kind of fault.
type errorType string

const (
	badData     errorType = "bad_data"
	execution   errorType = "execution"
	canceled    errorType = "canceled"
	timeout     errorType = "timeout"
	internal    errorType = "internal"
	unavailable errorType = "unavailable"
	notFound    errorType = "not_found"
	forbidden   errorType = "forbidden" // ours: Prometheus leaves authentication to others
)

// statusClosed is what nginx answers to somebody who is gone already.
const statusClosed = 499

var statuses = map[errorType]int{
	badData: http.StatusBadRequest, execution: http.StatusUnprocessableEntity, canceled: statusClosed, timeout: http.StatusServiceUnavailable,
	internal: http.StatusInternalServerError, unavailable: http.StatusServiceUnavailable, notFound: http.StatusNotFound,
	forbidden: http.StatusForbidden,
}

// fault is an answer that is none.
type fault struct {
	kind   errorType
	err    error
	status int               // default: the kind's
	header map[string]string // beside the usual
}

func bad(format string, args ...any) *fault {
	return &fault{kind: badData, err: fmt.Errorf(format, args...)}
}

// faultOf sorts an error of the engine or the store as Prometheus does.
func faultOf(err error) *fault {
	var gone promql.ErrQueryCanceled
	var late promql.ErrQueryTimeout
	var stored promql.ErrStorage
	kind := execution
	switch {
	case errors.As(err, &gone), errors.Is(err, context.Canceled):
		kind = canceled
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded), errors.Is(err, query.ErrBusy):
		kind = timeout
	case errors.As(err, &stored):
		kind = internal
	case errors.Is(err, query.ErrBad):
		return bad("invalid parameter %q: %w", "query", plainly(err))
	}
	return &fault{kind: kind, err: err}
}

// plainly takes the words for ErrBad, which say what the error's type says already, off a query's fault.
func plainly(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if !errors.Is(e, query.ErrBad) {
				return e
			}
		}
	}
	return err
}

// reply is what a handler has to say: data or a fault. Without either there is no content.
type reply struct {
	data  any
	fault *fault
	notes annotations.Annotations
	expr  string // in which the notes have their places
	close func() // gives back what data lies in
}

// streamed is data that is written piece by piece.
type streamed interface{ stream(*sink) error }

func fails(f *fault) reply { return reply{fault: f} }

func truncated(notes annotations.Annotations) annotations.Annotations {
	return notes.Add(errors.New("results truncated due to limit"))
}

type failure struct {
	Status    string    `json:"status"`
	ErrorType errorType `json:"errorType"`
	Error     string    `json:"error"`
}

// write sends the reply. It panics with http.ErrAbortHandler when only a part could be sent.
func (p *reply) write(w http.ResponseWriter, r *http.Request) {
	s := newSink(w, r)
	defer s.done()
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusOK
	var err error
	switch {
	case p.fault != nil:
		status, err = p.fault.encode(s)
	case p.data == nil:
		w.Header().Del("Content-Type")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		if err = p.encode(s); err != nil && !s.live() {
			s.buf = s.buf[:0]
			status, err = (&fault{kind: internal, err: err}).encode(s)
		}
	}
	if !s.live() && p.close != nil {
		p.close() // all of it is in the sink
	}
	if err == nil {
		err = s.finish(status)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the peer is gone, or must not take half an answer for a whole one
	}
}

func (p *reply) encode(s *sink) error {
	s.buf = append(s.buf, `{"status":"success","data":`...)
	var err error
	if d, ok := p.data.(streamed); ok {
		err = d.stream(s)
	} else {
		err = encodeJSON(s, p.data)
	}
	if err != nil {
		return err
	}
	warnings, infos := p.notes.AsStrings(p.expr, 10, 10)
	for _, n := range []struct {
		name string
		all  []string
	}{{"warnings", warnings}, {"infos", infos}} {
		if len(n.all) == 0 {
			continue
		}
		s.buf = append(s.buf, `,"`+n.name+`":`...)
		if err := encodeJSON(s, n.all); err != nil {
			return err
		}
	}
	s.buf = append(s.buf, "}"...)
	return nil
}

func (f *fault) encode(s *sink) (status int, err error) {
	for k, v := range f.header {
		s.w.Header().Set(k, v)
	}
	if status = f.status; status == 0 {
		status = statuses[f.kind]
	}
	return status, encodeJSON(s, failure{"error", f.kind, f.err.Error()})
}
