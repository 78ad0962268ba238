package inspect

import (
	"slices"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// A fault of a check that is made each half hour is looked at once more after a quarter of one, by whoever found it: what lasts
// so long may be graver. One that is made often enough anyway, and one that is refused credentials, are not.
func TestFaultThatLastsIsAskedAgain(t *testing.T) {
	refused := check.Attempt{Outcome: check.Fail, Class: check.ClassContent, Trouble: check.Partial, Reason: "refused"}
	login := refused
	login.Class = check.ClassAuth
	for name, tc := range map[string]struct {
		every time.Duration
		fails check.Attempt
		want  []string
	}{
		"each half hour":    {30 * time.Minute, refused, []string{"deliver a not"}},
		"each ten minutes":  {10 * time.Minute, refused, nil},
		"refused passwords": {30 * time.Minute, login, nil},
	} {
		t.Run(name, func(t *testing.T) {
			spec := onTen("deliver", "sms")
			spec.Every, spec.Vantages = tc.every, 1
			w := newWorld(t, two, spec)
			w.sees("a", "deliver", "", fine())
			w.one("refused", append(w.sees("a", "deliver", "", tc.fails, tc.fails, tc.fails), w.pass(tooLong+time.Second)...), symptom.Partial, contract.General, true)
			begin := w.now
			w.asked = nil
			for w.now.Sub(begin) < 29*time.Minute {
				w.pass(10 * time.Second)
				if n := len(w.asked); n == 1 && w.now.Sub(begin) < lasting-tooLong {
					t.Fatalf("asked after %v", w.now.Sub(begin))
				}
			}
			if !slices.Equal(w.asked, tc.want) {
				t.Fatalf("asked %q, want %q", w.asked, tc.want)
			}
			if tc.want != nil {
				down := tc.fails
				down.Trouble = check.Down
				w.one("it has lasted", w.sees("a", "deliver", "q1", down, down, down), symptom.Down, contract.Urgent, true)
			}
		})
	}
}
