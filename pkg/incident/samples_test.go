package incident

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// A recovery wants its time and its good samples in a row, and is dated back to the first of them (R5): what falls due while
// samples are waited for was not missed if they come, and was if they do not.
func TestSamples(t *testing.T) {
	type act = func(h *house)
	counted := func(since, at float64, n int) act {
		return func(h *house) {
			s := good(since)
			s.At, s.Run = after(at), &symptom.Run{Good: n, Of: []string{"sign-login", "seal"}}
			h.see(s)
		}
	}
	gap := func(at float64, firing bool, component string) act {
		return func(h *house) {
			h.see(symptom.Symptom{Source: symptom.FromFleet, Service: "signature", Component: component, Class: symptom.Unknown, Level: contract.Minor, Detail: "nobody looks", Firing: firing, Since: after(at), At: after(at)})
		}
	}
	fails := func(at float64) act { return func(h *house) { h.see(down(at)) } }
	tick := func(at float64) act { return func(h *house) { h.tick(at) } }
	const opened = "opened acknowledged "
	for name, tc := range map[string]struct {
		samples  int
		acts     []act
		at       float64 // of the recovery, in minutes; 0: none
		breached bool
		events   string
	}{
		"enough before the time":        {5, []act{counted(10, 11, 2), counted(10, 12, 5), tick(19), tick(21)}, 10, false, "verifying sampled recovered"},
		"the time before enough":        {5, []act{counted(10, 11, 2), tick(60), counted(10, 61, 4), tick(70), counted(10, 71, 5)}, 10, false, "verifying sampled sampled recovered"},
		"over the deadline":             {5, []act{counted(235, 236, 2), tick(300), counted(235, 301, 5)}, 235, false, "verifying warned warned warned sampled recovered"},
		"over the deadline, and fails":  {5, []act{counted(235, 236, 2), tick(300), fails(301), counted(310, 310, 5), tick(330)}, 310, true, "verifying warned warned warned relapsed breached verifying recovered"},
		"time alone":                    {0, []act{counted(10, 11, 1), tick(21)}, 10, false, "verifying recovered"},
		"a watcher that does not count": {5, []act{func(h *house) { h.see(good(10)) }, tick(21)}, 10, false, "verifying recovered"},
		"a bad one":                     {5, []act{counted(10, 11, 3), counted(10, 12, 0), counted(10, 12, 0), tick(30), counted(31, 32, 2), counted(31, 34, 5), tick(42)}, 31, false, "verifying broken verifying sampled recovered"},
		"a bad one, and fails":          {5, []act{counted(10, 11, 3), counted(10, 12, 0), fails(13)}, 0, false, "verifying broken relapsed"},
		"a bad one, and time alone":     {0, []act{counted(10, 11, 3), counted(10, 12, 0), tick(21)}, 10, false, "verifying recovered"},
		"a bad one told late":           {5, []act{counted(10, 11, 5), counted(10, 25, 0), tick(26)}, 10, false, "verifying recovered"},
		"a bad one after enough":        {5, []act{counted(10, 11, 5), counted(10, 15, 0), tick(26), counted(16, 27, 5)}, 16, false, "verifying broken verifying recovered"},
		"nobody looks":                  {5, []act{counted(10, 11, 4), gap(12, true, ""), tick(30), gap(40, false, ""), counted(40, 41, 4), counted(40, 52, 5)}, 40, false, "verifying gap joined verifying sampled sampled recovered"},
		"nobody looks at one of two":    {5, []act{counted(10, 11, 4), gap(12, true, "seal"), tick(30)}, 0, false, "verifying gap joined"},
		"nobody looks at another":       {5, []act{counted(10, 11, 5), gap(12, true, "print"), tick(30)}, 10, false, "verifying recovered"},
		"the collector is away": {5, []act{counted(10, 11, 4), func(h *house) { h.reopen() }, func(h *house) {
			if err := h.Gap(after(12), after(60)); err != nil {
				h.t.Fatal(err)
			}
		}, counted(61, 62, 1), counted(61, 75, 5)}, 61, false, "verifying gap verifying sampled recovered"},
		"quick ones are written once": {5, []act{counted(10, 10.1, 2), counted(10, 10.2, 3), counted(10, 10.3, 4), counted(10, 10.4, 5), counted(10, 10.5, 6), tick(21)}, 10, false, "verifying sampled recovered"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.settings.Terms = contract.DefaultTerms()
			h.settings.Terms.Samples = tc.samples
			h.Configure(h.settings)
			r := h.see(down(0))
			must(t)(h.Ack(r.ID, by("驻点", 1, "")))
			for _, act := range tc.acts {
				act(h)
				if due, ok := h.Next(); ok && r.Open() && due.Before(r.UpdatedAt) {
					t.Errorf("due at %v, which is past at %v", due, r.UpdatedAt)
				}
			}
			r, es := h.get(r.ID)
			if got := kinds(es); got != opened+tc.events {
				t.Errorf("events\n%s\nwant\n%s", got, opened+tc.events)
			}
			if recovered := !r.RecoveredAt.IsZero(); recovered != (tc.at > 0) || recovered && !r.RecoveredAt.Equal(after(tc.at)) || r.Breached() != tc.breached {
				t.Errorf("recovered at %v, breached %v", r.RecoveredAt, r.Breaches)
			}
			if folded, err := Fold(es); err != nil || !cmp.Equal(folded, r) {
				t.Errorf("%v, the events make another record:\n%s", err, cmp.Diff(r, folded))
			}
		})
	}
}

// While samples are waited for nothing is due of itself, people see how many there are, and a new process is told.
func TestVerification(t *testing.T) {
	h := newHouse(t)
	r := h.see(down(0))
	must(t)(h.Ack(r.ID, by("驻点", 1, "")))
	s := good(230)
	s.At, s.Run = after(231), &symptom.Run{Good: 3, Of: []string{"sign-login"}}
	r = h.see(s)
	want := &Verification{Since: after(230), Until: after(240), Good: 3, Of: 5, Checks: []string{"sign-login"}}
	if diff := cmp.Diff(want, r.Verification()); diff != "" || !r.Unproven() {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if due, ok := h.Next(); ok {
		t.Errorf("due at %v: %v", due, r.Warned)
	}
	if f := r.Finding(); f.Firing || f.Run.Good != 3 || f.Key() != r.Key {
		t.Errorf("told to a new process: %+v", f)
	}
	h.tick(500)
	if r, _ = h.get(r.ID); r.Breached() || r.Level != contract.Urgent || !r.Clocks(after(500)).Recovery.Verifying {
		t.Errorf("%+v", r.Breaches)
	}
	en, shanghai := i18n.For("en"), time.FixedZone("", 8*3600)
	if got := want.Tell(en, shanghai); got != "recovered, being verified: 3 of 5 good samples in a row since 20:50, until 21:00 at least" {
		t.Error(got)
	}
	want.Of = 0
	if got := want.Tell(en, shanghai); got != "recovered, being verified since 20:50, until 21:00 at least" {
		t.Error(got)
	}
}
