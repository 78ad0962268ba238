package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"xunjian/pkg/roster"
)

// minPersonToken is how long a token in a file or variable must be: nobody slows guesses at it down.
const minPersonToken = 20

// Holders are the people of the configuration with the digests of their tokens, read from where these are kept.
type Holders struct {
	named map[string]Identity // by account
	keys  []holder
}

type holder struct {
	sum [sha256.Size]byte
	id  Identity
}

// ReadTokens fetches the tokens of people. It changes nothing: Admit puts what it read in force.
func ReadTokens(people []roster.Person) (Holders, error) {
	h := Holders{named: map[string]Identity{}}
	whose := map[[sha256.Size]byte]string{}
	for _, p := range people {
		role, err := ParseRole(p.Role)
		if err != nil {
			return Holders{}, fmt.Errorf("person %s: %w", p.Name, err)
		}
		if p.Login != "" {
			h.named[p.Login] = Identity{Person: p.Name, Login: p.Login, Role: role}
		}
		if !p.Token.Set() {
			continue
		}
		text, err := p.Token.Read()
		if err != nil {
			return Holders{}, fmt.Errorf("token of %s: %w", p.Name, err)
		}
		if len(text) < minPersonToken || len(text) > 256 {
			return Holders{}, fmt.Errorf("token of %s: %d characters, want %d to 256: make one with openssl rand -hex 20", p.Name, len(text), minPersonToken)
		}
		sum := sha256.Sum256([]byte(text))
		if other, ok := whose[sum]; ok {
			return Holders{}, fmt.Errorf("token of %s is also %s's: give each person one of their own", p.Name, other)
		}
		whose[sum] = p.Name
		h.keys = append(h.keys, holder{sum, Identity{Person: p.Name, Login: p.Login, Role: role, Via: "token", Token: "person"}})
	}
	return h, nil
}

// Admit lets these people act under their names, and no longer those whom they replace.
func (d *Directory) Admit(h Holders) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holders = h
}

// holder finds a token among the people's in a time that does not depend on whose it is, or whether it is anybody's.
func (d *Directory) holder(text string) (id Identity, ok bool) {
	d.mu.Lock()
	keys := d.holders.keys
	d.mu.Unlock()
	sum := sha256.Sum256([]byte(text))
	for _, k := range keys {
		if subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 {
			id, ok = k.id, true
		}
	}
	return id, ok
}

// named gives an account the name that its person has in the configuration, so that one person is one name in records.
func (d *Directory) named(id Identity) Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.holders.named[id.Login]; ok {
		id.Person = p.Person
	}
	return id
}
