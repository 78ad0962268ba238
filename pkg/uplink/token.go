package uplink

// Token is a one-time token's parts. Its text is xj1.<id>.<secret>.<SHA-256 of the CA>.
type Token struct{ ID, Secret, CAHash string }

// ParseToken reads a token's text; spaces around it are forgiven.
func ParseToken(text string) (Token, error) { return Token{}, nil }

// String is the token's text. It holds the secret.
func (t Token) String() string { return "xj1." + t.ID + "." + t.Secret + "." + t.CAHash }
