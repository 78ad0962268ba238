package flow

import (
	"strings"

	"xunjian/pkg/paper"
)

// pdfText is the text of a PDF, for assertions on it.
func pdfText(body []byte) (string, error) {
	p, err := paper.ReadPDF(body)
	return p.Text, err
}

// docx makes a Word document, a paragraph a line.
func docx(v []string) (string, error) {
	return string(paper.Docx(strings.Split(v[0], "\n")...)), nil
}

// brokenDocx makes one that no service may take for a document.
func brokenDocx(v []string) (string, error) {
	return string(paper.BrokenDocx(strings.Split(v[0], "\n")...)), nil
}
