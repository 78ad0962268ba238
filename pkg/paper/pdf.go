package paper

import (
	"bytes"
	"errors"
	"strings"
)

// PDF is what a reader sees of a PDF file.
type PDF struct {
	Pages int
	Text  string // page after page, a line for each change of height; at most 256 KiB
}

// The ways in which a file is no readable PDF.
var (
	ErrNotPDF    = errors.New("not a PDF: it does not begin with %PDF-")
	ErrNoPages   = errors.New("a PDF without a page")
	ErrEncrypted = errors.New("a PDF that is encrypted")
)

// ReadPDF counts the pages and reads their text, as far as fonts say which characters they draw. It allocates less
// than 20 MiB, whatever it is given.
func ReadPDF(b []byte) (PDF, error) {
	if !bytes.HasPrefix(b, []byte("%PDF-")) {
		return PDF{}, ErrNotPDF
	}
	f := open(b)
	if f.encrypted {
		return PDF{}, ErrEncrypted
	}
	w := &writer{file: f, fonts: map[any]*font{}}
	pages := 0
	f.eachPage(func(page, resources dict) {
		pages++
		w.page(page, resources)
	})
	if pages == 0 {
		return PDF{}, ErrNoPages
	}
	return PDF{Pages: pages, Text: strings.TrimSpace(w.text.String())}, nil
}

// eachPage walks the tree of pages from its root, in reading order; nodes met twice are passed over.
func (f *file) eachPage(visit func(page, resources dict)) {
	seen, pages := map[any]bool{}, 0
	var walk func(v any, resources dict, depth int)
	walk = func(v any, resources dict, depth int) {
		r, isRef := v.(ref)
		if !isRef || seen[r] || depth > maxNesting || pages >= maxPages {
			return
		}
		seen[r] = true
		node := f.dict(v)
		if own := f.dict(node["Resources"]); own != nil {
			resources = own
		}
		kids := f.array(node["Kids"])
		switch {
		case len(kids) > 0:
			for _, kid := range kids {
				walk(kid, resources, depth+1)
			}
		case node["Type"] == name("Page"):
			pages++
			visit(node, resources)
		}
	}
	walk(f.dict(f.root)["Pages"], nil, 0)
}

// contents is a page's drawing, its pieces joined.
func (f *file) contents(page dict) []byte {
	if s, ok := f.get(page["Contents"]).(stream); ok {
		return f.bytes(s)
	}
	var out []byte
	for _, v := range f.array(page["Contents"]) {
		if s, ok := f.get(v).(stream); ok {
			out = append(append(out, f.bytes(s)...), '\n')
		}
	}
	return out
}
