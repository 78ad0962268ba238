package incident

import (
	"fmt"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/store"
)

// PageKind says why people are told.
type PageKind string

// The kinds of pages.
const (
	PageOpened    PageKind = "opened"
	PageEscalated PageKind = "escalated" // the level rose
	PageProposed  PageKind = "proposed"  // a machine would raise the level that a person has set
	PageReopened  PageKind = "reopened"
	PageRecovered PageKind = "recovered"
	PageAsked     PageKind = "asked"     // party A has a proposal before it
	PageMerged    PageKind = "merged"    // told further under another number
	PageSplit     PageKind = "split"     // a fault of its own after all
	PageDismissed PageKind = "dismissed" // a false alarm
	PageWarned    PageKind = "warned"    // a share of the recovery time is used up: the record's last Warned
	PageBreached  PageKind = "breached"  // a deadline was missed: the record's last Breaches
)

// PageKinds lists all of them.
var PageKinds = []PageKind{
	PageOpened, PageEscalated, PageProposed, PageReopened, PageRecovered, PageAsked, PageMerged, PageSplit, PageDismissed, PageWarned, PageBreached,
}

// Ends says that no more is to be expected of the incident after this page, unless it is opened again.
func (k PageKind) Ends() bool { return k == PageRecovered || k == PageMerged || k == PageDismissed }

// Page is one message to send, written in the same transaction as its cause.
type Page struct {
	Seq    uint64         `json:"seq"` // from 1 in each store, growing
	Kind   PageKind       `json:"kind"`
	At     time.Time      `json:"at"`
	Level  contract.Level `json:"level"`
	Record Record         `json:"record"`          // as it was then, with little evidence
	Storm  int            `json:"storm,omitempty"` // how many incidents opened in the five minutes up to it, when they are very many
	After  time.Time      `json:"after,omitzero"`  // the last restore of a backup before it, if any
}

// Outbox lists at most limit pages with a number above after, oldest first. A damaged page is logged and left out,
// so that it does not keep back those behind it.
func (d *Desk) Outbox(after uint64, limit int) ([]Page, error) {
	var out []Page
	err := d.db.View(func(tx *store.Tx) error {
		out = nil
		for e, err := range outbox.Scan(tx, outboxKey(after+1)) {
			if err != nil {
				d.o.Logger.Error("page is damaged", "err", err)
				continue
			}
			if out = append(out, e.Value); len(out) == limit {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return out, nil
}

// LastPage is the number of the newest page, 0 when there is none.
func (d *Desk) LastPage() (last uint64, err error) {
	for {
		pages, err := d.Outbox(last, 1000)
		if err != nil || len(pages) == 0 {
			return last, err
		}
		last = pages[len(pages)-1].Seq
	}
}

// Forget removes pages up to a number, at most limit of them, once nobody needs them any more; it says how many went.
func (d *Desk) Forget(upTo uint64, limit int) (n int, err error) {
	err = d.db.Update(func(tx *store.Tx) error {
		var gone []string
		for e, err := range outbox.Scan(tx, "") {
			if e.Key > outboxKey(upTo) || len(gone) == limit {
				break
			}
			if err != nil {
				return err
			}
			gone = append(gone, e.Key)
		}
		for _, k := range gone {
			if err := outbox.Delete(tx, k); err != nil {
				return err
			}
		}
		n = len(gone)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("forget pages: %w", err)
	}
	return n, nil
}

func outboxKey(seq uint64) string { return fmt.Sprintf("%016x", seq) }
