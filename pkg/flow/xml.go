package flow

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxFound bounds how many values of a document are looked at.
const maxFound = 256

// xmlPath is elements below each other, the first at any depth, then an attribute or the text within.
type xmlPath struct {
	steps []xmlStep
	attr  string // empty for the text
}

// xmlStep is an element, with the attributes that it must have.
type xmlStep struct {
	name  string // without prefix; * for any
	attrs map[string]string
}

var (
	xmlStepForm = regexp.MustCompile(`^([\pL_*][\pL\pN_.-]*)((?:\[@[\pL_][\pL\pN_.-]*='[^']*'\])*)$`)
	xmlAttrForm = regexp.MustCompile(`\[@([^=]+)='([^']*)'\]`)
)

// parseXMLPath reads app/action[@ext='docx'][@name='edit']/@urlsrc.
func parseXMLPath(s string) (xmlPath, error) {
	var p xmlPath
	for rest := strings.TrimLeft(s, "/"); rest != ""; {
		var part string
		part, rest = cutStep(rest)
		if name, ok := strings.CutPrefix(part, "@"); ok && rest == "" && len(p.steps) > 0 {
			p.attr = name
			return p, nil
		}
		m := xmlStepForm.FindStringSubmatch(part)
		if m == nil || len(p.steps) > maxNest {
			return p, fmt.Errorf("%q: want elements as app/action[@ext='docx'], and @attribute at the end", shown(part))
		}
		step := xmlStep{name: m[1], attrs: map[string]string{}}
		for _, a := range xmlAttrForm.FindAllStringSubmatch(m[2], -1) {
			step.attrs[a[1]] = a[2]
		}
		p.steps = append(p.steps, step)
	}
	if len(p.steps) == 0 {
		return p, errors.New("names no element")
	}
	return p, nil
}

// cutStep cuts at the first slash that is not within quotes.
func cutStep(s string) (part, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == '/' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// xmlAt is all values at a path, in the order of the document. Namespaces do not count, and nothing is fetched or expanded.
func xmlAt(body []byte, path string) ([]string, error) {
	p, err := parseXMLPath(path)
	if err != nil {
		return nil, err
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	w := xmlWalk{path: p}
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return w.found, nil
		case err != nil:
			return nil, fmt.Errorf("body is not XML: %w", err)
		}
		if err := w.see(token); err != nil || len(w.found) >= maxFound {
			return w.found, err
		}
	}
}

// xmlWalk keeps the elements that are open.
type xmlWalk struct {
	path  xmlPath
	open  []xml.StartElement
	text  []*strings.Builder // of open elements whose text is wanted, nil of others
	found []string
	held  int // bytes of text, which elements within each other hold once each
}

func (w *xmlWalk) see(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		if len(w.open) >= maxDepth {
			return fmt.Errorf("body is XML nested over %d deep", maxDepth)
		}
		w.open = append(w.open, t.Copy())
		w.text = append(w.text, w.enter(t))
	case xml.CharData:
		for _, b := range w.text {
			if b != nil {
				b.Write(t)
				w.held += len(t)
			}
		}
		if w.held > maxValue {
			return errTooLong
		}
	case xml.EndElement:
		last := len(w.open) - 1
		if b := w.text[last]; b != nil {
			w.found = append(w.found, b.String())
		}
		w.open, w.text = w.open[:last], w.text[:last]
	}
	return nil
}

// enter finds an attribute, or makes room for the text, of an element at the path.
func (w *xmlWalk) enter(t xml.StartElement) *strings.Builder {
	if !w.here() {
		return nil
	}
	if w.path.attr == "" {
		return &strings.Builder{}
	}
	for _, a := range t.Attr {
		if a.Name.Local == w.path.attr {
			w.found = append(w.found, a.Value)
		}
	}
	return nil
}

// here says whether the innermost open elements are those of the path.
func (w *xmlWalk) here() bool {
	above := len(w.open) - len(w.path.steps)
	if above < 0 {
		return false
	}
	for i, s := range w.path.steps {
		if !s.is(w.open[above+i]) {
			return false
		}
	}
	return true
}

func (s xmlStep) is(e xml.StartElement) bool {
	if s.name != "*" && s.name != e.Name.Local {
		return false
	}
	for name, want := range s.attrs {
		has := false
		for _, a := range e.Attr {
			has = has || a.Name.Local == name && a.Value == want
		}
		if !has {
			return false
		}
	}
	return true
}
