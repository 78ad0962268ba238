package api

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/incident"
)

// The whole life of an incident through the deeds: from the acknowledgement over consent to the file.
func TestDeeds(t *testing.T) {
	r := newRig(t)
	ctx, id := t.Context(), r.breaks("signature")
	engineer, lead := r.client(access.Engineer), r.client(access.Lead)
	do := func(c *Client, name string, a Act, d Deed, state incident.State) Incident {
		t.Helper()
		got, err := c.Do(ctx, id, name, a, d)
		if err != nil || got.State != state {
			t.Fatalf("%s: %s %v, want %s", name, got.State, err, state)
		}
		return got
	}
	do(engineer, "ack", Act{}, nil, incident.Acknowledged)
	do(engineer, "diagnose", Act{Note: "证书过期"}, nil, incident.Diagnosing)
	do(engineer, "arrive", Act{}, nil, incident.Diagnosing)
	do(engineer, "impact", Act{}, Deed{"departments": "办公室", "people": 40}, incident.Diagnosing)
	got := do(engineer, "propose", Act{}, Deed{"measure": "换证", "risk": "中断一分钟", "rollback": "换回"}, incident.Awaiting)
	if len(got.Clocks) != 1 || !got.Clocks[0].Standing || got.Clocks[0].Clock != "recovery" {
		t.Errorf("clocks while consent is awaited: %+v", got.Clocks)
	}
	var e *Error
	if _, err := engineer.Do(ctx, id, "handle", Act{}, Deed{"action": "换证"}); !errors.As(err, &e) || e.Status != http.StatusConflict || e.Person != "the engineer" || e.At.IsZero() {
		t.Errorf("handled without consent: %+v", err)
	}
	if _, err := engineer.Do(ctx, id, "decide", Act{}, Deed{"consent": "maybe", "party_a": "王处"}); !errors.As(err, &e) || e.Field != "consent" {
		t.Errorf("undecided: %v", err)
	}
	do(engineer, "decide", Act{}, Deed{"consent": "yes", "party_a": "王处"}, incident.Handling)
	do(engineer, "handle", Act{}, Deed{"action": "换证"}, incident.Handling)
	do(engineer, "resolve", Act{Note: "监测有误"}, Deed{"cause": "证书过期", "category": "configuration", "handling": "换证", "declare": true}, incident.Recovered)
	got = do(engineer, "confirm", Act{}, Deed{"party_a": "王处"}, incident.Confirmed)
	if got.ConfirmedBy != "王处" || got.Impact.People != 40 || len(got.Consents) != 1 || !got.Consents[0].Agreed || len(got.Actions) != 1 {
		t.Errorf("confirmed: %+v", got)
	}
	if got, err := engineer.Incident(ctx, id); err != nil || !strings.Contains(strings.Join(got.May, " "), "archive") || strings.Contains(strings.Join(got.May, " "), "ack") {
		t.Errorf("may %v %v", got.May, err)
	}
	do(lead, "archive", Act{}, Deed{"prevention": "到期前三十天提醒"}, incident.Archived)
}

// A deed takes its own fields and no others, each of its kind.
func TestDeedFields(t *testing.T) {
	r := newRig(t)
	id := r.breaks("signature")
	for body, field := range map[string]string{
		`{"measure":"x"}`:         "measure",
		`{"note":7}`:              "note",
		`{"version":1.5}`:         "version",
		`{"version":"1"}`:         "version",
		`{"person":["x"]}`:        "person",
		`{"colour":"red"}`:        "colour",
		`{"note":"x","Note":"y"}`: "Note",
	} {
		if e := r.refusal(400, "bad_json", "POST", Prefix+"/incidents/"+id+"/ack", r.tokens[access.Engineer], body); e.Field != field {
			t.Errorf("%s: field %q, want %q", body, e.Field, field)
		}
	}
	for path, tc := range map[string]struct{ body, field string }{
		"arrive": {`{"at":"gestern"}`, "at"},
		"extend": {`{"until":"2026-13-01T00:00:00Z","approver":"x","note":"y"}`, "until"},
		"level":  {`{"level":"minor","agreed_response":"-1h","note":"x"}`, "agreed_response"},
		"excuse": {`{"why":"weather","party_a":"x","note":"y"}`, "why"},
	} {
		if e := r.refusal(422, "invalid", "POST", Prefix+"/incidents/"+id+"/"+path, r.tokens[access.Lead], tc.body); e.Field != tc.field {
			t.Errorf("%s: field %q, want %q", path, e.Field, tc.field)
		}
	}
}

// Of two decisions at once one counts; the other is told who was first and when.
func TestDecideAtOnce(t *testing.T) {
	r := newRig(t)
	ctx, id := t.Context(), r.breaks("signature")
	got, err := r.client(access.Engineer).Do(ctx, id, "propose", Act{}, Deed{"measure": "a", "risk": "b", "rollback": "c"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	won, lost := 0, 0
	for i := range 16 {
		all.Go(func() {
			role, consent := access.Engineer, "yes"
			if i%2 == 1 {
				role, consent = access.Lead, "no"
			}
			_, err := r.client(role).Do(ctx, id, "decide", Act{Note: "so", Version: got.Version}, Deed{"consent": consent, "party_a": "王处"})
			var e *Error
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.As(err, &e) && e.Status == http.StatusConflict && !e.At.IsZero() && e.Version == got.Version+1 && e.Message != "":
				lost++
			default:
				t.Errorf("%+v", err)
			}
		})
	}
	all.Wait()
	if won != 1 || lost != 15 {
		t.Errorf("%d won, %d lost", won, lost)
	}
}

// Two different people call it a false alarm, or it is none.
func TestFalseAlarm(t *testing.T) {
	r := newRig(t)
	ctx, id := t.Context(), r.breaks("signature")
	engineer, lead := r.client(access.Engineer), r.client(access.Lead)
	if _, err := engineer.Do(ctx, id, "doubt", Act{Note: "演练"}, nil); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := engineer.Do(ctx, id, "dismiss", Act{}, nil); !errors.As(err, &e) || e.Status != 422 {
		t.Errorf("the same person: %v", err)
	}
	if got, err := lead.Do(ctx, id, "dismiss", Act{}, nil); err != nil || got.State != incident.FalseAlarm {
		t.Errorf("%s %v", got.State, err)
	}
	if _, err := lead.Do(ctx, id, "extend", Act{Note: "x"}, Deed{"until": time.Now().Add(time.Hour).Format(time.RFC3339), "approver": "王处"}); !errors.As(err, &e) || e.Status != http.StatusConflict || e.Person != "the lead" {
		t.Errorf("after it was filed: %v", err)
	}
}
