package pager

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

// Sentinels of replies.
var (
	ErrUnknownPhone = errors.New("the phone is nobody's in people who may acknowledge")
	ErrBadCode      = errors.New("no open incident has this code")
	ErrGuessing     = errors.New("too many wrong codes from this phone")
)

// Limits on guessing codes.
const (
	wrongCodes  = 5
	wrongWindow = 15 * time.Minute
	maxPhones   = 10_000
)

var codeIn = regexp.MustCompile(`[0-9]{4,6}`)

// Declined says whether a reply was understood and is not taken: to bring it again would change nothing.
func Declined(err error) bool {
	return errors.Is(err, ErrUnknownPhone) || errors.Is(err, ErrBadCode) || errors.Is(err, ErrGuessing) || errors.Is(err, incident.ErrConflict)
}

// Reply acknowledges the incident whose code a text message from a known phone holds. It came over a channel, or is handed in
// by a gateway, which has none.
func (p *Pager) Reply(now time.Time, channel, phone, text string) (incident.Record, error) {
	r, err := p.reply(now, channel, roster.National(phone), text)
	outcome := "acknowledged"
	switch {
	case errors.Is(err, ErrUnknownPhone):
		outcome = "unknown_phone"
	case errors.Is(err, ErrBadCode):
		outcome = "wrong_code"
	case errors.Is(err, ErrGuessing):
		outcome = "guessing"
	case errors.Is(err, incident.ErrConflict):
		outcome = "too_late"
	case err != nil:
		outcome = "failed"
	}
	p.metrics.replies.WithLabelValues(outcome).Inc()
	if err != nil {
		p.o.Logger.Warn("reply not taken", "phone", maskPhone(phone), "outcome", outcome)
	}
	return r, err
}

func (p *Pager) reply(now time.Time, channel, phone, text string) (incident.Record, error) {
	person, ok := p.owner(phone)
	if !ok {
		return incident.Record{}, ErrUnknownPhone
	}
	if !p.wrong.admit(now, phone) {
		return incident.Record{}, ErrGuessing
	}
	id, err := p.coded(codeIn.FindString(narrow(text)))
	if err != nil {
		return incident.Record{}, err
	}
	if id == "" {
		p.wrong.note(now, phone)
		return incident.Record{}, ErrBadCode
	}
	r, err := p.desk.Record(id)
	if err != nil {
		return r, fmt.Errorf("read reply: %w", err)
	}
	device := maskPhone(phone)
	if channel != "" {
		device += " " + channel
	}
	return p.desk.Ack(id, incident.Act{Person: person.Name, Via: "sms", At: now, Device: device, PagedAt: p.PagedAt(r, person.Name)})
}

// hear takes what people answer over a channel until ctx ends.
func (p *Pager) hear(ctx context.Context, l channel.Listener) {
	name := l.Name()
	log, open := p.o.Logger.With("channel", name), p.metrics.open.WithLabelValues(name)
	open.Set(0)
	err := l.Listen(ctx, channel.Hearing{
		Reply: func(r channel.Reply) bool {
			_, err := p.Reply(p.o.Now(), name, r.From, r.Text)
			if err != nil && !Declined(err) {
				log.Error("reply waits for the store", "err", err)
				return false
			}
			return true
		},
		State: func(up bool, why error) {
			if open.Set(0); up {
				open.Set(1)
				log.Info("session for replies is open")
				p.answers(name)
				return
			}
			log.Warn("session for replies has ended", "err", why)
		},
	})
	open.Set(0)
	if err != nil {
		log.Error("replies are not heard any more", "err", err)
	}
}

// owner is the person who has this phone and may acknowledge.
func (p *Pager) owner(phone string) (roster.Person, bool) {
	if p.o.Roster == nil || phone == "" {
		return roster.Person{}, false
	}
	for _, x := range p.o.Roster.People() {
		if x.Phone != "" && roster.National(x.Phone) == phone && handles(x) {
			return x, true
		}
	}
	return roster.Person{}, false
}

// coded finds the incident that has a code.
func (p *Pager) coded(code string) (id string, err error) {
	if code == "" {
		return "", nil
	}
	err = p.db.View(func(tx *store.Tx) error {
		id = ""
		all, err := chases.All(tx)
		for _, e := range all {
			if e.Value.Code == code {
				id = e.Key
			}
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("find the incident of a code: %w", err)
	}
	return id, nil
}

// narrow turns full-width digits, which Chinese keyboards make, into plain ones.
func narrow(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '０' && r <= '９' {
			return r - '０' + '0'
		}
		return r
	}, s)
}

func maskPhone(s string) string {
	n := roster.National(s)
	if len(n) < 8 {
		return "****"
	}
	return n[:3] + "****" + n[len(n)-4:]
}
