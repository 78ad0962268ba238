package report

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Limits on a form that somebody uploads: an archive may claim little and unpack to much.
const (
	maxDepth    = 200     // of elements in a part
	maxElements = 500_000 // of a part read
)

// limits are on what an archive may hold.
type limits struct {
	packed   int // bytes
	unpacked int // bytes of all parts together
	parts    int
}

var formLimits = limits{packed: 16 << 20, unpacked: 64 << 20, parts: 1000}

// ErrForm marks a form that cannot be used; the text says why.
var ErrForm = errors.New("form cannot be used")

func badForm(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrForm, fmt.Sprintf(format, args...))
}

// parts is an Office file taken apart.
type parts struct {
	names []string // in the order of the archive
	data  map[string][]byte
}

// readParts unpacks an Office file within the limits on forms.
func readParts(b []byte) (*parts, error) { return formLimits.unpack(b) }

func (l limits) unpack(b []byte) (*parts, error) {
	if len(b) > l.packed {
		return nil, badForm("%d bytes, at most %d are allowed", len(b), l.packed)
	}
	zr, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, badForm("not a .docx (%v); save an old .doc as .docx first", err)
	}
	if len(zr.File) > l.parts {
		return nil, badForm("%d parts, at most %d are allowed", len(zr.File), l.parts)
	}
	p := &parts{data: map[string][]byte{}}
	left := l.unpacked
	for _, f := range zr.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if _, twice := p.data[f.Name]; twice || !cleanName(f.Name) {
			return nil, badForm("part %q is there twice or has a name that leads out of the file", f.Name)
		}
		body, err := readPart(f, left)
		if err != nil {
			return nil, err
		}
		left -= len(body)
		p.put(f.Name, body)
	}
	return p, nil
}

func cleanName(n string) bool {
	return n != "" && path.Clean("/"+n) == "/"+n && !strings.ContainsAny(n, "\\\x00")
}

func readPart(f *zip.File, left int) ([]byte, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, badForm("part %s: %v", f.Name, err)
	}
	defer rc.Close()
	body, err := io.ReadAll(io.LimitReader(rc, int64(left)+1))
	if err != nil {
		return nil, badForm("part %s: %v", f.Name, err)
	}
	if len(body) > left {
		return nil, badForm("part %s: the file unpacks to more than is allowed", f.Name)
	}
	return body, nil
}

func (p *parts) put(name string, body []byte) {
	if _, ok := p.data[name]; !ok {
		p.names = append(p.names, name)
	}
	p.data[name] = body
}

// zipTime is the oldest moment that a zip file can hold: the files carry no time of their own.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack writes the parts in an order and with times that depend on nothing but their names. The list of content types
// comes first, where readers look for it.
func (p *parts) pack() ([]byte, error) {
	names := slices.Clone(p.names)
	slices.SortFunc(names, func(a, b string) int {
		if (a == contentTypes) != (b == contentTypes) {
			if a == contentTypes {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var out bytes.Buffer
	zw := zip.NewWriter(&out)
	for _, n := range names {
		h := &zip.FileHeader{Name: n, Method: zip.Deflate, Modified: zipTime}
		w, err := zw.CreateHeader(h)
		if err == nil {
			_, err = w.Write(p.data[n])
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", n, err)
		}
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

const contentTypes = "[Content_Types].xml"

// parse reads one XML part, refusing what is nested or blown up beyond any real document.
func parse(name string, body []byte) (*etree.Document, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(body); err != nil {
		return nil, badForm("part %s: %v", name, err)
	}
	if doc.Root() == nil {
		return nil, badForm("part %s is empty", name)
	}
	left := maxElements
	if !sane(doc.Root(), maxDepth, &left) {
		return nil, badForm("part %s has more than %d elements or %d levels", name, maxElements, maxDepth)
	}
	return doc, nil
}

func sane(e *etree.Element, depth int, left *int) bool {
	if *left--; depth == 0 || *left < 0 {
		return false
	}
	for _, c := range e.Child {
		if el, ok := c.(*etree.Element); ok && !sane(el, depth-1, left) {
			return false
		}
	}
	return true
}

// cleanText drops what XML cannot carry.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
