package incident

import (
	"fmt"
	"time"

	"xunjian/pkg/store"
)

// Restored is what records that came out of a backup know of that. What happened after the copy was made is not in them,
// but people were told of it: numbers and keys of that time must not come again with another meaning.
type Restored struct {
	At       time.Time `json:"at"`        // when it was restored
	Copied   time.Time `json:"copied"`    // when the copy was made
	LastPage uint64    `json:"last_page"` // of the copy's outbox
}

var restores = store.NewTable[Restored]("incident_restored")

const lastRestore = "last"

// MarkRestored notes in records that nobody has open yet that they came out of a backup. Incidents of the day go on with
// numbers that depend on the time, behind all that the lost hours can have used.
func MarkRestored(db *store.DB, now, copied time.Time, loc *time.Location) error {
	err := db.Update(func(tx *store.Tx) error {
		r := Restored{At: now.UTC(), Copied: copied.UTC()}
		for e, err := range outbox.Scan(tx, "") {
			if err == nil {
				r.LastPage = e.Value.Seq
			}
		}
		local := now.In(loc)
		day := local.Format("20060102")
		n, err := days.Get(tx, day)
		if ignoreMissing(err) != nil {
			return err
		}
		seconds := local.Hour()*3600 + local.Minute()*60 + local.Second()
		if err := days.Put(tx, day, max(n, 1000+seconds/10)); err != nil {
			return err
		}
		return restores.Put(tx, lastRestore, r)
	})
	if err != nil {
		return fmt.Errorf("mark records as restored: %w", err)
	}
	return nil
}

// Restored is the last time that the records came out of a backup, zero when they never did.
func (d *Desk) Restored() Restored { return d.restored }

func (d *Desk) readRestored(tx *store.Tx) (err error) {
	d.restored, err = restores.Get(tx, lastRestore)
	return ignoreMissing(err)
}
