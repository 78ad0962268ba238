package simulator

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mode is how a service behaves.
type Mode string

// The modes. Those that the webhook does not know are of the services only.
const (
	OK            Mode = "ok"
	Refuse        Mode = "refuse"         // connections are refused
	Hang          Mode = "hang"           // the request is read and never answered
	Slow          Mode = "slow"           // the right answer after delay_ms
	Error500      Mode = "error500"       //
	Reset         Mode = "reset"          // the connection is cut when the request comes
	Wrong         Mode = "wrong"          // 200 and a wrong answer
	Flap          Mode = "flap"           // every other request gets a 500, the first one does
	LoginPage     Mode = "login-page"     // 200 and a login form
	LoginRedirect Mode = "login-redirect" // 302 to the login page
	TLSExpired    Mode = "tls-expired"    // new connections are shown an expired certificate

	// Of one service each.
	HealthFalse Mode = "health-false" // cloud-doc says false, with 200
)

var (
	serviceModes = []Mode{OK, Refuse, Hang, Slow, Error500, Reset, Wrong, Flap, LoginPage, LoginRedirect, TLSExpired}
	webhookModes = []Mode{OK, Refuse, Hang, Slow, Error500, Reset, Flap}
	talkModes    = []Mode{OK, Refuse, Hang, Slow, Reset}
)

// maxWait bounds delays and lasting times.
const maxWait = 24 * time.Hour

// Fault is what is ordered of a service.
type Fault struct {
	Mode     Mode `json:"mode"`
	DelayMS  int  `json:"delay_ms,omitempty"` // of slow, 5000 when left out; of report-late
	Requests int  `json:"requests,omitempty"` // the fault ends after so many requests (tls-expired: connections)
	Each     bool `json:"each,omitempty"`     // so many requests of each path: all who watch, each by a path of its own, see the same
	ForMS    int  `json:"for_ms,omitempty"`   // the fault ends after this time
}

func (v *venue) modes() []Mode {
	switch {
	case v.talk != nil:
		return slices.Concat(talkModes, v.own)
	case v.certs == nil:
		return slices.Concat(webhookModes, v.own)
	}
	return slices.Concat(serviceModes, v.own)
}

// check says what is wrong with an order, for the person who gave it.
func (v *venue) check(f Fault) error {
	switch limit := int(maxWait / time.Millisecond); {
	case !slices.Contains(v.modes(), f.Mode):
		return fmt.Errorf("mode %q: %s knows %s", f.Mode, v.name, listModes(v.modes()))
	case f.DelayMS < 0 || f.DelayMS > limit:
		return fmt.Errorf("delay_ms %d: want 0 to %d", f.DelayMS, limit)
	case f.DelayMS > 0 && f.Mode != Slow && f.Mode != ReportLate:
		return fmt.Errorf("delay_ms goes with mode slow, not with %s", f.Mode)
	case f.ForMS < 0 || f.ForMS > limit:
		return fmt.Errorf("for_ms %d: want 0 to %d", f.ForMS, limit)
	case f.Requests < 0:
		return fmt.Errorf("requests %d: want 0 or more", f.Requests)
	case f.Requests > 0 && f.Mode == Refuse:
		return fmt.Errorf("requests cannot be counted while connections are refused: use for_ms")
	case f.Each && (f.Requests == 0 || f.Mode == TLSExpired || v.talk != nil):
		return fmt.Errorf("each goes with requests, of a service that speaks HTTP, and not with mode %s", TLSExpired)
	}
	return nil
}

func listModes(modes []Mode) string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

// switchboard holds a venue's fault and counts what it does.
type switchboard struct {
	door *door

	mu      sync.Mutex
	fault   Fault
	failed  bool           // flap's last answer
	by      map[string]int // requests that a fault with each has spoilt, by path
	changed chan struct{}  // closed when the fault in force ends, nil before the first
	timer   *time.Timer
	stopped bool
	asked   int64
	spoilt  int64
}

// set puts the fault in force: when it returns, no connection still sees the one before.
func (s *switchboard) set(f Fault) error {
	switch {
	case f.DelayMS != 0:
	case f.Mode == Slow:
		f.DelayMS = 5000
	case f.Mode == ReportLate:
		f.DelayMS = 90_000
	}
	s.mu.Lock()
	s.replace(f)
	s.mu.Unlock()
	switch f.Mode {
	case Refuse:
		s.door.shut()
		return nil
	case TLSExpired:
		s.door.clear()
	}
	return s.door.reopen()
}

// replace is called with the lock held.
func (s *switchboard) replace(f Fault) {
	if s.changed != nil {
		close(s.changed)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	changed := make(chan struct{})
	s.fault, s.failed, s.by, s.changed = f, false, nil, changed
	if f.ForMS > 0 && !s.stopped {
		s.timer = time.AfterFunc(time.Duration(f.ForMS)*time.Millisecond, func() { s.expire(changed) })
	}
}

// expire ends the fault unless another has come since.
func (s *switchboard) expire(changed chan struct{}) {
	s.mu.Lock()
	if s.changed != changed || s.stopped {
		s.mu.Unlock()
		return
	}
	s.replace(Fault{Mode: OK})
	s.mu.Unlock()
	_ = s.door.reopen() // a port that is lost stays refused, which its user sees
}

// maxPaths bounds how many paths a fault with each tells apart; further ones see no fault.
const maxPaths = 256

// request counts a request and says what to do with it; changed is closed when the fault ends.
func (s *switchboard) request(path string) (f Fault, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	f, changed = s.fault, s.changed
	if f.Each && !s.share(path) {
		f = Fault{Mode: OK}
	}
	switch f.Mode {
	case "", OK, TLSExpired:
		return Fault{Mode: OK}, changed
	case Flap:
		s.failed = !s.failed
		f.Mode = OK
		if s.failed {
			f.Mode = Error500
		}
	}
	if f.Mode != OK {
		s.spoilt++
	}
	s.use()
	return f, changed
}

// share takes one off a path's share of the fault, and says whether there was one.
func (s *switchboard) share(path string) bool {
	n, known := s.by[path]
	if n >= s.fault.Requests || !known && len(s.by) >= maxPaths {
		return false
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.by[path] = n + 1
	return true
}

// use takes one off the number of requests that the fault lasts. Hung requests stay hung when others use it up.
func (s *switchboard) use() {
	if s.fault.Requests == 0 || s.fault.Each {
		return
	}
	s.fault.Requests--
	if s.fault.Requests == 0 {
		s.fault = Fault{Mode: OK}
	}
}

// handshake says whether to show the expired certificate.
func (s *switchboard) handshake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.Mode != TLSExpired {
		return false
	}
	s.spoilt++
	s.use()
	return true
}

func (s *switchboard) now() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fault
	if f.Mode == "" {
		f.Mode = OK
	}
	return f
}

// Count is what a venue has seen since the start.
type Count struct {
	Connections int64 `json:"connections"`
	Requests    int64 `json:"requests"`
	Spoilt      int64 `json:"spoilt"` // requests and handshakes that a fault changed
}

func (s *switchboard) count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Count{s.door.opened.Load(), s.asked, s.spoilt}
}

func (s *switchboard) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
