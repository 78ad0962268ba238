package measure

import (
	"errors"
	"time"

	"xunjian/pkg/store"
)

var sheets = store.NewTable[Sheet]("measure_days") // <date>/<service>

// Book keeps the figures of final days among the records: they outlive the samples that they were made of.
type Book struct{ DB *store.DB }

func pageOf(service string, day time.Time) string { return day.Format(time.DateOnly) + "/" + service }

// Day is a kept day.
func (b Book) Day(service string, day time.Time) (out Sheet, found bool, err error) {
	err = b.DB.View(func(tx *store.Tx) error {
		out, err = sheets.Get(tx, pageOf(service, day))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return out, false, nil
	}
	return out, err == nil, err
}

// Keep keeps a day for good: what is kept once is not kept anew, but for office hours that were guessed.
func (b Book) Keep(service string, day time.Time, s Sheet) error {
	return b.DB.Update(func(tx *store.Tx) error {
		old, err := sheets.Get(tx, pageOf(service, day))
		if err == nil && old.Provisional && !s.Provisional {
			return sheets.Put(tx, pageOf(service, day), s)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return sheets.Put(tx, pageOf(service, day), s)
	})
}
