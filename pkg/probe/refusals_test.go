package probe

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// Checks with one account count their refusals together: two end the asking of all, whoever met with them, until a person unlocks
// one, or one of them logs in. Another account, or another host, is none of theirs.
func TestOneAccountOfSeveralChecks(t *testing.T) {
	secrets := map[string]string{"password": t.Name()}
	open := func(name, target string) *account {
		return openAccount(check.Spec{Name: name, Target: target, Every: time.Minute}, t.TempDir(), []byte(name))
	}
	read, write, third := open("read", "https://oa.example.org/a"), open("write", "https://oa.example.org/b"), open("third", "https://oa.example.org")
	elsewhere := open("elsewhere", "https://other.example.org")
	refused := func(a *account) flow.Run {
		r := flow.Run{Refused: true}
		a.learn(&r, secrets, time.Now().Add(-time.Hour))
		return r
	}
	may := func(a *account, with map[string]string) bool {
		_, locked := a.locked(with, time.Now())
		return !locked
	}
	if r := refused(read); len(r.Findings) != 0 || !may(read, secrets) || !may(write, secrets) {
		t.Fatalf("one refusal: %+v", r.Findings)
	}
	if r := refused(write); len(r.Findings) != 1 || r.Findings[0].Level != "general" {
		t.Errorf("the second refusal: %+v", r.Findings)
	}
	for _, a := range []*account{read, write, third} {
		if may(a, secrets) {
			t.Errorf("%s asks after two refusals", a.state.Check)
		}
	}
	if a, _ := third.locked(secrets, time.Now()); !strings.HasSuffix(a.Reason, "agent unlock read write") || len(a.Findings) != 0 {
		t.Errorf("%s %+v", a.Reason, a.Findings)
	}
	if !may(elsewhere, secrets) || !may(third, map[string]string{"password": t.Name() + "2"}) {
		t.Error("another account, or another host, is stopped too")
	}
	third.learn(&flow.Run{LoggedIn: true}, secrets, time.Now()) // by hand, say
	for _, a := range []*account{read, write, third} {
		if !may(a, secrets) {
			t.Errorf("%s does not ask after a login that was taken", a.state.Check)
		}
	}
	refused(read)
	if may(read, secrets) || !may(third, secrets) {
		t.Error("whoever was refused twice must stop, and others not, who have logged in since all but one")
	}
}
