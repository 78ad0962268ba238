package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

// entries is the log; only this package writes it. Keys are numbers in hexadecimal, growing.
var entries = store.NewTable[Entry]("roster_log")

// maxEntries bounds the log; maxText a reason or handover, in bytes.
const (
	maxEntries = 100_000
	maxText    = 2000
)

// Sentinels that callers branch on. ErrBad comes as *Bad.
var (
	ErrBad      = errors.New("roster entry is not acceptable")
	ErrNotFound = errors.New("no such roster entry")
)

// Bad names the field that is missing or wrong; its text says what to do.
type Bad struct {
	Field string
	Key   string // of the text, in the catalogue
	Pairs []string
}

// Is makes errors.Is(err, ErrBad) true.
func (b *Bad) Is(target error) bool { return target == ErrBad }

func (b *Bad) Error() string { return b.Field + ": " + b.Text(i18n.For("en")) }

// Text is the remedy for people.
func (b *Bad) Text(p *i18n.Printer) string { return p.T(b.Key, b.Pairs...) }

// Roster is the plan in force with what people changed. It is safe for concurrent use.
type Roster struct {
	db *store.DB

	mu   sync.RWMutex
	plan *Plan
	log  []Entry // in the order of recording; never changed in place
}

// Open reads the log. It starts nothing.
func Open(db *store.DB, plan *Plan, reg prometheus.Registerer) (*Roster, error) {
	r := &Roster{db: db, plan: plan}
	err := db.View(func(tx *store.Tx) error {
		all, err := entries.All(tx)
		r.log = nil
		for _, e := range all {
			r.log = append(r.log, e.Value)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open roster: %w", err)
	}
	r.log = withdraw(r.log)
	if reg != nil {
		reg.MustRegister(figures{r})
	}
	return r, nil
}

// withdraw marks what later entries take back; it returns a slice of its own.
func withdraw(log []Entry) []Entry {
	log = slices.Clone(log)
	for _, w := range log {
		if w.Kind != KindWithdrawn {
			continue
		}
		if i := slices.IndexFunc(log, func(e Entry) bool { return e.Seq == w.Withdraws }); i >= 0 && log[i].withdrawn.IsZero() {
			log[i].withdrawn = w.At
		}
	}
	return log
}

// Configure puts another plan in force.
func (r *Roster) Configure(plan *Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan = plan
}

func (r *Roster) now() (*Plan, []Entry) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.plan, r.log
}

// On is who is on duty.
func (r *Roster) On(at time.Time) Duty {
	plan, log := r.now()
	return plan.On(at, log)
}

// Person finds one by name.
func (r *Roster) Person(name string) (Person, bool) {
	plan, _ := r.now()
	return plan.Person(name)
}

// People are all of them; none when the configuration names nobody.
func (r *Roster) People() []Person {
	plan, _ := r.now()
	return plan.People()
}

// Others says whether acts may be in names that are none of the people's.
func (r *Roster) Others() bool {
	plan, _ := r.now()
	return plan.others
}

// Timeline lists who holds a line from one time to another, without holes.
func (r *Roster) Timeline(l Line, from, to time.Time) []Turn {
	plan, log := r.now()
	return plan.Timeline(l, from, to, log)
}

// Gaps lists when nobody holds a line that is to be held.
func (r *Roster) Gaps(from, to time.Time) []Gap {
	plan, log := r.now()
	return plan.Gaps(from, to, log)
}

// Watches lists the shifts of important periods with their sign-ins.
func (r *Roster) Watches(from, to time.Time) []Watch {
	plan, log := r.now()
	return plan.Watches(from, to, log)
}

// Log lists what was done at run time, the newest first, at most limit.
func (r *Roster) Log(limit int) []Entry {
	_, log := r.now()
	out := slices.Clone(log[max(0, len(log)-limit):])
	slices.Reverse(out)
	return out
}

// Withdrawn is when an override or swap was taken back, zero: it was not.
func (e Entry) Withdrawn() time.Time { return e.withdrawn }

// Override puts a person on a line from now on, or from a time to come.
func (r *Roster) Override(now time.Time, by string, o Override) (Entry, error) {
	o.Line, o.Reason = lineOr(o.Line), strings.TrimSpace(o.Reason)
	o.From, o.To = o.From.UTC(), o.To.UTC()
	plan, _ := r.now()
	for _, check := range []error{
		onLine(o.Line), spanned("to", o.From, o.To, now), plan.known("person", o.Person), texted("reason", o.Reason, true),
	} {
		if check != nil {
			return Entry{}, check
		}
	}
	return r.record(now, by, Entry{Kind: KindOverride, Reason: o.Reason, Override: &o})
}

// Swap lets two people take over from each other. Both must be on duty in the time that they give.
func (r *Roster) Swap(now time.Time, by string, s Swap) (Entry, error) {
	s.Line, s.Reason = lineOr(s.Line), strings.TrimSpace(s.Reason)
	plan, log := r.now()
	checks := []error{onLine(s.Line), texted("reason", s.Reason, false)}
	for _, x := range []struct {
		name string
		of   *Stretch
	}{{"give", &s.Give}, {"take", &s.Take}} {
		x.of.From, x.of.To = x.of.From.UTC(), x.of.To.UTC()
		checks = append(checks, plan.known(x.name+".person", x.of.Person), spanned(x.name+".to", x.of.From, x.of.To, now))
		if errors.Join(checks...) == nil && !slices.ContainsFunc(plan.Timeline(s.Line, x.of.From, x.of.To, log), func(t Turn) bool { return t.Person.Name == x.of.Person }) {
			checks = append(checks, &Bad{x.name, "roster.bad.not_on_duty", []string{"person", x.of.Person}})
		}
	}
	if !s.parties() {
		checks = append(checks, &Bad{"agreed", "roster.bad.parties", nil})
	}
	for _, err := range checks {
		if err != nil {
			return Entry{}, err
		}
	}
	return r.record(now, by, Entry{Kind: KindSwap, Reason: s.why(), Swap: &s})
}

// SignIn says that a person is there for the shift of an important period that is on, or about to begin.
func (r *Roster) SignIn(now time.Time, by string, s SignIn) (Entry, error) {
	if s.Person == "" {
		s.Person = by
	}
	plan, log := r.now()
	if err := plan.known("person", s.Person); err != nil {
		return Entry{}, err
	}
	if err := texted("handover", s.Handover, false); err != nil {
		return Entry{}, err
	}
	for _, w := range plan.Watches(now, now.Add(signInEarly), log) {
		if w.SignedIn != nil && !w.From.After(now) && w.SignedIn.SignIn.Person == s.Person {
			return Entry{}, &Bad{"person", "roster.bad.signed_in", []string{"person", s.Person}}
		}
		if w.SignedIn == nil {
			s.Period, s.Shift = w.Period, w.From.UTC()
			return r.record(now, by, Entry{Kind: KindSignIn, SignIn: &s})
		}
	}
	return Entry{}, &Bad{"person", "roster.bad.no_watch", nil}
}

// Withdraw takes an override or swap back from now on.
func (r *Roster) Withdraw(now time.Time, by string, seq uint64, reason string) (Entry, error) {
	if err := texted("reason", reason, true); err != nil {
		return Entry{}, err
	}
	_, log := r.now()
	i := slices.IndexFunc(log, func(e Entry) bool {
		return e.Seq == seq && (e.Kind == KindOverride || e.Kind == KindSwap) && e.withdrawn.IsZero()
	})
	if i < 0 {
		return Entry{}, fmt.Errorf("%d: %w", seq, ErrNotFound)
	}
	return r.record(now, by, Entry{Kind: KindWithdrawn, Reason: reason, Withdraws: seq})
}

// record appends one entry for good.
func (r *Roster) record(now time.Time, by string, e Entry) (Entry, error) {
	if strings.TrimSpace(by) == "" || len(by) > 256 {
		return Entry{}, &Bad{"person", "roster.bad.person", []string{"person", by}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.log) >= maxEntries {
		return Entry{}, &Bad{"reason", "roster.bad.full", nil}
	}
	e.At, e.By = now.UTC().Round(0), by
	if n := len(r.log); n > 0 && e.At.Before(r.log[n-1].At) {
		e.At = r.log[n-1].At // a clock that was set back does not write into the past
	}
	err := r.db.Update(func(tx *store.Tx) (err error) {
		if e.Seq, err = entries.NextSequence(tx); err != nil {
			return err
		}
		return entries.Put(tx, fmt.Sprintf("%016x", e.Seq), e)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("record in the roster: %w", err)
	}
	r.log = withdraw(append(slices.Clip(r.log), e))
	return e, nil
}

func onLine(l Line) error {
	if !slices.Contains(Lines, l) {
		return &Bad{"line", "roster.bad.line", nil}
	}
	return nil
}

func spanned(field string, from, to, now time.Time) error {
	switch {
	case from.IsZero() || !to.After(from) || to.Sub(from) > maxSpan:
		return &Bad{field, "roster.bad.span", nil}
	case !to.After(now):
		return &Bad{field, "roster.bad.past", nil}
	}
	return nil
}

func texted(field, text string, must bool) error {
	switch {
	case must && strings.TrimSpace(text) == "":
		return &Bad{field, "roster.bad.missing", nil}
	case len(text) > maxText:
		return &Bad{field, "roster.bad.long", nil}
	}
	return nil
}

func (p *Plan) known(field, name string) error {
	if _, ok := p.byName[name]; !ok {
		return &Bad{field, "roster.bad.person", []string{"person", name}}
	}
	return nil
}
