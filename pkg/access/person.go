package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/store"
)

// Person is somebody with an account.
type Person struct {
	Login     string
	Name      string // for records and pages
	Role      Role
	CreatedAt time.Time
	CreatedBy string
	Disabled  bool
}

// NewPerson is what an account begins with.
type NewPerson struct {
	Login, Name string
	Role        Role
	Password    string
}

type personRecord struct {
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Hash      string    `json:"hash"` // PHC string
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Disabled  bool      `json:"disabled,omitempty"`
}

var personTable = store.NewTable[personRecord]("access_people")

func (p personRecord) view(login string) Person {
	return Person{login, p.Name, p.Role, p.CreatedAt, p.CreatedBy, p.Disabled}
}

func (p personRecord) identity(login string) Identity {
	return Identity{Person: p.Name, Login: login, Role: p.Role, Via: "password"}
}

// Bootstrap makes the person admin with a random password when there is nobody yet. The password is told this once.
func (d *Directory) Bootstrap(now time.Time) (password string, created bool, err error) {
	some, err := d.People()
	if err != nil || len(some) > 0 {
		return "", false, err
	}
	password = randomText(15)
	hash, err := d.cost.hash(password)
	if err != nil {
		return "", false, err
	}
	err = d.db.Update(func(tx *store.Tx) error {
		all, err := personTable.All(tx)
		if err != nil || len(all) > 0 {
			return err
		}
		created = true
		return personTable.Put(tx, "admin", personRecord{Name: "admin", Role: Admin, Hash: hash, CreatedAt: now.UTC(), CreatedBy: "first start"})
	})
	if err != nil || !created {
		return "", false, err
	}
	d.log.Info("first person made", "login", "admin")
	return password, true, nil
}

