package report

import (
	"archive/zip"
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"xunjian/pkg/i18n"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sampleModel is a copy of the sample month's figures.
func sampleModel(t testing.TB) *Model {
	t.Helper()
	modelOnce.Do(func() {
		cfg, src, month, asOf := sampleMonth(t)
		m, err := Build(t.Context(), cfg, src, month, asOf)
		if err != nil {
			t.Fatal(err)
		}
		model = *m
	})
	m := model
	return &m
}

var (
	modelOnce sync.Once
	model     Model
)

// golden compares an XML part, an element a line, with testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	got = append(bytes.ReplaceAll(got, []byte("><"), []byte(">\n<")), '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (run with -update if that is right):\n%s", name, diff)
	}
}

func TestGoldenParts(t *testing.T) {
	m := sampleModel(t)
	for _, lang := range i18n.Languages {
		word, missing, err := Word(m, nil, i18n.For(lang))
		if err != nil || len(missing) > 0 {
			t.Fatal(err, missing)
		}
		excel, err := Excel(m, i18n.For(lang))
		if err != nil {
			t.Fatal(err)
		}
		for kind, c := range map[string]struct {
			file  []byte
			parts []string
		}{
			"word":  {word, []string{"word/document.xml", "word/header1.xml", "word/footer1.xml", "word/styles.xml"}},
			"excel": {excel, []string{"xl/workbook.xml", "xl/worksheets/sheet2.xml", "xl/worksheets/sheet4.xml", "xl/sharedStrings.xml", "docProps/core.xml"}},
		} {
			p, err := readParts(c.file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.parts {
				if lang == "en" && name != "word/document.xml" && name != "xl/sharedStrings.xml" {
					continue // the rest differs in words alone
				}
				if p.data[name] == nil {
					t.Errorf("no part %s", name)
				}
				golden(t, filepath.Join(lang, kind+"-"+filepath.Base(name)), p.data[name])
			}
		}
	}
}

// Same records, same bytes: whatever the order and the pieces in which the store hands them out, and however often.
func TestSameRecordsSameBytes(t *testing.T) {
	cfg, src, month, asOf := sampleMonth(t)
	write := func() (files [][]byte) {
		m, err := Build(t.Context(), cfg, src, month, asOf)
		if err != nil {
			t.Fatal(err)
		}
		w, _, err := Word(m, nil, i18n.For("zh-CN"))
		if err != nil {
			t.Fatal(err)
		}
		x, err := Excel(m, i18n.For("zh-CN"))
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{w, x}
	}
	one := write()
	f := src.Samples.(*feed)
	slices.Reverse(f.series)
	f.chunk = 13_001
	slices.Reverse(src.Faults)
	two := write()
	for i, name := range []string{"docx", "xlsx"} {
		if !bytes.Equal(one[i], two[i]) {
			t.Errorf("%s differs", name)
		}
	}
	src.Faults = src.Faults[1:]
	if three := write(); bytes.Equal(one[0], three[0]) || bytes.Equal(one[1], three[1]) {
		t.Error("an incident less and the same file")
	}
}

// Nothing in the files carries the time at which they were written.
func TestNoTimeOfDay(t *testing.T) {
	m := sampleModel(t)
	x, err := Excel(m, i18n.For("zh-CN"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := readParts(x)
	if err != nil {
		t.Fatal(err)
	}
	zr, err := zip.NewReader(bytes.NewReader(x), int64(len(x)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range zr.File {
		if !f.Modified.Equal(zipTime) {
			t.Errorf("part %s is of %v", f.Name, f.Modified)
		}
	}
	stamps := regexp.MustCompile(`20\d\d-\d\d-\d\dT[\d:]+Z`).FindAllString(string(p.data["docProps/core.xml"]), -1)
	if !slices.Equal(stamps, []string{"2026-12-01T00:30:00Z", "2026-12-01T00:30:00Z"}) {
		t.Errorf("stamps %v", stamps)
	}
}

// Every text of both files is there in words: no key of the catalogue shows, no placeholder is left.
func TestNoKeysShow(t *testing.T) {
	leak := regexp.MustCompile(`(report|common|incident)\.[a-z_]+|\{[a-z_]+\}|\{\{|【缺`)
	for _, lang := range i18n.Languages {
		m := sampleModel(t)
		w, _, err := Word(m, nil, i18n.For(lang))
		if err != nil {
			t.Fatal(err)
		}
		x, err := Excel(m, i18n.For(lang))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			file  []byte
			parts string
		}{{w, "word/document.xml"}, {w, "word/header1.xml"}, {w, "word/footer1.xml"}, {x, "xl/sharedStrings.xml"}, {x, "xl/workbook.xml"}} {
			p, err := readParts(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := leak.FindAllString(string(p.data[c.parts]), 5); got != nil {
				t.Errorf("%s %s: %v", lang, c.parts, got)
			}
		}
	}
}

// The Excel file read back: texts that look like formulas are texts, and nothing is a formula.
func TestExcelReadBack(t *testing.T) {
	m := sampleModel(t)
	b, err := Excel(m, i18n.For("zh-CN"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := excelize.OpenReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	want := []string{"本月概况", "关键服务巡检", "速度与稳定性", "核心功能巡检", "服务器巡检", "证书与额度", "故障清单", "故障统计", "预警与误报", "考核扣分测算", "数据说明"}
	if got := x.GetSheetList(); !slices.Equal(got, want) {
		t.Fatalf("sheets %v", got)
	}
	for _, sheet := range want {
		rows, err := x.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			for j := range row {
				at, _ := excelize.CoordinatesToCellName(j+1, i+1)
				if f, err := x.GetCellFormula(sheet, at); err != nil || f != "" {
					t.Errorf("%s %s holds the formula %q (%v)", sheet, at, f, err)
				}
			}
		}
		layout, err := x.GetPageLayout(sheet)
		if err != nil || *layout.Orientation != "landscape" || *layout.FitToWidth != 1 || *layout.FitToHeight != 0 {
			t.Errorf("%s: page %+v (%v)", sheet, layout, err)
		}
	}
	is := func(sheet, at, want string) {
		t.Helper()
		if got, err := x.GetCellValue(sheet, at); err != nil || got != want {
			t.Errorf("%s %s: %q, want %q (%v)", sheet, at, got, want, err)
		}
	}
	is("故障清单", "O8", `=HYPERLINK("http://example.test","x")`)
	is("故障清单", "N5", "数据库长事务导致连接池耗尽，签章请求全部排队（=1+1 不应被当作公式）")
	is("故障清单", "G4", "2026-10-31\n22:16:02\n驻点𬭎")
	is("故障清单", "C7", "公文流转 用户报障：用户反映附件上传按钮位置不便，希望调整到正文上方 <建议>")
	is("关键服务巡检", "B4", "86,400")
	is("关键服务巡检", "E5", "99.537%")
	is("核心功能巡检", "B4", "登录签章平台")
	is("考核扣分测算", "C4", "紧急响应时间（至 2026-11-12 02:10:31）")
	is("考核扣分测算", "E4", "1")
	is("考核扣分测算", "A7", "本月扣分合计")
	is("考核扣分测算", "E9", "7.5")
	is("核心功能巡检", "H5", "6（最多）")
	is("速度与稳定性", "B5", "5×8")
	if panes, err := x.GetPanes("故障清单"); err != nil || !panes.Freeze || panes.YSplit != headRow {
		t.Errorf("panes %+v (%v)", panes, err)
	}
	if typ, err := x.GetCellType("关键服务巡检", "B4"); err != nil || typ == excelize.CellTypeSharedString {
		t.Errorf("a count is a text (%v)", err)
	}
}

// What is not known prints so in every cell, never as 0 or 100 %.
func TestEmptyMonthInWords(t *testing.T) {
	_, src := oneService(t)
	src.Hosts = []Host{{Name: "app-01"}}
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 08:00:00")
	got := map[string]string{}
	for _, tb := range tables(m, i18n.For("zh-CN"), shanghai) {
		for _, r := range tb.rows {
			for i, c := range r {
				if i > 0 {
					got[tb.key] += c.text + " "
				}
			}
		}
	}
	none := func(n int) string { return strings.Repeat("无数据 ", n) }
	want := map[string]string{
		"summary":  none(3) + "≥99.9% 无数据 " + none(3) + "≥99% 无数据 " + strings.Repeat(none(3)+"— — ", 3) + none(3) + "≥100% 无数据 ",
		"services": none(13),
		"hosts":    none(13),
		"levels":   none(6 * 4),
		"score":    strings.Repeat("— — — 无数据 — ", 3),

		"stability": "7×24 " + none(12) + "5×8 " + none(12),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w, missing, err := Word(m, nil, i18n.For("zh-CN"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"contract_no", "customer", "service_period", "vendor"}; !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v", missing, want)
	}
	p, err := readParts(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"本月没有任何监测或故障记录", "本月无记录", "【缺:contract_no】"} {
		if !strings.Contains(string(p.data["word/document.xml"]), s) {
			t.Errorf("%q does not stand in the document", s)
		}
	}
}

func TestWords(t *testing.T) {
	zh, en := writer{i18n.For("zh-CN"), shanghai}, writer{i18n.For("en"), shanghai}
	d := func(d time.Duration, wantZH, wantEN string) {
		t.Helper()
		if got := zh.duration(d); got != wantZH {
			t.Errorf("%v: %s, want %s", d, got, wantZH)
		}
		if got := en.duration(d); got != wantEN {
			t.Errorf("%v: %s, want %s", d, got, wantEN)
		}
	}
	d(3*time.Hour+12*time.Minute, "3小时12分", "3 h 12 min")
	d(10*time.Minute, "10分", "10 min")
	d(10*time.Minute+time.Millisecond, "10分1秒", "10 min 1 s")
	d(50*time.Hour+5*time.Second, "2天2小时5秒", "2 d 2 h 5 s")
	d(0, "0秒", "0 s")
	s := func(v float64, want string) {
		t.Helper()
		if got := share(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	s(1, "100%")
	s(math.Nextafter(1, 0), "99.999%")
	s(0.9999999, "99.999%")
	s(0.9989999, "99.899%") // misses 99.9 % and must not look as if it did not
	s(0.999, "99.9%")
	s(0.99963, "99.963%")
	s(0.29, "29%")
	s(0, "0%")
	for n := range int64(10000) { // no share loses its last decimal to the floating point
		if v, want := float64(n)/10000, strings.TrimSuffix(strings.TrimRight(strings.TrimSpace(signed(float64(n)/100, 2)), "0"), "."); share(v) != strings.TrimPrefix(want, "+")+"%" && n > 0 {
			t.Fatalf("%v: %s, want %s%%", v, share(v), want)
		}
	}
	if got := zh.time(time.Date(2026, 10, 31, 16, 0, 0, 999_999_999, time.UTC)); got != "2026-11-01 00:00:00" {
		t.Errorf("time %s", got)
	}
	if got := signed(-0.0004, 3); got != "0.000" {
		t.Errorf("a change of nothing: %s", got)
	}
	if got := short(strings.Repeat("长", 2000)); len([]rune(got)) != 1501 {
		t.Errorf("%d characters", len([]rune(got)))
	}
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	m := sampleModel(t)
	files, err := Write(dir, m, nil, i18n.For("zh-CN"))
	if err != nil {
		t.Fatal(err)
	}
	if files.Word != filepath.Join(dir, "xunjian-2026-11.docx") || files.Excel != filepath.Join(dir, "xunjian-2026-11.xlsx") || files.Missing != nil {
		t.Errorf("%+v", files)
	}
	before, err := os.ReadFile(files.Word)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, m, []byte("no form"), i18n.For("zh-CN")); err == nil {
		t.Error("a form that is none was filled")
	}
	if after, err := os.ReadFile(files.Word); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old report is gone (%v)", err)
	}
	if _, err := Write(filepath.Join(dir, "nowhere"), m, nil, i18n.For("zh-CN")); err == nil {
		t.Error("written into a folder that is not there")
	}
	if err := os.Mkdir(filepath.Join(dir, "xunjian-2026-10.docx"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := replace(filepath.Join(dir, "xunjian-2026-10.docx"), []byte("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left in the folder: %v (%v)", left, err)
	}
}
