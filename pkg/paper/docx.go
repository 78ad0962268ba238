// Package paper makes the small document that probes send to a document service, and reads the text of the PDF that comes back.
package paper

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"strings"
)

// The three parts without which no word processor opens a .docx (ECMA-376 part 2).
const (
	docxTypes = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>`
	docxRels = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`
	docxHead = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>`
	docxFoot = `<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr></w:body></w:document>`
)

// Docx is a document of one page (A4) with a paragraph for each line. The same lines make the same bytes.
func Docx(lines ...string) []byte {
	var body bytes.Buffer
	body.WriteString(docxHead)
	for _, line := range lines {
		body.WriteString(`<w:p><w:r><w:t xml:space="preserve">`)
		_ = xml.EscapeText(&body, []byte(strings.ToValidUTF8(line, "�"))) // writing to a buffer cannot fail
		body.WriteString(`</w:t></w:r></w:p>`)
	}
	body.WriteString(docxFoot)
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, part := range [...]struct{ name, text string }{
		{"[Content_Types].xml", docxTypes}, {"_rels/.rels", docxRels}, {"word/document.xml", body.String()},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: part.name, Method: zip.Deflate})
		if err != nil { // three good names, into a buffer: cannot be
			panic("make docx: " + err.Error())
		}
		_, _ = w.Write([]byte(part.text)) // Close tells
	}
	if err := z.Close(); err != nil {
		panic("make docx: " + err.Error())
	}
	return out.Bytes()
}

// BrokenDocx is such a document cut off in the middle, which no honest converter may turn into anything.
func BrokenDocx(lines ...string) []byte {
	whole := Docx(lines...)
	return whole[:len(whole)/2]
}
