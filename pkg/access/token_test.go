package access

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/store"
)

func mustToken(t testing.TB, d *Directory, q TokenRequest) (string, Token) {
	t.Helper()
	text, tok, err := d.CreateToken(time.Now(), q)
	if err != nil {
		t.Fatal(err)
	}
	return text, tok
}

func TestTokens(t *testing.T) {
	d := newDirectory(t)
	text, tok := mustToken(t, d, TokenRequest{Name: "grafana", Person: "驻点", Role: Viewer, By: "admin"})
	id, err := d.Verify(text)
	if err != nil || id != (Identity{Person: "驻点", Role: Viewer, Via: "token", Token: tok.ID}) {
		t.Fatalf("%+v %v", id, err)
	}
	if _, _, err := d.CreateToken(time.Now(), TokenRequest{Name: "grafana", Role: Viewer, By: "admin"}); !errors.Is(err, ErrTaken) {
		t.Errorf("name twice: %v", err)
	}
	next, _ := mustToken(t, d, TokenRequest{Name: "grafana", Role: Engineer, By: "二线", Replace: true})
	if _, err := d.Verify(text); !errors.Is(err, ErrBadToken) {
		t.Errorf("replaced: %v", err)
	}
	if id, err := d.Verify(next); err != nil || id.Role != Engineer || id.Person != "" {
		t.Errorf("replacement: %+v %v", id, err)
	}
	got, err := d.Revoke(time.Now(), strings.Split(next, ".")[1], "用户")
	if err != nil || got.RevokedBy != "用户" {
		t.Errorf("revoke: %+v %v", got, err)
	}
	if got, err = d.Revoke(time.Now(), got.ID, "主管"); err != nil || got.RevokedBy != "用户" {
		t.Errorf("revoke twice: %+v %v", got, err)
	}
	if _, err := d.Verify(next); !errors.Is(err, ErrBadToken) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := d.Revoke(time.Now(), "none", "用户"); !errors.Is(err, ErrNotFound) {
		t.Errorf("stranger: %v", err)
	}
	all, err := d.Tokens()
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
	d.db.View(func(tx *store.Tx) error {
		recs, _ := tokenTable.All(tx)
		for _, e := range recs {
			for _, secret := range []string{text, next} {
				if strings.Contains(fmt.Sprintf("%s %+v", e.Value.Hash, e.Value), strings.Split(secret, ".")[2]) {
					t.Error("a secret is stored")
				}
			}
		}
		return nil
	})
}

func TestBadTokens(t *testing.T) {
	d := newDirectory(t)
	text, _ := mustToken(t, d, TokenRequest{Name: "x", Role: Admin, By: "admin"})
	other, _ := mustToken(t, d, TokenRequest{Name: "y", Role: Viewer, By: "admin"})
	a, b := strings.Split(text, "."), strings.Split(other, ".")
	for name, s := range map[string]string{
		"nothing": "", "cut": text[:len(text)-1], "more": text + "a", "upper case": strings.ToUpper(text), "space": " " + text[1:],
		"another's secret": "xja." + a[1] + "." + b[2], "unknown id": "xja." + strings.Repeat("a", 16) + "." + a[2],
		"not base32": "xja." + a[1] + "." + strings.Repeat("1", 32), "huge": strings.Repeat("a", 1<<20),
	} {
		if id, err := d.Verify(s); !errors.Is(err, ErrBadToken) || id != (Identity{}) {
			t.Errorf("%s: %+v %v", name, id, err)
		}
	}
	for field, q := range map[string]TokenRequest{
		"name": {Role: Viewer, By: "admin"}, "person": {Name: "z", Person: "a\nb", Role: Viewer, By: "admin"}, "by": {Name: "z", Role: Viewer},
		"role": {Name: "z", By: "admin"}, "ttl": {Name: "z", Role: Viewer, By: "admin", TTL: -1},
	} {
		var bad *BadInput
		if _, _, err := d.CreateToken(time.Now(), q); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	d := newDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		text, tok := mustToken(t, d, TokenRequest{Name: "x", Role: Viewer, By: "admin", TTL: time.Hour})
		used := func() time.Time {
			all, err := d.Tokens()
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range all {
				if x.ID == tok.ID {
					return x.LastUsed
				}
			}
			return time.Time{}
		}
		first := time.Now()
		for range 59 {
			time.Sleep(time.Second)
			if _, err := d.Verify(text); err != nil {
				t.Fatal(err)
			}
		}
		if got := used(); !got.Equal(first.Add(time.Second)) {
			t.Errorf("last used %v within the first minute, first %v", got, first)
		}
		time.Sleep(time.Minute)
		d.Verify(text)
		if got := used(); !got.Equal(time.Now()) {
			t.Errorf("last used %v, now %v", got, time.Now())
		}
		time.Sleep(time.Hour)
		if _, err := d.Verify(text); !errors.Is(err, ErrBadToken) {
			t.Errorf("expired: %v", err)
		}
		mustToken(t, d, TokenRequest{Name: "x", Role: Viewer, By: "admin"}) // an expired one does not hold its name
	})
}

func TestTokensAreBounded(t *testing.T) {
	d := newDirectory(t)
	err := d.db.Update(func(tx *store.Tx) error {
		for i := range maxTokens {
			rec := tokenRecord{Name: fmt.Sprint(i), Role: Viewer, CreatedAt: time.Unix(int64(i), 0)}
			if err := tokenTable.Put(tx, fmt.Sprintf("%016d", i), rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.CreateToken(time.Now(), TokenRequest{Name: "x", Role: Viewer, By: "admin"}); !errors.Is(err, ErrBadInput) {
		t.Errorf("full: %v", err)
	}
	if _, err := d.Revoke(time.Now(), fmt.Sprintf("%016d", 500), "admin"); err != nil {
		t.Fatal(err)
	}
	mustToken(t, d, TokenRequest{Name: "x", Role: Viewer, By: "admin"})
	if all, err := d.Tokens(); err != nil || len(all) != maxTokens {
		t.Errorf("%d tokens, %v", len(all), err)
	}
}

func FuzzSplitToken(f *testing.F) {
	f.Add("xja." + strings.Repeat("a", 16) + "." + strings.Repeat("b", 32))
	f.Add("xja...")
	f.Fuzz(func(t *testing.T, s string) {
		if id, secret, ok := splitToken(s); ok && "xja."+id+"."+secret != s {
			t.Errorf("%q was read as %q %q", s, id, secret)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	d := newDirectory(b)
	text, _ := mustToken(b, d, TokenRequest{Name: "x", Role: Viewer, By: "admin"})
	for b.Loop() {
		if _, err := d.Verify(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		if _, err := DefaultHashCost.hash("long enough 1"); err != nil {
			b.Fatal(err)
		}
	}
}
