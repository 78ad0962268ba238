package probe

import (
	"strings"
	"testing"
	"time"
)

func TestVersionWatch(t *testing.T) {
	w, now := &versionWatch{}, time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for i, tc := range []struct {
		version string
		after   time.Duration
		level   string
		reason  string
	}{
		{"7.1", 0, "", "version 7.1"},
		{"7.1", time.Hour, "", "version 7.1"},
		{"7.2", 2 * time.Hour, "minor", "7.2, before 7.1"},
		{"7.2", 25 * time.Hour, "minor", "7.2, before 7.1"},
		{"7.2", 26 * time.Hour, "", "version 7.2"},
	} {
		f := w.look(tc.version, now.Add(tc.after))
		if f.Name != "version" || f.Level != tc.level || !strings.Contains(f.Reason, tc.reason) {
			t.Errorf("look %d: %+v, want level %q and …%s…", i, f, tc.level, tc.reason)
		}
	}
}
