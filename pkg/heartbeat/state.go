package heartbeat

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"xunjian/pkg/i18n"
)

// State is how one receiver's heart does.
type State struct {
	Name     string
	Kind     string
	Every    time.Duration
	At       time.Time // of the last beat that was due; zero: none was yet
	Taken    time.Time // when the receiver last took one; zero: not since the collector or its configuration was read
	Took     time.Duration
	Withheld bool   // the last one was not sent, for the collector is not well
	Error    string // why the last one was not taken, or not sent; empty: it was taken
	Cause    Cause  // what is behind that
}

// Cause is what is behind a beat that was not taken.
type Cause string

// The causes.
const (
	Ill         Cause = "ill"         // the collector is not well
	Refused     Cause = "refused"     // the receiver said no
	Silent      Cause = "silent"      // nothing was answered in time
	Unreachable Cause = "unreachable" // there is no way to it: address, network, proxy, certificate
	Unusable    Cause = "unusable"    // something of the configuration cannot be used here: the token's file, the CA's
)

// fault is an error whose cause is known where it comes from.
type fault struct {
	error
	cause Cause
}

func (f *fault) Unwrap() error { return f.error }

func causeOf(err error) Cause {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.cause
	}
	var slow interface{ Timeout() bool }
	if errors.As(err, &slow) && slow.Timeout() {
		return Silent
	}
	return Unreachable
}

// Explain says in a language of people why the last beat was not taken and what to look at; empty: it was taken.
func (s State) Explain(p *i18n.Printer) string {
	if s.Error == "" {
		return ""
	}
	return p.T("heartbeat.cause."+string(s.Cause), "detail", s.Error, "seconds", strconv.FormatFloat(s.Took.Seconds(), 'f', 1, 64))
}

// Word is taken, refused, withheld or, before the first beat, waiting.
func (s State) Word() string {
	switch {
	case s.At.IsZero():
		return "waiting"
	case s.Withheld:
		return "withheld"
	case s.Error != "":
		return "refused"
	}
	return "taken"
}

// ErrUnknown says that there is no receiver of that name.
var ErrUnknown = errors.New("no such receiver of heartbeats")

// States lists all receivers in the order of the configuration.
func (h *Hearts) States() []State {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]State, 0, len(h.receivers))
	for _, r := range h.receivers {
		out = append(out, h.state(r.withDefaults()))
	}
	return out
}

// state is what is known of a receiver. The caller holds mu.
func (h *Hearts) state(r Receiver) State {
	s := h.states[r.Name]
	s.Name, s.Kind, s.Every = r.Name, r.Kind, r.Every
	return s
}

// Failing names the receivers that did not take the last beat.
func (h *Hearts) Failing() (names []string) {
	for _, s := range h.States() {
		if s.Error != "" && !s.Withheld {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Now beats once out of turn, for the receiver of this name or, without a name, for all, and tells how each does. A collector
// that is not well beats for nobody: a person's word must not stand in for its health.
func (h *Hearts) Now(ctx context.Context, name, by string) ([]State, error) {
	h.mu.Lock()
	list := slices.Clone(h.receivers)
	h.mu.Unlock()
	if name != "" {
		list = slices.DeleteFunc(list, func(r Receiver) bool { return r.Name != name })
		if len(list) == 0 {
			return nil, ErrUnknown
		}
	}
	out := make([]State, len(list))
	var wg sync.WaitGroup
	for i, r := range list {
		wg.Go(func() {
			r = r.withDefaults()
			client, err := r.client()
			if client != nil {
				defer client.CloseIdleConnections()
			}
			out[i] = h.once(ctx, client, err, r)
			h.log.Info("heartbeat sent by hand", "receiver", r.Name, "person", by, "error", out[i].Error)
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// once is one beat with what comes of it; unusable is why there is no client.
func (h *Hearts) once(ctx context.Context, client *http.Client, unusable error, r Receiver) State {
	ill, err, begin := error(nil), error(nil), time.Now()
	if unusable != nil {
		err = &fault{unusable, Unusable}
	}
	if err == nil {
		if ill = h.o.Healthy(); ill == nil {
			err = h.beat(ctx, client, r)
		}
	}
	took := time.Since(begin)
	h.mu.Lock()
	before := h.state(r)
	if ctx.Err() != nil { // given up, which says nothing of the receiver
		h.mu.Unlock()
		return before
	}
	s := before
	s.At, s.Took, s.Withheld, s.Error, s.Cause = begin, took, ill != nil, "", ""
	switch {
	case ill != nil:
		s.Error, s.Cause = ill.Error(), Ill
	case err != nil:
		s.Error, s.Cause = err.Error(), causeOf(err)
	default:
		s.Taken = begin
	}
	h.states[r.Name] = s
	h.mu.Unlock()
	h.tell(before, s)
	return s
}

// tell counts what came of a beat, and logs what is new about it.
func (h *Hearts) tell(before, s State) {
	h.metrics.count(s)
	failed := before.Error != "" && !before.Withheld
	switch {
	case s.Withheld:
		h.log.Warn("heartbeat withheld: the collector is not well", "receiver", s.Name, "error", s.Error)
	case s.Error != "" && !failed:
		h.log.Error("heartbeat not taken", "receiver", s.Name, "error", s.Error)
	case s.Error == "" && failed:
		h.log.Info("heartbeat taken again", "receiver", s.Name)
	}
}
