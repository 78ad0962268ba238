package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const password = "long enough 1"

func add(t testing.TB, d *Directory, login, name string, r Role) {
	t.Helper()
	if _, err := d.Add(time.Now(), Identity{Person: "admin", Role: Admin}, NewPerson{login, name, r, password}); err != nil {
		t.Fatal(err)
	}
}

func TestBootstrap(t *testing.T) {
	db := open(t, t.TempDir())
	d, err := New(db, Options{Hash: cheap})
	if err != nil {
		t.Fatal(err)
	}
	first, created, err := d.Bootstrap(time.Now())
	if err != nil || !created || len(first) < 20 {
		t.Fatalf("%q %v %v", first, created, err)
	}
	if again, created, err := d.Bootstrap(time.Now()); again != "" || created || err != nil {
		t.Errorf("second start: %q %v %v", again, created, err)
	}
	id, err := d.Login(t.Context(), "Admin ", first, "10.0.0.1:1")
	if err != nil || id != (Identity{Person: "admin", Login: "admin", Role: Admin, Via: "password"}) {
		t.Errorf("first sign-in: %+v %v", id, err)
	}
	if d, err = New(db, Options{Hash: cheap}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Login(t.Context(), "admin", first, ""); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestPeople(t *testing.T) {
	d := newDirectory(t)
	root := Identity{Person: "admin", Role: Admin}
	add(t, d, "admin", "管理员", Admin)
	add(t, d, "zhang", "驻点", Engineer)
	for name, n := range map[string]NewPerson{
		"login taken": {"zhang", "驻点丰", Viewer, password}, "name taken": {"zhang2", "驻点", Viewer, password},
	} {
		if _, err := d.Add(time.Now(), root, n); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for field, n := range map[string]NewPerson{
		"login": {"Zhang San", "x", Viewer, password}, "name": {"li", "", Viewer, password}, "role": {"li", "二线", "root", password}, "password": {"li", "二线", Viewer, "short"},
	} {
		var bad *BadInput
		if _, err := d.Add(time.Now(), root, n); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := d.SetRole(root, "admin", Lead); !errors.Is(err, ErrBadInput) {
		t.Errorf("last admin demoted: %v", err)
	}
	if err := d.Disable(root, "admin", true); !errors.Is(err, ErrBadInput) {
		t.Errorf("last admin disabled: %v", err)
	}
	if err := d.SetRole(root, "nobody", Lead); !errors.Is(err, ErrNotFound) {
		t.Errorf("stranger promoted: %v", err)
	}
	if err := d.SetRole(root, "zhang", Lead); err != nil {
		t.Error(err)
	}
	if id, err := d.Current("zhang"); err != nil || id.Role != Lead || id.Person != "驻点" {
		t.Errorf("current: %+v %v", id, err)
	}
	if err := d.Disable(root, "zhang", true); err != nil {
		t.Error(err)
	}
	if _, err := d.Current("zhang"); !errors.Is(err, ErrNotFound) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := d.Login(t.Context(), "zhang", password, ""); !errors.Is(err, ErrBadLogin) {
		t.Errorf("disabled: %v", err)
	}
	people, err := d.People()
	if err != nil || len(people) != 2 || people[1].Login != "zhang" || !people[1].Disabled {
		t.Errorf("people: %+v %v", people, err)
	}
}

func TestLockout(t *testing.T) {
	d := newDirectory(t)
	add(t, d, "zhang", "驻点", Engineer)
	add(t, d, "li", "二线", Engineer)
	synctest.Test(t, func(t *testing.T) {
		login := func(name, pw, addr string) error {
			_, err := d.Login(t.Context(), name, pw, addr)
			return err
		}
		for i := range guessesLogin {
			if err := login("zhang", "wrong", fmt.Sprintf("10.0.0.%d:1", i)); !errors.Is(err, ErrBadLogin) {
				t.Fatalf("guess %d: %v", i, err)
			}
			time.Sleep(time.Minute)
		}
		var locked *Locked
		if err := login("zhang", password, "10.0.0.9:1"); !errors.As(err, &locked) {
			t.Fatalf("sixth: %v", err)
		}
		if wait := time.Until(locked.Until); wait != 10*time.Minute {
			t.Errorf("locked for %v more", wait)
		}
		if err := login("li", password, "10.0.0.9:1"); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if err := login("zhang", password, "10.0.0.9:1"); err != nil {
			t.Errorf("after the window: %v", err)
		}
		for range 3 * guessesLogin { // success forgives, so mistakes far apart never add up
			login("zhang", "wrong", "10.0.0.10:1")
			if err := login("zhang", password, "10.0.0.9:1"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAddressLimit(t *testing.T) {
	d := newDirectory(t)
	add(t, d, "zhang", "驻点", Engineer)
	for i := range guessesAddr {
		addr := fmt.Sprintf("[2001:db8::%x]:99", i+1) // one /64 is one stranger
		if _, err := d.Login(t.Context(), fmt.Sprintf("u%d", i), "wrong", addr); !errors.Is(err, ErrBadLogin) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := d.Login(t.Context(), "zhang", password, "[2001:db8::ffff]:1"); !errors.Is(err, ErrLocked) {
		t.Errorf("address over its limit: %v", err)
	}
	if _, err := d.Login(t.Context(), "zhang", password, "[2001:db8:0:1::1]:1"); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// Guesses that come at once get no more tries than guesses in turn.
func TestGuessesAtOnce(t *testing.T) {
	d := newDirectory(t)
	add(t, d, "zhang", "驻点", Engineer)
	var tried atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			_, err := d.Login(t.Context(), "zhang", "wrong", fmt.Sprintf("10.0.1.%d:1", i))
			switch {
			case errors.Is(err, ErrBadLogin):
				tried.Add(1)
			case errors.Is(err, ErrLocked), errors.Is(err, ErrBusy):
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := tried.Load(); n > guessesLogin {
		t.Errorf("%d guesses were tried", n)
	}
}

func TestPasswordChange(t *testing.T) {
	d := newDirectory(t)
	add(t, d, "admin", "管理员", Admin)
	for range guessesLogin {
		d.Login(t.Context(), "admin", "wrong", "")
	}
	if err := d.SetPassword(Identity{Person: "驻点"}, "admin", "short"); !errors.Is(err, ErrBadInput) {
		t.Errorf("short: %v", err)
	}
	if err := d.SetPassword(Identity{Person: "驻点"}, "admin", "quite a new one"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Login(t.Context(), "admin", password, ""); !errors.Is(err, ErrBadLogin) {
		t.Errorf("old password: %v", err)
	}
	if _, err := d.Login(t.Context(), "admin", "quite a new one", ""); err != nil {
		t.Errorf("new password, lock lifted: %v", err)
	}
}

// Names cannot be told by the time that an answer takes: a stranger's password is hashed in the same queue at the same cost.
func TestStrangersAreHashedToo(t *testing.T) {
	d := newDirectory(t)
	add(t, d, "zhang", "驻点", Engineer)
	if c, _, _, err := parsePHC(d.decoy); err != nil || c != cheap {
		t.Errorf("decoy costs %+v, %v", c, err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, login := range []string{"zhang", "nobody", ""} {
			d.hashing = make(chan struct{}, 1) // of this bubble
			d.hashing <- struct{}{}
			done := make(chan error, 1)
			go func() { _, err := d.Login(t.Context(), login, "wrong", ""); done <- err }()
			synctest.Wait()
			select {
			case err := <-done:
				t.Errorf("%q was answered without a hash: %v", login, err)
			default:
				<-d.hashing
				if err := <-done; !errors.Is(err, ErrBadLogin) {
					t.Errorf("%q: %v", login, err)
				}
			}
		}
	})
}

func TestLoginGivesUp(t *testing.T) {
	d := newDirectory(t)
	d.hashing <- struct{}{} // somebody hashes for ever
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Login(ctx, "zhang", password, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	for range maxWaiting {
		d.waiting <- struct{}{}
	}
	if _, err := d.Login(t.Context(), "zhang", password, ""); !errors.Is(err, ErrBusy) {
		t.Errorf("queue full: %v", err)
	}
	if len(d.guard.wrong) != 0 {
		t.Errorf("attempts that were not decided count: %v", d.guard.wrong)
	}
}

func TestLongInput(t *testing.T) {
	d := newDirectory(t)
	if _, err := d.Login(t.Context(), strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20), strings.Repeat("z", 1<<20)); !errors.Is(err, ErrBadLogin) {
		t.Error(err)
	}
	for key := range d.guard.wrong {
		if len(key) > 100 {
			t.Errorf("a key of %d bytes is kept", len(key))
		}
	}
}

func TestGuardIsBounded(t *testing.T) {
	g, now := newGuard(), time.Now()
	for i := range 3 * maxGuarded {
		g.begin(now, fmt.Sprint(i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(g.wrong); n > maxGuarded+2 {
		t.Errorf("%d names and addresses are kept", n)
	}
}
