package symptom

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xunjian/pkg/contract"
)

// One service in trouble has one key whatever its probes find; all other findings stand by themselves.
func TestKey(t *testing.T) {
	probe := Symptom{Source: FromProbe, Service: "signature", Component: "login", Class: Down, Detail: "refused", Firing: true}
	slow := Symptom{Source: FromProbe, Service: "signature", Component: "seal", Class: Slow}
	if probe.Key() != slow.Key() || probe.Key() != "service/signature" {
		t.Errorf("%q and %q", probe.Key(), slow.Key())
	}
	seal := Symptom{Source: FromProbe, Service: "signature", Component: "seal", Class: Warning, Rule: "certificate"}
	balance := Symptom{Source: FromProbe, Service: "signature", Component: "seal", Class: Warning, Rule: "licence"}
	if seal.Key() == probe.Key() || seal.Key() == balance.Key() {
		t.Errorf("%q, %q and %q", probe.Key(), seal.Key(), balance.Key())
	}
	disk := Symptom{Source: FromRule, Service: "host", Component: "web1", Class: Host, Rule: "DiskFull", Detail: "96 %", Firing: true}
	for name, other := range map[string]Symptom{
		"service": {Source: FromProbe, Service: "sms"},
		"rule":    {Source: FromRule, Service: "host", Component: "web1", Class: Host, Rule: "MemoryFull"},
		"host":    {Source: FromRule, Service: "host", Component: "web2", Class: Host, Rule: "DiskFull"},
		"class":   {Source: FromFleet, Service: "host", Component: "web1", Class: Silent},
	} {
		if other.Key() == disk.Key() || other.Key() == probe.Key() {
			t.Errorf("another %s has the key %q", name, other.Key())
		}
	}
}

// The end of a finding has the key of its beginning: what was seen, when and how bad it was do not count.
func TestKeyIgnoresWhatChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Symptom{
			Source:  rapid.SampledFrom([]Source{FromProbe, FromRule, FromFleet, FromPerson}).Draw(t, "source"),
			Service: rapid.String().Draw(t, "service"), Component: rapid.String().Draw(t, "component"),
			Class: rapid.SampledFrom([]Class{Down, Slow, Host, Silent}).Draw(t, "class"), Rule: rapid.String().Draw(t, "rule"), Firing: true,
		}
		end := s
		end.Firing, end.Detail, end.Level, end.Since, end.At = false, "ok", contract.Minor, time.Unix(1, 0), time.Unix(2, 0)
		end.Evidence = []Evidence{{Text: "x"}}
		if s.Key() != end.Key() {
			t.Fatalf("%q then %q", s.Key(), end.Key())
		}
	})
}

// Symptoms are stored: names of old ones must stay readable.
func TestJSON(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	s := Symptom{Source: FromProbe, Service: "sms", Component: "c", Class: Down, Level: contract.Urgent, Rule: "r", Detail: "d", Firing: true, Since: at, At: at, Evidence: []Evidence{{At: at, Agent: "a", Text: "t"}}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"source":"probe","service":"sms","component":"c","class":"down","level":"urgent","rule":"r","detail":"d","firing":true,` +
		`"since":"2026-11-23T01:00:00Z","at":"2026-11-23T01:00:00Z","evidence":[{"at":"2026-11-23T01:00:00Z","agent":"a","text":"t"}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back Symptom
	if err := json.NewDecoder(strings.NewReader(want)).Decode(&back); err != nil || back.Key() != s.Key() || !back.Since.Equal(at) {
		t.Errorf("%v: %+v", err, back)
	}
}
