package inspect

import (
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// A fault begins with the first bad answer of its unbroken run: a blip before good answers was no part of it, one just before was.
func TestFaultBeginsAfterTheLastGoodAnswer(t *testing.T) {
	blip := append(failed(check.ClassReset)[:1:1], fine(), fine())
	for name, between := range map[string]bool{"a good answer in between": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, []check.Service{sealing}, onTen("sign", "signature"))
			w.others = false
			w.sees("a", "sign", "", fine())
			w.none("a blip", w.sees("a", "sign", "", blip...))
			want := w.now
			if w.pass(time.Minute); between {
				w.none("a good answer", w.sees("a", "sign", "", fine()))
				w.pass(time.Minute)
				want = w.now.Add(time.Millisecond)
			}
			told := w.one("down", w.sees("a", "sign", "", failed(check.ClassConnect)...), symptom.Down, contract.Urgent, true)
			if !told.Since.Equal(want) {
				t.Errorf("since %v, want %v", told.Since, want)
			}
		})
	}
}

// What failed is the account: nobody else is asked to show it again.
func TestRefusedCredentialsAreNotShownAgain(t *testing.T) {
	refused := check.Attempt{Outcome: check.Fail, Class: check.ClassAuth, Trouble: check.Partial, Reason: "seen"}
	page := check.Attempt{Outcome: check.Fail, Class: check.ClassAuth, Trouble: check.Down, Reason: "a login page instead of the answer"}
	for name, tc := range map[string]struct {
		attempt check.Attempt
		asked   int
	}{"refused": {refused, 0}, "a login page": {page, 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, []check.Service{sealing}, onTen("sign", "signature"))
			w.sees("a", "sign", "", fine())
			w.pass(10 * time.Second)
			w.sees("a", "sign", "", tc.attempt, tc.attempt, tc.attempt)
			if len(w.asked) != tc.asked {
				t.Errorf("asked %v", w.asked)
			}
		})
	}
}
