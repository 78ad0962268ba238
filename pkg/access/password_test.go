package access

import (
	"strings"
	"testing"
)

func TestHash(t *testing.T) {
	phc, err := cheap.hash("correct horse")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatalf("%q %v", phc, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, "Correct horse": false} {
		if ok, err := matches(phc, password); ok != want || err != nil {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	again, err := cheap.hash("correct horse")
	if err != nil || again == phc {
		t.Error("two hashes of one password are equal")
	}
	if _, err := (HashCost{Time: 1, Memory: maxHashMemory + 1, Threads: 1}).hash("x"); err == nil {
		t.Error("a cost out of bounds was accepted")
	}
}

// A vector of the reference implementation (argon2 somesalt -id -t 2 -m 16 -p 1 -l 32).
func TestHashVector(t *testing.T) {
	const phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := matches(phc, "password"); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestDamagedHash(t *testing.T) {
	good, err := cheap.hash("x")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "plain", good[1:], good + "$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=64", "m=4294967295", 1), strings.Replace(good, "t=1", "t=4000000", 1), strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, "m=64", "m=064", 1), good[:len(good)-40], "$argon2id$v=19$m=64,t=1,p=1$$",
	} {
		if ok, err := matches(s, "x"); ok || err == nil {
			t.Errorf("%q: %v %v", s, ok, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for password, good := range map[string]bool{
		"short": false, "123456789": false, "一二三四五六七八九十": true, "long enough": true,
		strings.Repeat("x", maxPassword): true, strings.Repeat("x", maxPassword+1): false, "ZhangSan2026!": false,
	} {
		if err := checkPassword("zhangsan", password); (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, s string) {
		c, salt, sum, err := parsePHC(s)
		if err == nil && (c.Memory > maxHashMemory || c.Time > maxHashTime || c.Threads == 0 || len(salt) > 64 || len(sum) > 64) {
			t.Errorf("%q is out of bounds: %+v", s, c)
		}
	})
}
