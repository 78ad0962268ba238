package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Options tunes New.
type Options struct {
	Services   []check.Service
	Terms      contract.Terms // zero: DefaultTerms
	Location   *time.Location // of the day in an incident's number; default Asia/Shanghai
	MaxOpen    int            // incidents that are not closed; default 10,000
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Desk is where symptoms and people's acts become incidents. Safe for concurrent use; of two acts at once one wins.
type Desk struct {
	restored Restored // of the records
	db       *store.DB
	o        Options
	services map[string]check.Service
	metrics  *metrics

	mu       sync.Mutex // one writer; also guards what follows
	unclosed map[string]live
	waiting  map[chan struct{}]bool
}

// live is an incident that is not closed, as stored, and when time alone will next change it; zero: never.
type live struct {
	Record
	due time.Time
}

// The tables. Only this package writes them.
var (
	records = store.NewTable[Record]("incidents")
	events  = store.NewTable[Event]("incident_events") // <id>/<n>
	keys    = store.NewTable[string]("incident_keys")  // the latest incident of each key
	days    = store.NewTable[int]("incident_days")     // how many incidents each day has had
	outbox  = store.NewTable[Page]("incident_outbox")
)

// New reads the incidents that are not closed. It starts nothing.
func New(db *store.DB, o Options) (*Desk, error) {
	if o.Terms == (contract.Terms{}) {
		o.Terms = contract.DefaultTerms()
	}
	if o.Location == nil {
		loc, err := time.LoadLocation("Asia/Shanghai")
		if err != nil {
			return nil, fmt.Errorf("open incident desk: %w", err)
		}
		o.Location = loc
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = 10_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Desk{db: db, o: o, services: map[string]check.Service{}, unclosed: map[string]live{}, waiting: map[chan struct{}]bool{}}
	for _, s := range o.Services {
		d.services[s.Name] = s
	}
	err := db.View(func(tx *store.Tx) error {
		for e, err := range records.Scan(tx, "") {
			if err != nil {
				return err
			}
			if e.Value.State != Closed {
				d.unclosed[e.Key] = live{e.Value, next(e.Value, e.Value.UpdatedAt)}
			}
		}
		return d.readRestored(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("open incident desk: %w", err)
	}
	d.metrics = newMetrics(o.Registerer, d)
	return d, nil
}

// Run lets time pass: it confirms recoveries and writes down missed deadlines when they are due. It returns nil on cancel.
func (d *Desk) Run(ctx context.Context) error {
	changed, stop := d.Subscribe()
	defer stop()
	for {
		now := time.Now()
		if err := d.Tick(now); err != nil {
			d.o.Logger.Error("incident clocks not written", "err", err)
		}
		wait := time.Minute // a stepped wall clock is found out within it
		if at, ok := d.Next(); ok {
			wait = min(wait, max(at.Sub(now), time.Second))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-changed:
			t.Stop()
		case <-t.C:
		}
	}
}

// Subscribe gives a channel that holds one signal: something changed since it was last read. Signals merge when nobody
// reads, and the desk never waits. The function ends the subscription.
func (d *Desk) Subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	d.mu.Lock()
	d.waiting[c] = true
	d.mu.Unlock()
	return c, func() {
		d.mu.Lock()
		delete(d.waiting, c)
		d.mu.Unlock()
	}
}

// Observe takes in a symptom. Firing, it opens an incident, or adds to the one that its key has open, or reopens that
// which recovered just now (R9, R12); ended, it starts the verification of the recovery. Changed is false when it
// tells nothing new.
func (d *Desk) Observe(now time.Time, s symptom.Symptom) (r Record, changed bool, err error) {
	now = clean(now)
	if s, err = tidy(s, now); err != nil {
		return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	last, err := d.latest(s.Key())
	if err != nil {
		return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
	}
	reacted, err := d.react(now, s, last)
	if err != nil {
		return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
	}
	blinded, err := d.blind(now, s)
	if err != nil {
		return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
	}
	drafts := slices.DeleteFunc(slices.Concat(blinded, reacted), func(w *draft) bool { return len(w.events) == 0 })
	if len(drafts) > 0 {
		if err := d.save(drafts...); err != nil {
			return Record{}, false, fmt.Errorf("observe symptom of %s: %w", s.Service, err)
		}
	}
	return reacted[len(reacted)-1].rec, len(drafts) > 0, nil
}

// blind drafts what a gap in watching a service, which has a key of its own, does to that service's incident: a good
// run that nobody could see to its end does not count, and starts anew when the gap ends (R5).
func (d *Desk) blind(now time.Time, s symptom.Symptom) ([]*draft, error) {
	key := serviceKey(s.Service)
	if s.Class != symptom.Unknown || s.Key() == key {
		return nil, nil
	}
	last, err := d.latest(key)
	if err != nil || !last.Open() {
		return nil, err
	}
	w := newDraft(last, now)
	switch {
	case s.Firing && !last.VerifyingSince.IsZero():
		w.settle(s.Since)
		if !w.rec.VerifyingSince.IsZero() {
			w.add(Event{Kind: EventGap, Of: s.Since, Text: s.Detail})
		}
	case !s.Firing && last.Blind:
		w.good(s)
	}
	w.settle(w.now)
	return []*draft{w}, nil
}

func serviceKey(service string) string {
	return symptom.Symptom{Source: symptom.FromProbe, Service: service}.Key()
}

// react drafts what a symptom does to the last incident of its key, and the new incident if it opens one.
func (d *Desk) react(now time.Time, s symptom.Symptom, last Record) ([]*draft, error) {
	w := newDraft(last, now)
	if !s.Firing {
		if last.Open() && last.Linked {
			w.good(s)
			w.settle(w.now)
		}
		return []*draft{w}, nil
	}
	if last.Open() {
		w.settle(s.Since) // the good run held until the fault came back, or it did not
	}
	switch {
	case w.rec.Open():
		w.failing(s)
	case last.ID != "" && s.Class != symptom.Unknown && s.Since.Sub(w.rec.RecoveredAt) <= w.rec.Terms.Relapse:
		w.add(Event{Kind: EventReopened, Of: later(s.Since, w.rec.RecoveredAt), Symptom: &s})
		w.failing(s)
	default:
		fresh, err := d.opening(now, s, w.rec)
		if err != nil {
			return nil, err
		}
		fresh.settle(fresh.now)
		return []*draft{w, fresh}, nil
	}
	w.settle(w.now)
	return []*draft{w}, nil
}

// opening drafts the first event of a new incident.
func (d *Desk) opening(now time.Time, s symptom.Symptom, last Record) (*draft, error) {
	w, err := d.blank(now)
	if err != nil {
		return nil, err
	}
	o := Opened{Key: s.Key(), Terms: d.o.Terms}
	if last.ID != "" && s.Since.Sub(last.RecoveredAt) <= d.o.Terms.Recurrence {
		o.RecurrenceOf = last.ID
	}
	o.ServiceZH, o.ServiceEN = d.titles(s.Service)
	w.add(Event{Incident: w.rec.ID, Kind: EventOpened, Of: s.Since, Level: s.Level, Symptom: &s, Opened: &o})
	return w, nil
}

// blank is a draft that has nothing but its number: the day where people live, and a count from 1.
func (d *Desk) blank(now time.Time) (*draft, error) {
	if len(d.unclosed) >= d.o.MaxOpen {
		d.metrics.refused.Inc()
		return nil, fmt.Errorf("%w: %d; close those that are over", ErrFull, len(d.unclosed))
	}
	day := now.In(d.o.Location).Format("20060102")
	n := 0
	err := d.db.View(func(tx *store.Tx) (err error) {
		n, err = days.Get(tx, day)
		return ignoreMissing(err)
	})
	if err != nil {
		return nil, err
	}
	w := newDraft(Record{ID: fmt.Sprintf("INC-%s-%04d", day, n+1)}, now)
	w.day = day
	return w, nil
}

func (d *Desk) titles(service string) (zh, en string) {
	s, ok := d.services[service]
	if !ok && service == "host" {
		return i18n.For("zh-CN").T("incident.service.host"), i18n.For("en").T("incident.service.host")
	}
	return s.ZH, s.EN
}

// latest is the newest incident of a key, zero when there is none. The caller holds mu.
func (d *Desk) latest(key string) (r Record, err error) {
	err = d.db.View(func(tx *store.Tx) error {
		id, err := keys.Get(tx, key)
		if err != nil {
			return err
		}
		r, err = records.Get(tx, id)
		return err
	})
	return r, ignoreMissing(err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// save makes a draft durable: record, events and pages in one transaction. The caller holds mu.
func (d *Desk) save(drafts ...*draft) error {
	err := d.db.Update(func(tx *store.Tx) error {
		for _, w := range drafts {
			if err := w.write(tx, d.restored.At); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range drafts {
		if w.rec.State == Closed {
			delete(d.unclosed, w.rec.ID)
		} else {
			d.unclosed[w.rec.ID] = live{w.rec, next(w.rec, w.now)}
		}
		d.metrics.count(w)
	}
	for c := range d.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return nil
}

func (w *draft) write(tx *store.Tx, restored time.Time) error {
	id := w.rec.ID
	stored, err := records.Get(tx, id)
	if ignoreMissing(err) != nil {
		return err
	}
	if stored.Version != w.base {
		return &Conflict{What: "changed", Incident: id, At: stored.UpdatedAt, Version: stored.Version}
	}
	if w.day != "" {
		n, err := days.Get(tx, w.day)
		if ignoreMissing(err) != nil {
			return err
		}
		if err := days.Put(tx, w.day, n+1); err != nil {
			return err
		}
	}
	for _, e := range w.events {
		if err := events.Put(tx, fmt.Sprintf("%s/%08d", id, e.N), e); err != nil {
			return err
		}
	}
	for _, p := range w.pages {
		if p.Seq, err = outbox.NextSequence(tx); err != nil {
			return err
		}
		p.After = restored
		if err := outbox.Put(tx, outboxKey(p.Seq), p); err != nil {
			return err
		}
	}
	if w.rec.Open() {
		if err := keys.Put(tx, w.rec.Key, id); err != nil {
			return err
		}
	}
	return records.Put(tx, id, w.rec)
}
