package channel

import (
	"strings"
	"unicode"
	"unicode/utf16"

	"xunjian/pkg/i18n"
)

// MaxShort bounds texts for telephones: one short message of UCS-2.
const MaxShort = 70

// Brief is what a text for telephones must say.
type Brief struct {
	Level   string // 紧急
	Service string // 签章服务
	What    string // 中断
	ID      string // INC-20261123-0007
	Code    string // how to reply, as 回复1234; empty: not by reply
}

// Text puts the parts into at most MaxShort characters. Level, number and code stand whole; of the service and of what is
// wrong as much as there is room for, the service first: who is woken must know at once whose fault it is.
func (b Brief) Text() string {
	head, tail := "【"+oneLine(b.Level)+"】", " "+oneLine(b.ID)
	if b.Code != "" {
		tail += " " + oneLine(b.Code)
	}
	service, what := oneLine(b.Service), oneLine(b.What)
	room := MaxShort - units(head) - units(tail) - 1
	if room < 4 {
		return cut(head+tail, MaxShort)
	}
	if over := units(service) + units(what) - room; over > 0 {
		service = cut(service, max(room*3/4, room-units(what)))
		if left := room - units(service); left >= min(4, units(what)) {
			what = cut(what, left)
		} else { // a syllable of it would tell nothing
			service, what = cut(oneLine(b.Service), room+1), ""
		}
	}
	return head + strings.TrimSpace(service+" "+what) + tail
}

// units is the length as short messages count it: a character beyond the common plane takes two places.
func units(s string) (n int) {
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// cut leaves at most n units; where something is missing stands an ellipsis.
func cut(s string, n int) string {
	if units(s) <= n {
		return s
	}
	var b strings.Builder
	left := n - 1
	for _, r := range s {
		if left -= max(utf16.RuneLen(r), 1); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	if n > 0 {
		b.WriteRune('…')
	}
	return b.String()
}

// cutBytes leaves at most n bytes of UTF-8, an ellipsis among them where something is missing.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return Clip(s, max(n-len("…"), 0)) + "…"
}

// oneLine keeps what fits in a subject, a header or a short message: no line ends, no control characters, nothing that
// turns the direction of writing or stands there unseen.
func oneLine(s string) string {
	return strings.Join(strings.Fields(visible(s)), " ")
}

// lines is oneLine for texts of several lines.
func lines(s string) string {
	ls := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range ls {
		ls[i] = strings.TrimRight(visible(ls[i]), " ")
	}
	return strings.Join(ls, "\n")
}

func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return '?'
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.In(r, unicode.Cc):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Texts are a site's own wording of messages, with placeholders. What is empty is as shipped.
type Texts struct {
	Title string `yaml:"title,omitempty"`
	Text  string `yaml:"text,omitempty"`
	Short string `yaml:"short,omitempty"` // of SMS and voice; {short} in it is cut to what room there is
}

var shipped = Texts{Title: "{title}", Text: "{text}{ack}", Short: "{short}"}

// words are the message's in the site's own wording. A link that is shown as a button need not stand in the text too.
func (b *base) words(m Message, language string, button bool) Words {
	w := m.Words(language)
	t, p := b.texts(language), i18n.For(language)
	fill := func(text string, values ...string) string {
		return strings.NewReplacer(append(values, "{code}", oneLine(m.Code), "{link}", oneLine(m.Link))...).Replace(text)
	}
	ack := ""
	if m.Link != "" && !button {
		ack += "\n" + p.T("channel.ack.link", "link", oneLine(m.Link))
	}
	if m.Code != "" {
		ack += "\n" + p.T("channel.ack.code", "code", oneLine(m.Code))
	}
	title, short := oneLine(w.Title), oneLine(w.Short)
	if short == "" {
		short = title
	}
	frame := strings.ReplaceAll(t.Short, "{short}", "")
	short = cut(short, max(MaxShort-units(fill(frame)), 0))
	return Words{
		Title: oneLine(fill(t.Title, "{title}", title)),
		Text:  lines(fill(t.Text, "{title}", title, "{text}", w.Text, "{ack}", ack)),
		Short: cut(oneLine(fill(t.Short, "{short}", short)), MaxShort),
	}
}

func (b *base) texts(language string) Texts {
	t := b.s.Texts[language]
	for _, p := range []struct{ have, def *string }{{&t.Title, &shipped.Title}, {&t.Text, &shipped.Text}, {&t.Short, &shipped.Short}} {
		if *p.have == "" {
			*p.have = *p.def
		}
	}
	return t
}

// language is that of a person, else the channel's, else the product's own.
func (b *base) language(p Person) string {
	if p.Language != "" {
		return p.Language
	}
	return b.s.Language
}
