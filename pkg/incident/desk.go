package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

// Settings are what a new configuration may change.
type Settings struct {
	Services  []check.Service
	Terms     contract.Terms                       // zero: DefaultTerms
	Working   func(at time.Time) *contract.Working // the calendar around a moment, to become part of the terms; nil: none
	Pace      map[string]time.Duration             // the longest time between two rounds of a service's checks
	Emergency []string                             // actions approved beforehand (R7)
	Planned   []Window                             // windows of the configuration
	Frozen    func(from, to time.Time) string      // the important period in which changes are frozen, empty: none (R19); nil: never
}

// Options tunes New.
type Options struct {
	Settings
	Steady func() (wall time.Time, passed time.Duration) // the wall clock, and what has really passed; default: the machine's clocks
	// Curves reads what hosts did between two moments; nil: nobody knows.
	Curves     func(ctx context.Context, hosts []string, from, to time.Time, step time.Duration) ([]Curve, error)
	Location   *time.Location // of the day in an incident's number; default Asia/Shanghai
	MaxOpen    int            // incidents that are not archived; default 10,000
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Desk is where symptoms and people's acts become incidents. Safe for concurrent use; of two acts at once one wins.
type Desk struct {
	restored Restored // of the records
	db       *store.DB
	o        Options
	metrics  *metrics
	clock    steady // guarded by mu

	mu         sync.Mutex // one writer; also guards what follows
	unclosed   map[string]live
	keyed      map[string]string          // their keys
	failing    map[string]map[string]bool // those whose fault lasts, by node
	set        Settings
	services   map[string]check.Service
	estate     estate
	windows    map[string]Window
	storm      storm
	curveTries map[string]int             // looks at the curves of an incident
	held       map[string]held            // symptoms within windows, by key
	times      map[string][]time.Duration // recovery times of the past, by kinship
	waiting    map[chan struct{}]bool

	guessed     map[string]bool // incidents whose clocks rest on working days that nobody has announced
	newCalendar bool            // which may know them has come, and they have not been looked at
}

// live is an incident of which more is to come, as stored, and when time alone will next change it; zero: never.
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

// New reads the incidents that are not archived. It starts nothing.
func New(db *store.DB, o Options) (*Desk, error) {
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
	d := &Desk{
		db: db, o: o, unclosed: map[string]live{}, keyed: map[string]string{}, failing: map[string]map[string]bool{},
		waiting: map[chan struct{}]bool{}, guessed: map[string]bool{}, windows: map[string]Window{}, held: map[string]held{}, curveTries: map[string]int{}, times: map[string][]time.Duration{},
	}
	d.configure(o.Settings)
	if d.clock.read = o.Steady; o.Steady == nil {
		d.clock.read = systemClock()
	}
	err := db.View(func(tx *store.Tx) error {
		for e, err := range records.Scan(tx, "") {
			if err != nil {
				return err
			}
			r, err := renewed(tx, e.Value)
			if err != nil {
				return err
			}
			d.hold(r)
			d.learn(r)
			if r.Parent == "" {
				d.storm.add(r.desk(r.OpenedAt), 1) // a restart does not end a storm
			}
		}
		if err := errors.Join(d.readClock(tx), d.readWindows(tx)); err != nil {
			return err
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
	var beside sync.WaitGroup
	defer beside.Wait()
	if d.o.Curves != nil {
		beside.Go(func() { d.gatherCurves(ctx) })
	}
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

// hold keeps what is stored of an incident at hand while more is to come of it. The caller holds mu.
func (d *Desk) hold(r Record) {
	if delete(d.guessed, r.ID); r.guesses(r.UpdatedAt) {
		d.guessed[r.ID] = true
	}
	n := r.node()
	if r.Failing() {
		if d.failing[n] == nil {
			d.failing[n] = map[string]bool{}
		}
		d.failing[n][r.ID] = true
	} else if delete(d.failing[n], r.ID); len(d.failing[n]) == 0 {
		delete(d.failing, n)
	}
	if r.Filed() && !r.Failing() {
		delete(d.unclosed, r.ID)
		delete(d.curveTries, r.ID)
		if d.keyed[r.Key] == r.ID {
			delete(d.keyed, r.Key)
		}
		return
	}
	d.unclosed[r.ID] = live{r, next(r)}
	if r.Failing() { // as in the table of keys, which is asked for the others
		d.keyed[r.Key] = r.ID
	}
}

func (d *Desk) titles(service string) (zh, en string) {
	s, ok := d.services[service]
	if !ok && service == "host" {
		return i18n.For("zh-CN").T("incident.service.host"), i18n.For("en").T("incident.service.host")
	}
	return s.ZH, s.EN
}
