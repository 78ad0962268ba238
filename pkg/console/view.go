package console

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"

	"xunjian/pkg/access"
	"xunjian/pkg/i18n"
)

// frame is what every page shows around its own matter.
type frame struct {
	P       *i18n.Printer
	Other   string // language
	Path    string // of this page, for the forms and for the other language
	Title   string
	Version string
	Who     access.Identity
	MayAct  bool
	Now     time.Time
	Head    string // of the window
	Notice  string // why an act was refused
	Done    string // what an act did
	Still   bool   // somebody may be writing here: without scripts it is not refreshed

	places [][2]string // address and name of the pages that there are
}

// frame is in the time zone of the contract: so is every time shown.
func (c *Console) frame(r *http.Request, who access.Identity, now time.Time) frame {
	p := printer(r)
	path := cameFrom(r)
	return frame{
		P: p, Other: other(p), Path: path, Title: c.o.Title, Version: c.o.Version, Who: who,
		MayAct: mayAct(who), Now: now.In(c.o.Location), places: c.places(),
	}
}

func (c *Console) places() [][2]string {
	out := [][2]string{{"/", "console.board"}}
	if c.o.Duty != nil {
		out = append(out, [2]string{"/duty", "console.duty"})
	}
	if c.o.Windows != nil {
		out = append(out, [2]string{"/windows", "console.windows"})
	}
	if c.o.Pages != nil {
		out = append(out, [2]string{"/channels", "console.channels"})
	}
	return out
}

func mayAct(who access.Identity) bool { return access.Allow(who, access.Handle) == nil }

// Zone is the name of the zone of all times on the page.
func (f frame) Zone() string { return f.Now.Location().String() }

// place is one of the console's pages.
type place struct {
	Path, Text string
	Here       bool
}

// Places are the pages that this console has, for the line under its head.
func (f frame) Places() (out []place) {
	for _, p := range f.places {
		out = append(out, place{p[0], f.P.T(p[1]), p[0] == f.Path})
	}
	return out
}

// Frame lets a template hand the frame on to a part.
func (f frame) Frame() frame { return f }

// outcome is what came of a person's act.
type outcome struct {
	status        int
	done, refusal string
	deed          string            // that was refused
	said          map[string]string // in its form
}

// functions are what templates may call.
var functions = template.FuncMap{
	"ms":    func(t time.Time) int64 { return t.UnixMilli() },
	"hm":    func(t time.Time) string { return t.Format("15:04") },
	"at":    at,
	"add":   func(a, b int) int { return a + b },
	"of":    func(f frame, v any) framed { return framed{f, v} },
	"meter": func(name string, s share, mount string) meter { return meter{name, s, mount} },
}

// meter is one of a host's bars.
type meter struct {
	Name  string
	Share share
	Mount string
}

// framed gives a part of a page its frame.
type framed struct {
	F frame
	V any
}

func at(t time.Time) string { return t.Format("01-02 15:04:05") }

// span is a duration as people say it: 3:05 or 1:02:03.
func span(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// plain shows marks that would turn text around, and control characters, in place of obeying them.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
