// Package fleet knows which agents exist, certifies them with the collector's own CA, and raises an alarm when one falls silent.
package fleet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Look is how often Run looks for silence. A gap of several looks means that the collector itself stood still.
const Look = 5 * time.Second

const (
	persistEvery = time.Minute // how often what was heard is written down
	maxText      = 128         // bytes kept of a text that an agent tells
)

// Options tunes New.
type Options struct {
	Dir    string // data folder: ca.key and ca.crt are kept here
	Config Config
	Lang   string // of symptoms' texts; default zh-CN
	// Observe takes the symptoms that Run finds; an error has them told again at the next look. Nil: Run only persists.
	Observe func(now time.Time, s symptom.Symptom) error
	// Reach tries the host of an agent that is not heard; it ends with its context. Nil: nothing is ever clear.
	Reach      func(ctx context.Context, a Agent) Reach
	Location   *time.Location        // of the times of day in texts; default UTC
	Now        func() time.Time      // of silence; default time.Now
	Logger     *slog.Logger          // default: none
	Registerer prometheus.Registerer // default: none
}

// Registry is the list of agents and the authority that certifies them. It is safe for concurrent use.
type Registry struct {
	db      *store.DB
	ca      *authority
	log     *slog.Logger
	text    *i18n.Printer
	observe func(time.Time, symptom.Symptom) error
	now     func() time.Time
	zone    *time.Location
	reach   func(context.Context, Agent) Reach
	metrics *metrics

	mu       sync.Mutex
	cfg      Config
	agents   map[string]*agent // at most Config.MaxAgents
	lastLook time.Time         // zero before the first
	parted   bool              // an agent took its leave, which is to be written down soon
}

// agent is one agent in memory; what is exported of it is Agent.
type agent struct {
	identity
	heard
	mark   time.Time // from when silence counts: last heard, enrolled, or the end of a pause of ours; monotonic
	tried  time.Time // when its host was last tried
	backAt time.Time // first heard again after a silence that was told
	dirty  bool      // heard differs from what is on disk

	skew    time.Duration // of its clock, as its last message had it
	clocked bool          // skew is known
}

