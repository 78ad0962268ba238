// Package access knows the people and programs that may use the collector, checks who they are, and says what each role may do.
package access

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

// Role is what a person or program is trusted with.
type Role string

// The roles; each may do all that the one before may.
const (
	Viewer   Role = "viewer"
	Engineer Role = "engineer"
	Lead     Role = "lead"
	Admin    Role = "admin"
)

// Roles lists all of them, the least trusted first.
var Roles = []Role{Viewer, Engineer, Lead, Admin}

// ParseRole accepts exactly the four names.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", &BadInput{Field: "role", Key: "access.bad.role"}
}

// Action is one kind of deed.
type Action string

// The actions.
const (
	Read   Action = "read"   // look at anything but secrets
	Handle Action = "handle" // open, acknowledge, note, resolve and reopen incidents
	Direct Action = "direct" // set a level, close
	Manage Action = "manage" // people, tokens, agents, reload
)

// Actions lists all of them.
var Actions = []Action{Read, Handle, Direct, Manage}

// may is the whole of authorisation.
var may = map[Role][]Action{
	Viewer:   {Read},
	Engineer: {Read, Handle},
	Lead:     {Read, Handle, Direct},
	Admin:    {Read, Handle, Direct, Manage},
}

// Identity is who acts. The zero value may do nothing.
type Identity struct {
	Person string // name for the record; empty for a program's token, which must name a person with each act
	Login  string // name of the account, empty for tokens
	Role   Role
	Via    string // password, token, local
	Token  string // id of the API token
}

// Sentinels that callers branch on.
var (
	ErrForbidden = errors.New("role may not do this")
	ErrBadLogin  = errors.New("name or password is wrong")
	ErrLocked    = errors.New("too many wrong passwords")
	ErrBusy      = errors.New("too many people sign in at once")
	ErrBadToken  = errors.New("token is not valid")
	ErrNotFound  = errors.New("no such person or token")
	ErrTaken     = errors.New("name is taken")
	ErrBadInput  = errors.New("input is not acceptable")
)

// BadInput names the field at fault and what to do about it; it is ErrBadInput.
type BadInput struct {
	Field string
	Key   string   // of the text, in the catalogue
	Pairs []string // for the text
}

func (b *BadInput) Error() string { return b.Field + ": " + b.Text(i18n.For("en")) }

// Text is the remedy for people.
func (b *BadInput) Text(p *i18n.Printer) string { return p.T(b.Key, b.Pairs...) }

// Is makes errors.Is(err, ErrBadInput) true.
func (b *BadInput) Is(target error) bool { return target == ErrBadInput }

// Locked says when another attempt is worth while; it is ErrLocked.
type Locked struct{ Until time.Time }

func (l *Locked) Error() string {
	return fmt.Sprintf("%v: try again after %s", ErrLocked, l.Until.UTC().Format(time.RFC3339))
}

// Is makes errors.Is(err, ErrLocked) true.
func (l *Locked) Is(target error) bool { return target == ErrLocked }

// Allow is nil when the identity's role may do this.
func Allow(id Identity, a Action) error {
	if slices.Contains(may[id.Role], a) {
		return nil
	}
	return fmt.Errorf("%s may not %s: %w", cmp.Or(id.Role, "nobody"), a, ErrForbidden)
}

// Options tunes New.
type Options struct {
	Hash       HashCost // of new passwords; default: DefaultHashCost
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Directory holds people and API tokens. It is safe for concurrent use.
type Directory struct {
	db      *store.DB
	log     *slog.Logger
	cost    HashCost
	decoy   string        // hash that a stranger's password is checked against, so that names cannot be told by time
	hashing chan struct{} // one slot: a hash takes tens of MiB
	waiting chan struct{} // who waits for that slot; more are told that it is busy
	guard   *guard
	metrics *metrics

	mu      sync.Mutex
	used    map[string]time.Time // last use of API tokens as written down; at most maxTokens
	holders Holders
}

const (
	maxPeople  = 1_000
	maxTokens  = 1_000
	maxWaiting = 32
)

// New opens the directory; Bootstrap makes the first person.
func New(db *store.DB, o Options) (*Directory, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hash == (HashCost{}) {
		o.Hash = DefaultHashCost
	}
	d := &Directory{
		db: db, log: o.Logger, cost: o.Hash, decoy: o.Hash.decoy(), guard: newGuard(), metrics: newMetrics(o.Registerer),
		hashing: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting), used: map[string]time.Time{},
	}
	err := db.View(func(tx *store.Tx) error {
		if _, err := personTable.All(tx); err != nil {
			return err
		}
		_, err := tokenTable.All(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	return d, nil
}

var loginName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// maxName bounds names for people, in runes.
const maxName = 64

// CheckName refuses what cannot stand for a person in a record: nothing, too much, or control characters.
func CheckName(field, s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return &BadInput{Field: field, Key: "access.bad.missing"}
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &BadInput{Field: field, Key: "access.bad.characters"}
	case utf8.RuneCountInString(s) > maxName:
		return &BadInput{Field: field, Key: "access.bad.long", Pairs: []string{"most", strconv.Itoa(maxName)}}
	case s != strings.TrimSpace(s):
		return &BadInput{Field: field, Key: "access.bad.space"}
	}
	return nil
}
