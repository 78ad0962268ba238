package deed

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
	"xunjian/pkg/symptom"
)

// Every deed and field has a text in both languages, a rule, and a name of its own.
func TestTexts(t *testing.T) {
	names := map[string]bool{}
	for _, d := range Deeds {
		if names[d.Name] {
			t.Errorf("two deeds are called %s", d.Name)
		}
		names[d.Name] = true
		if access.Allow(access.Identity{Role: access.Admin}, d.Rule) != nil {
			t.Errorf("%s: nobody may", d.Name)
		}
		for _, lang := range []string{"zh-CN", "en"} {
			p := i18n.For(lang)
			keys := []string{"deed.do." + d.Name}
			for _, f := range d.Fields {
				keys = append(keys, "deed.field."+f.Name)
				for _, c := range f.Choices {
					keys = append(keys, f.Words+"."+c)
				}
			}
			for _, k := range keys {
				if !p.Has(k) {
					t.Errorf("%s: no text %s", lang, k)
				}
			}
		}
	}
}

// life is one desk with an incident that is brought into a state by deeds.
type life struct {
	*incident.Desk
	t  *testing.T
	id string
}

func newLife(t *testing.T, terms contract.Terms) *life {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	desk, err := incident.New(db, incident.Options{Settings: incident.Settings{Terms: terms, Emergency: []string{"重启服务"}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, _, err := desk.Observe(now, symptom.Symptom{
		Source: symptom.FromProbe, Service: "sms", Class: symptom.Slow, Level: contract.General, Detail: "慢", Firing: true, Since: now, At: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &life{desk, t, r.ID}
}

// full are all fields of each deed, filled in.
var full = map[string]Values{
	"arrive": {}, "propose": {"measure": "a", "risk": "b", "rollback": "c"}, "decide": {"consent": "yes", "party_a": "王处"},
	"handle": {"emergency": "重启服务"}, "workaround": {"measure": "a", "follow_up": "b", "party_a": "王处"},
	"pause": {"why": "third_party"}, "resume": {"why": "third_party"}, "extend": {"approver": "王处"},
	"resolve": {"cause": "a", "category": "software", "handling": "b", "declare": "true"}, "archive": {"cause": "a", "category": "software", "handling": "b", "party_a": "王处"},
	"confirm": {"party_a": "王处"}, "refuse": {"party_a": "王处"}, "report": {"reporter": "李科"}, "impact": {"people": "3"},
	"level": {"level": "general", "party_a": "王处"}, "merge": {}, "excuse": {"why": "upstream", "party_a": "王处"},
}

func (l *life) do(name, person string) (incident.Record, error) {
	l.t.Helper()
	d, ok := Find(name)
	if !ok {
		l.t.Fatalf("no deed %s", name)
	}
	v := Values{}
	for k, x := range full[name] {
		v[k] = x
	}
	if name == "extend" {
		v["until"] = time.Now().Add(20 * time.Hour).Format(time.RFC3339)
	}
	return d.Do(l.Desk, l.id, incident.Act{Person: person, Note: "因为"}, v)
}

// In each state of an incident, what a deed says of itself is what the desk then does: what is offered is possible, and what
// is not offered is refused with who, when and why.
func TestMayIsWhatTheDeskDoes(t *testing.T) {
	terms := contract.DefaultTerms()
	terms.PauseThirdParty = true
	for state, way := range map[incident.State][]string{
		incident.Detected: {}, incident.Acknowledged: {"ack"}, incident.Diagnosing: {"ack", "diagnose"}, incident.Awaiting: {"propose"},
		incident.Handling: {"propose", "decide", "handle"}, incident.Recovered: {"resolve"}, incident.Confirmed: {"resolve", "confirm"},
		incident.Archived: {"resolve", "archive"}, incident.FalseAlarm: {"doubt", "dismiss"}, incident.Merged: {"merge"},
		"doubted": {"doubt"}, "paused": {"pause"}, "excused": {"excuse"}, "arrived": {"arrive"},
	} {
		for _, d := range Deeds {
			l := newLife(t, terms)
			other, err := l.Open(incident.Act{Person: "张工"}, incident.Opening{Service: "gateway", Level: contract.General, Detail: "慢"})
			if err != nil {
				t.Fatal(err)
			}
			full["merge"]["into"] = other.ID
			for _, step := range way {
				person := "张工"
				if step == "dismiss" {
					person = "李工"
				}
				if _, err := l.do(step, person); err != nil {
					t.Fatalf("%s: %s: %v", state, step, err)
				}
			}
			r, _, err := l.Get(l.id)
			if err != nil {
				t.Fatal(err)
			}
			offered := d.May(r, time.Now())
			_, err = l.do(d.Name, "王工")
			var conflict *incident.Conflict
			switch {
			case offered && err != nil:
				t.Errorf("%s: %s is offered and refused: %v", state, d.Name, err)
			case !offered && err == nil:
				t.Errorf("%s: %s is not offered and done", state, d.Name)
			case !offered && errors.As(err, &conflict) && conflict.Text(i18n.For("zh-CN"), time.UTC) == "":
				t.Errorf("%s: %s is refused without a word", state, d.Name)
			}
		}
	}
}

func TestBadValues(t *testing.T) {
	l := newLife(t, contract.DefaultTerms())
	for name, v := range map[string]Values{
		"arrive": {"at": "gestern"}, "impact": {"people": "viele"}, "level": {"level": "minor", "agreed_response": "bald"},
		"resolve": {"declare": "vielleicht"}, "decide": {"consent": ""}, "extend": {"until": "2026"},
	} {
		d, _ := Find(name)
		if _, err := d.Do(l.Desk, l.id, incident.Act{Person: "张工", Note: "x"}, v); !errors.Is(err, incident.ErrBadAct) && !errors.Is(err, incident.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
