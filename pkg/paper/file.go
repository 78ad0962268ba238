package paper

import (
	"bytes"
	"compress/zlib"
	"encoding/ascii85"
	"io"
)

// Bounds on what a file may cost, however it is made.
const (
	maxValues   = 100_000 // numbers, strings, names, operators, of everything that is read
	maxInflated = 2 << 20 // of all streams together; fonts and pictures are never looked into
	maxFilters  = 4
	maxText     = 256 << 10
	maxPages    = 2_000
)

// file is the objects of a PDF. The cross-reference table is not believed but passed over: objects are found where they
// stand, the last of a number counts, so that files which only viewers would repair can be read too.
type file struct {
	objects   map[ref]any
	root      any // where the pages hang, nil if nothing says
	encrypted bool
	values    int // may still be read
	inflated  int // bytes so far
}

func open(b []byte) *file {
	f := &file{objects: map[ref]any{}, values: maxValues}
	l := f.lexer(b, 0)
	lastEnd := bytes.LastIndex(b, []byte("endstream"))
	var number [2]float64 // the two before obj
	for {
		v, ok := l.next(0)
		if !ok {
			break
		}
		switch v := v.(type) {
		case float64:
			number[0], number[1] = number[1], v
		case keyword:
			switch v {
			case "obj":
				if number[0] >= 0 && number[0] < 1<<31 {
					f.objects[ref(number[0])] = f.object(l, lastEnd)
				}
			case "trailer":
				d, _ := l.next(0)
				f.learn(d)
			}
		}
	}
	f.unpack()
	return f
}

func (f *file) lexer(b []byte, pos int) *lexer { return &lexer{src: b, pos: pos, left: &f.values} }

// object reads what follows obj, with its stream if it has one.
func (f *file) object(l *lexer, lastEnd int) any {
	v, _ := l.next(0)
	d, ok := v.(dict)
	if !ok {
		return v
	}
	back := l.pos
	if w, _ := l.next(0); w != keyword("stream") {
		l.pos = back
		return d
	}
	if l.at(0) == '\r' {
		l.pos++
	}
	if l.at(0) == '\n' {
		l.pos++
	}
	from := l.pos
	if from > lastEnd { // nothing ends it: looking again and again would cost the square of the length
		l.pos = len(l.src)
		return d
	}
	l.pos = endOfStream(l.src, from, d["Length"])
	s := stream{d, l.src[from:l.pos]}
	if d["Type"] == name("XRef") {
		f.learn(d)
	}
	return s
}

// endOfStream believes a length after which endstream follows, and looks for that word otherwise; the caller knows that there is one.
func endOfStream(src []byte, from int, length any) int {
	word := []byte("endstream")
	if n, ok := length.(float64); ok && n >= 0 && n <= float64(len(src)-from) {
		end := from + int(n)
		if bytes.HasPrefix(bytes.TrimLeft(src[end:min(end+16, len(src))], "\r\n "), word) {
			return end
		}
	}
	return from + max(0, bytes.Index(src[from:], word))
}

// learn takes what a trailer says; a later one stands above.
func (f *file) learn(v any) {
	d, _ := v.(dict)
	if d["Encrypt"] != nil {
		f.encrypted = true
	}
	if root, ok := d["Root"].(ref); ok {
		f.root = root
	}
}

// unpack adds the objects that lie in object streams (ISO 32000-1, 7.5.7).
func (f *file) unpack() {
	var packs []stream
	for _, v := range f.objects {
		if s, ok := v.(stream); ok && s.dict["Type"] == name("ObjStm") {
			packs = append(packs, s)
		}
	}
	for _, s := range packs {
		f.unpackOne(s)
	}
}

func (f *file) unpackOne(s stream) {
	b := f.bytes(s)
	first, _ := f.get(s.dict["First"]).(float64)
	head := f.lexer(b, 0)
	for float64(head.pos) < first {
		v, _ := head.next(0)
		w, _ := head.next(0)
		number, isNumber := v.(float64)
		offset, isOffset := w.(float64)
		if !isNumber || !isOffset || number < 0 || number >= 1<<31 || offset < 0 || first+offset >= float64(len(b)) {
			return
		}
		if _, known := f.objects[ref(number)]; !known {
			f.objects[ref(number)], _ = f.lexer(b, int(first+offset)).next(0)
		}
	}
}

// get follows references; those that lead in circles end at nothing.
func (f *file) get(v any) any {
	for range 8 {
		r, ok := v.(ref)
		if !ok {
			return v
		}
		v = f.objects[r]
	}
	return nil
}

func (f *file) dict(v any) dict {
	switch v := f.get(v).(type) {
	case dict:
		return v
	case stream:
		return v.dict
	}
	return nil
}

func (f *file) array(v any) []any {
	a, _ := f.get(v).([]any)
	return a
}

// bytes undoes a stream's filters as far as it can; nil for those that text never comes in.
func (f *file) bytes(s stream) []byte {
	b := s.raw
	filters := f.array(s.dict["Filter"])
	if n, ok := f.get(s.dict["Filter"]).(name); ok {
		filters = []any{n}
	}
	if len(filters) > maxFilters {
		return nil
	}
	for _, v := range filters {
		switch n, _ := f.get(v).(name); n {
		case "FlateDecode", "Fl":
			b = f.inflate(b)
		case "ASCII85Decode", "A85":
			b, _, _ = bytes.Cut(b, []byte("~>"))
			out := make([]byte, len(b)*4+4) // z stands for four bytes
			n, _, _ := ascii85.Decode(out, b, true)
			b = out[:n]
		default:
			return nil
		}
	}
	return b
}

// inflate keeps what came before an error: viewers do too.
func (f *file) inflate(b []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	defer r.Close()
	out, _ := io.ReadAll(io.LimitReader(r, int64(maxInflated-f.inflated)))
	f.inflated += len(out)
	return out
}
