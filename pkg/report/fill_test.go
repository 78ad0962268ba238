package report

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smallForm is a .docx with one body part.
func smallForm(t testing.TB, body string) []byte {
	t.Helper()
	p := &parts{data: map[string][]byte{}}
	p.put(contentTypes, []byte(formTypes))
	p.put("word/document.xml", []byte(xmlHead+`<w:document `+xmlNames+`><w:body>`+body+`</w:body></w:document>`))
	b, err := p.pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// filled is the body of a filled small form.
func filled(t testing.TB, body string, v Values) (string, []string) {
	t.Helper()
	out, missing, err := fill(smallForm(t, body), v)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readParts(out)
	if err != nil {
		t.Fatal(err)
	}
	s := string(p.data["word/document.xml"])
	_, s, _ = strings.Cut(s, "<w:body>")
	s, _, _ = strings.Cut(s, "</w:body>")
	return s, missing
}

func TestFillText(t *testing.T) {
	f := func(name, in, want string, missing ...string) {
		t.Helper()
		got, miss := filled(t, in, Values{Text: map[string]string{"a": "甲", "编制单位": "运维组", "lines": "一\n二", "odd": `<app-01> & {{a}} "q"`, "bad": "x\x00\x1b\ufffey\xff", "empty": ""}})
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if !slices.Equal(miss, missing) {
			t.Errorf("%s: missing %v, want %v", name, miss, missing)
		}
	}
	p := func(runs string) string { return `<w:p>` + runs + `</w:p>` }
	r := func(s string) string { return `<w:r><w:t xml:space="preserve">` + s + `</w:t></w:r>` }
	f("plain", p(r("值 {{a}}，{{ a }}")), p(r("值 甲，甲")))
	f("full width", p(r("｛｛编制单位｝｝")), p(r("运维组")))
	f("split over runs", p(r("可用率 {")+`<w:proofErr w:type="spellStart"/><w:r><w:rPr><w:b/></w:rPr><w:t>{a</w:t></w:r>`+r("}}，完")),
		p(r("可用率 甲")+`<w:proofErr w:type="spellStart"/><w:r><w:rPr><w:b/></w:rPr><w:t xml:space="preserve"/></w:r>`+r("，完")))
	f("two in split runs", p(r("{{a}}{{")+r("a}}-{{a")+r("}}.")), p(r("甲甲")+r("-甲")+r(".")))
	f("lines", p(r("{{lines}}")), p(`<w:r><w:t xml:space="preserve">一</w:t><w:br/><w:t xml:space="preserve">二</w:t></w:r>`))
	f("values open nothing", p(r("{{odd}}")), p(r(`&lt;app-01&gt; &amp; {{a}} &quot;q&quot;`)))
	f("not for XML", p(r("{{bad}}")), p(r("xy\uFFFD")))
	f("missing", p(r("{{nobody}} {{empty}}")), p(r("【缺:nobody】 【缺:empty】")), "empty", "nobody")
	f("not a placeholder", p(r("{a} {{a} { {a}}")), p(r("{a} {{a} { {a}}")))
	f("text box inside", p(`<w:r><w:txbx>`+p(r("{{a}}"))+`</w:txbx></w:r>`+r("{{a}}")), p(`<w:r><w:txbx>`+p(r("甲"))+`</w:txbx></w:r>`+r("甲")))
}

func cellXML(props, text string) string {
	return `<w:tc><w:tcPr><w:tcW w:w="100" w:type="dxa"/>` + props + `</w:tcPr><w:p><w:r><w:t xml:space="preserve">` + text + `</w:t></w:r></w:p></w:tc>`
}

// cellsOf reads a table back: rows of "text", "text|restart" and "|merged".
func cellsOf(s string) (out []string) {
	for _, row := range strings.Split(s, "</w:tr>") {
		var cells []string
		for _, c := range strings.Split(row, "</w:tc>") {
			if !strings.Contains(c, "<w:t ") {
				continue
			}
			text := ""
			for _, part := range strings.Split(c, "<w:t ")[1:] {
				_, x, _ := strings.Cut(part, ">")
				x, _, _ = strings.Cut(x, "<")
				text += x
			}
			switch {
			case strings.Contains(c, `<w:vMerge w:val="restart"/>`):
				text += "|restart"
			case strings.Contains(c, `<w:vMerge/>`):
				text += "|merged"
			}
			cells = append(cells, text)
		}
		if cells != nil {
			out = append(out, strings.Join(cells, ";"))
		}
	}
	return out
}

func TestFillRows(t *testing.T) {
	item := func(a, b string) map[string]string { return map[string]string{"a": a, "b": b} }
	v := Values{Text: map[string]string{"n": "2"}, Empty: "本月无记录", Lists: map[string][]map[string]string{
		"l": {item("x", "1"), item("x", "2"), item("y", "2"), item("x", "2")}, "none": {},
	}}
	table := func(rows string) string { return `<w:tbl>` + rows + `</w:tbl>` }
	tr := func(cells string) string { return `<w:tr>` + cells + `</w:tr>` }
	f := func(name, rows string, want ...string) string {
		t.Helper()
		got, _ := filled(t, table(rows), v)
		if diff := cmp.Diff(want, cellsOf(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		return got
	}
	head, foot := tr(cellXML("", "头")), tr(cellXML("", "共 {{n}}"))
	got := f("repeated", head+tr(cellXML("", "{{#l}}{{a}}")+cellXML("", "{{b}}{{/l}}"))+foot, "头", "x;1", "x;2", "y;2", "x;2", "共 2")
	if n := strings.Count(got, "<w:cantSplit/>"); n != 4 {
		t.Errorf("%d rows may not break over pages, want 4", n)
	}
	f("merged", tr(cellXML("", "{{#l}}{{=a}}")+cellXML("", "{{=b}}{{/l}}")),
		"x|restart;1|restart", "|merged;2|restart", "y|restart;2|restart", "x|restart;2|restart")
	f("block of rows", tr(cellXML("", "{{#l}}{{a}}"))+tr(cellXML("", "{{b}}{{/l}}"))+foot, "x", "1", "x", "2", "y", "2", "x", "2", "共 2")
	got = f("empty", tr(cellXML("", "{{#none}}{{a}}")+cellXML(`<w:gridSpan w:val="2"/>`, "{{b}}"))+tr(cellXML("", "{{b}}{{/none}}"))+foot, "本月无记录", "共 2")
	if !strings.Contains(got, `<w:gridSpan w:val="3"/>`) {
		t.Errorf("the row of nothing does not span the table: %s", got)
	}
	_, missing := filled(t, table(tr(cellXML("", "{{#who}}{{a}}{{/who}}"))), v)
	if !slices.Equal(missing, []string{"#who"}) {
		t.Errorf("missing %v", missing)
	}
}

// A name that covers more rows than a page holds is written again every fifteen rows, and its rows stay together.
func TestMergeRestarts(t *testing.T) {
	v := Values{Lists: map[string][]map[string]string{}}
	for i := range 40 {
		v.Lists["l"] = append(v.Lists["l"], map[string]string{"a": "same", "b": fmt.Sprint(i)})
	}
	got, _ := filled(t, `<w:tbl><w:tr>`+cellXML("", "{{#l}}{{=a}}")+cellXML("", "{{b}}{{/l}}")+`</w:tr></w:tbl>`, v)
	var starts []int
	for i, r := range cellsOf(got) {
		if strings.HasPrefix(r, "same|restart") {
			starts = append(starts, i)
		}
	}
	if !slices.Equal(starts, []int{0, 15, 30}) {
		t.Errorf("the name stands in rows %v", starts)
	}
	if n := strings.Count(got, "<w:keepNext/>"); n != 2*(14+14+9) {
		t.Errorf("%d paragraphs keep with the next row", n)
	}
}

func packed(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := zw.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBadForms(t *testing.T) {
	deep := strings.Repeat("<w:r>", maxDepth+1) + strings.Repeat("</w:r>", maxDepth+1)
	row := `<w:tbl><w:tr>` + cellXML("", "{{#l}}{{a}}") + `</w:tr></w:tbl>`
	wide := `<w:tbl><w:tr>` + cellXML("", "{{#l}}{{/l}}"+strings.Repeat(`</w:t></w:r><w:r><w:t>`, 60_000)) + `</w:tr></w:tbl>`
	for name, c := range map[string]struct {
		form []byte
		why  string
	}{
		"not a zip":       {[]byte("PK, no"), "save an old .doc"},
		"not a docx":      {packed(t, "a.txt", "x"), "no word/document.xml"},
		"broken XML":      {packed(t, "word/document.xml", "<a><b></a>"), "word/document.xml"},
		"no XML":          {packed(t, "word/document.xml", ""), "word/document.xml"},
		"twice":           {packed(t, "a", "1", "a", "2"), "twice"},
		"out of the file": {packed(t, "../../etc/x", "1"), "leads out"},
		"deep":            {smallForm(t, deep), "levels"},
		"unclosed list":   {smallForm(t, row), "not closed"},
		"grows too large": {smallForm(t, wide), "too large"},
		"too large":       {make([]byte, formLimits.packed+1), "bytes"},
	} {
		items := make([]map[string]string, 100)
		_, _, err := fill(c.form, Values{Lists: map[string][]map[string]string{"l": items}})
		if !errors.Is(err, ErrForm) || !strings.Contains(fmt.Sprint(err), c.why) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.why)
		}
	}
}

// An archive may claim little and hold much.
func TestLimits(t *testing.T) {
	small := limits{packed: 2000, unpacked: 10_000, parts: 3}
	f := func(name, why string, files ...string) {
		t.Helper()
		_, err := small.unpack(packed(t, files...))
		if (err == nil) != (why == "") || err != nil && (!errors.Is(err, ErrForm) || !strings.Contains(err.Error(), why)) {
			t.Errorf("%s: error %v, want one with %q", name, err, why)
		}
	}
	blank := func(n int) string { return strings.Repeat(" ", n) }
	f("just as much", "", "a", blank(9_990), "b", blank(10))
	f("a bomb", "unpacks to more", "a", blank(10_001))
	f("a bomb in two parts", "unpacks to more", "a", blank(9_990), "b", blank(11))
	f("many parts", "4 parts", "a", "", "b", "", "c", "", "d", "")
}

// The parts that no placeholder can be in come through as they were.
func TestOtherPartsStay(t *testing.T) {
	in := packed(t, "word/media/logo.png", "\x89PNG{{a}}", "word/document.xml", xmlHead+`<w:document `+xmlNames+`/>`, "word/header3.xml", xmlHead+`<w:hdr `+xmlNames+`><w:p><w:r><w:t>{{a}}</w:t></w:r></w:p></w:hdr>`, "customXml/item1.xml", "<a>{{a}}</a>")
	out, _, err := fill(in, Values{Text: map[string]string{"a": "甲"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := readParts(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(p.data["word/media/logo.png"]); got != "\x89PNG{{a}}" {
		t.Errorf("picture %q", got)
	}
	if got := string(p.data["customXml/item1.xml"]); got != "<a>{{a}}</a>" {
		t.Errorf("other XML %q", got)
	}
	if got := string(p.data["word/header3.xml"]); !strings.Contains(got, "甲") {
		t.Errorf("header %q", got)
	}
}

// Whatever the form is, filling ends: with an error, or with a file that can be read again.
func FuzzFill(f *testing.F) {
	f.Add(smallForm(f, `<w:p><w:r><w:t>{{month}}</w:t></w:r></w:p><w:tbl><w:tr><w:t>{{#faults}}{{=id}}{{/faults}}</w:t></w:tr></w:tbl>`))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, _, err := fill(b, Values{Text: map[string]string{"month": "2026年11月"}, Lists: map[string][]map[string]string{"faults": {{"id": "1"}, {"id": "1"}}}})
		if err != nil {
			if !errors.Is(err, ErrForm) {
				t.Errorf("error %v is not ErrForm", err)
			}
			return
		}
		if _, err := readParts(out); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

// The same for the XML alone, which a mutated archive seldom lets through.
func FuzzFillBody(f *testing.F) {
	f.Add(`<w:p><w:r><w:t>{{</w:t></w:r><w:r><w:t>a}}{{a}}</w:t></w:r></w:p>`)
	f.Add(`<w:tbl><w:tr><w:tc><w:p><w:r><w:t>{{#l}}{{=a}}{{/l}}</w:t></w:r></w:p></w:tc></w:tr></w:tbl>`)
	f.Add(`<w:tbl><w:tr><w:tc><w:tbl><w:tr><w:tc><w:p><w:r><w:t>｛｛#l｝｝</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:tc></w:tr></w:tbl>`)
	f.Add(`<w:tr><w:t>{{#l}}{{/l}}</w:t></w:tr>`)
	f.Fuzz(func(t *testing.T, body string) {
		doc := xmlHead + `<w:document ` + xmlNames + `><w:body>` + body + `</w:body></w:document>`
		out, _, err := fill(packed(t, "word/document.xml", doc), Values{Text: map[string]string{"a": "x\ny"}, Lists: map[string][]map[string]string{"l": {{"a": "1"}, {"a": "1"}, {}}}})
		if err != nil {
			if !errors.Is(err, ErrForm) {
				t.Errorf("error %v is not ErrForm", err)
			}
			return
		}
		p, err := readParts(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse("word/document.xml", p.data["word/document.xml"]); err != nil {
			t.Errorf("filled XML cannot be read: %v\n%s", err, p.data["word/document.xml"])
		}
	})
}
