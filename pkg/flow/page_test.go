package flow

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
)

func TestReadDocument(t *testing.T) {
	d := readDocument([]byte(`<html><head><META NAME="_csrf" content='t&amp;1'><meta name="_csrf" content="second"><meta property="og:x" content="y">
<script>var s = '<input type="hidden" name="fake" value="1">';</script><!-- <form action="/no"> --></head>
<body><form action="/search"><input type="hidden" name="kind" value="a"></form>
<form id="f" ACTION=" /cas/login?x=1&amp;y=2 "><input type=hidden name=execution value=e1s1><input type="hidden" id="lt" value="LT-1">
<input type="hidden" name="execution" value="again"><input name="u"><input type='password' name="p"></form>
<input type="hidden" name="lonely" value="z"></body>`))
	if d.metas["_csrf"] != "t&1" || d.metas["og:x"] != "y" {
		t.Errorf("metas %v", d.metas)
	}
	f := d.form()
	if f == nil || f.action != "/cas/login?x=1&y=2" || f.hidden["execution"] != "e1s1" || f.hidden["lt"] != "LT-1" || len(f.hidden) != 2 {
		t.Fatalf("form %+v", f)
	}
	if len(d.forms) != 3 || d.forms[2].hidden["lonely"] != "z" {
		t.Errorf("%d forms", len(d.forms))
	}
	if readDocument(nil).form() != nil {
		t.Error("a form of nothing")
	}
}

func FuzzDocument(f *testing.F) {
	for _, s := range []string{"<form><input type=hidden name=a value=b>", "<meta name=a content", "<input type='hidden'", "<form action=\"", strings.Repeat("<form>", 99), "<script><input type=hidden name=x>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		d := readDocument(page)
		n := len(d.metas)
		for _, f := range d.forms {
			n += len(f.hidden)
		}
		if len(d.forms) > maxForms || n > maxInputs {
			t.Errorf("%d forms, %d inputs", len(d.forms), n)
		}
	})
}

func TestXML(t *testing.T) {
	const doc = `<?xml version="1.0" encoding="utf-8"?><w:discovery xmlns:w="urn:x"><net-zone name="external">
<app name="writer"><action ext="docx" name="view" urlsrc="v"/><action ext="docx" name="edit" urlsrc="e/1"/></app>
<app name="Calc"><action ext="xlsx" name="edit" urlsrc="x">text <b>within</b></action></app></net-zone></w:discovery>`
	f := func(path string, want ...string) {
		t.Helper()
		got, err := xmlAt([]byte(doc), path)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %q %v, want %q", path, got, err, want)
		}
	}
	f("app/action[@ext='docx'][@name='edit']/@urlsrc", "e/1")
	f("//action/@name", "view", "edit", "edit")
	f("discovery/net-zone/@name", "external")
	f("app[@name='Calc']/action", "text within")
	f("*/b", "within")
	f("app/@missing")
	f("action[@urlsrc='e/1']/@name", "edit")
	for _, bad := range []string{"", "/", "a[b]", "@x", "a/@x/b", "a b", strings.Repeat("a/", 99) + "a"} {
		if _, err := parseXMLPath(bad); err == nil {
			t.Errorf("%q is read as a path", bad)
		}
	}
	for _, bad := range []string{"<a>", "no", "<a></b>", strings.Repeat("<a>", 300)} {
		if _, err := xmlAt([]byte(bad), "zz"); err == nil && bad != "no" {
			t.Errorf("%.20s is read as a document", bad)
		}
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<a b="c"><d/></a>`), "a/d")
	f.Add([]byte(`<?xml version="1.0"?><wopi-discovery><net-zone name="external-http"><app name="writer"><action name="edit" ext="docx" urlsrc="https://h/e?"/></app></net-zone></wopi-discovery>`), "app/action[@ext='docx'][@name='edit']/@urlsrc")
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`), "a")
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		if got, err := xmlAt(doc, path); err == nil && len(got) > 2*maxFound {
			t.Errorf("%d values", len(got))
		}
	})
}

func TestWarn(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	dates := &check.Limits{Name: "licence", Minor: "30d", General: "7d", Urgent: "0d"}
	quota := &check.Limits{Name: "balance", Minor: "500", Urgent: "0"}
	for _, tc := range []struct {
		limits *check.Limits
		text   string
		level  string
	}{
		{dates, "2027-01-01T00:00:00Z", ""},
		{dates, "2026-12-24T12:00:00Z", "minor"},
		{dates, "2026-12-24T12:00:01Z", ""},
		{dates, "1796040000", "general"}, // 30 November 2026
		{dates, "1795500000000", "urgent"},
		{dates, "Mon, 23 Nov 2026 00:00:00 GMT", "urgent"},
		{dates, "2026-11-24", "general"}, // is good for the whole of that day
		{dates, "20261123", "urgent"},
		{quota, "501", ""},
		{quota, " 500 ", "minor"},
		{quota, "-3", "urgent"},
	} {
		f, err := warn(tc.limits, tc.text, now)
		if err != nil || f.Level != tc.level {
			t.Errorf("%s %s: %q %v, want %q", tc.limits.Name, tc.text, f.Level, err, tc.level)
		}
	}
	for _, bad := range []string{"soon", "", "NaN"} {
		if _, err := warn(dates, bad, now); err == nil {
			t.Errorf("%q is a date", bad)
		}
		if _, err := warn(quota, bad, now); err == nil {
			t.Errorf("%q is a number", bad)
		}
	}
}
