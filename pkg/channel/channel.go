// Package channel sends one message to one receiver: a robot, a mailbox, a telephone, another program.
package channel

import (
	"context"
	"errors"
	"fmt"
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

// Refusal is a receiver's no. Errors of other types mean that no answer came.
type Refusal struct {
	Status     int           // HTTP status
	Text       string        // what the receiver said, shortened
	RetryAfter time.Duration // not before, 0: the receiver did not say
	PageOnly   bool          // it is this message that is refused, others may pass
}

func (r *Refusal) Error() string {
	if r.Text == "" {
		return fmt.Sprintf("HTTP %d", r.Status)
	}
	return fmt.Sprintf("HTTP %d: %s", r.Status, r.Text)
}

// RefusalIn is the refusal behind an error, or an empty one.
func RefusalIn(err error) Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return *r
	}
	return Refusal{}
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
