package i18n

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// English is what agents and libraries say, one sentence a line, and Chinese what people read.
func TestSentences(t *testing.T) {
	b, err := os.ReadFile("testdata/reasons.en.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	zh := make([]string, len(said))
	for i, s := range said {
		zh[i] = For("zh-CN").Sentence(s)
		if en := For("en").Sentence(s); en != s {
			t.Errorf("%q becomes %q in English", s, en)
		}
		if again := For("zh-CN").Sentence(zh[i]); again != zh[i] {
			t.Errorf("%q becomes %q when it is put once more", zh[i], again)
		}
	}
	const golden = "testdata/reasons.zh-CN.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(zh, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for i, s := range zh {
		if i >= len(lines) || s != lines[i] {
			t.Errorf("%q becomes %q; see %s (-update)", said[i], s, golden)
		}
	}
}

// Each sentence that is known is found again whatever stands in its places.
func TestEverySentenceIsFound(t *testing.T) {
	g := english()
	for key, text := range catalogues["en"] {
		if !strings.HasPrefix(key, "reason.") {
			continue
		}
		said := places.ReplaceAllString(text, "x1")
		got := For("zh-CN").Sentence(said)
		if left := regexp.MustCompile(`\b[a-z]{3,}('s)? [a-z]{2,}\b`).FindString(got); left != "" && !strings.Contains(catalogues["zh-CN"][key], left) {
			t.Errorf("%s: %q becomes %q, of which %q is not known", key, said, got, left)
		}
	}
	if n := len(g.whole) + len(g.plain) + len(g.open) + len(g.nouns); n < 200 {
		t.Errorf("%d sentences", n)
	}
}

func FuzzSentence(f *testing.F) {
	for _, s := range []string{"", "a: b: c", "x is y, want z", `json a is "b: c"`, "not delivered: ", "secret: secret: secret: body"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := For("zh-CN").Sentence(s); len(got) > 16*len(s)+1024 {
			t.Errorf("%d bytes become %d", len(s), len(got))
		}
	})
}

func BenchmarkSentence(b *testing.B) {
	for b.Loop() {
		For("zh-CN").Sentence(`submit: expect[0]: json code is "500", want "200" (it says "流程引擎繁忙")`)
	}
}
