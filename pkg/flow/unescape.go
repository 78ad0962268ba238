package flow

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escapes are the characters with which escaped ones begin, and ellipsis where check.Clip has cut.
const (
	escapes  = `%+\&`
	ellipsis = "…"
)

// How far texts are looked at: escaped that often, and a part of a secret that long is taken for one.
const (
	maxEscaped = 6
	minPart    = 4
	maxPart    = 512
	maxCuts    = 16 // the last ones: ours stand at the end
)

// plainText is a text without its escapes, and where each of its bytes stood before.
type plainText struct {
	text     []byte
	from, to []int
}

// unescape undoes what URLs, JSON and HTML do to characters, in any mixture and over each other.
func unescape(s string) plainText {
	t := plainText{[]byte(s), make([]int, len(s)), make([]int, len(s))}
	for i := range t.text {
		t.from[i], t.to[i] = i, i+1
	}
	for range maxEscaped {
		next := t.once()
		if len(next.text) == len(t.text) && string(next.text) == string(t.text) {
			break
		}
		t = next
	}
	return t
}

func (t plainText) once() plainText {
	out := plainText{make([]byte, 0, len(t.text)), make([]int, 0, len(t.text)), make([]int, 0, len(t.text))}
	for i := 0; i < len(t.text); {
		n, plain := escaped(t.text[i:])
		if n == 0 {
			n, plain = 1, t.text[i:i+1]
		}
		for _, b := range plain {
			out.text, out.from, out.to = append(out.text, b), append(out.from, t.from[i]), append(out.to, t.to[i+n-1])
		}
		i += n
	}
	return out
}

// escaped is the length of what the text begins with when that stands for something else, and what for.
func escaped(b []byte) (int, []byte) {
	switch b[0] {
	case '+':
		return 1, []byte{' '}
	case '%':
		if c, ok := hexByte(b, 1); ok {
			return 3, []byte{c}
		}
	case '\\':
		return backslashed(b)
	case '&':
		if end := strings.IndexByte(string(b[:min(len(b), 12)]), ';'); end > 0 {
			if plain := html.UnescapeString(string(b[:end+1])); plain != string(b[:end+1]) {
				return end + 1, []byte(plain)
			}
		}
	}
	return 0, nil
}

func hexByte(b []byte, at int) (byte, bool) {
	if len(b) < at+2 {
		return 0, false
	}
	c, err := hex.DecodeString(string(b[at : at+2]))
	if err != nil {
		return 0, false
	}
	return c[0], true
}

// backslashed reads the escapes of JSON, and those that Go's quotes have besides.
func backslashed(b []byte) (int, []byte) {
	if len(b) < 2 {
		return 0, nil
	}
	switch b[1] {
	case '"', '\\', '/', '\'':
		return 2, b[1:2]
	case 'n':
		return 2, []byte{'\n'}
	case 'r':
		return 2, []byte{'\r'}
	case 't':
		return 2, []byte{'\t'}
	case 'x':
		if c, ok := hexByte(b, 2); ok {
			return 4, []byte{c}
		}
	case 'u':
		r, ok := hexRune(b)
		if low, second := hexRune(b[min(len(b), 6):]); ok && second && utf16.IsSurrogate(r) {
			return 12, utf8.AppendRune(nil, utf16.DecodeRune(r, low))
		}
		if ok {
			return 6, utf8.AppendRune(nil, r)
		}
	}
	return 0, nil
}

func hexRune(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// encodings are the parts of a value's encodings that do not depend on what stands around it: in base64 there are three of them.
func encodings(v string) []string {
	low := hex.EncodeToString([]byte(v))
	out := []string{low, strings.ToUpper(low)}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before, skip := range []int{0, 2, 3} {
			s := alphabet.EncodeToString(append(make([]byte, before), v...))
			if (before+len(v))%3 != 0 {
				s = s[:len(s)-1] // shares its bits with what follows
			}
			out = append(out, s[skip:])
		}
	}
	return out
}

// hideEscaped finds values in the unescaped text, and hides what they were made of.
func (m *Mask) hideEscaped(s string) string {
	t := unescape(s)
	blanked := m.blank.Replace(string(t.text))
	var b strings.Builder
	done := 0
	hidden := func(i int) bool { return blanked[i] == 0 && t.text[i] != 0 }
	for i := 0; i < len(blanked); i++ {
		if !hidden(i) {
			continue
		}
		from := i
		for i+1 < len(blanked) && hidden(i+1) {
			i++
		}
		b.WriteString(s[done:max(done, t.from[from])] + masked)
		done = t.to[i]
	}
	return b.String() + s[done:]
}

// hideCut hides the beginnings of values before the places where the text was cut off, a half escape included.
func (m *Mask) hideCut(s string) string {
	parts := strings.SplitAfter(s, ellipsis)
	for i, part := range parts {
		head, cut := strings.CutSuffix(part, ellipsis)
		if !cut || len(parts)-i > maxCuts {
			continue
		}
		keep := len(head)
		half := strings.LastIndexAny(head, escapes)
		for _, end := range []int{len(head), half} {
			if end >= max(0, len(head)-len(`\u123`)) {
				keep = min(keep, m.partAtEnd(head[:end]))
			}
		}
		if keep < len(head) {
			parts[i] = head[:keep] + masked + ellipsis
		}
	}
	return strings.Join(parts, "")
}

// partAtEnd is where the beginning of a value begins with which the text ends; its length for none.
func (m *Mask) partAtEnd(s string) int {
	off := max(0, len(s)-6*maxPart)
	t := unescape(s[off:])
	at, text := len(s), string(t.text)
	for _, v := range m.bare {
		for n := min(len(v)-1, len(text), maxPart); n >= minPart; n-- {
			if strings.HasSuffix(text, v[:n]) {
				at = min(at, off+t.from[len(text)-n])
				break
			}
		}
	}
	return at
}
