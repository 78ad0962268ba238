package flow

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSeen is how much of a value a reason may show, and maxShown how much of a body an event.
const (
	maxSeen  = 120
	maxShown = 2048
)

// clip makes a text printable, one line, and at most limit bytes.
func clip(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	end := limit - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
