// Package channel sends one message to one receiver: a robot, a mailbox, a telephone, another program.
package channel

import (
	"context"
	"slices"
	"time"

	"xunjian/pkg/contract"
)

// Channel is one receiver of messages. Send makes one try, bounded in time, and returns nil only on the receiver's own yes.
type Channel interface {
	Name() string
	Send(ctx context.Context, m Message) (Receipt, error)
}

// Message is what a receiver is told, in the shapes that the kinds of channels need.
type Message struct {
	Key      string // the same for every try, so that receivers can drop duplicates
	Level    contract.Level
	Resolved bool     // the fault is over
	To       []Person // whom it must reach; empty: whoever sits behind the receiver
	Title    string   // one line
	Text     string   // several lines
	Short    string   // at most 70 characters, for SMS and voice
	Link     string   // acknowledges the page; empty: none
	Code     string   // to reply with; empty: none
	Payload  Payload
	// In other languages, by their names; Title, Text and Short are in the product's own.
	Translations map[string]Words
}

// Words are what a message says, in one language.
type Words struct{ Title, Text, Short string }

// Words are the message's in a language; where it was not put into that one, in the product's own.
func (m Message) Words(language string) Words {
	if w, ok := m.Translations[language]; ok {
		return w
	}
	return Words{m.Title, m.Text, m.Short}
}

// Terms are what whoever feeds a channel keeps to.
type Terms struct {
	PerMinute int              // messages, failed ones too; 0: as many as there are
	Levels    []contract.Level // empty: all
	Ends      bool             // is told that a fault is over
}

// Takes says whether a message of a level, or the end of one, is for the channel at all.
func (t Terms) Takes(level contract.Level, end bool) bool {
	return (len(t.Levels) == 0 || slices.Contains(t.Levels, level)) && (t.Ends || !end)
}

// TermsOf are a channel's own, or none.
func TermsOf(c Channel) Terms {
	if c, ok := c.(interface{ Terms() Terms }); ok {
		return c.Terms()
	}
	return Terms{Ends: true}
}

// Refresher is a channel whose receiver takes a fault for over when it is not told of it again.
type Refresher interface {
	Channel
	Every() time.Duration
	// Refresh tells of all faults that are open, one message each.
	Refresh(ctx context.Context, open []Message) error
}

// Person is somebody as channels address them. What is empty, a channel that needs it has to do without.
type Person struct {
	Name     string
	Phone    string // digits, with + and the country's code or without
	Email    string
	WeCom    string // user ids of the messengers
	DingTalk string
	Feishu   string
	Language string // zh-CN or en
}

// Receipt is a receiver's yes.
type Receipt struct {
	Answer string // what it said, shortened, for people
}

// Payload is Alertmanager's webhook payload, version 4, so that every receiver made for it works.
type Payload struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"` // firing or resolved
	Alerts            []Alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   uint64            `json:"truncatedAlerts"`
}

// Alert is one alert of a payload.
type Alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // zero while it fires
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"` // of the incident: the same from its first page to its last
}

// Clip shortens a text to at most n bytes at a rune's edge.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
