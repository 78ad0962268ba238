package pager

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/incident"
	"xunjian/pkg/roster"
	"xunjian/pkg/store"
)

// linkLife is how long an acknowledge link is good: as long as a page is tried.
const linkLife = Patience

// link is what an acknowledge link stands for. The link itself carries its number and a signature over all of this.
type link struct {
	Incident string    `json:"incident"`
	Call     int       `json:"call"`
	Person   string    `json:"person"`
	Expires  time.Time `json:"expires"`
	UsedAt   time.Time `json:"used_at,omitzero"`
}

var (
	links = store.NewTable[link]("pager_links") // by number
	keys  = store.NewTable[[]byte]("pager_keys")
)

func linkKey(n uint64) string { return fmt.Sprintf("%016x", n) }

// LinkPath is where acknowledge links lead: LinkPath + 22 characters.
const LinkPath = "/a/"

const (
	linkNumber = 4  // bytes
	linkSum    = 12 // bytes of the signature: nobody guesses 96 bits
)

// linkSecret is the key that signs links. It is drawn once for a store and kept in it.
func linkSecret(db *store.DB) (secret []byte, err error) {
	err = db.View(func(tx *store.Tx) error {
		secret, err = keys.Get(tx, "links")
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return secret, err
	}
	err = db.Update(func(tx *store.Tx) error {
		secret, err = keys.Get(tx, "links")
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		secret = make([]byte, 32)
		rand.Read(secret) // never fails
		return keys.Put(tx, "links", secret)
	})
	return secret, err
}

// token is number and signature: 22 characters.
func (p *Pager) token(n uint64, l link) string {
	b := make([]byte, linkNumber, linkNumber+linkSum)
	binary.BigEndian.PutUint32(b, uint32(n))
	return base64.RawURLEncoding.EncodeToString(append(b, p.sign(n, l)...))
}

func (p *Pager) sign(n uint64, l link) []byte {
	mac := hmac.New(sha256.New, p.secret)
	fmt.Fprintf(mac, "ack %d %s %d %d %s", n, l.Incident, l.Call, l.Expires.Unix(), l.Person)
	return mac.Sum(nil)[:linkSum]
}

// ackAddress is the link of a call; empty when nobody knows where the console is.
func (p *Pager) ackAddress(c Call) string {
	if p.o.ExternalURL == "" || c.Link == 0 {
		return ""
	}
	l := link{Incident: c.Incident, Call: c.N, Person: c.Person, Expires: c.At.Add(linkLife).UTC().Truncate(time.Second)}
	return strings.TrimSuffix(p.o.ExternalURL, "/") + LinkPath + p.token(c.Link, l)
}

// LinkState says what an acknowledge link is good for now.
type LinkState string

// The states of links.
const (
	LinkOpen    LinkState = "open"    // it waits to be used
	LinkUsed    LinkState = "used"    // this link has acknowledged
	LinkTaken   LinkState = "taken"   // somebody else has, or the person in another way
	LinkOver    LinkState = "over"    // the fault is over
	LinkExpired LinkState = "expired" //
	LinkGone    LinkState = "gone"    // the person is no longer in the configuration, or may not handle incidents
)

// Linked is what an acknowledge link shows.
type Linked struct {
	State   LinkState
	Record  incident.Record
	Person  roster.Person
	PagedAt time.Time
}

// ErrBadLink says that a link is none of ours, or was changed on the way.
var ErrBadLink = errors.New("not a link of ours")

// Look reads an acknowledge link. It changes nothing, however often programs look.
func (p *Pager) Look(now time.Time, token string) (Linked, error) {
	v, _, err := p.look(now, token)
	if err == nil {
		p.metrics.links.WithLabelValues("shown").Inc()
	} else if errors.Is(err, ErrBadLink) {
		p.metrics.links.WithLabelValues("refused").Inc()
	}
	return v, err
}

func (p *Pager) look(now time.Time, token string) (v Linked, n uint64, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != linkNumber+linkSum {
		return v, 0, ErrBadLink
	}
	n = uint64(binary.BigEndian.Uint32(raw))
	var l link
	var c Call
	err = p.db.View(func(tx *store.Tx) (err error) {
		if l, err = links.Get(tx, linkKey(n)); err != nil {
			return err
		}
		c, err = calls.Get(tx, callKey(l.Incident, l.Call))
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return v, 0, ErrBadLink
	case err != nil:
		return v, 0, fmt.Errorf("read acknowledge link: %w", err)
	case !hmac.Equal(p.sign(n, l), raw[linkNumber:]):
		return v, 0, ErrBadLink
	}
	if v.Record, err = p.desk.Record(l.Incident); err != nil {
		return v, 0, fmt.Errorf("read acknowledge link: %w", err)
	}
	v.Person, v.PagedAt = roster.Person{Name: l.Person}, c.SentAt
	if v.PagedAt.IsZero() {
		v.PagedAt = c.At // it has arrived, whatever we know
	}
	person, known := p.person(l.Person)
	if known {
		v.Person = person
	}
	v.State = l.state(now, v.Record, known && handles(person))
	return v, n, nil
}

func (l link) state(now time.Time, r incident.Record, may bool) LinkState {
	switch {
	case !l.UsedAt.IsZero():
		return LinkUsed
	case !r.AckAt.IsZero():
		return LinkTaken
	case !r.Open():
		return LinkOver
	case !may:
		return LinkGone
	case !now.Before(l.Expires):
		return LinkExpired
	}
	return LinkOpen
}

// handles says whether a person may acknowledge.
func handles(p roster.Person) bool {
	return access.Allow(access.Identity{Role: access.Role(p.Role)}, access.Handle) == nil
}

func (p *Pager) person(name string) (roster.Person, bool) {
	if p.o.Roster == nil {
		return roster.Person{}, false
	}
	return p.o.Roster.Person(name)
}

// Take acknowledges in the name of the person to whom the link was sent, once. What it returns says what is so now: a link
// that could not be used has another state than LinkUsed.
func (p *Pager) Take(now time.Time, token, device, address string) (Linked, error) {
	v, n, err := p.look(now, token)
	if err != nil || v.State != LinkOpen {
		p.metrics.links.WithLabelValues("refused").Inc()
		return v, err
	}
	_, err = p.desk.Ack(v.Record.ID, incident.Act{Person: v.Person.Name, Via: "link", At: now, Device: device, Address: address, PagedAt: v.PagedAt})
	if err != nil && !errors.Is(err, incident.ErrConflict) {
		return v, fmt.Errorf("acknowledge by link: %w", err)
	}
	if err == nil {
		p.metrics.links.WithLabelValues("used").Inc()
		if err := p.markUsed(now, n); err != nil {
			p.o.Logger.Error("use of an acknowledge link not written down", "incident", v.Record.ID, "err", err)
		}
		v.State = LinkUsed
		v.Record, err = p.desk.Record(v.Record.ID)
		return v, err
	}
	v, _, err = p.look(now, token) // who was first
	return v, err
}

func (p *Pager) markUsed(now time.Time, n uint64) error {
	return p.db.Update(func(tx *store.Tx) error {
		l, err := links.Get(tx, linkKey(n))
		if err != nil {
			return err
		}
		l.UsedAt = now.UTC()
		return links.Put(tx, linkKey(n), l)
	})
}

// forgetLinks removes links that expired a month ago: until then they say that they did.
func (p *Pager) forgetLinks(now time.Time) error {
	return p.db.Update(func(tx *store.Tx) error {
		var gone []string
		for e, err := range links.Scan(tx, "") {
			if err == nil && now.Sub(e.Value.Expires) < 30*24*time.Hour || len(gone) == sweepBatch {
				break // numbers grow with time
			}
			gone = append(gone, e.Key)
		}
		for _, k := range gone {
			if err := links.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}
