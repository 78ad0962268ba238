package flow

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"
)

// Bounds of a page that is read for its forms.
const (
	maxForms  = 32
	maxInputs = 256 // hidden ones and meta elements, of the whole page
)

// document is what a page says to a browser that fills in forms.
type document struct {
	metas map[string]string // by name, or by id or property where there is no name
	forms []*form           // the first one collects inputs outside of any form, when there are some
}

// form is one form, or the inputs outside of forms.
type form struct {
	action   string
	hidden   map[string]string
	password bool
}

// document reads the page once.
func (pg *page) document() *document {
	if pg.doc == nil {
		pg.doc = readDocument(pg.Body)
	}
	return pg.doc
}

// form is the one that a person would fill in: it asks for a password, or else it is the first real one.
func (d *document) form() *form {
	for _, f := range d.forms {
		if f.password {
			return f
		}
	}
	if len(d.forms) == 0 {
		return nil
	}
	return d.forms[0]
}

// asksForPassword says that a person would have to give one to go on.
func (d *document) asksForPassword() bool {
	f := d.form()
	return f != nil && f.password
}

// readDocument goes through the page once, whatever it holds.
func readDocument(body []byte) *document {
	r := &reader{doc: &document{metas: map[string]string{}}}
	z := html.NewTokenizer(bytes.NewReader(body))
	z.SetMaxBuf(1 << 20)
	for {
		switch z.Next() {
		case html.ErrorToken:
			return r.doc
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			if tag := string(name); tag == "form" || tag == "input" || tag == "meta" {
				r.element(tag, attributes(z, more))
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == "form" {
				r.open = nil
			}
		}
	}
}

func attributes(z *html.Tokenizer, more bool) map[string]string {
	out := map[string]string{}
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		if _, twice := out[string(key)]; !twice && len(out) < maxInputs {
			out[string(key)] = string(val)
		}
	}
	return out
}

// reader is within a form, or not.
type reader struct {
	doc    *document
	open   *form
	inputs int
}

func (r *reader) element(tag string, a map[string]string) {
	switch tag {
	case "form":
		if len(r.doc.forms) < maxForms {
			r.open = &form{action: strings.TrimSpace(a["action"]), hidden: map[string]string{}}
			r.doc.forms = append(r.doc.forms, r.open)
		}
	case "meta":
		name := a["name"]
		for _, other := range []string{"id", "property", "http-equiv"} {
			if name == "" {
				name = a[other]
			}
		}
		if _, twice := r.doc.metas[name]; name != "" && !twice && r.room() {
			r.doc.metas[name] = a["content"]
		}
	case "input":
		r.input(a)
	}
}

func (r *reader) room() bool { r.inputs++; return r.inputs <= maxInputs }

func (r *reader) input(a map[string]string) {
	kind := strings.ToLower(a["type"])
	if kind != "hidden" && kind != "password" || !r.room() {
		return
	}
	if r.open == nil { // some pages put inputs beside their forms
		if len(r.doc.forms) >= maxForms {
			return
		}
		r.open = &form{hidden: map[string]string{}}
		r.doc.forms = append(r.doc.forms, r.open)
	}
	name := a["name"]
	if name == "" {
		name = a["id"]
	}
	if kind == "password" {
		r.open.password = true
	} else if _, twice := r.open.hidden[name]; name != "" && !twice {
		r.open.hidden[name] = a["value"]
	}
}
