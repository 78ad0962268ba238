package rule

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/config"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestBadFiles holds each bad file to its exact faults, every one with its line.
func TestBadFiles(t *testing.T) {
	t.Chdir("testdata")
	files, err := filepath.Glob("bad-*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			err := Check([]string{file})
			if err == nil {
				t.Fatal("no fault found")
			}
			golden := strings.TrimSuffix(file, ".yml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, rerr := os.ReadFile(golden)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if d := cmp.Diff(string(want), err.Error()+"\n"); d != "" {
				t.Errorf("faults (-want +got, -update rewrites them):\n%s", d)
			}
			faults, ok := errors.AsType[config.Faults](err)
			if !ok {
				t.Fatalf("%T, want config.Faults", err)
			}
			for _, f := range faults {
				if f.Line == 0 || f.File != file {
					t.Errorf("fault without its place: %v", f)
				}
			}
		})
	}
}

func TestAllFilesAreReported(t *testing.T) {
	err := Check([]string{"testdata/bad-*.yml"})
	for _, name := range []string{"bad-level.yml:8", "bad-expr.yml", "bad-keys.yml", "bad-yaml.yml", "bad-empty.yml"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in the report: %v", name, err)
		}
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

const fine = `groups:
- name: g
  rules:
  - {alert: A, expr: up == 0, labels: {level: minor}}
`

func TestWhichFiles(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, "a.yml", fine)
	b := write(t, dir, "b.yaml", fine)
	unit := write(t, dir, "a_test.yml", "tests: []\n")
	write(t, dir, "notes.txt", "")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		patterns []string
		want     []string
		fault    string
	}{
		"a directory without its unit tests": {patterns: []string{dir}, want: []string{a, b}},
		"a glob":                             {patterns: []string{filepath.Join(dir, "*.yml")}, want: []string{a}},
		"each file once":                     {patterns: []string{a, dir + "/./a.yml", dir}, want: []string{a, b}},
		"the built-in rules":                 {want: []string{builtIn}},
		"no such file":                       {patterns: []string{dir + "/c.yml"}, fault: "no such rule file or directory"},
		"no such directory":                  {patterns: []string{dir + "/c"}, fault: "no such rule file or directory"},
		"an empty directory":                 {patterns: []string{empty}, fault: "no rule file matches"},
		"a glob that finds nothing":          {patterns: []string{dir + "/*.rules"}, fault: "no rule file matches"},
		"a bad glob":                         {patterns: []string{dir + "/["}, fault: "bad glob"},
		"unit tests named outright":          {patterns: []string{unit}, fault: `unknown key "tests"`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := load(tc.patterns)
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Fatalf("error %v, want %q", err, tc.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, s.files); d != "" {
				t.Errorf("files (-want +got):\n%s", d)
			}
		})
	}
}

func TestTooMuch(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 1 {
		write(t, dir, fmt.Sprintf("%03d.yml", i), fine)
	}
	if err := Check([]string{dir}); err == nil || !strings.Contains(err.Error(), "101 rule files are more than 100") {
		t.Errorf("too many files: %v", err)
	}
	many := "groups:\n- name: g\n  rules:\n" + strings.Repeat("  - {alert: A, expr: up, labels: {level: minor}}\n", maxRules+1)
	if err := Check([]string{write(t, t.TempDir(), "many.yml", many)}); err == nil || !strings.Contains(err.Error(), "5001 rules are more than 5000") {
		t.Errorf("too many rules: %v", err)
	}
	big := write(t, t.TempDir(), "big.yml", strings.Repeat("#", config.MaxBytes+1))
	if err := Check([]string{big}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large a file: %v", err)
	}
}

// FuzzParse: whatever the file, there are groups or faults, never both and never a panic.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, "../../configs/rules/host.yml") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		groups, faults := parse("f.yml", b)
		if (groups == nil) != (len(faults) > 0) {
			t.Errorf("groups %v and faults %v", groups, faults)
		}
	})
}
