package paper

import "unicode/utf16"

// maxChars bounds the table of a font's characters.
const maxChars = 70_000

// learn reads a ToUnicode table (ISO 32000-1, 9.10.3): which character each code stands for.
func (f *font) learn(l *lexer) {
	f.chars = map[string]string{}
	for {
		v, ok := l.next(0)
		if !ok {
			return
		}
		switch v {
		case keyword("begincodespacerange"):
			if low, ok := l.next(0); ok {
				if s, _ := low.(string); len(s) == 1 || len(s) == 2 {
					f.width = len(s)
				}
			}
		case keyword("beginbfchar"):
			f.learnChars(l)
		case keyword("beginbfrange"):
			f.learnRanges(l)
		}
	}
}

func (f *font) learnChars(l *lexer) {
	for {
		code, _ := l.next(0)
		c, isCode := code.(string)
		if !isCode { // endbfchar
			return
		}
		char, ok := l.next(0)
		if s, isText := char.(string); ok && isText && len(f.chars) < maxChars {
			f.chars[c] = utf16BE(s)
		}
	}
}

func (f *font) learnRanges(l *lexer) {
	for {
		v, _ := l.next(0)
		low, isCode := v.(string)
		if !isCode { // endbfrange
			return
		}
		v, _ = l.next(0)
		high, isCode := v.(string)
		v, ok := l.next(0)
		if !ok || !isCode || len(low) != len(high) || len(low) == 0 || len(low) > 2 {
			return
		}
		*l.left -= f.learnRange(number(low), min(number(high), number(low)+*l.left), len(low), v)
	}
}

// learnRange takes the characters of codes low to high from a list, or by counting up from the first; it returns their number.
func (f *font) learnRange(low, high, width int, v any) (i int) {
	list, _ := v.([]any)
	first, counts := v.(string)
	for ; low+i <= high && len(f.chars) < maxChars; i++ {
		code := string([]byte{byte((low + i) >> 8), byte(low + i)}[2-width:])
		switch {
		case counts && len(first) >= 2:
			base := number(first[len(first)-2:]) + i
			f.chars[code] = utf16BE(first[:len(first)-2] + string([]byte{byte(base >> 8), byte(base)}))
		case i < len(list):
			s, _ := list[i].(string)
			f.chars[code] = utf16BE(s)
		default:
			return i
		}
	}
	return i
}

// number reads up to two bytes, big end first.
func number(s string) (n int) {
	for i := range len(s) {
		n = n<<8 | int(s[i])
	}
	return n
}

func utf16BE(s string) string {
	units := make([]uint16, 0, len(s)/2)
	for i := 0; i+1 < len(s); i += 2 {
		units = append(units, uint16(s[i])<<8|uint16(s[i+1]))
	}
	return string(utf16.Decode(units))
}
