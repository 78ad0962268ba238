package host

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBootTimeIsKept reads stat once, and again when the wall clock has been set.
func TestBootTimeIsKept(t *testing.T) {
	dir := tree(t, "two")
	s := newSystem(dir)
	expect := func(want float64) {
		t.Helper()
		if got, err := s.bootTime(); err != nil || got != want {
			t.Errorf("boot time %v, %v; want %v", got, err, want)
		}
	}
	expect(1_790_000_000)
	write(t, dir, "stat", "btime 1790000007\n")
	expect(1_790_000_000)
	s.offset -= 7 * time.Second
	expect(1_790_000_007)
	s.offset -= time.Second
	if err := os.Remove(filepath.Join(dir, "stat")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.bootTime(); err == nil || !math.IsNaN(got) {
		t.Errorf("boot time without a file: %v, %v", got, err)
	}
}

func TestUnameFollowsARename(t *testing.T) {
	s := newSystem("/proc")
	if err := s.readUname(); err != nil {
		t.Fatal(err)
	}
	real, name := s.uname, s.uname.Get("nodename")
	copy(s.uts.Nodename[:], "old-name\x00")
	s.uname = s.uname.With("nodename", "old-name")
	if err := s.readUname(); err != nil || s.uname.String() != real.String() || name == "" {
		t.Errorf("after a rename: %v, %v; want %v", s.uname, err, real)
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil || s.uname.Get("release") != unix.ByteSliceToString(uts.Release[:]) {
		t.Errorf("release %q, %v", s.uname.Get("release"), err)
	}
}

func TestParseFileNr(t *testing.T) {
	if a, m, err := parseFileNr([]byte("2048\t0\t9223372036854775807\n")); a != 2048 || m != math.MaxInt64 || err != nil {
		t.Errorf("%v, %v, %v", a, m, err)
	}
	for _, bad := range []string{"", "1", "1 2", "1 2 3 4", "-1\t0\t5", "1\t0\tx"} {
		if a, m, err := parseFileNr([]byte(bad)); err == nil {
			t.Errorf("%q gives %v, %v", bad, a, m)
		}
	}
}

func TestParseBootTime(t *testing.T) {
	if got, err := parseBootTime([]byte("cpu 1\nintr 0 0\nbtime 1790000000\nprocesses 1\n")); got != 1_790_000_000 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "btime", "btime x\n", "btime -5\n", "xbtime 5\n"} {
		if got, err := parseBootTime([]byte(bad)); err == nil {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}

func FuzzParseSystem(f *testing.F) {
	f.Add([]byte("2048\t0\t9223372036854775807\n"))
	f.Add([]byte("cpu 1 2\nbtime 1790000000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, m, err := parseFileNr(text); err == nil && (a < 0 || m < 0) {
			t.Errorf("%q gives %v, %v", text, a, m)
		}
		if b, err := parseBootTime(text); err == nil && b < 0 {
			t.Errorf("%q gives %v", text, b)
		}
	})
}
