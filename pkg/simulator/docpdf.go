package simulator

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// docxLines reads the paragraphs of a .docx, and nothing else of it.
func docxLines(document []byte) ([]string, error) {
	z, err := zip.NewReader(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		return nil, errors.Join(errUnconverted, err)
	}
	f, err := z.Open("word/document.xml")
	if err != nil {
		return nil, errors.Join(errUnconverted, err)
	}
	defer f.Close()
	var lines []string
	var line strings.Builder
	inText := false
	d := xml.NewDecoder(io.LimitReader(f, maxDocument))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, errors.Join(errUnconverted, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			inText = t.Name.Local == "t"
		case xml.CharData:
			if inText {
				line.Write(t)
			}
		case xml.EndElement:
			inText = false
			if t.Name.Local == "p" {
				lines = append(lines, line.String())
				line.Reset()
			}
		}
	}
}

// writePDF puts lines on one A4 page. The font is one of those that every viewer brings along for Chinese (ISO 32000-1,
// 9.7.5.2), its codes are UTF-16, and a table says so.
func writePDF(lines []string) []byte {
	var page strings.Builder
	page.WriteString("BT /F1 12 Tf 16 TL 56 780 Td\n")
	for _, line := range lines[:min(len(lines), 45)] {
		page.WriteString("<")
		for _, unit := range utf16.Encode([]rune(line)) {
			fmt.Fprintf(&page, "%04X", unit)
		}
		page.WriteString("> Tj T*\n")
	}
	page.WriteString("ET")
	const table = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
	var cmap strings.Builder
	cmap.WriteString(table)
	for high := 0; high < 256; high += 64 { // at most 100 ranges in one go, and within a range the first byte stays
		fmt.Fprintf(&cmap, "64 beginbfrange\n")
		for b := high; b < high+64; b++ {
			fmt.Fprintf(&cmap, "<%02X00> <%02XFF> <%02X00>\n", b, b, b)
		}
		cmap.WriteString("endbfrange\n")
	}
	cmap.WriteString("endcmap CMapName currentdict /CMap defineresource pop end end")
	return assemble([]string{
		"<</Type/Catalog/Pages 2 0 R>>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
		streamOf(page.String()),
		"<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UTF16-H/DescendantFonts[6 0 R]/ToUnicode 8 0 R>>",
		"<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 5>>/FontDescriptor 7 0 R/DW 1000>>",
		"<</Type/FontDescriptor/FontName/STSong-Light/Flags 4/FontBBox[-25 -254 1000 880]/ItalicAngle 0/Ascent 880/Descent -120/CapHeight 880/StemV 93>>",
		streamOf(cmap.String()),
	})
}

func streamOf(s string) string {
	return fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(s), s)
}

// assemble numbers objects from 1, of which the first is the root, and adds the table of where they are.
func assemble(objects []string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
	at := make([]int, len(objects))
	for i, o := range objects {
		at[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, offset := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, table)
	return b.Bytes()
}
