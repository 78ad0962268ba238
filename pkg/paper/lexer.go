package paper

import (
	"bytes"
	"strconv"
	"strings"
)

// What PDF objects become (ISO 32000-1, 7.3): numbers are float64, strings are string, arrays []any, null and anything
// unreadable nil.
type (
	name    string       // /Type, without the stroke
	keyword string       // obj, stream, Tj, true
	ref     int          // 12 0 R: the object's number; its generation says nothing to a reader of text
	dict    map[name]any //
	stream  struct {     // a dictionary with bytes
		dict
		raw []byte
	}
)

// maxNesting bounds arrays and dictionaries within each other: reading them costs stack.
const maxNesting = 32

// lexer reads objects off a byte string. Whatever the bytes are, every call moves on or says that the end is reached.
type lexer struct {
	src  []byte
	pos  int
	left *int // how many objects may still be read, of this and all other lexers of the file
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool { return strings.IndexByte("()<>[]{}/%", c) >= 0 }

func (l *lexer) skipSpace() {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case isSpace(c):
			l.pos++
		case c == '%':
			for l.pos < len(l.src) && l.src[l.pos] != '\n' && l.src[l.pos] != '\r' {
				l.pos++
			}
		default:
			return
		}
	}
}

// closer ends an array or a dictionary.
type closer string

// next reads one object, keyword or closer; ok is false at the end.
func (l *lexer) next(depth int) (v any, ok bool) {
	l.skipSpace()
	if l.pos >= len(l.src) || *l.left <= 0 {
		return nil, false
	}
	*l.left--
	switch c := l.src[l.pos]; {
	case c == '/':
		l.pos++
		return l.name(), true
	case c == '(':
		l.pos++
		return l.literal(), true
	case c == '<' && l.at(1) == '<':
		l.pos += 2
		return l.dict(depth), true
	case c == '<':
		l.pos++
		return l.hex(), true
	case c == '>' && l.at(1) == '>':
		l.pos += 2
		return closer(">>"), true
	case c == '[':
		l.pos++
		return l.array(depth), true
	case isDelimiter(c):
		l.pos++
		return closer(c), true
	}
	return l.word(), true
}

func (l *lexer) at(ahead int) byte {
	if l.pos+ahead >= len(l.src) {
		return 0
	}
	return l.src[l.pos+ahead]
}

func (l *lexer) regular() []byte {
	from := l.pos
	for l.pos < len(l.src) && !isSpace(l.src[l.pos]) && !isDelimiter(l.src[l.pos]) {
		l.pos++
	}
	return l.src[from:l.pos]
}

func (l *lexer) name() name {
	raw := l.regular()
	if bytes.IndexByte(raw, '#') < 0 {
		return name(raw)
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '#' && i+2 < len(raw) {
			if b, err := strconv.ParseUint(string(raw[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return name(out)
}

// word is a number, or a keyword.
func (l *lexer) word() any {
	raw := string(l.regular())
	if f, err := strconv.ParseFloat(raw, 64); err == nil && raw[0] <= '9' { // not Inf, not NaN
		return f
	}
	return keyword(raw)
}

// literal reads a string in brackets; brackets within it pair up.
func (l *lexer) literal() string {
	var out []byte
	for level := 1; l.pos < len(l.src); l.pos++ {
		c := l.src[l.pos]
		switch c {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				l.pos++
				return string(out)
			}
		case '\\':
			l.pos++
			out = l.escape(out)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f'}

// escape reads what follows a backslash and leaves pos on its last byte.
func (l *lexer) escape(out []byte) []byte {
	c := l.at(0)
	switch {
	case c >= '0' && c <= '7':
		v := 0
		for n := 0; n < 3 && l.at(0) >= '0' && l.at(0) <= '7'; n++ {
			v = v<<3 | int(l.at(0)-'0')
			l.pos++
		}
		l.pos--
		return append(out, byte(v))
	case c == '\r' && l.at(1) == '\n': // a line that goes on
		l.pos++
		return out
	case c == '\n' || c == '\r':
		return out
	}
	if e, ok := escapes[c]; ok {
		c = e
	}
	return append(out, c)
}

func (l *lexer) hex() string {
	var out []byte
	high, half := byte(0), false
	for ; l.pos < len(l.src); l.pos++ {
		c := l.src[l.pos]
		if c == '>' {
			l.pos++
			break
		}
		digit, err := strconv.ParseUint(string(c), 16, 8)
		if err != nil {
			continue
		}
		if half = !half; half {
			high = byte(digit) << 4
		} else {
			out = append(out, high|byte(digit))
		}
	}
	if half {
		out = append(out, high)
	}
	return string(out)
}

func (l *lexer) array(depth int) []any {
	out := []any{}
	if depth >= maxNesting {
		return out
	}
	for {
		v, ok := l.next(depth + 1)
		if _, end := v.(closer); !ok || end {
			return out
		}
		if v == keyword("R") {
			out = foldRef(out)
			continue
		}
		out = append(out, v)
	}
}

// foldRef puts a reference in place of the two numbers before its R.
func foldRef(out []any) []any {
	if n := len(out); n >= 2 {
		if number, ok := out[n-2].(float64); ok && number >= 0 && number < 1<<31 {
			return append(out[:n-2], ref(number))
		}
	}
	return out
}

func (l *lexer) dict(depth int) dict {
	if depth >= maxNesting {
		return dict{}
	}
	flat := l.array(depth) // ends at >> as well
	out := make(dict, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		key, ok := flat[i].(name)
		if !ok {
			break
		}
		out[key] = flat[i+1]
	}
	return out
}
