package paper_test

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/ascii85"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/paper"
)

var update = flag.Bool("update", false, "make testdata/letter.pdf anew with LibreOffice")

// letter has what probes write, and what is hard to read back: Chinese, marks of XML, a ligature, a character beyond 16 bits.
var letter = []string{"【监测】云文档服务 a1b2c3d4e5f60718", "nonce: a1b2c3d4e5f60718", "<&> office ﬁ 𬭎"}

func TestDocx(t *testing.T) {
	b := paper.Docx(letter...)
	if !bytes.Equal(b, paper.Docx(letter...)) {
		t.Error("the same lines make different bytes")
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(text, new(struct{})); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	broken := paper.BrokenDocx(letter...)
	if _, err := zip.NewReader(bytes.NewReader(broken), int64(len(broken))); err == nil {
		t.Error("the broken document can be opened")
	}
}

// TestReadLibreOffice reads what LibreOffice 7.4 made of our docx.
func TestReadLibreOffice(t *testing.T) {
	path := filepath.Join("testdata", "letter.pdf")
	if *update {
		if err := os.WriteFile(path, convert(t, paper.Docx(letter...)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantLetter(t, b)
}

// TestLibreOffice asks the LibreOffice of this machine: our document opens, and its text comes back out of the PDF.
func TestLibreOffice(t *testing.T) { wantLetter(t, convert(t, paper.Docx(letter...))) }

func wantLetter(t *testing.T, b []byte) {
	t.Helper()
	p, err := paper.ReadPDF(b)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(letter, "\n"); p.Pages != 1 || p.Text != want {
		t.Errorf("%d pages with\n%s\nwant 1 with\n%s", p.Pages, p.Text, want)
	}
}

func convert(t *testing.T, docx []byte) []byte {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	soffice, err := exec.LookPath("soffice")
	if err != nil {
		t.Fatal("LibreOffice is not installed: test/setup.sh installs it (or set XUNJIAN_WITHOUT_PEERS to do without)")
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "letter.docx")
	if err := os.WriteFile(in, docx, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, soffice, "--headless", "-env:UserInstallation=file://"+dir+"/profile", "--convert-to", "pdf", "--outdir", dir, in).CombinedOutput()
	if err != nil {
		t.Fatalf("soffice: %v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "letter.pdf"))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return b
}

// draft writes a PDF by hand: objects by number, contents of a single page.
type draft struct{ bytes.Buffer }

func newDraft() *draft {
	d := &draft{}
	d.WriteString("%PDF-1.7\n")
	return d
}

func (d *draft) object(n int, text string) *draft {
	fmt.Fprintf(d, "%d 0 obj\n%s\nendobj\n", n, text)
	return d
}

func (d *draft) stream(n int, head, data string) *draft {
	return d.object(n, fmt.Sprintf("<<%s/Length %d>>stream\n%s\nendstream", head, len(data), data))
}

func (d *draft) page(contents string) *draft {
	return d.object(1, "<</Type/Catalog/Pages 2 0 R>>").object(2, "<</Type/Pages/Kids[3 0 R]/Count 1>>").
		object(3, "<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>/Font<</F 6 0 R>>>>>>").stream(4, "", contents)
}

func (d *draft) end() []byte {
	d.WriteString("trailer<</Root 1 0 R>>\n%%EOF\n")
	return d.Bytes()
}

func deflate(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func base85(s string) string {
	out := make([]byte, ascii85.MaxEncodedLen(len(s)))
	return string(out[:ascii85.Encode(out, []byte(s))]) + "~>"
}

func TestReadPDF(t *testing.T) {
	const map1 = "1 begincodespacerange<00><ff>endcodespacerange 1 beginbfchar<41><6587>endbfchar 2 beginbfrange<42><43><4E00><44><45>[<0031><D872DF4E>]endbfrange"
	packed := "1 0 2 30 3 70 <</Type/Catalog/Pages 2 0 R>>  <</Type/Pages/Kids[3 0 R]/Count 1>>     <</Type/Page/Contents 4 0 R>>"
	first := strings.Index(packed, "<<")
	tests := map[string]struct {
		file  []byte
		pages int
		text  string
		err   error
	}{
		"escapes":             {newDraft().page(`BT (a\(b\)c\134\061 \` + "\n" + `(d)) Tj ET`).end(), 1, `a(b)c\1 (d)`, nil},
		"pieces of a line":    {newDraft().page("BT 10 700 Td (non) Tj ET BT 60 700 Td [(ce)-20(-1)] TJ ET BT 10 680 Td <6e657874> Tj ET").end(), 1, "nonce-1\nnext", nil},
		"a font's table":      {newDraft().page("BT /F 12 Tf (ABCDE) Tj ET").object(6, "<</Type/Font/Subtype/TrueType/ToUnicode 7 0 R>>").stream(7, "/Filter/FlateDecode", deflate(map1)).end(), 1, "文一丁1𬭎", nil},
		"a drawing within":    {newDraft().page("/X Do").stream(5, "/Subtype/Form", "BT (inner) Tj ET").end(), 1, "inner", nil},
		"itself within":       {newDraft().page("/X Do").stream(5, "/Subtype/Form", "BT (x) Tj ET /X Do /X Do").end(), 1, "", nil},
		"a picture inlaid":    {newDraft().page("BI /W 1 ID (((( EI BT (after) Tj ET").end(), 1, "after", nil},
		"a filter in text":    {newDraft().page("").stream(4, "/Filter[/ASCII85Decode/FlateDecode]", base85(deflate("BT (in letters) Tj ET"))).end(), 1, "in letters", nil},
		"packed objects":      {newDraft().stream(9, fmt.Sprintf("/Type/ObjStm/N 3/First %d/Filter/FlateDecode", first), deflate(strings.Replace(strings.Replace(packed, "30", fmt.Sprint(strings.Index(packed, "<</Type/Pages")-first), 1), "70", fmt.Sprint(strings.Index(packed, "<</Type/Page/")-first), 1))).stream(4, "", "BT (packed) Tj ET").stream(8, "/Type/XRef/Root 1 0 R", "").Bytes(), 1, "packed", nil},
		"a later version":     {newDraft().page("BT (old) Tj ET").stream(4, "", "BT (new) Tj ET").end(), 1, "new", nil},
		"a wrong length":      {newDraft().page("").object(4, "<</Length 3>>stream\nBT (whole) Tj ET\nendstream").end(), 1, "whole", nil},
		"no PDF":              {[]byte("<html>%PDF-1.7"), 0, "", paper.ErrNotPDF},
		"nothing in it":       {[]byte("%PDF-1.7\n%%EOF"), 0, "", paper.ErrNoPages},
		"no page on the tree": {newDraft().object(1, "<</Type/Catalog/Pages 2 0 R>>").object(2, "<</Type/Pages/Kids[]/Count 0>>").object(3, "<</Type/Page>>").end(), 0, "", paper.ErrNoPages},
		"a tree in a circle":  {newDraft().object(1, "<</Type/Catalog/Pages 2 0 R>>").object(2, "<</Type/Pages/Kids[2 0 R 2 0 R]>>").end(), 0, "", paper.ErrNoPages},
		"encrypted":           {append(newDraft().page("").Bytes(), "trailer<</Root 1 0 R/Encrypt 9 0 R>>"...), 0, "", paper.ErrEncrypted},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			p, err := paper.ReadPDF(test.file)
			if !errors.Is(err, test.err) || p.Pages != test.pages || test.text != "" && p.Text != test.text {
				t.Errorf("%d pages, %q, %v; want %d, %q, %v", p.Pages, p.Text, err, test.pages, test.text, test.err)
			}
		})
	}
}

// TestHostilePDF gives the reader what would cost a careless one its memory, its stack or its time.
func TestHostilePDF(t *testing.T) {
	bomb := deflate(strings.Repeat("BT (x) Tj ET ", 8<<20))
	files := map[string][]byte{
		"bomb":             newDraft().page("").stream(4, "/Filter/FlateDecode", bomb).end(),
		"bomb in a bomb":   newDraft().page("").stream(4, "/Filter[/FlateDecode/FlateDecode]", deflate(bomb)).end(),
		"brackets":         newDraft().page(strings.Repeat("[", 1<<20)).end(),
		"dictionaries":     newDraft().page("").object(9, strings.Repeat("<</A", 1<<18)).end(),
		"strings":          newDraft().page("BT " + strings.Repeat("(", 1<<20)).end(),
		"endless streams":  append(newDraft().page("").Bytes(), strings.Repeat("1 0 obj<<>>stream\n", 1<<16)...),
		"endless pictures": newDraft().page(strings.Repeat("ID ", 1<<18)).end(),
		"forms":            newDraft().page(strings.Repeat("/X Do ", 1<<12)).stream(5, "/Subtype/Form", strings.Repeat("/X Do ", 1<<12)).end(),
		"a range":          newDraft().page("BT /F 12 Tf (A) Tj ET").object(6, "<</Type/Font/ToUnicode 7 0 R>>").stream(7, "", strings.Repeat("beginbfrange<0000><ffff><0041>endbfrange ", 1<<14)).end(),
	}
	for what, b := range files {
		t.Run(what, func(t *testing.T) {
			begin := time.Now()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, _ := paper.ReadPDF(b)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
				t.Errorf("%d MiB allocated", n>>20)
			}
			if len(p.Text) > 257<<10 {
				t.Errorf("%d bytes of text", len(p.Text))
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func FuzzReadPDF(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "letter.pdf"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(newDraft().page("BT /F 12 Tf (ABCDE) Tj ET /X Do").stream(5, "/Subtype/Form", "q BT [(a)1<62>] TJ ET").object(6, "<</Subtype/Type0/ToUnicode 7 0 R>>").stream(7, "", "1 beginbfrange<42><43><4E00><44><45>[<0031><D872DF4E>]endbfrange").end())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := paper.ReadPDF(append([]byte("%PDF-1.7\n"), b...))
		if err == nil && p.Pages < 1 {
			t.Error("neither a page nor an error")
		}
	})
}
