package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"xunjian/pkg/i18n"
)

// Excel is the month as an .xlsx, one sheet for each table and one of notes. Equal models give equal bytes. Texts are written
// as strings, never as formulas, whatever they begin with.
func Excel(m *Model, p *i18n.Printer) ([]byte, error) {
	w := writer{p, m.zone()}
	x, err := newBook(w, m)
	if err != nil {
		return nil, fmt.Errorf("excel of %s: %w", m.Month, err)
	}
	defer func() { _ = x.Close() }() // it holds no file
	for _, t := range tables(m, p, w.loc) {
		if err := x.sheet(t); err != nil {
			return nil, fmt.Errorf("excel of %s: sheet %s: %w", m.Month, t.key, err)
		}
	}
	if err := x.notes(); err != nil {
		return nil, fmt.Errorf("excel of %s: notes: %w", m.Month, err)
	}
	return x.bytes()
}

// book is a workbook in the making.
type book struct {
	*excelize.File
	writer
	m      *Model
	sheets int
	styles map[string]int
}

// Rows of a sheet.
const (
	titleRow = 1
	aboutRow = 2
	headRow  = 3
)

func newBook(w writer, m *Model) (*book, error) {
	x := &book{File: excelize.NewFile(), writer: w, m: m, styles: map[string]int{}}
	at := m.AsOf.UTC().Format(time.RFC3339)
	err := x.SetDocProps(&excelize.DocProperties{
		Created: at, Modified: at, Creator: "xunjian", LastModifiedBy: "xunjian", Language: w.Lang,
		Title: cleanText(m.Rules.Project + " " + w.t("form.title") + " " + w.month(m)),
	})
	return x, err
}

// style makes a cell style once: its look, its alignment, its number format.
func (x *book) style(look, align, format string) (int, error) {
	key := look + "|" + align + "|" + format
	if id, ok := x.styles[key]; ok {
		return id, nil
	}
	s := &excelize.Style{
		Font:      &excelize.Font{Family: "宋体", Size: 10},
		Alignment: &excelize.Alignment{Horizontal: align, Vertical: "center", WrapText: true},
	}
	edge := func(side string) excelize.Border { return excelize.Border{Type: side, Color: "000000", Style: 1} }
	switch look {
	case "title":
		s.Font = &excelize.Font{Family: "黑体", Size: 16, Bold: true}
	case "about":
		s.Font = &excelize.Font{Family: "宋体", Size: 9, Color: "595959"}
	case "head":
		s.Font = &excelize.Font{Family: "黑体", Size: 10}
		s.Fill = excelize.Fill{Type: "pattern", Color: []string{"D9E2F3"}, Pattern: 1}
	case "missing":
		s.Font.Color = "7F7F7F"
	}
	if look != "title" && look != "about" && look != "plain" {
		s.Border = []excelize.Border{edge("left"), edge("top"), edge("right"), edge("bottom")}
	}
	if format != "" {
		s.CustomNumFmt = &format
	}
	id, err := x.NewStyle(s)
	if err == nil {
		x.styles[key] = id
	}
	return id, err
}

// text puts a string into a cell, never a formula.
func (x *book) text(sheet string, col, row int, s, look, align string) error {
	at, err := excelize.CoordinatesToCellName(col, row)
	if err != nil {
		return err
	}
	if err := x.SetCellStr(sheet, at, cleanText(s)); err != nil {
		return err
	}
	return x.dress(sheet, at, look, align, "")
}

func (x *book) dress(sheet, at, look, align, format string) error {
	id, err := x.style(look, align, format)
	if err != nil {
		return err
	}
	return x.SetCellStyle(sheet, at, at, id)
}

// add makes the next sheet; the book comes with a first one.
func (x *book) add(name string) error {
	x.sheets++
	if x.sheets == 1 {
		return x.SetSheetName("Sheet1", name)
	}
	_, err := x.NewSheet(name)
	return err
}

func (x *book) sheet(t table) error {
	name := x.t("sheet." + t.key)
	if err := x.add(name); err != nil {
		return err
	}
	if err := x.top(name, t); err != nil {
		return err
	}
	for i, c := range t.columns {
		if err := x.text(name, i+1, headRow, x.t(t.key+"."+c.key), "head", "center"); err != nil {
			return err
		}
	}
	if err := x.SetRowHeight(name, headRow, 30); err != nil {
		return err
	}
	for i, r := range t.rows {
		for j, c := range r {
			if err := x.cell(name, j+1, headRow+1+i, c, t.columns[j]); err != nil {
				return err
			}
		}
		if err := x.SetRowHeight(name, headRow+1+i, rowHeight(t, r)); err != nil {
			return err
		}
	}
	if len(t.rows) == 0 {
		if err := x.nothing(name, len(t.columns)); err != nil {
			return err
		}
	}
	return x.page(name, t)
}

// top is the merged title, the line about the data, the columns' widths and the frozen head.
func (x *book) top(name string, t table) error {
	for i, c := range t.columns {
		col, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		if err := x.SetColWidth(name, col, col, c.width); err != nil {
			return err
		}
	}
	about := x.t("xlsx.about", "project", x.m.Rules.Project, "period", x.period(x.m), "as_of", x.time(x.m.AsOf))
	if x.m.Unfinished {
		about += "　" + x.t("unfinished")
	}
	if x.m.Guessed || x.m.Provisional {
		about += "　" + x.t("guessed_note")
	}
	if err := x.across(name, titleRow, len(t.columns), x.t("sheet."+t.key)+"　"+x.month(x.m), "title", "center"); err != nil {
		return err
	}
	if err := x.across(name, aboutRow, len(t.columns), about, "about", "left"); err != nil {
		return err
	}
	if err := x.SetRowHeight(name, titleRow, 32); err != nil {
		return err
	}
	if err := x.SetRowHeight(name, aboutRow, rowHeight(table{columns: []column{{width: t.width()}}}, []cell{words(about)})); err != nil {
		return err
	}
	return x.SetPanes(name, &excelize.Panes{Freeze: true, XSplit: 1, YSplit: headRow, TopLeftCell: "B4", ActivePane: "bottomRight"})
}

