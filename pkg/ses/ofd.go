package ses

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/emmansun/gmsm/sm3"
)

// Caps on a container: it comes from a server that may be hostile, and a small archive can be made to unpack into a large one.
const (
	maxArchive  = 8 << 20
	maxEntries  = 512
	maxEntry    = 4 << 20
	maxUnpacked = 16 << 20
	maxSigns    = 16
	maxRefs     = 4096
)

// ErrContainer is a file that is no OFD document, or one beyond the caps.
var ErrContainer = errors.New("not an OFD document that can be read")

// Document is an OFD document (GB/T 33190-2016), unpacked.
type Document struct {
	files map[string][]byte // by path, without the leading /
	root  string            // Document.xml
	pages []string
	signs []string // Signature.xml of each
}

// Open unpacks and finds the pages and signatures.
func Open(ofd []byte) (*Document, error) {
	d := &Document{files: map[string][]byte{}}
	if err := d.unpack(ofd); err != nil {
		return nil, err
	}
	var main struct {
		Body []struct {
			Root       string `xml:"DocRoot"`
			Signatures string
		} `xml:"DocBody"`
	}
	if err := d.xml("OFD.xml", &main); err != nil {
		return nil, err
	}
	if len(main.Body) != 1 {
		return nil, fmt.Errorf("%w: OFD.xml holds %d documents, want one", ErrContainer, len(main.Body))
	}
	d.root = resolve("", main.Body[0].Root)
	var doc struct {
		Pages struct {
			Page []struct {
				BaseLoc string `xml:",attr"`
			}
		}
	}
	if err := d.xml(d.root, &doc); err != nil {
		return nil, err
	}
	for _, p := range doc.Pages.Page {
		d.pages = append(d.pages, resolve(d.root, p.BaseLoc))
	}
	if len(d.pages) == 0 {
		return nil, fmt.Errorf("%w: %s lists no page", ErrContainer, d.root)
	}
	return d, d.findSigns(main.Body[0].Signatures)
}

func (d *Document) findSigns(list string) error {
	if list == "" {
		return nil
	}
	list = resolve("", list)
	var all struct {
		Signature []struct {
			BaseLoc string `xml:",attr"`
		}
	}
	if err := d.xml(list, &all); err != nil {
		return err
	}
	if len(all.Signature) > maxSigns {
		return fmt.Errorf("%w: over %d signatures", ErrContainer, maxSigns)
	}
	for _, s := range all.Signature {
		d.signs = append(d.signs, resolve(list, s.BaseLoc))
	}
	return nil
}

// unpack trusts no size that the archive states, and no name twice.
func (d *Document) unpack(ofd []byte) error {
	if len(ofd) > maxArchive {
		return fmt.Errorf("%w: over %d MiB", ErrContainer, maxArchive>>20)
	}
	z, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContainer, err)
	}
	if len(z.File) > maxEntries {
		return fmt.Errorf("%w: over %d entries", ErrContainer, maxEntries)
	}
	left := int64(maxUnpacked)
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		name := resolve("", f.Name)
		if d.files[name] != nil || name == "" || name != strings.TrimPrefix(f.Name, "/") {
			return fmt.Errorf("%w: entry %.64q stands twice or outside", ErrContainer, f.Name)
		}
		b, err := unpackEntry(f, min(maxEntry, left))
		if err != nil {
			return fmt.Errorf("%w: entry %.64q: %w", ErrContainer, f.Name, err)
		}
		left -= int64(len(b))
		d.files[name] = b
	}
	return nil
}

func unpackEntry(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errors.New("unpacks to more than is read")
	}
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// resolve is where a path in a file leads, without the leading /; it cannot lead out.
func resolve(from, to string) string {
	if !strings.HasPrefix(to, "/") {
		to = path.Join("/", path.Dir(from), to)
	}
	return strings.TrimPrefix(path.Clean(to), "/")
}

