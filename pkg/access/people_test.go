package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/roster"
)

func personToken(t *testing.T, text string) config.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Secret{File: file}
}

// A person's token acts in the person's name and role until the person is gone from the configuration.
func TestPeopleTokens(t *testing.T) {
	d := newDirectory(t)
	one, two := strings.Repeat("a1", 12), strings.Repeat("b2", 12)
	people := []roster.Person{
		{Name: "张工", Login: "zhang", Role: "engineer", Token: personToken(t, one)},
		{Name: "李经理", Role: "lead", Token: personToken(t, two)},
		{Name: "甲方", Role: "viewer"},
	}
	h, err := ReadTokens(people)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Verify(one); !errors.Is(err, ErrBadToken) {
		t.Errorf("good before it was admitted: %v", err)
	}
	d.Admit(h)
	if id, err := d.Verify(one); err != nil || id.Person != "张工" || id.Role != Engineer || id.Via != "token" {
		t.Errorf("%+v %v", id, err)
	}
	if id, err := d.Verify(two); err != nil || id.Person != "李经理" || Allow(id, Direct) != nil {
		t.Errorf("%+v %v", id, err)
	}
	for _, bad := range []string{"", one + "x", one[:23], "xja." + one} {
		if _, err := d.Verify(bad); !errors.Is(err, ErrBadToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if h, err = ReadTokens(people[1:]); err != nil {
		t.Fatal(err)
	}
	d.Admit(h)
	if _, err := d.Verify(one); !errors.Is(err, ErrBadToken) {
		t.Errorf("the token of a person who left: %v", err)
	}
}

func TestBadPeopleTokens(t *testing.T) {
	same := personToken(t, strings.Repeat("c", 30))
	for name, c := range map[string]struct {
		people []roster.Person
		want   string
	}{
		"short":   {[]roster.Person{{Name: "甲", Role: "viewer", Token: personToken(t, "short")}}, "token of 甲: 5 characters"},
		"missing": {[]roster.Person{{Name: "甲", Role: "viewer", Token: config.Secret{File: "/nonexistent/x"}}}, "token of 甲: read secret"},
		"shared":  {[]roster.Person{{Name: "甲", Role: "viewer", Token: same}, {Name: "乙", Role: "viewer", Token: same}}, "token of 乙 is also 甲's"},
		"role":    {[]roster.Person{{Name: "甲"}}, "person 甲: role"},
	} {
		if _, err := ReadTokens(c.people); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An account whose login stands in the configuration acts under the name there.
func TestAccountOfPerson(t *testing.T) {
	d := newDirectory(t)
	if _, _, err := d.Bootstrap(time.Now()); err != nil {
		t.Fatal(err)
	}
	h, err := ReadTokens([]roster.Person{{Name: "管理员 王", Login: "admin", Role: "admin"}})
	if err != nil {
		t.Fatal(err)
	}
	d.Admit(h)
	if id, err := d.Current("admin"); err != nil || id.Person != "管理员 王" || id.Login != "admin" {
		t.Errorf("%+v %v", id, err)
	}
}
