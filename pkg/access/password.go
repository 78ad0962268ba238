package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// HashCost is what one argon2id hash takes.
type HashCost struct {
	Time    uint32
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultHashCost makes a guess cost about a quarter of a second of two cores and 64 MiB.
var DefaultHashCost = HashCost{Time: 3, Memory: 64 << 10, Threads: 2}

// Bounds on stored costs, so that a damaged record cannot take the machine down.
const (
	maxHashTime   = 16
	maxHashMemory = 256 << 10
	hashBytes     = 32
	saltBytes     = 16
)

// Bounds on passwords.
const (
	minPassword = 10  // runes
	maxPassword = 256 // bytes
)

var errBadHash = errors.New("password hash is damaged")

// hash makes the PHC string of a password: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (c HashCost) hash(password string) (string, error) {
	if c.Time < 1 || c.Time > maxHashTime || c.Memory < 8 || c.Memory > maxHashMemory || c.Threads < 1 {
		return "", fmt.Errorf("hash password: cost %+v out of bounds", c)
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	return c.phc(salt, argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, hashBytes)), nil
}

// decoy looks like the hash of a password that nobody knows, at the same cost.
func (c HashCost) decoy() string {
	b := make([]byte, saltBytes+hashBytes)
	rand.Read(b) // never fails
	return c.phc(b[:saltBytes], b[saltBytes:])
}

func (c HashCost) phc(salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Time, c.Threads, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// matches takes the same time whether the password is right or not.
func matches(phc, password string) (bool, error) {
	c, salt, want, err := parsePHC(phc)
	if err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

func parsePHC(s string) (c HashCost, salt, sum []byte, err error) {
	p := strings.Split(s, "$")
	if len(p) != 6 || p[0] != "" || p[1] != "argon2id" || p[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errBadHash
	}
	if _, err := fmt.Sscanf(p[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Time, &c.Threads); err != nil {
		return c, nil, nil, errBadHash
	}
	if fmt.Sprintf("m=%d,t=%d,p=%d", c.Memory, c.Time, c.Threads) != p[3] ||
		c.Time < 1 || c.Time > maxHashTime || c.Memory < 8 || c.Memory > maxHashMemory || c.Threads < 1 {
		return c, nil, nil, errBadHash
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(p[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(p[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return c, nil, nil, errBadHash
	}
	return c, salt, sum, nil
}

// checkPassword refuses what is too easy to guess or too long to hash.
func checkPassword(login, password string) error {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return &BadInput{Field: "password", Key: "access.bad.short", Pairs: []string{"least", strconv.Itoa(minPassword)}}
	case len(password) > maxPassword:
		return &BadInput{Field: "password", Key: "access.bad.long", Pairs: []string{"most", strconv.Itoa(maxPassword)}}
	case strings.Contains(strings.ToLower(password), login) && len(login) > 3:
		return &BadInput{Field: "password", Key: "access.bad.holds_name"}
	}
	return nil
}
