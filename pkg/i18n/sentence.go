package i18n

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Sentence puts what an agent of any version, or a library below it, said in English into the printer's language. The texts of the
// area "reason" are both ends of it: the English ones are what is recognised, as a whole or in parts, {placeholders} standing for
// any text that is put in turn, but {said}, a service's own words. Names, figures and what is not known stay as they are.
func (p *Printer) Sentence(s string) string {
	if p.Lang == "en" {
		return s
	}
	return p.sentence(s, maxParts)
}

// maxParts bounds how deep a sentence is taken apart.
const maxParts = 8

// form is an English text with places for others.
type form struct {
	key    string
	anchor string // its longest piece of text, quickly looked for
	match  *regexp.Regexp
	weight int // of its texts together
}

// grammar is what is recognised; lists of forms have the most telling one first.
type grammar struct {
	whole map[string]string // key by text, where that has no places
	tails []form            // what is added in brackets or behind a semicolon: about all before
	plain []form            // those that begin with a text of their own
	open  []form            // those that begin with a place
	nouns []form            // one word and what it is about
}

var english = sync.OnceValue(func() (g grammar) {
	g.whole = map[string]string{}
	english := catalogues["en"]
	for _, key := range slices.Sorted(maps.Keys(english)) {
		if !strings.HasPrefix(key, "reason.") {
			continue
		}
		texts := places.Split(english[key], -1)
		if len(texts) == 1 {
			g.whole[english[key]] = key
			continue
		}
		f := formOf(key, texts)
		switch {
		case texts[0] == "" && (strings.HasPrefix(texts[1], "; ") || strings.HasPrefix(texts[1], " (")):
			g.tails = append(g.tails, f)
		case texts[0] == "":
			g.open = append(g.open, f)
		case noun.MatchString(english[key]):
			g.nouns = append(g.nouns, f)
		default:
			g.plain = append(g.plain, f)
		}
	}
	for _, list := range [][]form{g.tails, g.plain, g.open} {
		slices.SortStableFunc(list, func(a, b form) int { return cmp.Compare(b.weight, a.weight) })
	}
	return g
})

// noun is a text of a word and what it is about.
var noun = regexp.MustCompile(`^\w+ \{[a-z]+\}$`)

// oneWord are the places of texts without spaces.
var oneWord = []string{"{addr}", "{code}", "{date}", "{days}", "{ends}", "{from}", "{id}", "{n}", "{net}", "{number}", "{of}", "{to}", "{usage}", "{word}"}

var places = regexp.MustCompile(`\{[a-z_]+\}`)

func formOf(key string, texts []string) form {
	f := form{key: key}
	pattern := "^"
	names := places.FindAllString(catalogues["en"][key], -1)
	for i, text := range texts {
		pattern += regexp.QuoteMeta(text)
		switch {
		case i == len(names):
		case slices.Contains(oneWord, names[i]):
			pattern += `(\S+?)`
		default:
			pattern += "(.+?)"
		}
		f.weight += len(text)
		if len(text) > len(f.anchor) {
			f.anchor = text
		}
	}
	f.match = regexp.MustCompile(pattern + "$")
	return f
}

func (p *Printer) sentence(s string, depth int) string {
	g := english()
	if key, ok := g.whole[s]; ok {
		return p.text[key]
	}
	if depth == 0 || !strings.Contains(s, " ") || quoted(s) {
		return s
	}
	for _, list := range [][]form{g.tails, g.plain} {
		if out, ok := p.as(list, s, depth); ok {
			return out
		}
	}
	head, rest, cut := strings.Cut(s, ": ")
	_, known := g.whole[head]
	if strings.Count(head, " ") == 1 && !known {
		_, known = p.as(g.nouns, head, depth)
	}
	if !cut || !known && !name.MatchString(head) {
		if out, ok := p.as(g.open, s, depth); ok {
			return out
		}
	}
	if !cut || strings.ContainsAny(head, `"{<`) {
		out, _ := p.as(g.nouns, s, depth)
		return cmp.Or(out, s)
	}
	return p.sentence(head, depth-1) + "：" + p.sentence(rest, depth-1)
}

// name is what may stand before a colon that is no part of a sentence: a step, a place in a flow.
var name = regexp.MustCompile(`^[\w.\[\]-]+$`)

// as puts a text by the first of the forms that it has.
func (p *Printer) as(list []form, s string, depth int) (string, bool) {
	for _, f := range list {
		if !strings.Contains(s, f.anchor) {
			continue
		}
		found := f.match.FindStringSubmatch(s)
		if found == nil {
			continue
		}
		parts := map[string]string{}
		for i, place := range places.FindAllString(catalogues["en"][f.key], -1) {
			if parts[place] = found[i+1]; place != "{said}" {
				parts[place] = p.sentence(found[i+1], depth-1)
			}
		}
		return fill(p.text[f.key], parts), true
	}
	return "", false
}

// quoted says that all of a text is one thing that somebody else said.
func quoted(s string) bool {
	return len(s) > 1 && s[0] == '"' && strings.IndexByte(s[1:], '"') == len(s)-2
}

// fill puts parts into the places of a text. Between two words of Chinese no space is written.
func fill(text string, parts map[string]string) string {
	out := ""
	add := func(s string) {
		if strings.HasSuffix(out, " ") && chinese(utf8.DecodeRuneInString(s)) && chinese(utf8.DecodeLastRuneInString(strings.TrimSuffix(out, " "))) {
			out = strings.TrimSuffix(out, " ")
		}
		if strings.HasPrefix(s, " ") && chinese(utf8.DecodeLastRuneInString(out)) && chinese(utf8.DecodeRuneInString(s[1:])) {
			s = s[1:]
		}
		out += s
	}
	last := 0
	for _, at := range places.FindAllStringIndex(text, -1) {
		add(text[last:at[0]])
		add(parts[text[at[0]:at[1]]])
		last = at[1]
	}
	add(text[last:])
	return out
}

func chinese(r rune, _ int) bool { return unicode.Is(unicode.Han, r) }