// identity is what an enrolment leaves, and what must never be lost.
type identity struct {
	Name       string    `json:"name"`
	Serial     string    `json:"serial"` // of its certificate, lower-case hexadecimal
	EnrolledAt time.Time `json:"enrolled_at"`
	From       string    `json:"from,omitempty"` // address that asked
	Token      string    `json:"token"`          // id of the token
	By         string    `json:"by"`             // person who made the token
	NotAfter   time.Time `json:"not_after"`      // of its certificate
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	RevokedBy  string    `json:"revoked_by,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// heard is what an agent last said of itself, and what was told about it.
type heard struct {
	LastHeard  time.Time      `json:"last_heard,omitzero"`
	Info       Info           `json:"info"`
	Silent     bool           `json:"silent,omitempty"` // its silence was told and lasts
	SilentFrom time.Time      `json:"silent_from,omitzero"`
	Host       Reach          `json:"host,omitempty"`    // what was found of its host while it is silent
	LeftAt     time.Time      `json:"left_at,omitzero"`  // it took its leave then and has not been heard since
	LeftBy     string         `json:"left_by,omitempty"` // the signal that ended it
	Told       contract.Level `json:"told,omitempty"`    // the level at which the silence was told last
	Skewed     bool           `json:"skewed,omitempty"`  // its clock was told to be off, and is
}

var (
	agentTable = store.NewTable[identity]("fleet_agents")
	heardTable = store.NewTable[heard]("fleet_heard")
)

// Info is what an agent says of itself.
type Info struct {
	Boot    uint64        `json:"boot,omitempty"`
	Version string        `json:"version,omitempty"`
	Host    string        `json:"host,omitempty"` // fingerprint of its machine
	Addr    string        `json:"addr,omitempty"`
	Plan    string        `json:"plan,omitempty"` // revision of the plan that it runs
	Skew    time.Duration `json:"skew,omitempty"` // its clock minus ours
}

// Agent is one agent as people and programs see it.
type Agent struct {
	Name       string
	EnrolledAt time.Time
	EnrolledBy string // the person who made the token
	Serial     string
	NotAfter   time.Time // of its certificate
	LastHeard  time.Time // zero: never
	Silent     bool
	Host       Reach     // of a silent one
	LeftAt     time.Time // it was ended on purpose then and has not been heard since; zero: it was not
	LeftBy     string    // the signal, empty when it is not known
	Skewed     bool
	Info       Info
	RevokedAt  time.Time // zero: not revoked
	RevokedBy  string
	Reason     string
}

// ErrUnknownAgent says that there is no agent of that name; Known also says it of a certificate that is not the agent's present one.
var ErrUnknownAgent = errors.New("no such agent")

// ErrRevoked says that an agent may not send any more.
var ErrRevoked = errors.New("agent is revoked")

var agentName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ValidName says whether an agent may be called so.
func ValidName(name string) bool { return agentName.MatchString(name) }

// New reads the fleet and its CA, or makes the CA at the first start. It refuses a CA that is not whole or not the one that
// the enrolled agents trust.
func New(db *store.DB, o Options) (*Registry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	r := &Registry{db: db, log: o.Logger, text: i18n.For(o.Lang), observe: o.Observe, reach: o.Reach, zone: o.Location, now: o.Now, cfg: o.Config.withDefaults(), agents: map[string]*agent{}}
	now := r.now()
	if err := r.load(now); err != nil {
		return nil, fmt.Errorf("read fleet: %w", err)
	}
	var err error
	if r.ca, err = openAuthority(db, o.Dir, now, r.cfg.NewCA); err != nil {
		return nil, err
	}
	r.metrics = newMetrics(o.Registerer, r)
	return r, nil
}

func (r *Registry) load(now time.Time) error {
	return r.db.View(func(tx *store.Tx) error {
		all, err := agentTable.All(tx)
		if err != nil {
			return err
		}
		for _, e := range all {
			a := &agent{identity: e.Value, mark: now}
			h, err := heardTable.Get(tx, e.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				r.log.Warn("last words of an agent are unreadable; its identity stands", "agent", e.Key, "err", err)
			}
			a.heard = h
			r.agents[e.Key] = a
		}
		for _, a := range r.agents {
			a.mark = now.Add(r.comeback())
		}
		return nil
	})
}

// comeback is how long a fleet takes to come back after the collector was away: agents spread their calls, and so many a
// second are let in. Nobody counts as silent for not having had his turn.
func (r *Registry) comeback() time.Duration {
	const aSecond = 100
	return time.Duration(len(r.agents)/aSecond) * time.Second
}

// Configure takes a new configuration over. The server's certificate follows at its next use.
func (r *Registry) Configure(c Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg = c.withDefaults()
}

func (r *Registry) config() Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg
}

// CA is the certificate that agents must trust.
func (r *Registry) CA() *x509.Certificate { return r.ca.cert }

// Fingerprint is the SHA-256 of the CA's DER in lower-case hexadecimal; every token carries it.
func (r *Registry) Fingerprint() string { return r.ca.fingerprint }

// Agents lists all agents by name.
func (r *Registry) Agents() []Agent {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Agent, 0, len(r.agents))
	for _, a := range r.agents {
		out = append(out, a.view())
	}
	slices.SortFunc(out, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (a *agent) view() Agent {
	return Agent{
		Name: a.Name, EnrolledAt: a.EnrolledAt, EnrolledBy: a.By, Serial: a.Serial, NotAfter: a.NotAfter,
		LastHeard: a.LastHeard, Silent: a.Silent, Host: a.Host, LeftAt: a.LeftAt, LeftBy: a.LeftBy, Skewed: a.Skewed, Info: a.Info,
		RevokedAt: a.RevokedAt, RevokedBy: a.RevokedBy, Reason: a.Reason,
	}
}

// Known is nil when the agent may send with the certificate of this serial number (lower-case hexadecimal).
func (r *Registry) Known(name, serial string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.agents[name]
	switch {
	case a == nil:
		return fmt.Errorf("agent %q: %w", clip(name), ErrUnknownAgent)
	case !a.RevokedAt.IsZero():
		return fmt.Errorf("agent %q: %w", name, ErrRevoked)
	case a.Serial != serial:
		return fmt.Errorf("agent %q: certificate %s was replaced: %w", name, clip(serial), ErrUnknownAgent)
	}
	return nil
}

// Revoke forbids an agent to send. Its name stays taken until somebody makes a token for it.
func (r *Registry) Revoke(now time.Time, name, by, reason string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.agents[name]
	if a == nil {
		return fmt.Errorf("agent %q: %w", clip(name), ErrUnknownAgent)
	}
	if !a.RevokedAt.IsZero() {
		return fmt.Errorf("agent %q: %w", name, ErrRevoked)
	}
	id := a.identity
	id.RevokedAt, id.RevokedBy, id.Reason = now.UTC(), clip(by), clip(reason)
	if err := r.db.Update(func(tx *store.Tx) error { return agentTable.Put(tx, name, id) }); err != nil {
		return fmt.Errorf("revoke agent %s: %w", name, err)
	}
	a.identity = id
	r.log.Info("agent revoked", "agent", name, "by", id.RevokedBy, "reason", id.Reason)
	return nil
}

// Run looks for silence every Look, hands what it finds to Options.Observe, and writes down once a minute and at its end
// what was heard.
func (r *Registry) Run(ctx context.Context) error {
	looks := time.NewTicker(Look)
	defer looks.Stop()
	last := r.now()
	for {
		select {
		case <-ctx.Done():
			return r.persist()
		case <-looks.C:
		}
		now := r.now()
		r.try(ctx, now)
		told := r.look(now) || r.hasParted()
		if told || now.Sub(last) >= persistEvery {
			last = now
			if err := r.persist(); err != nil {
				r.log.Error("what agents said is not written down", "err", err)
			}
		}
	}
}

// persist writes what changed since the last time, in one transaction.
func (r *Registry) persist() error {
	changed := map[string]heard{}
	r.mu.Lock()
	for name, a := range r.agents {
		if a.dirty {
			changed[name], a.dirty = a.heard, false
		}
	}
	r.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	err := r.db.Update(func(tx *store.Tx) error {
		for name, h := range changed {
			if err := heardTable.Put(tx, name, h); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range changed {
		r.agents[name].dirty = true // agents are never removed from the map
	}
	return fmt.Errorf("write last words of %d agents: %w", len(changed), err)
}

// clip bounds a text from outside and keeps it valid UTF-8 without control characters.
func clip(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxText)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
