package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

type sample struct {
	Listen string        `yaml:"listen"`
	Every  time.Duration `yaml:"every"`
	Max    int           `yaml:"max"`
	On     bool          `yaml:"on"`
	Token  Secret        `yaml:"token"`
	Checks []struct {
		Name    string        `yaml:"name"`
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"checks"`
}

func (s *sample) Validate(fail Fail) {
	if s.Listen == "" {
		fail("listen", "missing: give an address as 127.0.0.1:9480")
	}
	s.Token.Validate(Under(fail, "token"))
	for i, c := range s.Checks {
		if c.Timeout > time.Minute {
			f := Under(Under(fail, "checks"), "["+string(rune('0'+i))+"]")
			f("timeout", "%v is longer than a minute", c.Timeout)
		}
	}
}

// Each bad file gives exactly the faults written in the file of the same name.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yml")
	if err != nil || len(files) < 8 {
		t.Fatalf("testdata: %d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			_, err = Load(f, sample{Every: time.Second})
			if err == nil {
				t.Fatal("accepted")
			}
			golden := strings.TrimSuffix(f, ".yml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, rerr := os.ReadFile(golden)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if got := err.Error(); got != strings.TrimSpace(string(want)) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if faults := (Faults{}); !errors.As(err, &faults) {
				t.Errorf("%T is not Faults", err)
			}
		})
	}
}

func TestGoodFile(t *testing.T) {
	got, err := Parse("x.yml", []byte("listen: 010\nevery: 1m30s\nchecks:\n- name: '1.10'\n"), sample{Max: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "010" || got.Every != 90*time.Second || got.Max != 7 || got.Checks[0].Name != "1.10" {
		t.Errorf("got %+v", got)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load("testdata/none.yml", sample{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := Parse("x.yml", make([]byte, MaxBytes+1), sample{}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("got %v", err)
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, []byte("geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Secret{File: file}
	if v, err := s.Read(); err != nil || v != "geheim" {
		t.Errorf("file: %q, %v", v, err)
	}
	if s.String() != "<secret>" {
		t.Errorf("shown: %s", s)
	}
	t.Setenv("XUNJIAN_TEST_SECRET", "x")
	if v, err := (Secret{Env: "XUNJIAN_TEST_SECRET"}).Read(); err != nil || v != "x" {
		t.Errorf("env: %q, %v", v, err)
	}
	if _, err := (Secret{Env: "XUNJIAN_TEST_NONE"}).Read(); err == nil {
		t.Error("unset variable accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("listen: a\nevery: 10s\n"))
	f.Add([]byte("a: &a [*a,*a]\n"))
	f.Add([]byte("checks:\n- name: x\n  timeout: 9h\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := Parse("f.yml", b, sample{})
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
