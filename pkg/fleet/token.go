package fleet

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

const (
	defaultTTL = time.Hour
	maxTTL     = 30 * 24 * time.Hour
	maxTokens  = 10_000              // kept at once
	keepEnded  = 90 * 24 * time.Hour // used, expired and revoked tokens are listed so long
)

// TokenState is what has become of a one-time token.
type TokenState string

// The states.
const (
	Unused  TokenState = "unused"
	Used    TokenState = "used"
	Expired TokenState = "expired"
	Revoked TokenState = "revoked"
)

// TokenRequest asks for a one-time token.
type TokenRequest struct {
	Agent string        // the only name that it enrols, and then also anew; empty: any name that is not taken
	TTL   time.Duration // default 1 h, at most 30 days
	By    string        // person who asks
}

// Token is a one-time token without its secret.
type Token struct {
	ID        string
	Agent     string
	State     TokenState
	By        string
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time
	UsedBy    string // the agent that it enrolled
	UsedFrom  string // its address
	RevokedAt time.Time
	RevokedBy string
}

type tokenRecord struct {
	Hash      []byte    `json:"hash"` // SHA-256 of the secret: 160 random bits need no salt
	Agent     string    `json:"agent,omitempty"`
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	UsedAt    time.Time `json:"used_at,omitzero"`
	UsedBy    string    `json:"used_by,omitempty"`
	UsedFrom  string    `json:"used_from,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
}

var tokenTable = store.NewTable[tokenRecord]("fleet_tokens")

// ErrNoToken says that no token has this id.
var ErrNoToken = errors.New("no such token")

// BadRequest says why a token cannot be made as asked.
type BadRequest struct {
	Field string
	Key   string   // of the text, in the catalogue
	Pairs []string // for the text
}

func (b *BadRequest) Error() string { return b.Field + ": " + b.Text(i18n.For("en")) }

// Text is the remedy for people.
func (b *BadRequest) Text(p *i18n.Printer) string { return p.T(b.Key, b.Pairs...) }

func (t tokenRecord) state(now time.Time) TokenState {
	switch {
	case !t.UsedAt.IsZero():
		return Used
	case !t.RevokedAt.IsZero():
		return Revoked
	case !now.Before(t.ExpiresAt):
		return Expired
	}
	return Unused
}

// ended is when the token became useless, zero while it is not.
func (t tokenRecord) ended(now time.Time) time.Time {
	switch t.state(now) {
	case Used:
		return t.UsedAt
	case Revoked:
		return t.RevokedAt
	case Expired:
		return t.ExpiresAt
	}
	return time.Time{}
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func randomText(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return base32Lower.EncodeToString(b)
}

// CreateToken makes a one-time token. Its text is told once; only a hash of its secret is kept.
func (r *Registry) CreateToken(now time.Time, q TokenRequest) (text string, t Token, err error) {
	ttl := cmp.Or(q.TTL, defaultTTL)
	q.By = clip(q.By)
	switch {
	case q.Agent != "" && !ValidName(q.Agent):
		return "", Token{}, &BadRequest{"agent", "fleet.bad.name", nil}
	case ttl < time.Second || ttl > maxTTL:
		return "", Token{}, &BadRequest{"ttl", "fleet.bad.ttl", nil}
	case q.By == "":
		return "", Token{}, &BadRequest{"by", "fleet.bad.by", nil}
	}
	id, secret := randomText(10), randomText(20)
	sum := sha256.Sum256([]byte(secret))
	rec := tokenRecord{Hash: sum[:], Agent: q.Agent, By: q.By, CreatedAt: now.UTC(), ExpiresAt: now.Add(ttl).UTC()}
	err = r.db.Update(func(tx *store.Tx) error {
		if err := makeRoom(tx, now); err != nil {
			return err
		}
		return tokenTable.Put(tx, id, rec)
	})
	if err != nil {
		return "", Token{}, fmt.Errorf("make token: %w", err)
	}
	r.log.Info("enrolment token made", "token", id, "agent", q.Agent, "by", q.By, "expires", rec.ExpiresAt)
	return strings.Join([]string{"xj1", id, secret, r.ca.fingerprint}, "."), rec.view(id, now), nil
}

// makeRoom forgets tokens that ended long ago.
func makeRoom(tx *store.Tx, now time.Time) error {
	all, err := tokenTable.All(tx)
	if err != nil {
		return err
	}
	n := len(all)
	for _, e := range all {
		if end := e.Value.ended(now); !end.IsZero() && now.Sub(end) > keepEnded {
			if err := tokenTable.Delete(tx, e.Key); err != nil {
				return err
			}
			n--
		}
	}
	if n >= maxTokens {
		return &BadRequest{"", "fleet.bad.full", []string{"most", strconv.Itoa(maxTokens)}}
	}
	return nil
}

func (t tokenRecord) view(id string, now time.Time) Token {
	return Token{
		ID: id, Agent: t.Agent, State: t.state(now), By: t.By, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
		UsedAt: t.UsedAt, UsedBy: t.UsedBy, UsedFrom: t.UsedFrom, RevokedAt: t.RevokedAt, RevokedBy: t.RevokedBy,
	}
}

// Tokens lists the one-time tokens, the newest first.
func (r *Registry) Tokens(now time.Time) ([]Token, error) {
	var out []Token
	err := r.db.View(func(tx *store.Tx) error {
		all, err := tokenTable.All(tx)
		for _, e := range all {
			out = append(out, e.Value.view(e.Key, now))
		}
		return err
	})
	slices.SortFunc(out, func(a, b Token) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return out, err
}

// RevokeToken makes an unused token useless. One that is used or expired is returned as it is.
func (r *Registry) RevokeToken(now time.Time, id, by string) (Token, error) {
	var out Token
	err := r.db.Update(func(tx *store.Tx) error {
		t, err := tokenTable.Get(tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("token %q: %w", clip(id), ErrNoToken)
		}
		if err != nil {
			return err
		}
		if t.state(now) == Unused {
			t.RevokedAt, t.RevokedBy = now.UTC(), clip(by)
			err = tokenTable.Put(tx, id, t)
		}
		out = t.view(id, now)
		return err
	})
	return out, err
}

// token is a token's text taken apart.
type token struct {
	id, secret, ca string
}

// parseToken accepts exactly xj1.<16>.<32>.<64>, spaces around it forgiven.
func parseToken(text string) (token, error) {
	const length = 3 + 1 + 16 + 1 + 32 + 1 + 64
	if len(text) > 2*length {
		return token{}, ErrTokenFormat
	}
	p := strings.Split(strings.TrimSpace(text), ".")
	if len(p) != 4 || p[0] != "xj1" || !isBase32(p[1], 16) || !isBase32(p[2], 32) || len(p[3]) != 64 {
		return token{}, ErrTokenFormat
	}
	if b, err := hex.DecodeString(p[3]); err != nil || hex.EncodeToString(b) != p[3] {
		return token{}, ErrTokenFormat
	}
	return token{p[1], p[2], p[3]}, nil
}

func isBase32(s string, n int) bool {
	if len(s) != n {
		return false
	}
	_, err := base32Lower.DecodeString(s)
	return err == nil
}

// find is the token's record when it may be used now. A wrong secret says no more than a wrong id.
func (t token) find(tx *store.Tx, now time.Time) (tokenRecord, error) {
	rec, err := tokenTable.Get(tx, t.id)
	if errors.Is(err, store.ErrNotFound) {
		return rec, ErrTokenUnknown
	}
	if err != nil {
		return rec, err
	}
	sum := sha256.Sum256([]byte(t.secret))
	if subtle.ConstantTimeCompare(sum[:], rec.Hash) != 1 {
		return rec, ErrTokenUnknown
	}
	switch rec.state(now) {
	case Used:
		return rec, ErrTokenUsed
	case Expired:
		return rec, ErrTokenExpired
	case Revoked:
		return rec, ErrTokenRevoked
	}
	return rec, nil
}
