package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes files into a folder of their own and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	mainFile = "data: d\nservices: [{name: a}]\nchecks: [{name: a-1, service: b, kind: tcp, target: \"h:1\"}]\ninclude: [services/*.yml]\n"
	goodFile = "services: [{name: b}]\nchecks:\n  - {name: b-1, service: a, kind: https, target: x}\n"
)

func TestInclude(t *testing.T) {
	dir := folder(t, map[string]string{
		"collector.yml":  mainFile,
		"services/b.yml": strings.ReplaceAll(goodFile, "kind: https, target: x", "kind: tcp, target: \"h:2\""),
		"services/c.yml": "services: [{name: c}]\n",
	})
	c, err := LoadConfig(filepath.Join(dir, "collector.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.Services {
		names = append(names, s.Name)
	}
	for _, s := range c.Checks {
		names = append(names, s.Name)
		if s.Every == 0 {
			t.Errorf("check %s has no defaults", s.Name)
		}
	}
	if got := strings.Join(names, " "); got != "a b c a-1 b-1" {
		t.Errorf("loaded %s", got)
	}
}

// Every fault is told with the file and the line where it stands, those of the main file first.
func TestFaultsInIncludedFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"in both": {
			map[string]string{"collector.yml": strings.Replace(mainFile, "data: d", "data: d\nlocation: nowhere", 1), "services/b.yml": goodFile},
			[]string{`collector.yml:2: location: `, `services/b.yml:3: checks[0].kind: "https" is not a kind`},
		},
		"not loaded at all": {
			map[string]string{"collector.yml": mainFile, "services/b.yml": "services: [{name: b}]\nrules: {}\n"},
			[]string{`collector.yml:3: checks[0].service: "b" is not among the services`, `services/b.yml:2: rules: unknown key "rules"`},
		},
		"twice": {
			map[string]string{"collector.yml": strings.Replace(mainFile, "service: b", "service: a", 1), "services/b.yml": "services:\n  - {name: a}\n"},
			[]string{`services/b.yml:2: services[0].name: service "a" is there twice, first in `},
		},
		"none": {
			map[string]string{"collector.yml": strings.Replace(mainFile, "service: b", "service: a", 1)},
			[]string{`collector.yml:4: include[0]: no file matches `},
		},
		"CA beside the file": {
			map[string]string{
				"collector.yml":  strings.Replace(mainFile, "service: b", "service: a", 1),
				"services/b.yml": "checks: [{name: b-1, service: a, kind: http, target: \"https://h\", tls: {ca_file: ca.pem}}]\n", "services/ca.pem": "no PEM",
			},
			[]string{`services/b.yml:1: checks[0].tls.ca_file: `},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, tc.files)
			_, err := LoadConfig(filepath.Join(dir, "collector.yml"))
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("got %q, want %q", lines, tc.want)
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, tc.want[i]) {
					t.Errorf("fault %q, want %q", l, tc.want[i])
				}
			}
		})
	}
}
