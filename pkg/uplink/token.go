package uplink

import (
	"errors"
	"regexp"
	"strings"
)

// Token is a one-time token's parts. Its text is xj1.<id>.<secret>.<SHA-256 of the CA>.
type Token struct{ ID, Secret, CAHash string }

// ErrToken is what ParseToken returns.
var ErrToken = errors.New("this is not a token, or not the whole of it: copy all of xj1.….….… as the collector printed it")

var tokenText = regexp.MustCompile(`^xj1\.([a-z2-7]{16})\.([a-z2-7]{32})\.([0-9a-f]{64})$`)

// ParseToken reads a token's text; spaces around it are forgiven.
func ParseToken(text string) (Token, error) {
	m := tokenText.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return Token{}, ErrToken
	}
	return Token{ID: m[1], Secret: m[2], CAHash: m[3]}, nil
}

// String is the token's text. It holds the secret.
func (t Token) String() string { return "xj1." + t.ID + "." + t.Secret + "." + t.CAHash }
