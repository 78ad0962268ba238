package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/symptom"
)

var update = flag.Bool("update", false, "write golden files anew")

// One incident from its page to its file, over HTTP, through the client.
func TestIncidentLife(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r)
	defer srv.Close()
	engineer := &Client{URL: srv.URL + "/", Token: r.tokens[access.Engineer], Lang: "en", HTTP: srv.Client()}
	lead := &Client{URL: srv.URL, Token: r.tokens[access.Lead], HTTP: srv.Client()}
	ctx := t.Context()
	id := r.breaks("signature")

	list, err := engineer.Incidents(ctx, IncidentFilter{State: "open"})
	if err != nil || len(list.Incidents) != 1 || list.More {
		t.Fatalf("%+v %v", list, err)
	}
	got := list.Incidents[0]
	if got.ID != id || got.Level != contract.Urgent || got.Title != "Signature service: down" || got.ResponseDue.Sub(got.DetectedAt) != 10*time.Minute || got.RecoveryDue.Sub(got.DetectedAt) != 4*time.Hour {
		t.Errorf("listed: %+v", got)
	}
	if got.DetectedAt.Location() != time.UTC || got.Events != nil || !got.AckAt.IsZero() {
		t.Errorf("listed: %+v", got)
	}

	got, err = engineer.Ack(ctx, id, Act{Note: "on it"})
	if err != nil || got.AckBy != "the engineer" || got.AckVia != "api" || got.State != incident.Acknowledged {
		t.Fatalf("ack: %+v %v", got, err)
	}
	var e *Error
	_, err = lead.Ack(ctx, id, Act{})
	if !errors.As(err, &e) || e.Status != 409 || e.Code != "conflict_acknowledged" || e.Person != "the engineer" || !e.At.Equal(got.AckAt) || e.Version != got.Version {
		t.Errorf("second ack: %v %+v", err, e)
	}
	if !strings.Contains(e.Message, "the engineer") {
		t.Errorf("the message does not say who was first: %s", e.Message)
	}
	if _, err = engineer.Note(ctx, id, Act{Note: "certificate had expired", Version: got.Version}); err != nil {
		t.Errorf("note: %v", err)
	}
	if _, err = engineer.Note(ctx, id, Act{Note: "from a stale tab", Version: got.Version}); !errors.As(err, &e) || e.Code != "conflict_changed" {
		t.Errorf("stale note: %v", err)
	}
	if got, err = lead.Level(ctx, id, Grading{Act: Act{Reason: "one unit only"}, Level: "general", PartyA: "王处"}); err != nil || got.Level != contract.General {
		t.Errorf("level: %+v %v", got, err)
	}
	if _, err = engineer.Resolve(ctx, id, Account{Cause: "expired", Handling: "renewed"}); err != nil {
		t.Errorf("resolve: %v", err)
	}
	if _, err = lead.Close(ctx, id, Account{}); !errors.As(err, &e) || e.Code != "conflict_failing" {
		t.Errorf("closed while failing: %v", err)
	}
	if got, err = engineer.Resolve(ctx, id, Account{Act: Act{Note: "check is wrong"}, Cause: "expired", Handling: "renewed", Declare: true}); err != nil || got.State != incident.Recovered {
		t.Fatalf("declared: %+v %v", got, err)
	}
	if _, err = lead.Close(ctx, id, Account{Category: "configuration"}); !errors.As(err, &e) || e.Field != "party_a" {
		t.Errorf("closed without party A's word: %v", err)
	}
	if got, err = lead.Close(ctx, id, Account{Category: "configuration", PartyA: "王处"}); err != nil || got.State != incident.Archived || got.ClosedBy != "the lead" {
		t.Fatalf("close: %+v %v", got, err)
	}
	if _, err = engineer.Reopen(ctx, id, Act{}); !errors.As(err, &e) || e.Status != 422 || e.Field != "note" {
		t.Errorf("reopened without a reason: %v", err)
	}
	if got, err = engineer.Reopen(ctx, id, Act{Reason: "user still sees it"}); err != nil || got.State != incident.Acknowledged {
		t.Errorf("reopen: %+v %v", got, err)
	}
	if got, err = engineer.Report(ctx, id, Call{Reporter: "party A"}); err != nil || got.Reporter != "party A" {
		t.Errorf("report: %+v %v", got, err)
	}
	got, err = engineer.Incident(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []incident.EventKind
	for _, ev := range got.Events {
		kinds = append(kinds, ev.Kind)
	}
	for _, k := range []incident.EventKind{incident.EventOpened, incident.EventAcknowledged, incident.EventNoted, incident.EventGraded, incident.EventResolved, incident.EventRecovered, incident.EventConfirmed, incident.EventArchived, incident.EventReopened, incident.EventReported} {
		if !slices.Contains(kinds, k) {
			t.Errorf("no event %s in %v", k, kinds)
		}
	}
	if len(got.Evidence) == 0 {
		t.Error("no evidence")
	}
}

