// Package i18n gives every string that a person sees, in Chinese and in English, from embedded catalogues.
package i18n

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed catalogue/*.json
var files embed.FS

// Languages are the complete ones, the default first.
var Languages = []string{"zh-CN", "en"}

var catalogues = load()

// Printer speaks one language.
type Printer struct {
	Lang string
	text map[string]string
}

// For is the printer of a language; anything but English (en, en_US.UTF-8, en-GB, …) is Chinese.
func For(lang string) *Printer {
	if lang != "en" && !strings.HasPrefix(lang, "en_") && !strings.HasPrefix(lang, "en-") {
		return &Printer{Languages[0], catalogues[Languages[0]]}
	}
	return &Printer{"en", catalogues["en"]}
}

// T is the text of a key with its {placeholders} filled from pairs (name, value, …). An unknown key shows as itself,
// so that a missing text is seen and nothing else breaks.
func (p *Printer) T(key string, pairs ...string) string {
	s, ok := p.text[key]
	if !ok {
		return key
	}
	if len(pairs) == 0 {
		return s
	}
	args := make([]string, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		args[i], args[i+1] = "{"+pairs[i]+"}", pairs[i+1]
	}
	return strings.NewReplacer(args...).Replace(s)
}

// Has says whether the key has a text.
func (p *Printer) Has(key string) bool { _, ok := p.text[key]; return ok }

// load reads catalogue/<area>.<language>.json; the files are part of the program, so a bad one is a programming error.
func load() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, l := range Languages {
		out[l] = map[string]string{}
	}
	names, err := fs.Glob(files, "catalogue/*.json")
	if err != nil {
		panic(err)
	}
	for _, n := range names {
		area, rest, _ := strings.Cut(path.Base(n), ".")
		lang := strings.TrimSuffix(rest, ".json")
		b, err := files.ReadFile(n)
		if err != nil {
			panic(err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			panic(fmt.Sprintf("catalogue %s: %v", n, err))
		}
		for k, v := range m {
			if !strings.HasPrefix(k, area+".") || out[lang] == nil {
				panic(fmt.Sprintf("catalogue %s: key %q", n, k))
			}
			out[lang][k] = v
		}
	}
	return out
}
