package channel

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// However long a fault's names are, a text for telephones fits one short message and keeps level, number and code whole,
// and of service and fault the beginning.
func TestBriefFits(t *testing.T) {
	long := strings.Repeat("省级一体化协同办公平台电子签章与验证服务", 20)
	for _, b := range []Brief{
		{"紧急", "签章服务", "中断", "INC-20261123-0007", "回复1234响应"},
		{"紧急", long, "中断", "INC-20261123-0007", "回复1234响应"},
		{"紧急", "签章服务", long, "INC-20261123-0007", "回复1234响应"},
		{"升级为紧急", long, long, "INC-20261123-0007", "回复1234响应"},
		{"紧急", strings.Repeat("𬭎", 100), strings.Repeat("😀", 100), "INC-20261123-0007", "回复1234响应"},
		{"urgent", strings.Repeat("signature service ", 20), "down", "INC-20261123-0007", "reply 1234 to ack"},
		{"紧急", "", "", "INC-20261123-0007", ""},
	} {
		got := b.Text()
		if n := units(got); n > MaxShort {
			t.Errorf("%d characters: %s", n, got)
		}
		for _, must := range []string{"【" + b.Level + "】", b.ID, b.Code} {
			if !strings.Contains(got, must) {
				t.Errorf("%q lacks %q", got, must)
			}
		}
		for _, part := range []string{b.Service, b.What} {
			if r, _ := utf8.DecodeRuneInString(part); part != "" && !strings.ContainsRune(got, r) {
				t.Errorf("%q says nothing of %.20s", got, part)
			}
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00") {
			t.Errorf("%q", got)
		}
	}
	if got := (Brief{"紧急", "签章\r\n服务", "中\x00断\u202e", "INC-1", "回复1"}).Text(); got != "【紧急】签章 服务 中 断 INC-1 回复1" {
		t.Errorf("%q", got)
	}
	if got := (Brief{"紧急", "签章服务 中断", "步骤 reach：状态码异常: 500 Internal Server Error", "http://10.12.34.56:9480/a/AAAAAQYufamEfZNF1Q_Q3g", "回复6580响应"}).Text(); !strings.Contains(got, "签章服务 中断") || units(got) > MaxShort {
		t.Errorf("beside a link, the fault is cut: %q", got)
	}
	if got := (Brief{strings.Repeat("级", 90), "a", "b", "INC-1", "1"}).Text(); units(got) > MaxShort {
		t.Errorf("%q", got)
	}
}

// A site's signature counts among the 70 characters, and the fault's text gives way to it.
func TestShortWithSignature(t *testing.T) {
	b := newBase(Settings{Kind: "sms", Texts: map[string]Texts{"zh-CN": {Short: "【省厅运维】{short} 退订回T"}}})
	m := Message{Short: strings.Repeat("字", 90)}
	got := b.words(m, "zh-CN", false).Short
	if units(got) > MaxShort || !strings.HasPrefix(got, "【省厅运维】字") || !strings.HasSuffix(got, "… 退订回T") {
		t.Errorf("%d: %s", units(got), got)
	}
}

// Languages: the person's, then the channel's, then the product's own; a placeholder that was filled in is not looked at again.
func TestWords(t *testing.T) {
	m := Message{Title: "题", Text: "文 {title}", Link: "https://x/1", Code: "77", Translations: map[string]Words{"en": {Title: "title {link}", Text: "text"}}}
	b := newBase(Settings{Kind: "email", Language: "en"})
	if w := b.words(m, b.language(Person{}), false); w.Title != "title {link}" || !strings.Contains(w.Text, "Acknowledge: https://x/1") || !strings.Contains(w.Text, "Reply 77") {
		t.Errorf("%+v", w)
	}
	if w := b.words(m, b.language(Person{Language: "zh-CN"}), true); w.Title != "题" || w.Text != "文 {title}\n回复 77 即可响应" || w.Short != "题" {
		t.Errorf("%+v", w)
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("【紧急】", "签章服务", "中断", "INC-1", "回复1")
	f.Add("a\r\nb", "\xff\xfe", "😀\u202e", "", "{short}")
	f.Fuzz(func(t *testing.T, level, service, what, id, code string) {
		short := Brief{level, service, what, id, code}.Text()
		b := newBase(Settings{Kind: "sms", Texts: map[string]Texts{"zh-CN": {Short: "【省厅】{short}"}}})
		w := b.words(Message{Title: service, Text: what, Short: short, Link: id, Code: code}, "zh-CN", false)
		for _, s := range []string{short, w.Short, w.Title} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\x1b\u202e") {
				t.Errorf("%q", s)
			}
		}
		if units(short) > MaxShort || units(w.Short) > MaxShort {
			t.Errorf("%d and %d characters", units(short), units(w.Short))
		}
		plain := plainMarkdown(w.Text)
		if strings.ContainsAny(plain, "[]<>`*@\\\x00\r") {
			t.Errorf("%q", plain)
		}
		if len(cutBytes(w.Text, 100)) > 100 || !utf8.ValidString(cutBytes(w.Text, 100)) {
			t.Errorf("%q", cutBytes(w.Text, 100))
		}
	})
}
