package incident

import (
	"time"

	"xunjian/pkg/contract"
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
)

// Page is one message to send, written in the same transaction as its cause.
type Page struct {
	Seq    uint64         `json:"seq"` // from 1 in each store, growing
	Kind   PageKind       `json:"kind"`
	At     time.Time      `json:"at"`
	Level  contract.Level `json:"level"`
	Record Record         `json:"record"` // as it was then
}
