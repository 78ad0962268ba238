package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func documentSpec() Spec {
	return Spec{
		Name: "doc", Service: "cloud-doc", Kind: "wopi", Target: "https://docs.example.org",
		Secrets:  map[string]Ref{"token": {Env: "XUNJIAN_T"}},
		Document: Document{Full: true, Source: "https://oa/wopi/files/{{ id }}", Store: Store{URL: "https://oa/files/{{ url(name) }}"}},
	}
}

func TestDocumentIsValidated(t *testing.T) {
	tests := map[string]struct {
		change func(s *Spec)
		want   string
	}{
		"well":            {func(*Spec) {}, ""},
		"cheap":           {func(s *Spec) { s.Secrets, s.Document = nil, Document{} }, ""},
		"no store":        {func(s *Spec) { s.Document.Store = Store{} }, "document.store.url: missing"},
		"method":          {func(s *Spec) { s.Document.Store.Method = "PATCH" }, "document.store.method"},
		"id without item": {func(s *Spec) { s.Document.Store.ID = "data.id" }, "document.store.item: missing"},
		"half a sweep":    {func(s *Spec) { s.Document.Store.List = "https://oa/files" }, "document.store.list: give list, names and remove together"},
		"no source":       {func(s *Spec) { s.Document.Source = "" }, "document.source: missing"},
		"no token":        {func(s *Spec) { s.Secrets = nil }, "secrets.token: missing"},
		"unknown path":    {func(s *Spec) { s.Document.Paths = map[string]string{"converter": "/c"} }, "document.paths.converter: not known here: want one of capabilities, convert, discovery"},
		"unknown field":   {func(s *Spec) { s.Document.Fields = map[string]string{"x": "y"} }, "document.fields.x"},
		"pattern":         {func(s *Spec) { s.Document.Refused = "(" }, "document.refused"},
		"own flow":        {func(s *Spec) { s.Flow = &Flow{} }, "flow: kind wopi makes its own flow"},
		"no app":          {func(s *Spec) { s.Kind, s.Secrets = "wps", map[string]Ref{"key": {Env: "XUNJIAN_K"}} }, "document.app: missing"},
		"no key":          {func(s *Spec) { s.Kind, s.Document = "wps", Document{App: "a"} }, "secrets.key: missing"},
		"sign":            {func(s *Spec) { s.Document.Sign = "wps-3" }, "document.sign"},
		"target":          {func(s *Spec) { s.Target = "docs.example.org" }, "target"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := documentSpec()
			tc.change(&s)
			var faults []string
			s.Validate(func(path, format string, args ...any) {
				faults = append(faults, path+": "+fmt.Sprintf(format, args...))
			})
			if tc.want == "" && len(faults) > 0 || tc.want != "" && !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, tc.want) }) {
				t.Errorf("faults %q, want %q", faults, tc.want)
			}
		})
	}
}

// The schedule and the thresholds are DOMAIN 1.1's.
func TestDocumentDefaults(t *testing.T) {
	s := documentSpec().WithDefaults()
	if s.Every != 5*time.Minute || s.Timeout != 2*time.Minute || s.Slow != 20*time.Second {
		t.Errorf("a full check is asked every %v, within %v, slow from %v", s.Every, s.Timeout, s.Slow)
	}
	for _, step := range s.OwnFlow().Steps {
		want := map[string]time.Duration{"open": 3 * time.Second, "convert": 10 * time.Second}[step.Name]
		if step.Timeout != 30*time.Second || step.Slow != want {
			t.Errorf("step %s may take %v and is slow from %v, want 30s and %v", step.Name, step.Timeout, step.Slow, want)
		}
	}
	s.Document.Full, s.Every, s.Timeout = false, 0, 0
	if s = s.WithDefaults(); s.Every != time.Minute || s.Timeout != 30*time.Second {
		t.Errorf("a cheap check is asked every %v, within %v", s.Every, s.Timeout)
	}
}

// A site's own paths, fields, store and editor take the place of the kind's.
func TestDocumentIsChangedWithoutGo(t *testing.T) {
	s := documentSpec()
	s.Document.Paths = map[string]string{"convert": "/lool/convert-to/pdf", "discovery": "https://other/discovery"}
	s.Document.Fields = map[string]string{"version": "v"}
	s.Document.Store = Store{URL: "/up", Method: "POST", Field: "f", ID: "data.id", Item: "/files/{{ id }}"}
	s.Document.Public = "edit.example.org:8443"
	f := s.OwnFlow()
	got := map[string]FlowStep{}
	for _, l := range f.Lists() {
		for _, step := range l.Steps {
			got[step.Name] = step
		}
	}
	for what, ok := range map[string]bool{
		"convert":   got["convert"].Request.URL == "{{ target }}/lool/convert-to/pdf",
		"discovery": got["discovery"].Request.URL == "https://other/discovery",
		"version":   got["capabilities"].Extract["version"].JSON == "v",
		"public":    strings.Contains(got["discovery"].Expect[0].Match, `edit\.example\.org:8443`),
		"form":      got["upload"].Request.Method == "POST" && got["upload"].Request.Files[0].Field == "f" && got["upload"].Extract["id"].JSON == "data.id",
		"delete":    got["delete"].Request.URL == "/files/{{ id }}" && f.Vars["id"] == "",
	} {
		if !ok {
			t.Errorf("%s is not as the section says", what)
		}
	}
}

func TestExpression(t *testing.T) {
	for text, want := range map[string]string{
		"https://h/{{ url(name) }}?a=b": "concat('https://h/', url(name), '?a=b')",
		"plain":                         "concat('plain')",
		"{{ a }}{{b}}":                  "concat(a, b)",
		`it's \`:                        `concat('it\'s \\')`,
	} {
		if got := expression(text); got != want {
			t.Errorf("%q becomes %s, want %s", text, got, want)
		}
	}
}
