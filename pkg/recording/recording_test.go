package recording

import (
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Series) != 61 || len(r.Rows) < 3400 {
		t.Fatalf("%d series, %d rows, want 61 series of most of an hour", len(r.Series), len(r.Rows))
	}
	seen := map[string]bool{}
	for i, s := range r.Series {
		if seen[s.String()] || strings.HasSuffix(s.Name, "_raw") {
			t.Errorf("%s is there twice, or computed", s)
		}
		seen[s.String()] = true
		if !strings.HasPrefix(s.Name, "cpu_") && !strings.HasPrefix(s.Name, "network_") {
			continue
		}
		for k := 1; k < len(r.Rows); k++ {
			if r.Rows[k][i] < r.Rows[k-1][i] {
				t.Errorf("%s falls in second %d: the columns are not those of the names", s, k)
				break
			}
		}
	}
}

// TestCutOff: a line that was not written to its end is left out, what is no number is told.
func TestCutOff(t *testing.T) {
	const head = `{"series":[{"name":"a"},{"name":"b_raw"},{"name":"c","labels":{"x":"y"}}]}` + "\n"
	r, err := read(strings.NewReader(head + "0 1 2 3\n1 4 5\n2 7 8 9\n"))
	if err != nil || len(r.Rows) != 2 || r.Rows[1][0] != 7 || r.Rows[1][1] != 9 || r.Series[1].String() != `c{x="y"}` {
		t.Errorf("got %v, %v", r, err)
	}
	for _, bad := range []string{"", "{\n", head + "0 1 2 x\n"} {
		if _, err := read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
