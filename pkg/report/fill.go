package report

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// Values is what fills a form.
type Values struct {
	Text  map[string]string
	Lists map[string][]map[string]string
	Empty string // stands in for the rows of a list without items
}

// A placeholder in full-width braces is taken too: a Chinese input method types them.
//
//	{{name}}               text, anywhere in body, header, footer and tables, also when Word split it over runs
//	{{#list}} … {{/list}}  in one table: the rows from the one to the other are repeated for each item of the list
//	{{=name}}              in a repeated row: like {{name}}, and equal neighbours down the column become one cell
var placeholder = regexp.MustCompile(`(?:\{\{|｛｛)\s*([#/=]?)\s*([^{}｛｝]*?)\s*(?:\}\}|｝｝)`)

// mergeRows is after how many rows a merged cell starts anew, so that a page without its text is rare.
const mergeRows = 15

// maxGrown bounds the elements that repeating rows may add to a part.
const maxGrown = 4_000_000

// fill puts the values into a form and tells which of its placeholders have none; those print as 【缺:name】.
func fill(form []byte, v Values) (out []byte, missing []string, err error) {
	p, err := readParts(form)
	if err != nil {
		return nil, nil, err
	}
	if p.data["word/document.xml"] == nil {
		return nil, nil, badForm("no word/document.xml: not a .docx")
	}
	f := &filler{Values: v, missing: map[string]bool{}}
	for _, name := range p.names {
		if !fillable(name) {
			continue
		}
		doc, err := parse(name, p.data[name])
		if err != nil {
			return nil, nil, err
		}
		f.grown = 0
		if err := f.walk(doc.Root(), v.Text); err != nil {
			return nil, nil, err
		}
		if p.data[name], err = doc.WriteToBytes(); err != nil {
			return nil, nil, badForm("part %s: %v", name, err)
		}
	}
	out, err = p.pack()
	return out, slices.Sorted(maps.Keys(f.missing)), err
}

func fillable(name string) bool {
	dir, base := path.Split(name)
	if dir != "word/" || !strings.HasSuffix(base, ".xml") {
		return false
	}
	for _, p := range []string{"document", "header", "footer", "footnotes", "endnotes"} {
		if strings.HasPrefix(base, p) {
			return true
		}
	}
	return false
}

type filler struct {
	Values
	missing map[string]bool
	grown   int
}

func (f *filler) walk(e *etree.Element, env map[string]string) error {
	children := e.ChildElements()
	for i := 0; i < len(children); i++ {
		c := children[i]
		if c.Tag == "p" {
			f.paragraph(c, env)
		}
		if name, ok := opens(c); ok {
			block, err := blockOf(children[i:], name)
			if err != nil {
				return err
			}
			if err := f.repeat(e, block, name); err != nil {
				return err
			}
			i += len(block) - 1
			continue
		}
		if err := f.walk(c, env); err != nil {
			return err
		}
	}
	return nil
}

// opens says which list a table row opens.
func opens(e *etree.Element) (string, bool) {
	if e.Tag != "tr" {
		return "", false
	}
	for _, m := range placeholder.FindAllStringSubmatch(plain(e), -1) {
		if m[1] == "#" {
			return m[2], true
		}
	}
	return "", false
}

// blockOf is the rows from the first to the one that closes the list.
func blockOf(rows []*etree.Element, name string) ([]*etree.Element, error) {
	for i, r := range rows {
		if r.Tag != "tr" {
			break
		}
		for _, m := range placeholder.FindAllStringSubmatch(plain(r), -1) {
			if m[1] == "/" && m[2] == name {
				return rows[:i+1], nil
			}
		}
	}
	return nil, badForm("list {{#%s}} is not closed by {{/%s}} in the same table", name, name)
}

// plain is all text under an element.
func plain(e *etree.Element) string {
	var b strings.Builder
	for _, t := range e.FindElements(".//w:t") {
		b.WriteString(t.Text())
	}
	return b.String()
}