func (d *Document) xml(name string, into any) error {
	b, ok := d.files[name]
	if !ok {
		return fmt.Errorf("%w: it has no %.64q", ErrContainer, name)
	}
	if err := xml.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrContainer, name, err)
	}
	return nil
}

// Text is what the pages say.
func (d *Document) Text() string {
	var out strings.Builder
	for _, p := range d.pages {
		dec := xml.NewDecoder(bytes.NewReader(d.files[p]))
		inside := false
		for t, err := dec.Token(); err == nil; t, err = dec.Token() {
			switch t := t.(type) {
			case xml.StartElement:
				inside = t.Name.Local == "TextCode"
			case xml.EndElement:
				inside = false
			case xml.CharData:
				if inside {
					out.Write(t)
					out.WriteByte('\n')
				}
			}
		}
	}
	return out.String()
}

// signatureFile is Signature.xml as far as it is needed.
type signatureFile struct {
	Info struct {
		References struct {
			Method    string `xml:"CheckMethod,attr"`
			Reference []struct {
				File  string `xml:"FileRef,attr"`
				Value string `xml:"CheckValue"`
			}
		}
		Seal struct{ BaseLoc string }
	} `xml:"SignedInfo"`
	Value string `xml:"SignedValue"`
}

// methods are names of SM3 in CheckMethod.
var methods = []string{"1.2.156.10197.1.401", "sm3"}

// Verify holds each signature to the document: the files that it lists are as they were, what makes the pages is among them, and
// the seal's signature is of that list. An unsealed document is an error.
func (d *Document) Verify() ([]*Signature, error) {
	if len(d.signs) == 0 {
		return nil, fmt.Errorf("the document bears no signature: %w", ErrTampered)
	}
	var out []*Signature
	for _, name := range d.signs {
		s, err := d.verify(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func (d *Document) verify(name string) (*Signature, error) {
	var f signatureFile
	if err := d.xml(name, &f); err != nil {
		return nil, err
	}
	if !slices.Contains(methods, strings.ToLower(f.Info.References.Method)) {
		return nil, fmt.Errorf("check method %.32q is not SM3: %w", f.Info.References.Method, ErrFormat)
	}
	if err := d.checkReferences(name, f); err != nil {
		return nil, err
	}
	value, ok := d.files[resolve(name, f.Value)]
	if !ok {
		return nil, fmt.Errorf("%w: it has no %.64q", ErrContainer, f.Value)
	}
	s, err := ParseSignature(value)
	if err != nil {
		return nil, err
	}
	if loc := f.Info.Seal.BaseLoc; loc != "" && !bytes.Equal(d.files[resolve(name, loc)], s.Seal.DER()) {
		return nil, fmt.Errorf("the seal beside the signature is another than the one in it: %w", ErrTampered)
	}
	return s, s.Verify(d.files[name])
}

// checkReferences recomputes every digest of the list.
func (d *Document) checkReferences(name string, f signatureFile) error {
	refs := f.Info.References.Reference
	if len(refs) > maxRefs {
		return fmt.Errorf("over %d references: %w", maxRefs, ErrFormat)
	}
	covered := map[string]bool{}
	for _, r := range refs {
		file := resolve(name, r.File)
		if covered[file] {
			continue // a second entry cannot make the first untrue
		}
		want, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Value))
		if err != nil {
			return fmt.Errorf("digest of %.64q: %w: %w", file, ErrFormat, err)
		}
		b, ok := d.files[file]
		if !ok {
			return fmt.Errorf("%.64q is gone: %w", file, ErrTampered)
		}
		if sum := sm3.Sum(b); !bytes.Equal(sum[:], want) {
			return fmt.Errorf("%.64q %w", file, ErrTampered)
		}
		covered[file] = true
	}
	for _, file := range append([]string{d.root}, d.pages...) {
		if !covered[file] {
			return fmt.Errorf("%.64q is not covered by the signature: %w", file, ErrTampered)
		}
	}
	return nil
}
