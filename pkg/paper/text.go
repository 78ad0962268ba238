package paper

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// maxForms bounds drawings within drawings.
const maxForms = 8

// maxOperands is more than any operator takes; what lies deeper on the stack is forgotten.
const maxOperands = 64

// writer follows a page's drawing and writes down the text of it (ISO 32000-1, 9.4).
type writer struct {
	*file
	fonts map[any]*font // by reference
	text  strings.Builder
	font  *font
	y     float64 // height of what is written next …
	wrote float64 // … and of what was written last: pieces of one height are one line
}

func (w *writer) page(page, resources dict) {
	w.font = nil
	w.draw(w.contents(page), resources, 0)
	w.newline()
}

func (w *writer) draw(src []byte, resources dict, depth int) {
	l := w.lexer(src, 0)
	var operands []any
	for w.text.Len() < maxText {
		v, ok := l.next(0)
		if !ok {
			return
		}
		op, isOp := v.(keyword)
		if !isOp {
			if len(operands) == maxOperands {
				operands = operands[:0]
			}
			operands = append(operands, v)
			continue
		}
		switch op {
		case "ID": // an inlaid picture
			end := bytes.Index(src[l.pos:], []byte("EI"))
			if end < 0 {
				return
			}
			l.pos += end
		case "Do":
			w.form(resources, last(operands), depth)
		default:
			w.show(op, operands, resources)
		}
		operands = operands[:0]
	}
}

func last(operands []any) any {
	if len(operands) == 0 {
		return nil
	}
	return operands[len(operands)-1]
}

func (w *writer) show(op keyword, operands []any, resources dict) {
	switch op {
	case "Tf":
		if len(operands) >= 2 {
			n, _ := operands[len(operands)-2].(name)
			w.font = w.fontOf(w.dict(resources["Font"])[n])
		}
	case "BT":
		w.y = 0
	case "Td", "TD":
		y, _ := last(operands).(float64)
		w.y += y
	case "Tm":
		w.y, _ = last(operands).(float64)
	case "T*":
		w.newline()
	case "'", `"`:
		w.newline()
		w.write(last(operands))
	case "Tj":
		w.write(last(operands))
	case "TJ":
		pieces, _ := last(operands).([]any)
		for _, piece := range pieces {
			w.write(piece)
		}
	}
}

// form draws what another stream holds; its own resources stand before the page's.
func (w *writer) form(resources dict, operand any, depth int) {
	n, _ := operand.(name)
	s, ok := w.get(w.dict(resources["XObject"])[n]).(stream)
	if !ok || depth >= maxForms || s.dict["Subtype"] != name("Form") {
		return
	}
	if own := w.dict(s.dict["Resources"]); own != nil {
		resources = own
	}
	w.draw(w.bytes(s), resources, depth+1)
}

func (w *writer) newline() {
	if s := w.text.String(); s != "" && s[len(s)-1] != '\n' {
		w.text.WriteByte('\n')
	}
}

func (w *writer) write(v any) {
	s, _ := v.(string)
	if w.y != w.wrote && s != "" {
		w.newline()
		w.wrote = w.y
	}
	if w.font == nil {
		w.font = &font{width: 1}
	}
	for len(s) > 0 && w.text.Len() < maxText {
		n := min(w.font.width, len(s))
		w.text.WriteString(w.font.character(s[:n]))
		s = s[n:]
	}
}

// font says which characters its codes stand for.
type font struct {
	width int               // bytes of a code
	chars map[string]string // by code; nil when the font does not say
}

// character is that of a code. Simple fonts that do not say are taken for Latin ones.
func (f *font) character(code string) string {
	if c, ok := f.chars[code]; ok {
		return c
	}
	if f.width == 1 && f.chars == nil {
		return string(rune(code[0]))
	}
	return string(utf8.RuneError)
}

func (w *writer) fontOf(v any) *font {
	r, isRef := v.(ref)
	if f := w.fonts[r]; isRef && f != nil {
		return f
	}
	d := w.dict(v)
	f := &font{width: 1}
	if d["Subtype"] == name("Type0") {
		f.width = 2
	}
	if s, ok := w.get(d["ToUnicode"]).(stream); ok {
		f.learn(w.lexer(w.bytes(s), 0))
	}
	if isRef {
		w.fonts[r] = f
	}
	return f
}