func (f *filler) repeat(table *etree.Element, block []*etree.Element, name string) error {
	items, ok := f.Lists[name]
	if !ok {
		f.missing["#"+name] = true
	}
	at := block[0].Index()
	for _, r := range block {
		table.RemoveChild(r)
	}
	if len(items) == 0 {
		table.InsertChildAt(at, f.emptyRow(block[0]))
		return nil
	}
	if f.grown += len(items) * count(block); f.grown > maxGrown {
		return badForm("list %s would make the document too large (%d items)", name, len(items))
	}
	merge := newMerger(block)
	for i, it := range items {
		env := maps.Clone(f.Text)
		if env == nil {
			env = map[string]string{}
		}
		maps.Copy(env, it)
		for j, row := range block {
			r := row.Copy()
			noSplit(r)
			if err := f.walk(r, env); err != nil {
				return err
			}
			merge.row(i, j, r)
			table.InsertChildAt(at, r)
			at++
		}
	}
	return nil
}

func count(es []*etree.Element) (n int) {
	for _, e := range es {
		n += 1 + count(e.ChildElements())
	}
	return n
}

// emptyRow is the row's first cell across the whole table, saying that there is nothing.
func (f *filler) emptyRow(row *etree.Element) *etree.Element {
	r := row.Copy()
	noSplit(r)
	span := 0
	cells := r.SelectElements("w:tc")
	for i, c := range cells {
		span += gridSpan(c)
		if i > 0 {
			r.RemoveChild(c)
		}
	}
	if len(cells) == 0 {
		return r
	}
	pr := properties(cells[0], "tcPr")
	for _, old := range []string{"w:gridSpan", "w:vMerge", "w:tcW"} {
		if x := pr.SelectElement(old); x != nil {
			pr.RemoveChild(x)
		}
	}
	g := etree.NewElement("w:gridSpan")
	g.CreateAttr("w:val", itoa(span))
	pr.InsertChildAt(0, g)
	for i, t := range cells[0].FindElements(".//w:t") {
		t.SetText("")
		if i == 0 {
			t.SetText(cleanText(f.Empty))
		}
	}
	return r
}

// paragraph replaces the placeholders of one paragraph, from the last to the first so that those before keep their places.
// One that Word has split over several runs is put together in the run where it starts, and keeps its looks.
func (f *filler) paragraph(p *etree.Element, env map[string]string) {
	ts := texts(p)
	var all strings.Builder
	for _, t := range ts {
		all.WriteString(t.Text())
	}
	s := all.String()
	found := placeholder.FindAllStringSubmatchIndex(s, -1)
	broken := map[*etree.Element]bool{}
	for i := len(found) - 1; i >= 0; i-- {
		m := found[i]
		value := f.value(s[m[2]:m[3]], s[m[4]:m[5]], env)
		if t := put(ts, m[0], m[1], value); t != nil && strings.Contains(value, "\n") {
			broken[t] = true
		}
	}
	for _, t := range ts {
		if broken[t] {
			breakLines(t)
		}
	}
}

func (f *filler) value(kind, name string, env map[string]string) string {
	if kind == "#" || kind == "/" {
		return ""
	}
	v, ok := env[name]
	if !ok || v == "" {
		f.missing[name] = true
		return "【缺:" + cleanText(name) + "】"
	}
	return cleanText(v)
}

// texts are the paragraph's own runs of text; paragraphs inside it (text boxes) have their own.
func texts(p *etree.Element) (ts []*etree.Element) {
	for _, c := range p.ChildElements() {
		switch {
		case c.Tag == "t" && c.Space == "w":
			ts = append(ts, c)
		case c.Tag != "p":
			ts = append(ts, texts(c)...)
		}
	}
	return ts
}

// put replaces the bytes [from, to) of the joined texts and returns the element that now holds the value.
func put(ts []*etree.Element, from, to int, value string) (first *etree.Element) {
	at := 0
	for _, t := range ts {
		s := t.Text()
		n := len(s)
		a, b := from-at, min(to-at, n)
		switch {
		case first == nil && a >= 0 && a < n:
			first = t
			t.SetText(s[:a] + value + s[b:])
		case first != nil && to > at:
			t.SetText(s[b:])
		}
		if first != nil {
			t.CreateAttr("xml:space", "preserve")
		}
		if at += n; at >= to {
			break
		}
	}
	return first
}

// breakLines turns the newlines of a text into line breaks.
func breakLines(t *etree.Element) {
	run, at := t.Parent(), t.Index()
	lines := strings.Split(t.Text(), "\n")
	t.SetText(lines[0])
	for i, l := range lines[1:] {
		n := etree.NewElement("w:t")
		n.CreateAttr("xml:space", "preserve")
		n.SetText(l)
		run.InsertChildAt(at+1+2*i, etree.NewElement("w:br"))
		run.InsertChildAt(at+2+2*i, n)
	}
}
