package i18n

import (
	"regexp"
	"slices"
	"testing"
)

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// Both languages say the same things with the same placeholders.
func TestCataloguesMatch(t *testing.T) {
	zh, en := catalogues["zh-CN"], catalogues["en"]
	for k, v := range zh {
		w, ok := en[k]
		if !ok {
			t.Errorf("%s has no English text", k)
			continue
		}
		a, b := placeholder.FindAllString(v, -1), placeholder.FindAllString(w, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
			t.Errorf("%s: placeholders %v in Chinese, %v in English", k, a, b)
		}
		if v == "" || w == "" {
			t.Errorf("%s is empty in a language", k)
		}
	}
	for k := range en {
		if _, ok := zh[k]; !ok {
			t.Errorf("%s has no Chinese text", k)
		}
	}
}

func TestPrinter(t *testing.T) {
	if got := For("fr").T("common.level.urgent"); got != "紧急" {
		t.Errorf("default language: %q", got)
	}
	if got := For("en_US.UTF-8").T("common.level.urgent"); got != "urgent" {
		t.Errorf("a locale of English: %q", got)
	}
	if got := For("en").T("no.such.key", "a", "b"); got != "no.such.key" {
		t.Errorf("unknown key: %q", got)
	}
}
