package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
)

// Filter narrows a list. Zero values do not narrow.
type Filter struct {
	State    string // open: the fault lasts; failing: that too, but listed under another as well; unclosed: not filed yet; closed: filed; all (default)
	Level    contract.Level
	Service  string
	From, To time.Time // SLAStart in [From, To)
	Limit    int       // the newest so many; 0 is no limit
}

func (f Filter) match(r Record) bool {
	switch f.State {
	case "open":
		if !r.Open() {
			return false
		}
	case "failing":
		if !r.Failing() {
			return false
		}
	case "unclosed":
		if r.Filed() {
			return false
		}
	case "closed":
		if !r.Filed() {
			return false
		}
	}
	return (f.Level == "" || r.Level == f.Level) &&
		(f.Service == "" || r.Service == f.Service) &&
		(f.From.IsZero() || !r.SLAStart.Before(f.From)) &&
		(f.To.IsZero() || r.SLAStart.Before(f.To))
}

// List gives the incidents that match, newest first.
func (d *Desk) List(f Filter) ([]Record, error) {
	var out []Record
	var err error
	switch f.State {
	case "open", "failing", "unclosed":
		out = d.list(f)
	case "", "all", "closed":
		if out, err = d.scan(f); err != nil {
			return nil, fmt.Errorf("list incidents: %w", err)
		}
	default:
		return nil, &BadAct{Field: "state", Key: "incident.need.state"}
	}
	slices.SortFunc(out, func(a, b Record) int { return strings.Compare(b.ID, a.ID) })
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out, nil
}

func (d *Desk) list(f Filter) (out []Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.unclosed {
		if f.match(l.Record) {
			out = append(out, l.Record)
		}
	}
	return out
}

// scan reads the store in the order of opening. Clocks may start before the day in an incident's number, never after it.
func (d *Desk) scan(f Filter) (out []Record, err error) {
	from := ""
	if !f.From.IsZero() {
		from = "INC-" + f.From.In(d.o.Location).Format("20060102")
	}
	err = d.db.View(func(tx *store.Tx) error {
		out = nil
		for e, err := range records.Scan(tx, from) {
			if err != nil {
				return err
			}
			if f.match(e.Value) {
				out = append(out, e.Value)
			}
		}
		return nil
	})
	return out, err
}

// Get is an incident with all its events.
func (d *Desk) Get(id string) (Record, []Event, error) {
	var r Record
	var list []Event
	err := d.db.View(func(tx *store.Tx) (err error) {
		if r, err = records.Get(tx, id); err != nil {
			return err
		}
		list = make([]Event, 0, r.Version)
		for e, err := range events.Under(tx, id+"/") {
			if err != nil {
				return err
			}
			list = append(list, e.Value)
		}
		return nil
	})
	return r, list, missing(id, err)
}

// renewed is a record that an earlier version wrote, as this one folds it from its events.
func renewed(tx *store.Tx, r Record) (Record, error) {
	if r.Form == recordForm || r.Filed() {
		return r, nil
	}
	var list []Event
	for e, err := range events.Under(tx, r.ID+"/") {
		if err != nil {
			return r, err
		}
		list = append(list, e.Value)
	}
	return Fold(list)
}

// find is the record alone. The caller holds mu.
func (d *Desk) find(id string) (Record, error) {
	if l, ok := d.unclosed[id]; ok {
		return l.Record, nil
	}
	var r Record
	err := d.db.View(func(tx *store.Tx) (err error) {
		r, err = records.Get(tx, id)
		return err
	})
	return r, missing(id, err)
}

func missing(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w", clip(id, 64), ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read incident %s: %w", clip(id, 64), err)
	}
	return nil
}
