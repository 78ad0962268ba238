package simulator_test

import (
	"strings"
	"testing"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// The websocket of editing must be let through where a check has its path: a server, or a proxy before it, that answers as to any
// other request leaves people with an empty editor.
func TestEditingConnection(t *testing.T) {
	s := start(t, simulator.Options{})
	for _, name := range []string{"wopi-document", "onlyoffice-document"} {
		for path, want := range map[string]check.Outcome{"/cool/ws?WOPISrc={{ url(id) }}": check.OK, "/healthcheck?x={{ url(id) }}": check.Fail} {
			t.Run(name+" "+path, func(t *testing.T) {
				spec := documentChecks(t, s)[name]
				spec.Document.Paths = map[string]string{"socket": path}
				a := round(t, newProber(t, spec)).First()
				if a.Outcome != want || stepOf(a, "socket").Outcome != want {
					t.Errorf("%s %q: %s; step %+v", a.Outcome, a.Trouble, a.Reason, stepOf(a, "socket"))
				}
				if want == check.Fail && (a.Trouble != check.Down || !strings.Contains(a.Reason, "want one of [101]")) {
					t.Errorf("%q: %s", a.Trouble, a.Reason)
				}
			})
		}
	}
}
