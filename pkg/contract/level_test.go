package contract

import "testing"

func TestLevels(t *testing.T) {
	for i, a := range Levels {
		if got, err := ParseLevel(string(a)); err != nil || got != a {
			t.Errorf("%s: %v %v", a, got, err)
		}
		for j, b := range Levels {
			if a.Graver(b) != (i < j) {
				t.Errorf("%s graver than %s: %v", a, b, a.Graver(b))
			}
		}
		if Level("").Graver(a) || !a.Graver("") {
			t.Errorf("no level weighs more than %s", a)
		}
	}
	for _, bad := range []string{"", "Urgent", "紧急", "urgent "} {
		if _, err := ParseLevel(bad); err == nil {
			t.Errorf("%q is a level", bad)
		}
	}
}
