package console

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"xunjian/pkg/access"
	"xunjian/pkg/store"
)

// sessionLife is a working day with its evening.
const sessionLife = 14 * time.Hour

// seenEvery is how exactly a session knows when its person was last there: each time costs a commit.
const seenEvery = time.Minute

// What a session holds.
const (
	loginKey = "login"
	seenKey  = "seen" // Unix seconds of the person's last act, to seenEvery
)

// kept is one session as stored, under the hash of its token.
type kept struct {
	Data    []byte    `json:"data"`
	Expires time.Time `json:"expires"`
}

// maxUnwritten bounds the sessions that are kept in memory while the store takes nothing.
const maxUnwritten = 1000

// sessionStore is scs's Store over a table, so that a restart signs nobody out. While nothing can be written (a full disk is when
// people are needed), what was to be written is kept in memory, and goes with the next one that can.
type sessionStore struct {
	db    *store.DB
	table store.Table[kept]
	log   *slog.Logger

	mu        sync.Mutex
	unwritten map[string]*kept // without data: the session has ended
}

func newSessions(o Options) *scs.SessionManager {
	m := &scs.SessionManager{Codec: scs.GobCodec{}} // scs.New would start a goroutine for a store in memory that nobody wants
	m.Cookie.Path, m.Cookie.Persist = "/", true
	m.Store = &sessionStore{db: o.Sessions, table: store.NewTable[kept]("console_sessions"), log: o.Logger, unwritten: map[string]*kept{}}
	m.Lifetime = sessionLife
	m.HashTokenInStore = true
	m.Cookie.Name = "xunjian"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteStrictMode
	m.Cookie.Secure = o.Secure
	m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		o.Logger.Error("session", "error", err)
		http.Error(w, printer(r).T("console.failed"), http.StatusInternalServerError)
	}
	return m
}

func (s *sessionStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	k := s.unwritten[token]
	s.mu.Unlock()
	if k == nil {
		k = &kept{}
		err := s.db.View(func(tx *store.Tx) (err error) { *k, err = s.table.Get(tx, token); return err })
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, false, err
		}
	}
	if k.Data == nil || time.Now().After(k.Expires) {
		return nil, false, nil
	}
	return k.Data, true, nil
}

// Commit also sweeps out what has expired, so that the table stays small.
func (s *sessionStore) Commit(token string, b []byte, expires time.Time) error {
	return s.write(token, &kept{b, expires})
}

// Delete ends a session.
func (s *sessionStore) Delete(token string) error {
	return s.write(token, &kept{Expires: time.Now().Add(sessionLife)}) // of the one in the table, at the latest
}

// write writes what is new of a session, and whatever could not be written before.
func (s *sessionStore) write(token string, k *kept) error {
	s.mu.Lock()
	maps.DeleteFunc(s.unwritten, func(_ string, k *kept) bool { return time.Now().After(k.Expires) })
	full := len(s.unwritten) >= maxUnwritten
	if !full {
		s.unwritten[token] = k
	}
	all := maps.Clone(s.unwritten)
	s.mu.Unlock()
	all[token] = k
	err := s.db.Update(func(tx *store.Tx) error { return s.put(tx, all) })
	if err != nil {
		s.log.Warn("sessions are kept in memory only", "sessions", len(all), "error", err)
		if full {
			return err
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.unwritten, func(token string, k *kept) bool { return all[token] == k })
	return nil
}

func (s *sessionStore) put(tx *store.Tx, all map[string]*kept) error {
	for e, err := range s.table.Scan(tx, "") {
		if _, known := all[e.Key]; !known && (err != nil || time.Now().After(e.Value.Expires)) {
			all[e.Key] = &kept{}
		}
	}
	for token, k := range all {
		if k.Data == nil {
			if err := s.table.Delete(tx, token); err != nil {
				return err
			}
			continue
		}
		if err := s.table.Put(tx, token, *k); err != nil {
			return err
		}
	}
	return nil
}

// Reasons why a request is nobody's.
var (
	errSignedOut = errors.New("nobody is signed in")
	errIdle      = errors.New("person has been away")
)

// whose is the person of a loaded session, with the rights of this moment.
func (c *Console) whose(ctx context.Context, now time.Time) (access.Identity, error) {
	login := c.sessions.GetString(ctx, loginKey)
	if login == "" {
		return access.Identity{}, errSignedOut
	}
	who, err := c.o.People.Current(login)
	if errors.Is(err, access.ErrNotFound) || err == nil && access.Allow(who, access.Read) != nil {
		return access.Identity{}, errSignedOut
	}
	if err != nil {
		return access.Identity{}, err
	}
	seen := time.Unix(c.sessions.GetInt64(ctx, seenKey), 0)
	if mayAct(who) && now.Sub(seen) > c.o.Idle {
		return access.Identity{}, errIdle
	}
	return who, nil
}

// whoseStream reads the session anew, for an answer that outlives many requests.
func (c *Console) whoseStream(r *http.Request) (access.Identity, error) {
	token := ""
	if k, err := r.Cookie(c.sessions.Cookie.Name); err == nil {
		token = k.Value
	}
	ctx, err := c.sessions.Load(r.Context(), token)
	if err != nil {
		return access.Identity{}, err
	}
	return c.whose(ctx, time.Now())
}

type page func(http.ResponseWriter, *http.Request, access.Identity)

// signedIn wants a person who may read; others are sent to the login page, which leads back.
func (c *Console) signedIn(next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		who, err := c.whose(r.Context(), now)
		switch {
		case errors.Is(err, errSignedOut), errors.Is(err, errIdle):
			c.signIn(w, r, errors.Is(err, errIdle))
			return
		case err != nil:
			c.fail(w, r, err)
			return
		}
		if seen := time.Unix(c.sessions.GetInt64(r.Context(), seenKey), 0); byPerson(r) && now.Sub(seen) > seenEvery {
			c.sessions.Put(r.Context(), seenKey, now.Unix())
		}
		next(w, r, who)
	}
}

// byPerson tells a person's own request from a page that refreshes itself while nobody touches it.
func byPerson(r *http.Request) bool {
	return r.Header.Get("HX-Trigger") != "live" || r.Header.Get("X-Person") == "active"
}

// signIn ends what is left of a session, so that a person who is enabled again starts anew, and asks for the password.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request, idle bool) {
	if c.sessions.Exists(r.Context(), loginKey) {
		if err := c.sessions.Destroy(r.Context()); err != nil {
			c.fail(w, r, err)
			return
		}
	}
	to := loginAddress(cameFrom(r), idle)
	if pulls(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
