package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// merger joins equal neighbours down the columns that ask for it by {{=name}}.
type merger struct {
	wanted []map[int]bool // by row of the block, by cell
	before []map[int]string
	height []map[int]int
	last   *etree.Element // the newest row
}

func newMerger(block []*etree.Element) *merger {
	m := &merger{}
	for _, row := range block {
		w := map[int]bool{}
		for i, c := range row.SelectElements("w:tc") {
			for _, p := range placeholder.FindAllStringSubmatch(plain(c), -1) {
				w[i] = w[i] || p[1] == "="
			}
		}
		m.wanted = append(m.wanted, w)
		m.before = append(m.before, map[int]string{})
		m.height = append(m.height, map[int]int{})
	}
	return m
}

// row marks the cells of the block's row j made for item i. A cell further right merges only where those left of it do:
// two hosts may have the same role, and are still two. Rows that share a cell are kept on one page, where they fit.
func (m *merger) row(i, j int, r *etree.Element) {
	fresh := i == 0
	joined := false
	defer func() {
		if joined {
			keepNext(m.last)
		}
		m.last = r
	}()
	for n, c := range r.SelectElements("w:tc") {
		if !m.wanted[j][n] {
			continue
		}
		text := plain(c)
		same := !fresh && m.before[j][n] == text && m.height[j][n] < mergeRows
		fresh = !same
		m.before[j][n] = text
		if same {
			m.height[j][n]++
		} else {
			m.height[j][n] = 1
		}
		joined = joined || same
		mergeCell(c, same)
	}
}

func mergeCell(c *etree.Element, same bool) {
	v := etree.NewElement("w:vMerge")
	if !same {
		v.CreateAttr("w:val", "restart")
	} else {
		for _, t := range c.FindElements(".//w:t") {
			t.SetText("")
		}
		for _, br := range c.FindElements(".//w:br") {
			br.Parent().RemoveChild(br)
		}
	}
	pr := properties(c, "tcPr")
	if old := pr.SelectElement("w:vMerge"); old != nil {
		pr.RemoveChild(old)
	}
	// The schema's order is cnfStyle, tcW, gridSpan, hMerge, vMerge, the rest.
	at := 0
	for _, x := range pr.ChildElements() {
		if slices.Contains([]string{"cnfStyle", "tcW", "gridSpan", "hMerge"}, x.Tag) {
			at = x.Index() + 1
		}
	}
	pr.InsertChildAt(at, v)
}

// keepNext keeps a row on the page of the next.
func keepNext(tr *etree.Element) {
	for _, p := range tr.FindElements("w:tc/w:p") {
		pr := properties(p, "pPr")
		if pr.SelectElement("w:keepNext") != nil {
			continue
		}
		at := 0
		if x := pr.SelectElement("w:pStyle"); x != nil {
			at = x.Index() + 1
		}
		pr.InsertChildAt(at, etree.NewElement("w:keepNext"))
	}
}

// noSplit keeps a row on one page.
func noSplit(tr *etree.Element) {
	pr := tr.SelectElement("w:trPr")
	if pr == nil {
		pr = etree.NewElement("w:trPr")
		at := 0
		if x := tr.SelectElement("w:tblPrEx"); x != nil {
			at = x.Index() + 1
		}
		tr.InsertChildAt(at, pr)
	}
	if pr.SelectElement("w:cantSplit") == nil {
		pr.InsertChildAt(0, etree.NewElement("w:cantSplit"))
	}
}

// properties is the element's first child of that name, made when it is not there.
func properties(e *etree.Element, tag string) *etree.Element {
	pr := e.SelectElement("w:" + tag)
	if pr == nil {
		pr = etree.NewElement("w:" + tag)
		e.InsertChildAt(0, pr)
	}
	return pr
}

func gridSpan(c *etree.Element) int {
	if g := c.FindElement("w:tcPr/w:gridSpan"); g != nil {
		if n, err := strconv.Atoi(strings.TrimSpace(g.SelectAttrValue("w:val", "1"))); err == nil && n > 0 && n < 1000 {
			return n
		}
	}
	return 1
}

func itoa(n int) string { return strconv.Itoa(n) }
