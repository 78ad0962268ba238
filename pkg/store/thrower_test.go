package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestPanicNamesItsLine: what a reader throws becomes an error that says where, so that a fault of the program does not
// pass for damage.
func TestPanicNamesItsLine(t *testing.T) {
	b, err := bolt.Open(filepath.Join(t.TempDir(), "x.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var none []int
	for name, throw := range map[string]func(){"index": func() { _ = none[3] }, "plain": func() { panic("no") }} {
		err := View(b, func(*bolt.Tx) error { throw(); return nil })
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "thrower_test.go:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
