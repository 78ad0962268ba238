// Package alertapi takes alerts in as Alertmanager does: what an existing Prometheus sends becomes symptoms of ours.
package alertapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

const (
	maxBytes = 64 << 20 // what all alerts together take in memory, roughly
	maxRound = 256      // changes told at one go: what is graver and came meanwhile goes before the rest
)

// ErrFull refuses an alert for which there is no room.
var ErrFull = errors.New("too many alerts at one time: raise alerts.max_alerts, or send fewer")

// Options tunes New.
type Options struct {
	Config     Config
	Observe    func(now time.Time, all []symptom.Symptom) ([]error, error) // takes changes; what it refuses, one by one or all together, is told again
	Now        func() time.Time                                            // the desk's; default time.Now
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Book holds the alerts of others until they are over and that is told. What was taken is on disk: a restart neither
// loses an alert nor ends one. Safe for concurrent use.
type Book struct {
	db      *store.DB
	observe func(time.Time, []symptom.Symptom) ([]error, error)
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // holds one: something is to be told

	queue   sync.Mutex
	posted  []*post    // not written yet
	writing sync.Mutex // one writer, who writes for all that wait

	mu     sync.Mutex
	cfg    Config
	alerts map[string]*entry          // by fingerprint
	groups map[string]map[string]bool // by symptom key: fingerprints
	told   map[string]contract.Level  // by symptom key: as which level the desk knows it
	orphan map[string]symptom.Symptom // told by a former process, by symptom key
	dirty  map[string]bool            // symptom keys to look at
	bytes  int
}

// entry is an alert with what is derived from it.
type entry struct {
	Alert
	key  string // of its symptom; "" when nobody is told
	size int
}

// row is an alert as stored.
type row struct {
	Alert
	Told contract.Level `json:"told,omitempty"` // as which the desk knows it
}

var rows = store.NewTable[row]("external_alerts") // by fingerprint

// New reads the alerts that are kept. None of those is over before its sender had time to send it again.
func New(db *store.DB, o Options) (*Book, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Book{
		db: db, observe: o.Observe, now: o.Now, log: o.Logger, cfg: o.Config, wake: make(chan struct{}, 1), alerts: map[string]*entry{},
		groups: map[string]map[string]bool{}, told: map[string]contract.Level{}, orphan: map[string]symptom.Symptom{}, dirty: map[string]bool{},
	}
	grace := o.Now().Add(o.Config.ResolveTimeout).UTC()
	err := db.View(func(tx *store.Tx) error {
		for e, err := range rows.Scan(tx, "") {
			if err != nil {
				return err
			}
			a := e.Value.Alert
			if !a.Over(a.UpdatedAt) && a.EndsAt.Before(grace) {
				a.EndsAt = grace
			}
			b.keep(e.Key, a)
			if key := b.alerts[e.Key].key; e.Value.Told != "" && key != "" {
				b.told[key] = e.Value.Told
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	b.metrics = newMetrics(o.Registerer, b)
	return b, nil
}

// Adopt takes over the symptoms that incidents stand on, so that those of which no alert is left end. It is to be called
// before Run.
func (b *Book) Adopt(firing []symptom.Symptom) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range firing {
		if s.Source == symptom.FromExternal && s.Firing {
			b.told[s.Key()], b.orphan[s.Key()] = s.Level, s
			b.dirty[s.Key()] = true
		}
	}
}

// Configure puts other rules for reading alerts in force, for those that are here as well.
func (b *Book) Configure(c Config) {
	b.mu.Lock()
	was, old := b.cfg, b.alerts
	b.cfg = c
	b.alerts, b.groups, b.bytes = map[string]*entry{}, map[string]map[string]bool{}, 0
	for fp, e := range old {
		b.keep(fp, e.Alert)
		if e.key != "" && e.key != b.alerts[fp].key {
			b.orphan[e.key], b.dirty[e.key] = was.symptom(e.Alert), true
		}
	}
	b.mu.Unlock()
	b.stir()
}

// keep puts an alert in its place. The caller holds mu, or is New.
func (b *Book) keep(fp string, a Alert) {
	b.drop(fp)
	e := &entry{Alert: a, size: a.size()}
	if s := b.cfg.symptom(a); s.Level != "" {
		e.key = s.Key()
		if b.groups[e.key] == nil {
			b.groups[e.key] = map[string]bool{}
		}
		b.groups[e.key][fp] = true
		b.dirty[e.key] = true
	}
	b.alerts[fp] = e
	b.bytes += e.size
}

func (b *Book) drop(fp string) {
	e := b.alerts[fp]
	if e == nil {
		return
	}
	delete(b.alerts, fp)
	b.bytes -= e.size
	if g := b.groups[e.key]; g != nil {
		if delete(g, fp); len(g) == 0 {
			delete(b.groups, e.key)
		}
	}
}

func (b *Book) stir() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run tells what changes, the gravest first, until ctx is done.
func (b *Book) Run(ctx context.Context) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		if err := b.tell(); err != nil {
			b.log.Error("alerts are not written as incidents yet, and will be told again", "error", err)
			select { // each try costs a transaction
			case <-ctx.Done():
			case <-every.C:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-every.C:
			b.expire(b.now())
		}
	}
}

// expire marks what has ended since the last look.
func (b *Book) expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for fp, e := range b.alerts {
		switch {
		case !e.Over(now):
		case e.key == "":
			b.drop(fp) // never told
		default:
			b.dirty[e.key] = true
		}
	}
}

// change is what the desk does not know yet of one symptom.
type change struct {
	key     string
	symptom symptom.Symptom
}

// tell hands the gravest changes to the desk and writes down that it did. It returns a refusal.
func (b *Book) tell() error {
	now := b.now()
	changes, gone := b.changes(now)
	if len(changes) == 0 {
		return b.forget(gone)
	}
	all := make([]symptom.Symptom, len(changes))
	for i, c := range changes {
		all[i] = c.symptom
	}
	refused, err := b.observe(now, all)
	if err != nil {
		b.again(changes)
		return err
	}
	var done, again []change
	for i, c := range changes {
		if refused[i] == nil {
			done = append(done, c)
			continue
		}
		again, err = append(again, c), refused[i]
	}
	b.again(again)
	return errors.Join(err, b.settle(now, done), b.forget(gone))
}

func (b *Book) again(changes []change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range changes {
		b.dirty[c.key] = true
	}
}

// changes takes the dirty keys apart: what to tell, and alerts that were over before anybody was told.
func (b *Book) changes(now time.Time) (out []change, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.dirty {
		delete(b.dirty, key)
		s, ended, found := b.sum(key, now)
		level, told := b.told[key]
		switch {
		case found && (!told || level != s.Level):
			s.At = now
			out = append(out, change{key, s})
		case !found && told:
			s := b.last(key)
			s.Firing, s.Since, s.At, s.Evidence = false, ended, now, nil
			if ended.IsZero() {
				s.Since = now
			}
			out = append(out, change{key, s})
		case !found:
			for fp := range b.groups[key] {
				gone = append(gone, fp)
			}
		}
	}
	slices.SortFunc(out, func(a, b change) int {
		switch {
		case a.symptom.Level.Graver(b.symptom.Level):
			return -1
		case b.symptom.Level.Graver(a.symptom.Level):
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	if len(out) > maxRound {
		for _, c := range out[maxRound:] {
			b.dirty[c.key] = true
		}
		out = out[:maxRound]
		b.stir()
	}
	return out, gone
}

// sum joins the alerts of a key that are not over; ended is when the last of the others was.
func (b *Book) sum(key string, now time.Time) (s symptom.Symptom, ended time.Time, found bool) {
	for fp := range b.groups[key] {
		e := b.alerts[fp]
		if e.Over(now) {
			if e.EndsAt.After(ended) {
				ended = e.EndsAt
			}
			continue
		}
		next := b.cfg.symptom(e.Alert)
		if found {
			next = join(s, next)
		}
		s, found = next, true
	}
	return s, ended, found
}

// last is the symptom of a key of which no alert fires any more.
func (b *Book) last(key string) symptom.Symptom {
	for fp := range b.groups[key] {
		return b.cfg.symptom(b.alerts[fp].Alert)
	}
	return b.orphan[key]
}
