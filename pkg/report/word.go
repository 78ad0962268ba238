package report

import "xunjian/pkg/i18n"

// Word is the month as a .docx: the form filled in. Equal models and forms give equal bytes; missing lists the form's
// placeholders that have no value.
func Word(m *Model, form []byte, p *i18n.Printer) (out []byte, missing []string, err error) {
	return nil, nil, nil
}
