package ses_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/ses"
)

type certificate = smx509.Certificate

func sealed(t testing.TB, o office, text string) []byte {
	t.Helper()
	plain, err := ses.MakeDocument(text)
	must(t, err)
	ofd, err := ses.SealDocument(plain, o.seal, o.signer, noon)
	must(t, err)
	return ofd
}

func TestDocument(t *testing.T) {
	for _, standard := range standards {
		o := newOffice(t, standard)
		d, err := ses.Open(sealed(t, o, "【监测】 a<b & 5f3c"))
		must(t, err)
		if got := d.Text(); got != "【监测】 a<b & 5f3c\n" {
			t.Errorf("text %q", got)
		}
		signs, err := d.Verify()
		must(t, err)
		if len(signs) != 1 || signs[0].Standard != standard || signs[0].Seal.Name != "监测专用章" || !signs[0].Time.Equal(noon) {
			t.Errorf("%s: got %+v", standard, signs)
		}
	}
}

// remake packs the archive again as change has it; a nil body leaves the file out.
func remake(t *testing.T, ofd []byte, change func(name string, body []byte) []byte) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	must(t, err)
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for _, f := range in.File {
		r, err := f.Open()
		must(t, err)
		body, err := io.ReadAll(r)
		must(t, err)
		if body = change(f.Name, body); body == nil {
			continue
		}
		w, err := out.Create(f.Name)
		must(t, err)
		_, err = w.Write(body)
		must(t, err)
	}
	must(t, out.Close())
	return b.Bytes()
}

func TestTamperedDocumentIsRefused(t *testing.T) {
	o := newOffice(t, ses.GBT2020)
	ofd := sealed(t, o, "原文")
	other := o.makeSeal(t, ses.GBT2020, noon.Add(-20*day), noon.Add(20*day))
	tests := map[string]struct {
		change func(name string, body []byte) []byte
		want   error
	}{
		"page":             {edit("Content.xml", "原文", "假文"), ses.ErrTampered},
		"resources":        {edit("PublicRes.xml", "宋体", "楷体"), ses.ErrTampered},
		"list":             {edit("Signature.xml", `PageRef="1"`, `PageRef="2"`), ses.ErrTampered},
		"seal beside":      {replace("Seal.esl", other.DER()), ses.ErrTampered},
		"page gone":        {replace("Pages/Page_0/Content.xml", nil), ses.ErrTampered},
		"signature gone":   {replace("SignedValue.dat", nil), ses.ErrContainer},
		"signature cut":    {replace("SignedValue.dat", []byte("0")), ses.ErrFormat},
		"digest of old":    {edit("Signature.xml", "1.2.156.10197.1.401", "SHA1"), ses.ErrFormat},
		"other page shown": {edit("Document.xml", "Pages/Page_0/Content.xml", "PublicRes.xml"), ses.ErrTampered},
		"list emptied":     {dropReferences, ses.ErrTampered},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := ses.Open(remake(t, ofd, tc.change))
			if err == nil {
				_, err = d.Verify()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	if d, err := ses.Open(remake(t, ofd, func(_ string, b []byte) []byte { return b })); err != nil {
		t.Error(err)
	} else if _, err := d.Verify(); err != nil {
		t.Errorf("packed anew, but unchanged: %v", err)
	}
}

func edit(suffix, before, after string) func(string, []byte) []byte {
	return func(name string, body []byte) []byte {
		if strings.HasSuffix(name, suffix) {
			return bytes.ReplaceAll(body, []byte(before), []byte(after))
		}
		return body
	}
}

func replace(suffix string, with []byte) func(string, []byte) []byte {
	return func(name string, body []byte) []byte {
		if strings.HasSuffix(name, suffix) {
			return with
		}
		return body
	}
}

func dropReferences(name string, body []byte) []byte {
	if !strings.HasSuffix(name, "Signature.xml") {
		return body
	}
	start, end := bytes.Index(body, []byte("<ofd:Reference ")), bytes.LastIndex(body, []byte("</ofd:Reference>"))
	return append(bytes.Clone(body[:start]), body[end+len("</ofd:Reference>"):]...)
}

// Archives made to hurt are refused before they cost much.
func TestHostileArchive(t *testing.T) {
	archive := func(fill func(z *zip.Writer)) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		fill(z)
		must(t, z.Close())
		return b.Bytes()
	}
	entry := func(z *zip.Writer, name string, size int) {
		w, err := z.Create(name)
		must(t, err)
		chunk := make([]byte, 1<<20)
		for ; size > 0; size -= len(chunk) {
			_, err = w.Write(chunk[:min(size, len(chunk))])
			must(t, err)
		}
	}
	tests := map[string][]byte{
		"no archive":   []byte("<html>login</html>"),
		"empty":        archive(func(*zip.Writer) {}),
		"bomb":         archive(func(z *zip.Writer) { entry(z, "OFD.xml", 64<<20) }),
		"many bombs":   archive(func(z *zip.Writer) { bombs(entry, z) }),
		"many entries": archive(func(z *zip.Writer) { crowd(entry, z) }),
		"twice":        archive(func(z *zip.Writer) { entry(z, "OFD.xml", 1); entry(z, "OFD.xml", 1) }),
		"outside":      archive(func(z *zip.Writer) { entry(z, "../OFD.xml", 1) }),
		"no document":  archive(func(z *zip.Writer) { entry(z, "readme", 1) }),
	}
	for name, ofd := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ses.Open(ofd); !errors.Is(err, ses.ErrContainer) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func bombs(entry func(*zip.Writer, string, int), z *zip.Writer) {
	for i := range 8 {
		entry(z, fmt.Sprint("f", i), 3<<20)
	}
}

func crowd(entry func(*zip.Writer, string, int), z *zip.Writer) {
	for i := range 600 {
		entry(z, fmt.Sprint("f", i), 0)
	}
}

func FuzzDocument(f *testing.F) {
	o := newOffice(f, ses.GBT2020)
	f.Add(sealed(f, o, "x"))
	plain, err := ses.MakeDocument("y")
	must(f, err)
	f.Add(plain)
	f.Fuzz(func(_ *testing.T, ofd []byte) {
		d, err := ses.Open(ofd)
		if err != nil {
			return
		}
		_ = d.Text()
		_, _ = d.Verify()
	})
}