func TestOpenByHand(t *testing.T) {
	r := newRig(t)
	c := r.client(access.Engineer)
	got, err := c.Open(t.Context(), Opening{Service: "sms", Level: "general", Detail: "codes come late", Reporter: "二线"})
	if err != nil || got.State != incident.Detected || got.OpenedBy != "the engineer" || got.Reporter != "二线" || got.Source != symptom.FromPerson {
		t.Fatalf("%+v %v", got, err)
	}
	status, h, body := r.ask("POST", Prefix+"/incidents", r.tokens[access.Engineer], `{"service":"printer","level":"minor","detail":"paper jam"}`)
	if status != 201 || h.Get("Location") != Prefix+"/incidents/"+decodeTo[Incident](t, body).ID {
		t.Errorf("%d %v %s", status, h, body)
	}
	var e *Error
	if _, err := c.Open(t.Context(), Opening{Service: "sms", Level: "general", Detail: "again"}); !errors.As(err, &e) || e.Code != "conflict_open" {
		t.Errorf("twice: %v", err)
	}
	for field, o := range map[string]Opening{
		"service": {Level: "minor", Detail: "x"}, "level": {Service: "x", Level: "fatal", Detail: "x"}, "detail": {Service: "x", Level: "minor"},
		"reported_at": {Service: "x", Level: "minor", Detail: "x", ReportedAt: time.Now().Add(-48 * time.Hour)},
	} {
		if _, err := c.Open(t.Context(), o); !errors.As(err, &e) || e.Status != 422 || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Of 64 people who acknowledge at once one does; each of the others is told who.
func TestAckAtOnce(t *testing.T) {
	r := newRig(t)
	id := r.breaks("signature")
	r.Handler = New(Options{Incidents: r.desk, Access: r.access, MaxCalls: 200})
	var mu sync.Mutex
	won, lost := 0, map[string]int{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			person := "person " + string(rune('A'+i%26)) + string(rune('a'+i/26))
			c := r.client(access.Admin)
			got, err := c.Ack(t.Context(), id, Act{Person: person})
			mu.Lock()
			defer mu.Unlock()
			var e *Error
			switch {
			case err == nil && got.AckBy == person:
				won++
			case errors.As(err, &e) && e.Status == 409:
				lost[e.Person]++
			default:
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	wg.Wait()
	rec, _, err := r.desk.Get(id)
	if err != nil || won != 1 || len(lost) != 1 || lost[rec.AckBy] != 63 {
		t.Errorf("%d won, the others were told of %v; the record says %s, %v", won, lost, rec.AckBy, err)
	}
}

// In whose name a token may act.
func TestPerson(t *testing.T) {
	r := newRig(t)
	r.Control = NewControl("http://x", "")
	r.Handler = New(r.Options)
	program, _, err := r.access.CreateToken(time.Now(), access.TokenRequest{Name: "bot", Role: access.Engineer, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	id := r.breaks("signature")
	note := Prefix + "/incidents/" + id + "/note"
	for name, c := range map[string]struct {
		token, body string
		status      int
		code        string
		person, via string
	}{
		"own name by default":    {r.tokens[access.Engineer], `{"note":"x"}`, 200, "", "the engineer", "api"},
		"own name spelled out":   {r.tokens[access.Engineer], `{"note":"x","person":"the engineer"}`, 200, "", "the engineer", "api"},
		"somebody else's name":   {r.tokens[access.Lead], `{"note":"x","person":"驻点"}`, 403, "other_person", "", ""},
		"admin for another":      {r.tokens[access.Admin], `{"note":"x","person":"驻点"}`, 200, "", "驻点", "api"},
		"program names nobody":   {program, `{"note":"x"}`, 422, "need_person", "", ""},
		"program names somebody": {program, `{"note":"x","person":"驻点"}`, 200, "", "驻点", "api"},
		"program names nonsense": {program, `{"note":"x","person":"a\u0000b"}`, 422, "invalid", "", ""},
		"command line":           {r.Control.Token, `{"note":"x","person":"root 王"}`, 200, "", "root 王", "cli"},
		"command line, nobody":   {r.Control.Token, `{"note":"x"}`, 422, "need_person", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			if c.code != "" {
				if e := r.refusal(c.status, c.code, "POST", note, c.token, c.body); e.Field != "person" {
					t.Errorf("field %q", e.Field)
				}
				return
			}
			if status, _, body := r.ask("POST", note, c.token, c.body); status != c.status {
				t.Fatalf("%d %s", status, body)
			}
			_, events, err := r.desk.Get(id)
			if last := events[len(events)-1]; err != nil || last.Person != c.person || last.Via != c.via {
				t.Errorf("event: %+v %v", last, err)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	r := newRig(t)
	path := Prefix + "/incidents/" + r.breaks("signature") + "/note"
	for body, code := range map[string]string{
		``: "invalid", `{}`: "invalid", ` {"note":""} `: "invalid",
		`null`: "bad_json", `[]`: "bad_json", `"x"`: "bad_json", `{`: "bad_json", `{"note":1}`: "bad_json", `{"note":"x"} {}`: "bad_json", `{"note":"x"}x`: "bad_json",
		`{"note":"x","colour":"red"}`: "bad_json", `{"version":"1"}`: "bad_json", "{\"note\":\"\xff\"}": "bad_json", strings.Repeat(`{"note":`, 8000): "bad_json",
	} {
		want := map[string]int{"invalid": 422, "bad_json": 400}[code]
		r.refusal(want, code, "POST", path, r.tokens[access.Engineer], body)
	}
	big := `{"note":"` + strings.Repeat("x", maxBody) + `"}`
	r.refusal(413, "too_large", "POST", path, r.tokens[access.Engineer], big)
	if e := r.refusal(400, "bad_json", "POST", path, r.tokens[access.Engineer], `{"colour":"red"}`); e.Field != "colour" {
		t.Errorf("field %q", e.Field)
	}
	r.refusal(404, "not_found", "POST", Prefix+"/incidents/INC-20000101-0001/ack", r.tokens[access.Engineer], "")
	r.refusal(404, "not_found", "GET", Prefix+"/incidents/..%2f..%2fetc", r.tokens[access.Viewer], "")
	r.refusal(404, "not_found", "GET", Prefix+"/incidents/%00", r.tokens[access.Viewer], "")
}

func TestFilters(t *testing.T) {
	r := newRig(t)
	a, b := r.breaks("signature"), r.breaks("sms")
	if _, err := r.desk.SetLevel(b, incident.Act{Person: "x", Note: "x"}, incident.Grading{Level: contract.Minor, PartyA: "王处"}); err != nil {
		t.Fatal(err)
	}
	zone := time.FixedZone("", 8*3600)
	month := time.Now().In(zone).Format("2006-01")
	for query, want := range map[string][]string{
		"": {b, a}, "state=all": {b, a}, "state=open": {b, a}, "state=closed": {}, "level=minor": {b}, "service=signature": {a}, "service=x": {},
		"month=" + month: {b, a}, "month=2001-01": {}, "limit=1": {b}, "limit=2": {b, a}, "level=urgent&service=signature&state=open": {a},
	} {
		_, _, body := r.ask("GET", Prefix+"/incidents?"+query, r.tokens[access.Viewer], "")
		list := decodeTo[IncidentList](t, body)
		got := []string{}
		for _, i := range list.Incidents {
			got = append(got, i.ID)
		}
		if !slices.Equal(got, want) || list.More != (query == "limit=1") {
			t.Errorf("%q: %v more %v, want %v", query, got, list.More, want)
		}
	}
	for query, field := range map[string]string{
		"state=broken": "state", "level=fatal": "level", "month=2026-13": "month", "month=2026-1": "month", "month=x": "month", "limit=0": "limit",
		"limit=99999": "limit", "limit=x": "limit", "sate=open": "sate", "state=open&state=all": "state",
	} {
		if e := r.refusal(422, "invalid", "GET", Prefix+"/incidents?"+query, r.tokens[access.Viewer], ""); e.Field != field {
			t.Errorf("%q: field %q, want %q", query, e.Field, field)
		}
	}
}

// The JSON of an incident is a promise to programs.
func TestIncidentGolden(t *testing.T) {
	at := time.Date(2026, 11, 23, 21, 30, 0, 0, time.FixedZone("", 8*3600))
	rec := incident.Record{
		ID: "INC-20261123-0007", Version: 5, State: incident.Recovered, Service: "signature", ServiceZH: "签章服务", ServiceEN: "Signature service",
		Class: symptom.Down, Source: symptom.FromProbe, Detail: "HTTP 500 <b>", Level: contract.Urgent,
		FaultStart: at, DetectedAt: at.Add(time.Second), SLAStart: at.Add(time.Second), OpenedAt: at.Add(time.Second),
		ResponseDue: at.Add(10*time.Minute + time.Second), RecoveryDue: at.Add(4*time.Hour + time.Second),
		AckAt: at.Add(11 * time.Minute), AckBy: "驻点", AckVia: "console", RecoveredAt: at.Add(time.Hour), UpdatedAt: at.Add(70 * time.Minute),
		Breaches: []contract.Breach{{Clock: contract.Response, Level: contract.Urgent, At: at.Add(10*time.Minute + time.Second)}},
	}
	s := &server{}
	zh, en := &call{p: i18n.For("zh-CN"), now: at.Add(2 * time.Hour)}, &call{p: i18n.For("en"), now: at}
	b, err := json.MarshalIndent([]Incident{s.tell(rec, zh), s.tell(incident.Record{ID: "INC-1", Service: "x"}, en)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "incident.json", append(b, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// Bodies may hold anything at all; what is accepted, is one object with known fields.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"note":"x","person":"y"}`, `{"note":"x"}{}`, `[{}]`, `{"version":1e99}`, "{\"note\":\"\xff\"}", `{"note":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in Grading
		err := decode(b, &in)
		var own *fault
		if err != nil && (!errors.As(err, &own) || own.status != http.StatusBadRequest) {
			t.Errorf("%q: %v", b, err)
		}
		if err == nil && len(bytes.TrimSpace(b)) > 0 && !json.Valid(b) {
			t.Errorf("%q was accepted", b)
		}
	})
}