func (x *book) across(name string, row, columns int, s, look, align string) error {
	from, err := excelize.CoordinatesToCellName(1, row)
	if err != nil {
		return err
	}
	to, err := excelize.CoordinatesToCellName(columns, row)
	if err != nil {
		return err
	}
	if err := x.MergeCell(name, from, to); err != nil {
		return err
	}
	return x.text(name, 1, row, s, look, align)
}

func (x *book) nothing(name string, columns int) error {
	return x.across(name, headRow+1, columns, x.t("none_this_month"), "plain", "center")
}

func (x *book) cell(name string, col, row int, c cell, of column) error {
	look, align := "cell", "center"
	if of.left {
		align = "left"
	}
	if c.missing {
		look = "missing"
	}
	if c.format == "" {
		return x.text(name, col, row, c.text, look, align)
	}
	at, err := excelize.CoordinatesToCellName(col, row)
	if err != nil {
		return err
	}
	if err := x.SetCellFloat(name, at, c.number, -1, 64); err != nil {
		return err
	}
	return x.dress(name, at, look, align, c.format)
}

// rowHeight is high enough for the fullest cell, up to Excel's own limit: readers do not work it out for themselves.
func rowHeight(t table, r []cell) float64 {
	lines := 1
	for i, c := range r {
		n := 0
		for _, l := range strings.Split(c.text, "\n") {
			n += 1 + (cells(l)-1)/max(int(t.columns[i].width*0.92), 1)
		}
		lines = max(lines, n)
	}
	return min(float64(lines)*14+6, 409)
}

// cells is how many of Excel's characters a text takes: Chinese ones are twice as wide.
func cells(s string) (n int) {
	for _, r := range s {
		n++
		if r >= 0x1100 {
			n++
		}
	}
	return max(n, 1)
}

// Paper sizes as Excel numbers them.
const (
	paperA3 = 8
	paperA4 = 9
)

// page sets the paper: landscape, one page wide, the head of a table repeated on each page. A table that would be too small
// to read on A4 goes on A3.
func (x *book) page(name string, t table) error {
	paper, orient, wide, high, fit := paperA4, "landscape", 1, 0, true
	if t.width() > 200 {
		paper = paperA3
	}
	if err := x.SetPageLayout(name, &excelize.PageLayoutOptions{Size: &paper, Orientation: &orient, FitToWidth: &wide, FitToHeight: &high}); err != nil {
		return err
	}
	if err := x.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}); err != nil {
		return err
	}
	side, centred := 0.4, true
	if err := x.SetPageMargins(name, &excelize.PageLayoutMarginsOptions{Left: &side, Right: &side, Horizontally: &centred}); err != nil {
		return err
	}
	if err := x.SetHeaderFooter(name, &excelize.HeaderFooterOptions{OddFooter: "&C" + x.t("xlsx.page")}); err != nil {
		return err
	}
	if t.key == "" {
		return nil
	}
	return x.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", Scope: name, RefersTo: fmt.Sprintf("'%s'!$%d:$%d", name, titleRow, headRow)})
}

// notes are the annex of the Word form: how the figures were made, and their digest.
func (x *book) notes() error {
	name := x.t("sheet.notes")
	if err := x.add(name); err != nil {
		return err
	}
	if err := x.SetColWidth(name, "A", "A", 110); err != nil {
		return err
	}
	text, err := x.texts(x.m)
	if err != nil {
		return err
	}
	lines := []string{}
	for _, k := range rules {
		lines = append(lines, x.plainRule("rule_"+k, text))
	}
	lines = append(lines, x.t("form.digest")+text["digest"])
	if err := x.text(name, 1, titleRow, x.t("form.annex"), "title", "left"); err != nil {
		return err
	}
	if err := x.SetRowHeight(name, titleRow, 32); err != nil {
		return err
	}
	for i, l := range lines {
		if err := x.text(name, 1, titleRow+1+i, l, "plain", "left"); err != nil {
			return err
		}
		if err := x.SetRowHeight(name, titleRow+1+i, rowHeight(table{columns: []column{{width: 110}}}, []cell{words(l)})); err != nil {
			return err
		}
	}
	return x.page(name, table{})
}

// plainRule is a rule of the form with its placeholders filled.
func (x *book) plainRule(key string, text map[string]string) string {
	return placeholder.ReplaceAllStringFunc(x.t("form."+key), func(s string) string {
		return strings.Trim(text[placeholder.FindStringSubmatch(s)[2]], "\u200b")
	})
}

// bytes packs the book anew, since what wrote it stamps its parts with the time of day.
func (x *book) bytes() ([]byte, error) {
	x.SetActiveSheet(0)
	buf, err := x.WriteToBuffer()
	if err != nil {
		return nil, fmt.Errorf("excel of %s: %w", x.m.Month, err)
	}
	p, err := readParts(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("excel of %s: %w", x.m.Month, err)
	}
	return p.pack()
}
