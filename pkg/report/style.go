package report

import "fmt"

const (
	xmlHead  = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	xmlNames = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`

	shade     = `<w:shd w:val="clear" w:color="auto" w:fill="D9E2F3"/>`
	pale      = `<w:shd w:val="clear" w:color="auto" w:fill="F2F2F2"/>`
	underline = `<w:tcBorders><w:bottom w:val="single" w:sz="4" w:space="0" w:color="000000"/></w:tcBorders>`
	keepRow   = `<w:cantSplit/>`
	tableHead = `<w:cantSplit/><w:tblHeader/>`
	borders   = `<w:top w:val="single" w:sz="8" w:space="0" w:color="000000"/><w:left w:val="single" w:sz="4" w:space="0" w:color="000000"/><w:bottom w:val="single" w:sz="8" w:space="0" w:color="000000"/><w:right w:val="single" w:sz="4" w:space="0" w:color="000000"/><w:insideH w:val="single" w:sz="4" w:space="0" w:color="000000"/><w:insideV w:val="single" w:sz="4" w:space="0" w:color="000000"/>`
)

const formTypes = xmlHead + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/><Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/><Override PartName="/word/settings.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.settings+xml"/><Override PartName="/word/fontTable.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.fontTable+xml"/><Override PartName="/word/header1.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.header+xml"/><Override PartName="/word/footer1.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.footer+xml"/><Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>`

const formRels = xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>`

const documentRels = xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/settings" Target="settings.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/fontTable" Target="fontTable.xml"/><Relationship Id="rId4" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/header" Target="header1.xml"/><Relationship Id="rId5" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footer" Target="footer1.xml"/></Relationships>`

const formSettings = xmlHead + `<w:settings ` + xmlNames + `><w:zoom w:percent="100"/><w:defaultTabStop w:val="420"/><w:characterSpacingControl w:val="compressPunctuation"/><w:compat><w:compatSetting w:name="compatibilityMode" w:uri="http://schemas.microsoft.com/office/word" w:val="15"/></w:compat></w:settings>`

// fontTable names what a reader's machine may take where an official font is not installed.
const fontTable = xmlHead + `<w:fonts ` + xmlNames + `>` +
	`<w:font w:name="方正小标宋简体"><w:altName w:val="方正小标宋_GBK,FZXiaoBiaoSong-B05S,华文中宋,宋体,SimSun,Noto Serif CJK SC"/><w:charset w:val="86"/><w:family w:val="roman"/></w:font>` +
	`<w:font w:name="仿宋_GB2312"><w:altName w:val="仿宋,FangSong,华文仿宋,方正仿宋_GBK,Noto Serif CJK SC"/><w:charset w:val="86"/><w:family w:val="modern"/></w:font>` +
	`<w:font w:name="楷体_GB2312"><w:altName w:val="楷体,KaiTi,华文楷体,方正楷体_GBK,Noto Serif CJK SC"/><w:charset w:val="86"/><w:family w:val="modern"/></w:font>` +
	`<w:font w:name="黑体"><w:altName w:val="SimHei,方正黑体_GBK,Noto Sans CJK SC"/><w:charset w:val="86"/><w:family w:val="swiss"/></w:font>` +
	`<w:font w:name="宋体"><w:altName w:val="SimSun,方正书宋_GBK,Noto Serif CJK SC"/><w:charset w:val="86"/><w:family w:val="roman"/></w:font>` +
	`<w:font w:name="Times New Roman"><w:altName w:val="Liberation Serif"/><w:charset w:val="00"/><w:family w:val="roman"/></w:font></w:fonts>`

// font is the run properties of an East Asian font and a size in half points; digits and Latin letters are Times New Roman.
func font(name string, size int, more string) string {
	return fmt.Sprintf(`<w:rFonts w:ascii="Times New Roman" w:hAnsi="Times New Roman" w:cs="Times New Roman" w:eastAsia="%s"/>%s<w:sz w:val="%d"/><w:szCs w:val="%d"/>`, name, more, size, size)
}

// look is a paragraph style.
type look struct{ id, name, base, para, run string }

// styles follow GB/T 9704-2012: title 小标宋 2号, body 仿宋 3号 at 28 pt lines and two characters' indent, headings 黑体 and
// 楷体 3号; tables are smaller, since the standard says nothing of them and the contract's have sixteen columns.
func (f form) styles() string {
	const keep = `<w:keepNext/>`
	indent, even, spread := `<w:ind w:firstLineChars="200" w:firstLine="640"/>`, "both", "distribute"
	if f.Lang == "en" {
		indent, even, spread = "", "left", "left"
	}
	out := xmlHead + `<w:styles ` + xmlNames + `><w:docDefaults><w:rPrDefault><w:rPr>` + font("仿宋_GB2312", 32, "") +
		`<w:lang w:val="en-US" w:eastAsia="zh-CN"/></w:rPr></w:rPrDefault><w:pPrDefault/></w:docDefaults>` +
		`<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/><w:qFormat/><w:pPr><w:widowControl w:val="0"/></w:pPr></w:style>`
	for _, l := range []look{
		{"Title", "Title", "Normal", `<w:spacing w:before="0" w:after="120" w:line="720" w:lineRule="exact"/><w:jc w:val="center"/>`, font("方正小标宋简体", 52, "")},
		{"CoverGap", "Cover Gap", "Normal", `<w:spacing w:before="1300" w:after="0"/>`, font("仿宋_GB2312", 32, "")},
		{"CoverMonth", "Cover Month", "Normal", `<w:spacing w:before="360" w:after="0"/><w:jc w:val="center"/>`, font("楷体_GB2312", 36, "")},
		{"CoverLabel", "Cover Label", "Normal", `<w:spacing w:before="120" w:after="20"/><w:jc w:val="` + spread + `"/>`, font("黑体", 28, "")},
		{"CoverValue", "Cover Value", "Normal", `<w:spacing w:before="120" w:after="20"/><w:jc w:val="center"/>`, font("仿宋_GB2312", 28, "")},
		{"Heading1", "heading 1", "Normal", keep + `<w:keepLines/><w:spacing w:before="240" w:after="120" w:line="560" w:lineRule="exact"/><w:outlineLvl w:val="0"/>`, font("黑体", 32, "")},
		{"Heading2", "heading 2", "Normal", keep + `<w:keepLines/><w:spacing w:before="120" w:after="60" w:line="560" w:lineRule="exact"/><w:outlineLvl w:val="1"/>`, font("楷体_GB2312", 32, "")},
		{"BodyText", "Body Text", "Normal", `<w:spacing w:line="560" w:lineRule="exact"/>` + indent + `<w:jc w:val="` + even + `"/>`, font("仿宋_GB2312", 32, "")},
		{"Caption", "caption", "Normal", keep + `<w:spacing w:before="120" w:after="60"/><w:jc w:val="center"/>`, font("黑体", 21, "")},
		{"Note", "Table Note", "Normal", `<w:spacing w:before="60" w:after="120" w:line="260" w:lineRule="exact"/>`, font("宋体", 17, "")},
		{"TableHead", "Table Head", "Normal", keep + `<w:jc w:val="center"/>`, font("黑体", 18, "")},
		{"TableText", "Table Text", "Normal", `<w:jc w:val="center"/>`, font("宋体", 18, "")},
		{"TableLeft", "Table Left", "Normal", `<w:jc w:val="left"/>`, font("宋体", 18, "")},
		{"TableTextKeep", "Table Text Keep", "TableText", keep, ""},
		{"TableLeftKeep", "Table Left Keep", "TableLeft", keep, ""},
		{"Rule", "Rule", "Normal", `<w:spacing w:before="40" w:after="40" w:line="380" w:lineRule="exact"/><w:jc w:val="` + even + `"/>`, font("仿宋_GB2312", 24, "")},
		{"Digest", "Digest", "Normal", `<w:spacing w:before="40" w:after="120" w:line="320" w:lineRule="exact"/>`, `<w:rFonts w:ascii="Courier New" w:hAnsi="Courier New" w:cs="Courier New" w:eastAsia="宋体"/><w:sz w:val="20"/>`},
		{"SignBox", "Sign Box", "Normal", `<w:spacing w:before="80" w:after="80" w:line="440" w:lineRule="exact"/>`, font("仿宋_GB2312", 24, "")},
		{"Tiny", "Tiny", "Normal", `<w:spacing w:line="20" w:lineRule="exact"/>`, `<w:sz w:val="2"/>`},
		{"Header", "header", "Normal", `<w:pBdr><w:bottom w:val="single" w:sz="4" w:space="4" w:color="808080"/></w:pBdr><w:jc w:val="center"/>`, font("宋体", 18, "")},
		{"Footer", "footer", "Normal", `<w:jc w:val="center"/>`, font("宋体", 18, "")},
	} {
		out += `<w:style w:type="paragraph" w:styleId="` + l.id + `"><w:name w:val="` + l.name + `"/><w:basedOn w:val="` + l.base + `"/><w:qFormat/><w:pPr>` + l.para + `</w:pPr><w:rPr>` + l.run + `</w:rPr></w:style>`
	}
	return out + `</w:styles>`
}
