package flow

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of one text: its expressions make no loops, so these bound what working it out costs.
const (
	maxNest  = 16  // calls within calls
	maxNodes = 256 // names, literals and calls
)

// text is a template: literal pieces and expressions in turn.
type text []piece

// piece is literal text, or an expression.
type piece struct {
	literal string
	expr    *expr
}

// expr is a quoted string, a name, or a call.
type expr struct {
	literal string // of a string
	name    string // of a variable ("user"), a secret ("secrets.user"), or a function
	call    *function
	args    []*expr
}

// secretPrefix stands before the names of secrets.
const secretPrefix = "secrets."

// parseText reads a text with {{ expressions }}. A string may hold }} as it may hold any other characters.
func parseText(s string) (text, error) {
	var out text
	nodes := 0
	for {
		before, rest, found := strings.Cut(s, "{{")
		if before != "" {
			out = append(out, piece{literal: before})
		}
		if !found {
			return out, nil
		}
		p := &parser{rest: rest, nodes: &nodes}
		e, err := p.expr(0)
		if err != nil {
			return nil, err
		}
		if s, found = strings.CutPrefix(p.skip(), "}}"); !found {
			return nil, fmt.Errorf("%q: want }} after the expression", shown(p.rest))
		}
		out = append(out, piece{expr: e})
	}
}

// parser reads one expression: name | "string" | name(expression, …).
type parser struct {
	rest  string
	nodes *int
}

// skip is what is left after white space.
func (p *parser) skip() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	return p.rest
}

func (p *parser) expr(depth int) (*expr, error) {
	if *p.nodes++; *p.nodes > maxNodes || depth > maxNest {
		return nil, fmt.Errorf("too large: want at most %d names and strings in one text, %d calls deep", maxNodes, maxNest)
	}
	rest := p.skip()
	if rest == "" {
		return nil, errors.New("ends within an expression: want }}")
	}
	if rest[0] == '\'' || rest[0] == '"' {
		return p.quoted(rest[0])
	}
	name := p.word()
	if name == "" {
		return nil, fmt.Errorf("%q: want a name, or a string in quotes", shown(rest))
	}
	if !strings.HasPrefix(p.skip(), "(") {
		return &expr{name: name}, nil
	}
	return p.callOf(name, depth)
}

// word takes a name off, secrets.password included; a number is a string that needs no quotes.
func (p *parser) word() string {
	end := 0
	for end < len(p.rest) && strings.IndexByte("abcdefghijklmnopqrstuvwxyz_0123456789.", p.rest[end]) >= 0 {
		end++
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	return name
}

func (p *parser) quoted(quote byte) (*expr, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.rest = p.rest[i+1:]
			return &expr{literal: b.String()}, nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(unescaped(p.rest[i]))
		default:
			b.WriteByte(c)
		}
	}
	return nil, fmt.Errorf("a string that begins with %c does not end", quote)
}

func unescaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

func (p *parser) callOf(name string, depth int) (*expr, error) {
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("no function %q: there are %s", name, strings.Join(FunctionNames(), ", "))
	}
	e := &expr{name: name, call: &f}
	p.rest = p.rest[1:] // (
	for !strings.HasPrefix(p.skip(), ")") {
		if len(e.args) > 0 {
			var comma bool
			if p.rest, comma = strings.CutPrefix(p.rest, ","); !comma {
				return nil, fmt.Errorf("%s: %q: want , or )", name, shown(p.rest))
			}
		}
		arg, err := p.expr(depth + 1)
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, arg)
	}
	p.rest = p.rest[1:] // )
	if n := len(e.args); n < f.min || n > f.max {
		return nil, fmt.Errorf("%s is given %d values: want %s", name, n, f.usage)
	}
	return e, nil
}

// shown is the start of what could not be read.
func shown(s string) string {
	if len(s) > 24 {
		return s[:24] + "…"
	}
	return s
}

// names calls visit with the name of every variable and secret that the text refers to.
func (t text) names(visit func(name string)) {
	for _, p := range t {
		if p.expr != nil {
			p.expr.names(visit)
		}
	}
}

func (e *expr) names(visit func(name string)) {
	for _, a := range e.args {
		a.names(visit)
	}
	if e.call == nil && e.name != "" && !isNumber(e.name) {
		visit(e.name)
	}
}

func isNumber(name string) bool { return strings.Trim(name, "0123456789.") == "" }