// People lists all accounts by login.
func (d *Directory) People() ([]Person, error) {
	var out []Person
	err := d.db.View(func(tx *store.Tx) error {
		all, err := personTable.All(tx)
		for _, e := range all {
			out = append(out, e.Value.view(e.Key))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	return out, nil
}

// Add makes an account.
func (d *Directory) Add(now time.Time, by Identity, n NewPerson) (Person, error) {
	if !loginName.MatchString(n.Login) {
		return Person{}, &BadInput{Field: "login", Key: "access.bad.login"}
	}
	if err := CheckName("name", n.Name); err != nil {
		return Person{}, err
	}
	if _, err := ParseRole(string(n.Role)); err != nil {
		return Person{}, err
	}
	if err := checkPassword(n.Login, n.Password); err != nil {
		return Person{}, err
	}
	hash, err := d.cost.hash(n.Password)
	if err != nil {
		return Person{}, err
	}
	rec := personRecord{Name: n.Name, Role: n.Role, Hash: hash, CreatedAt: now.UTC(), CreatedBy: by.Person}
	err = d.db.Update(func(tx *store.Tx) error {
		all, err := personTable.All(tx)
		switch {
		case err != nil:
			return err
		case len(all) >= maxPeople:
			return &BadInput{Field: "login", Key: "access.bad.full", Pairs: []string{"most", strconv.Itoa(maxPeople)}}
		case slices.ContainsFunc(all, func(e store.Entry[personRecord]) bool { return e.Key == n.Login || e.Value.Name == n.Name }):
			return ErrTaken // two people of one name could not be told apart in records
		}
		return personTable.Put(tx, n.Login, rec)
	})
	if err != nil {
		return Person{}, fmt.Errorf("add person %s: %w", n.Login, err)
	}
	d.log.Info("person added", "login", n.Login, "role", n.Role, "by", by.Person)
	return rec.view(n.Login), nil
}

// SetPassword gives an account a new password and forgets its wrong guesses.
func (d *Directory) SetPassword(by Identity, login, password string) error {
	if err := checkPassword(login, password); err != nil {
		return err
	}
	hash, err := d.cost.hash(password)
	if err != nil {
		return err
	}
	if err := d.change(by, login, "password", func(p *personRecord) { p.Hash = hash }); err != nil {
		return err
	}
	d.guard.forgive(login)
	return nil
}

// SetRole changes what an account may do. The last admin stays one.
func (d *Directory) SetRole(by Identity, login string, r Role) error {
	if _, err := ParseRole(string(r)); err != nil {
		return err
	}
	return d.change(by, login, "role "+string(r), func(p *personRecord) { p.Role = r })
}

// Disable ends or begins anew an account's right to sign in. The last admin cannot be disabled.
func (d *Directory) Disable(by Identity, login string, disabled bool) error {
	return d.change(by, login, fmt.Sprintf("disabled %v", disabled), func(p *personRecord) { p.Disabled = disabled })
}

func (d *Directory) change(by Identity, login, what string, apply func(*personRecord)) error {
	err := d.db.Update(func(tx *store.Tx) error {
		p, err := personTable.Get(tx, login)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%q: %w", login, ErrNotFound)
		}
		if err != nil {
			return err
		}
		apply(&p)
		if err := personTable.Put(tx, login, p); err != nil {
			return err
		}
		all, err := personTable.All(tx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(e store.Entry[personRecord]) bool { return e.Value.Role == Admin && !e.Value.Disabled }) {
			return &BadInput{Field: "role", Key: "access.bad.last_admin"}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("change person: %w", err)
	}
	d.log.Info("person changed", "login", login, "what", what, "by", by.Person)
	return nil
}

// Login checks a password. It takes as long for a name that does not exist as for one that does. After five wrong passwords
// within 15 minutes the name is locked until they have passed, and likewise the address after twenty.
func (d *Directory) Login(ctx context.Context, login, password, addr string) (Identity, error) {
	now := time.Now()
	login = strings.ToLower(strings.TrimSpace(login))
	if len(login) > 63 || len(password) > maxPassword {
		login, password = "", "" // as wrong as any other, and cheap to carry
	}
	release, err := d.guard.begin(now, login, addr)
	if err != nil {
		d.metrics.logins.WithLabelValues("locked").Inc()
		return Identity{}, err
	}
	rec, ok, err := d.check(ctx, login, password)
	release(err == nil && !ok)
	switch {
	case err != nil:
		d.metrics.logins.WithLabelValues("failed").Inc()
		return Identity{}, fmt.Errorf("sign in: %w", err)
	case !ok:
		d.metrics.logins.WithLabelValues("refused").Inc()
		d.log.Warn("sign-in refused", "login", login, "addr", addr)
		return Identity{}, ErrBadLogin
	}
	d.guard.forgive(login)
	d.metrics.logins.WithLabelValues("ok").Inc()
	d.log.Info("signed in", "login", login, "addr", addr)
	return d.named(rec.identity(login)), nil
}

// check hashes exactly one password whatever the name.
func (d *Directory) check(ctx context.Context, login, password string) (personRecord, bool, error) {
	var rec personRecord
	err := d.db.View(func(tx *store.Tx) (err error) {
		rec, err = personTable.Get(tx, login)
		return err
	})
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return rec, false, err
	}
	phc := d.decoy
	if known {
		phc = rec.Hash
	}
	select {
	case d.waiting <- struct{}{}:
		defer func() { <-d.waiting }()
	default:
		return rec, false, ErrBusy
	}
	select {
	case d.hashing <- struct{}{}:
		defer func() { <-d.hashing }()
	case <-ctx.Done():
		return rec, false, ctx.Err()
	}
	ok, err := matches(phc, password)
	return rec, ok && known && !rec.Disabled, err
}

// Current is the identity of an account as it is now, for sessions that began earlier: a disabled person's ends.
func (d *Directory) Current(login string) (Identity, error) {
	var rec personRecord
	err := d.db.View(func(tx *store.Tx) (err error) {
		rec, err = personTable.Get(tx, login)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Identity{}, fmt.Errorf("%q: %w", login, ErrNotFound)
	case err != nil:
		return Identity{}, err
	case rec.Disabled:
		return Identity{}, fmt.Errorf("%q is disabled: %w", login, ErrNotFound)
	}
	return d.named(rec.identity(login)), nil
}
