package access

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/store"
)

const (
	maxTokenLife = 10 * 365 * 24 * time.Hour
	noteUse      = time.Minute // how exactly the last use is known
	idBytes      = 10
	secretBytes  = 20
)

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name    string // what it is for, unique among valid tokens
	Person  string // in whose name it acts; empty: it must name a person with each act
	Role    Role
	TTL     time.Duration // 0: until revoked
	By      string        // person who asks
	Replace bool          // revoke the valid token of the same name first
}

// Token is an API token without its secret.
type Token struct {
	ID, Name, Person string
	Role             Role
	By               string
	CreatedAt        time.Time
	ExpiresAt        time.Time // zero: never
	LastUsed         time.Time // to the minute
	RevokedAt        time.Time
	RevokedBy        string
}

// Valid says whether it opens anything at now.
func (t Token) Valid(now time.Time) bool {
	return t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}

type tokenRecord struct {
	Hash      []byte    `json:"hash"` // SHA-256 of the secret: 160 random bits need no salt
	Name      string    `json:"name"`
	Person    string    `json:"person,omitempty"`
	Role      Role      `json:"role"`
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	LastUsed  time.Time `json:"last_used,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
}

func (t tokenRecord) view(id string) Token {
	return Token{id, t.Name, t.Person, t.Role, t.By, t.CreatedAt, t.ExpiresAt, t.LastUsed, t.RevokedAt, t.RevokedBy}
}

var tokenTable = store.NewTable[tokenRecord]("access_tokens")

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func randomText(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return base32Lower.EncodeToString(b)
}

// CreateToken makes an API token of the form xja.<16>.<32>. Its text is told once; only a hash of its secret is kept.
func (d *Directory) CreateToken(now time.Time, q TokenRequest) (text string, t Token, err error) {
	if err := q.check(); err != nil {
		return "", Token{}, err
	}
	id, secret := randomText(idBytes), randomText(secretBytes)
	sum := sha256.Sum256([]byte(secret))
	rec := tokenRecord{Hash: sum[:], Name: q.Name, Person: q.Person, Role: q.Role, By: q.By, CreatedAt: now.UTC()}
	if q.TTL > 0 {
		rec.ExpiresAt = now.Add(q.TTL).UTC()
	}
	err = d.db.Update(func(tx *store.Tx) error {
		if err := place(tx, now, q); err != nil {
			return err
		}
		return tokenTable.Put(tx, id, rec)
	})
	if err != nil {
		return "", Token{}, fmt.Errorf("make API token: %w", err)
	}
	d.log.Info("API token made", "token", id, "name", q.Name, "role", q.Role, "person", q.Person, "by", q.By)
	return "xja." + id + "." + secret, rec.view(id), nil
}

func (q TokenRequest) check() error {
	if err := CheckName("name", q.Name); err != nil {
		return err
	}
	if q.Person != "" {
		if err := CheckName("person", q.Person); err != nil {
			return err
		}
	}
	if err := CheckName("by", q.By); err != nil {
		return err
	}
	if q.TTL < 0 || q.TTL > maxTokenLife {
		return &BadInput{Field: "ttl", Key: "access.bad.ttl"}
	}
	_, err := ParseRole(string(q.Role))
	return err
}

// place makes room for a token: the name free, and the table not full after the longest useless ones are gone.
func place(tx *store.Tx, now time.Time, q TokenRequest) error {
	all, err := tokenTable.All(tx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Value.Name != q.Name || !e.Value.view(e.Key).Valid(now) {
			continue
		}
		if !q.Replace {
			return fmt.Errorf("%q: %w", q.Name, ErrTaken)
		}
		e.Value.RevokedAt, e.Value.RevokedBy = now.UTC(), q.By
		if err := tokenTable.Put(tx, e.Key, e.Value); err != nil {
			return err
		}
	}
	if len(all) < maxTokens {
		return nil
	}
	all = slices.DeleteFunc(all, func(e store.Entry[tokenRecord]) bool { return e.Value.view(e.Key).Valid(now) })
	if len(all) == 0 {
		return &BadInput{Field: "name", Key: "access.bad.full", Pairs: []string{"most", strconv.Itoa(maxTokens)}}
	}
	oldest := slices.MinFunc(all, func(a, b store.Entry[tokenRecord]) int { return a.Value.CreatedAt.Compare(b.Value.CreatedAt) })
	return tokenTable.Delete(tx, oldest.Key)
}

// Verify tells whose token this is. Whatever is wrong, the answer is ErrBadToken.
func (d *Directory) Verify(text string) (Identity, error) {
	now := time.Now()
	id, secret, ok := splitToken(text)
	if !ok {
		if who, ok := d.holder(text); ok {
			return who, nil
		}
		return Identity{}, ErrBadToken
	}
	var rec tokenRecord
	err := d.db.View(func(tx *store.Tx) (err error) {
		rec, err = tokenTable.Get(tx, id)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Identity{}, fmt.Errorf("verify token: %w", err)
	}
	sum := sha256.Sum256([]byte(secret))
	if same := subtle.ConstantTimeCompare(sum[:], rec.Hash) == 1; !same || err != nil || !rec.view(id).Valid(now) {
		return Identity{}, ErrBadToken
	}
	d.noteUse(now, id)
	return Identity{Person: rec.Person, Role: rec.Role, Via: "token", Token: id}, nil
}

// splitToken accepts exactly xja.<16>.<32>.
func splitToken(text string) (id, secret string, ok bool) {
	if len(text) != 3+1+16+1+32 {
		return "", "", false
	}
	p := strings.Split(text, ".")
	if len(p) != 3 || p[0] != "xja" || len(p[1]) != 16 {
		return "", "", false
	}
	for _, s := range p[1:] {
		if _, err := base32Lower.DecodeString(s); err != nil {
			return "", "", false
		}
	}
	return p[1], p[2], true
}

// noteUse writes the last use down at most once a minute for each token.
func (d *Directory) noteUse(now time.Time, id string) {
	d.mu.Lock()
	fresh := now.Sub(d.used[id]) < noteUse
	if !fresh {
		if len(d.used) >= maxTokens {
			clear(d.used)
		}
		d.used[id] = now
	}
	d.mu.Unlock()
	if fresh {
		return
	}
	err := d.db.Update(func(tx *store.Tx) error {
		rec, err := tokenTable.Get(tx, id)
		if err != nil {
			return err
		}
		rec.LastUsed = now.UTC()
		return tokenTable.Put(tx, id, rec)
	})
	if err != nil {
		d.log.Warn("use of an API token is not written down", "token", id, "err", err)
	}
}

// Revoke makes an API token useless at once. Doing so twice is no error.
func (d *Directory) Revoke(now time.Time, id, by string) (Token, error) {
	var out Token
	err := d.db.Update(func(tx *store.Tx) error {
		rec, err := tokenTable.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("API token: %w", ErrNotFound)
		}
		if err != nil {
			return err
		}
		if rec.RevokedAt.IsZero() {
			rec.RevokedAt, rec.RevokedBy = now.UTC(), by
			err = tokenTable.Put(tx, id, rec)
		}
		out = rec.view(id)
		return err
	})
	if err != nil {
		return Token{}, err
	}
	d.log.Info("API token revoked", "token", id, "name", out.Name, "by", by)
	return out, nil
}

// Tokens lists the API tokens, the newest first.
func (d *Directory) Tokens() ([]Token, error) {
	var out []Token
	err := d.db.View(func(tx *store.Tx) error {
		all, err := tokenTable.All(tx)
		for _, e := range all {
			out = append(out, e.Value.view(e.Key))
		}
		return err
	})
	slices.SortFunc(out, func(a, b Token) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return out, err
}
