package channel

import (
	"slices"
	"testing"
)

// Which kinds bring messages to people by name, which to receivers of their own, and which to both.
func TestPersonal(t *testing.T) {
	who := Person{Name: "驻", Phone: "13800000000", Email: "a@example.org"}
	for kind, c := range map[string]struct {
		to                   []string
		personal, broadcasts bool
	}{
		"webhook": {nil, false, true}, "alertmanager": {nil, false, true}, "wecom": {nil, false, true}, "dingtalk": {nil, false, true}, "feishu": {nil, false, true},
		"email": {nil, true, false}, "sms": {nil, true, false}, "cmpp": {nil, true, false}, "smpp": {nil, true, false}, "voice": {[]string{"110"}, true, true},
	} {
		b := newBase(Settings{Name: kind, Kind: kind, To: c.to})
		if b.Personal() != c.personal || b.Broadcasts() != c.broadcasts || b.Reaches(who) != c.personal || b.Reaches(Person{Name: "无"}) {
			t.Errorf("%s: %v %v %v", kind, b.Personal(), b.Broadcasts(), b.Reaches(who))
		}
	}
	for kind, side := range sides {
		if kind == "cmpp" || kind == "smpp" {
			continue // of one make with the others, but for a simulator
		}
		s := side(t).settings
		s.Name, s.Kind = "duty", kind
		c, ok := make1(t, s).(interface {
			Personal() bool
			Reaches(Person) bool
			Broadcasts() bool
			Terms() Terms
		})
		if !ok || c.Personal() != (where[kind] != nil) {
			t.Errorf("%s: what it reaches is hidden", kind)
		}
	}
	for _, c := range []any{&shortMessage{}, &gateway{}, &email{}, &robot{}, &hook{}, &alertmanager{}} {
		if _, ok := c.(interface{ Reaches(Person) bool }); !ok {
			t.Errorf("%T: what it reaches is hidden", c)
		}
	}
	if len(kinds) != 10 {
		t.Error("a kind is not in this table")
	}
	all := Config{List: []Settings{{Name: "a", Kind: "sms"}, {Name: "b", Kind: "wecom"}, {Name: "c", Kind: "email"}}}
	if got := all.Personal(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("got %v", got)
	}
}
