package report

import (
	"fmt"
	"slices"
	"strings"

	"xunjian/pkg/i18n"
)

// DefaultForm is the form that comes with the program, as a .docx that a customer may change in Word and give back.
// Its looks follow GB/T 9704; its texts are the printer's language.
func DefaultForm(p *i18n.Printer) ([]byte, error) {
	f := form{p}
	ps := &parts{data: map[string][]byte{}}
	for name, body := range map[string]string{
		contentTypes:                   formTypes,
		"_rels/.rels":                  formRels,
		"docProps/core.xml":            f.core(),
		"word/_rels/document.xml.rels": documentRels,
		"word/styles.xml":              f.styles(),
		"word/fontTable.xml":           fontTable,
		"word/settings.xml":            formSettings,
		"word/header1.xml":             f.header(),
		"word/footer1.xml":             f.footer(),
		"word/document.xml":            f.document(),
	} {
		ps.put(name, []byte(body))
	}
	return ps.pack()
}

// form writes the parts of the default form.
type form struct{ *i18n.Printer }

func (f form) t(key string) string { return escape(f.T("report." + key)) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escape(s string) string { return escaper.Replace(s) }

// widths are those of the language: English heads have longer words, Chinese ones break anywhere.
func (f form) widths(zh, en []int) []int {
	if f.Lang == "en" {
		return en
	}
	return zh
}

// Widths are in twentieths of a point: a portrait page 156 mm, a landscape page 257 mm between the margins.
const (
	portrait  = 8844
	landscape = 14570
)

func (f form) document() string {
	var b strings.Builder
	b.WriteString(xmlHead + `<w:document ` + xmlNames + `><w:body>`)
	b.WriteString(f.cover())
	b.WriteString(f.overview())
	b.WriteString(f.inspections())
	b.WriteString(f.incidents())
	b.WriteString(f.annex())
	b.WriteString(section(false, false) + `</w:body></w:document>`)
	return b.String()
}

func (f form) cover() string {
	var b strings.Builder
	b.WriteString(para("CoverGap", "") + para("Title", "{{project}}") + para("Title", f.t("form.title")) + para("CoverMonth", "{{month}}") + para("CoverGap", ""))
	rows := ""
	for _, r := range []struct{ key, value string }{
		{"period", "{{period}}"},
		{"contract_no", "{{contract_no}}"},
		{"service_period", "{{service_period}}"},
		{"customer", "{{customer}}"},
		{"vendor", "{{vendor}}"},
		{"prepared", "　"},
		{"reviewed", "　"},
		{"approved", "　"},
		{"as_of", "{{as_of}}"},
	} {
		rows += row("", field{2200, "CoverLabel", f.t("form." + r.key), "", 0}, field{5400, "CoverValue", r.value, underline, 0})
	}
	b.WriteString(`<w:tbl><w:tblPr><w:tblW w:w="7600" w:type="dxa"/><w:jc w:val="center"/><w:tblLayout w:type="fixed"/></w:tblPr>` + grid(2200, 5400) + rows + `</w:tbl>`)
	b.WriteString(`<w:p><w:pPr><w:pStyle w:val="Tiny"/></w:pPr><w:r><w:br w:type="page"/></w:r></w:p>`)
	return b.String()
}

func (f form) overview() string {
	cols := f.widths([]int{2574, 1100, 1100, 1850, 1000, 1220}, []int{2974, 1100, 1100, 1450, 1000, 1220})
	keys := []string{"metric", "now", "previous", "change", "target", "verdict"}
	return para("Heading1", f.t("form.h1")) + para("BodyText", "{{summary_text}}") + para("Caption", f.t("form.c1")) +
		table1("summary", cols, f.heads("summary", keys), keys, 1) +
		`<w:p><w:pPr><w:pStyle w:val="Note"/>` + section(false, true) + `</w:pPr>` + run(f.t("form.n1")) + `</w:p>`
}

func (f form) inspections() string {
	cols := f.widths([]int{1350, 1650, 1000, 1080, 1080, 1760, 660, 1400, 1400, 1450, 1740}, []int{1350, 1650, 1000, 1180, 1180, 1760, 920, 1350, 1350, 1350, 1480})
	heads := f.heads("form.services", []string{"service", "rounds", "success", "always", "office", "latency", "outages", "longest", "mttr", "unknown", "verdict"})
	cells := []string{"service", "planned}}/{{done", "success", "always", "office", "p50}}/{{p95}}/{{max", "outages", "longest", "mttr", "unknown", "verdict"}
	out := para("Heading1", f.t("form.h2")) + para("Heading2", f.t("form.h21")) + para("Caption", f.t("form.c21")) +
		table1("services", cols, heads, cells, 1) + para("Note", f.t("form.n21"))
	out += f.stability() + f.functions()
	cols = []int{1300, 1350, 1320, 2080, 1450, 1700, 850, 1250, 1000, 1000, 1270}
	heads = f.heads("form.hosts", []string{"host", "ip", "role", "cpu", "memory", "mount", "used", "growth", "full", "online", "verdict"})
	cells = []string{"=host", "=ip", "=role", "=cpu_mean}}/{{cpu_p95}}/{{cpu_peak", "=mem_mean}}/{{mem_peak", "mount", "used", "growth", "full", "=online", "=verdict"}
	return out + para("Heading2", f.t("form.h23")) + para("Caption", f.t("form.c23")) + table1("hosts", cols, heads, cells, 1) + para("Note", f.t("form.n23")) + f.expiries()
}

func (f form) expiries() string {
	cols := []int{5200, 2300, 1500, 2200, 1170, 2200}
	keys := []string{"object", "kind", "issuer", "until", "days", "action"}
	return para("Heading2", f.t("form.h24")) + para("Caption", f.t("form.c24")) + table1("expiries", cols, f.heads("expiries", keys), keys, 1) + para("Note", f.t("form.n24"))
}

func (f form) warnings() string {
	cols := []int{1900, 1300, 2300, 5570, 3500}
	keys := []string{"id", "kind", "time", "content", "handling"}
	return para("Heading2", f.t("form.h33")) + para("Caption", f.t("form.c33")) + table1("warnings", cols, f.heads("warnings", keys), keys, 0)
}

func (f form) stability() string {
	cols := f.widths([]int{1350, 850, 1760, 950, 800, 700, 700, 1350, 1500, 1350, 1900, 1360}, []int{1350, 850, 1760, 950, 900, 850, 750, 1300, 1400, 1300, 1850, 1310})
	heads := f.heads("form.stability", []string{"service", "calendar", "latency", "slow", "variation", "outages", "flaps", "longest", "mtbf", "mttr", "worst", "planned"})
	cells := []string{"=service", "calendar", "p50}}/{{p95}}/{{max", "slow", "variation", "outages", "flaps", "longest", "mtbf", "mttr", "worst", "planned"}
	return para("Caption", f.t("form.c21b")) + table1("stability", cols, heads, cells, 1) + para("Note", f.t("form.n21b"))
}

func (f form) functions() string {
	cols := []int{2700, 2570, 1000, 1100, 1100, 1100, 1300, 1300, 1300, 1100}
	keys := []string{"function", "step", "done", "success", "p95", "slow", "always", "failed", "checked_by", "verdict"}
	cells := append([]string{"=function"}, keys[1:]...)
	return para("Heading2", f.t("form.h22")) + para("Caption", f.t("form.c22")) + table1("steps", cols, f.heads("steps", keys), cells, 2) + para("Note", f.t("form.n22"))
}

// incidents lays the sixteen columns of 3.1 over two rows for each incident: thirteen short ones side by side, and the three
// long texts below them, as wide as the page.
func (f form) incidents() string {
	cols := f.widths([]int{1850, 700, 660, 1200, 1200, 1200, 1200, 1200, 1080, 1330, 980, 1020, 950}, []int{1350, 850, 900, 1200, 1200, 1220, 1230, 1230, 1080, 1330, 1030, 1050, 900})
	keys := []string{"id", "level", "found_by", "start", "found_at", "responded", "recovered", "confirmed", "response", "recovery", "paused", "late", "report_no"}
	out := para("Heading1", f.t("form.h3")) + para("Heading2", f.t("form.h31")) + para("Caption", f.t("form.c31"))
	var heads, first []field
	for i, k := range keys {
		head := f.t("faults." + k)
		if k == "recovery" {
			head = strings.Replace(head, "(", "{{br}}(", 1)
		}
		heads = append(heads, field{cols[i], "TableHead", head, shade, 0})
		first = append(first, field{cols[i], "TableTextKeep", "{{" + k + "}}", pale, 0})
	}
	first[0].text = "{{#faults}}" + first[0].text
	texts := ""
	for _, k := range []string{"symptom", "cause", "handling"} {
		texts += labelled("TableLeft", f.t("faults."+k)+f.t("colon"), "{{"+k+"}}")
	}
	texts = strings.Replace(texts, "{{handling}}", "{{handling}}{{/faults}}", 1)
	rows := row(tableHead, heads...) + row(keepRow, first...) + `<w:tr><w:trPr>` + keepRow + `</w:trPr>` + cellOf(field{landscape, "", "", "", len(cols)}, texts) + `</w:tr>`
	out += `<w:tbl>` + tableProps(landscape) + grid(cols...) + rows + `</w:tbl>` + para("Note", f.t("form.n31"))
	cols = []int{2000, 1800, 1800, 1800, 2700, 2700, 1770}
	lk := []string{"level", "count", "met", "breached", "response", "recovery", "repeats"}
	return out + para("Heading2", f.t("form.h32")) + para("Caption", f.t("form.c32")) + table1("levels", cols, f.heads("levels", lk), lk, 0) +
		para("Note", f.t("form.n32")) + f.warnings() + para("Note", f.t("form.n33")) + f.score() + `<w:p><w:pPr><w:pStyle w:val="Note"/>` + section(true, false) + `</w:pPr>` + run(f.t("form.n34")) + `</w:p>`
}

// score is what missed deadlines come to in the yearly assessment.
func (f form) score() string {
	cols := []int{3170, 2000, 4200, 1000, 1200, 3000}
	keys := []string{"id", "start", "missed", "level", "points", "remark"}
	return para("Heading2", f.t("form.h34")) + para("Caption", f.t("form.c34")) + table1("score", cols, f.heads("score", keys), keys, 0)
}

// rules are the sentences on how the figures were made, under report.form.rule_<key>.
var rules = []string{"asof", "hold", "combine", "outage", "office", "latency", "load", "disk", "incident", "target"}

func (f form) annex() string {
	out := para("Heading1", f.t("form.annex"))
	for _, k := range rules {
		out += para("Rule", f.t("form.rule_"+k))
	}
	out += para("Rule", f.t("form.digest")) + para("Digest", "{{digest}}") + para("Heading1", f.t("form.sign"))
	half := portrait / 2
	box := func(who, name string) field {
		return field{half, "SignBox", f.t("form."+who) + name + "{{br}}" + f.t("form.opinion") + "{{br}}{{br}}{{br}}" + f.t("form.signature") + "{{br}}" + f.t("form.date"), "", 0}
	}
	return out + `<w:tbl>` + tableProps(portrait) + grid(half, half) + row(keepRow, box("party_a", "{{customer}}"), box("party_b", "{{vendor}}")) + `</w:tbl>` + para("Tiny", "")
}

func (f form) heads(area string, keys []string) (out []string) {
	for _, k := range keys {
		out = append(out, f.t(area+"."+k))
	}
	return out
}

func (f form) header() string {
	return xmlHead + `<w:hdr ` + xmlNames + `>` + para("Header", f.t("form.header")) + `</w:hdr>`
}

func (f form) footer() string {
	a, b, _ := strings.Cut(f.t("form.page"), "#")
	mid, c, _ := strings.Cut(b, "#")
	return xmlHead + `<w:ftr ` + xmlNames + `><w:p><w:pPr><w:pStyle w:val="Footer"/></w:pPr>` + run(a) + code("PAGE") + run(mid) + code("NUMPAGES") + run(c) + `</w:p></w:ftr>`
}

func (f form) core() string {
	return xmlHead + `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:title>` + f.t("form.title") + `</dc:title><dc:creator>xunjian</dc:creator></cp:coreProperties>`
}

func code(field string) string {
	return `<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> ` + field + ` </w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>1</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>`
}

func run(text string) string { return `<w:r><w:t xml:space="preserve">` + text + `</w:t></w:r>` }

// para is a paragraph of a style; {{br}} breaks its line.
func para(style, text string) string {
	body := run(strings.ReplaceAll(text, "{{br}}", `</w:t><w:br/><w:t xml:space="preserve">`))
	return `<w:p><w:pPr><w:pStyle w:val="` + style + `"/></w:pPr>` + body + `</w:p>`
}

// field is a cell: its width, the style and text of its paragraph, more properties, and how many columns it spans.
type field struct {
	width       int
	style, text string
	props       string
	span        int
}

func row(props string, fields ...field) string {
	out := `<w:tr>`
	if props != "" {
		out += `<w:trPr>` + props + `</w:trPr>`
	}
	for _, c := range fields {
		out += cellOf(c, para(c.style, c.text))
	}
	return out + `</w:tr>`
}

// cellOf is a cell that holds the given paragraphs.
func cellOf(c field, body string) string {
	span := ""
	if c.span > 0 {
		span = fmt.Sprintf(`<w:gridSpan w:val="%d"/>`, c.span)
	}
	return fmt.Sprintf(`<w:tc><w:tcPr><w:tcW w:w="%d" w:type="dxa"/>%s%s<w:vAlign w:val="center"/></w:tcPr>%s</w:tc>`, c.width, span, c.props, body)
}

// labelled is a paragraph that opens with its name.
func labelled(style, label, text string) string {
	return `<w:p><w:pPr><w:pStyle w:val="` + style + `"/></w:pPr><w:r><w:rPr><w:rFonts w:eastAsia="黑体"/></w:rPr><w:t xml:space="preserve">` + label + `</w:t></w:r>` + run(text) + `</w:p>`
}

func grid(cols ...int) string {
	out := `<w:tblGrid>`
	for _, c := range cols {
		out += fmt.Sprintf(`<w:gridCol w:w="%d"/>`, c)
	}
	return out + `</w:tblGrid>`
}

// onePage names the tables of a fixed few rows, which stay on one page.
var onePage = []string{"summary", "levels"}

// table1 is a table of one repeated row; its first columns, so many as left says, start at the left.
func table1(list string, cols []int, heads, cells []string, left int) string {
	keep := ""
	if slices.Contains(onePage, list) {
		keep = "Keep"
	}
	var hs, cs []field
	width := 0
	for i := range cols {
		width += cols[i]
		style := "TableText"
		if i < left {
			style = "TableLeft"
		}
		hs = append(hs, field{cols[i], "TableHead", heads[i], shade, 0})
		cs = append(cs, field{cols[i], style + keep, "{{" + cells[i] + "}}", "", 0})
	}
	cs[0].text = "{{#" + list + "}}" + cs[0].text
	cs[len(cs)-1].text += "{{/" + list + "}}"
	return `<w:tbl>` + tableProps(width) + grid(cols...) + row(tableHead, hs...) + row(keepRow, cs...) + `</w:tbl>`
}

func tableProps(width int) string {
	return fmt.Sprintf(`<w:tblPr><w:tblW w:w="%d" w:type="dxa"/><w:jc w:val="center"/><w:tblBorders>%s</w:tblBorders><w:tblLayout w:type="fixed"/><w:tblCellMar><w:top w:w="40" w:type="dxa"/><w:left w:w="70" w:type="dxa"/><w:bottom w:w="40" w:type="dxa"/><w:right w:w="70" w:type="dxa"/></w:tblCellMar></w:tblPr>`, width, borders)
}

// section ends a section here: landscape or portrait, and whether its first page is the cover, without header and footer.
func section(wide, cover bool) string {
	size, margins := `<w:pgSz w:w="11906" w:h="16838"/>`, `<w:pgMar w:top="2098" w:right="1474" w:bottom="1985" w:left="1588" w:header="1134" w:footer="1134" w:gutter="0"/>`
	if wide {
		size, margins = `<w:pgSz w:w="16838" w:h="11906" w:orient="landscape"/>`, `<w:pgMar w:top="1474" w:right="1134" w:bottom="1247" w:left="1134" w:header="794" w:footer="680" w:gutter="0"/>`
	}
	title := ""
	if cover {
		title = `<w:titlePg/>`
	}
	return `<w:sectPr><w:headerReference w:type="default" r:id="rId4"/><w:footerReference w:type="default" r:id="rId5"/><w:type w:val="nextPage"/>` + size + margins + title + `</w:sectPr>`
}
