package pager

import (
	"fmt"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

// Call is one message to one person over one channel. It is written down before it is sent, so that what was under way when
// a process died goes again under the same key.
type Call struct {
	Incident string            `json:"incident"`
	N        int               `json:"n"`              // from 1 in each incident
	Step     int               `json:"step,omitempty"` // of the escalation, from 1; 0: news to somebody who is on it, or the end
	Repeat   int               `json:"repeat,omitempty"`
	Page     uint64            `json:"page,omitempty"` // whose news it is
	Kind     incident.PageKind `json:"kind"`
	Level    contract.Level    `json:"level"`
	Person   string            `json:"person"`
	Channel  string            `json:"channel"`
	Link     uint64            `json:"link,omitempty"` // number of the acknowledge link
	At       time.Time         `json:"at"`             // when it was decided on
	After    time.Time         `json:"after,omitzero"` // the last restore of a backup before it

	Tries     int       `json:"tries,omitempty"`
	TriedAt   time.Time `json:"tried_at,omitzero"`
	SentAt    time.Time `json:"sent_at,omitzero"`    // the receiver's yes
	FailedAt  time.Time `json:"failed_at,omitzero"`  // of its last no, while there is no yes
	DroppedAt time.Time `json:"dropped_at,omitzero"` // not sent: somebody had acknowledged, or it was over
	Answer    string    `json:"answer,omitempty"`    // what came of the last try
	Digest    string    `json:"digest,omitempty"`    // key of the message that holds it together with others
}

// calls is the log of calls: <incident>/<n>. Only this package writes it.
var calls = store.NewTable[Call]("pager_calls")

func callKey(id string, n int) string { return fmt.Sprintf("%s/%08d", id, n) }

// waiting says that it is still to be sent.
func (c Call) waiting() bool { return c.SentAt.IsZero() && c.FailedAt.IsZero() && c.DroppedAt.IsZero() }

// ends says that it tells of an end.
func (c Call) ends() bool { return c.Kind.Ends() }

// urgent says that it goes before everything else, with places of its own (pace).
func (c Call) urgent() bool { return c.Level == contract.Urgent }

// urges says whether people must hear of a page by name at once, whatever the escalation does: whoever is on the incident of
// what changes it and of the recovery time that is used up; those who answer for it of each deadline that was missed.
func urges(page incident.Page) bool {
	switch page.Kind {
	case incident.PageBreached:
		return true
	case incident.PageEscalated, incident.PageReopened, incident.PageProposed, incident.PageWarned:
		return !page.Record.AckAt.IsZero()
	}
	return false
}

// Key is the same for every try of a call.
func (c Call) Key() string {
	if c.Digest != "" {
		return c.Digest
	}
	return c.own()
}

// own is the key of a call that goes by itself.
func (c Call) own() string {
	k := fmt.Sprintf("%s.c%d.%s", c.Incident, c.N, c.Kind)
	if !c.After.IsZero() {
		k += "." + c.After.UTC().Format("20060102T150405")
	}
	return k
}

// Calls lists who was called about an incident, over what, when, and what came of it.
func (p *Pager) Calls(id string) (out []Call, err error) {
	err = p.db.View(func(tx *store.Tx) error {
		out, err = callsOf(tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read calls of %s: %w", id, err)
	}
	return out, nil
}

func callsOf(tx *store.Tx, id string) (out []Call, err error) {
	for e, err := range calls.Under(tx, id+"/") {
		if err != nil {
			return nil, err
		}
		out = append(out, e.Value)
	}
	return out, nil
}

// PagedAt is when a person was first told of an incident as it is now, zero: never, as far as is known.
func (p *Pager) PagedAt(r incident.Record, person string) time.Time {
	all, err := p.Calls(r.ID)
	if err != nil {
		return time.Time{}
	}
	since := relapsed(r)
	for _, c := range all {
		if c.Person == person && !c.SentAt.IsZero() && !c.ends() && !c.At.Before(since) {
			return c.SentAt
		}
	}
	return time.Time{}
}

// addressed is a person as channels know them.
func addressed(p roster.Person) channel.Person {
	return channel.Person{
		Name: p.Name, Phone: p.Phone, Email: p.Email, WeCom: p.WeCom, DingTalk: p.DingTalk, Feishu: p.Feishu, Language: p.Language,
	}
}

// personal is a channel that can bring messages to people by name.
type personal interface {
	channel.Channel
	Personal() bool
	Reaches(p channel.Person) bool
	Broadcasts() bool // messages that name nobody reach somebody, too
}

// broadcasts says whether a channel has receivers of its own, who are told of every page.
func broadcasts(c channel.Channel) bool {
	b, ok := c.(personal)
	return !ok || b.Broadcasts()
}
