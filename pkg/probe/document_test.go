package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersionWatch(t *testing.T) {
	now, state := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), t.TempDir()
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
		w := &versionWatch{} // as after a restart
		w.recall(state, "office", "https://docs.example.org")
		f := w.look(tc.version, now.Add(tc.after))
		if f.Name != "version" || f.Level != tc.level || !strings.Contains(f.Reason, tc.reason) {
			t.Errorf("look %d: %+v, want level %q and …%s…", i, f, tc.level, tc.reason)
		}
	}
	other := &versionWatch{}
	if other.recall(state, "office", "https://other.example.org"); other.look("9", now).Level != "" {
		t.Error("another target is no upgrade of this one")
	}
	if err := os.WriteFile(filepath.Join(state, "versions", "office.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := &versionWatch{}
	if damaged.recall(state, "office", "https://docs.example.org"); damaged.look("9", now).Level != "" {
		t.Error("a damaged file begins anew")
	}
}
