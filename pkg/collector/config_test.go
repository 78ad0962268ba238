package collector

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each bad file gives exactly the faults in the text of the same name: all of them, each with its line and key.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := LoadConfig(file)
			if err == nil {
				t.Fatal("accepted")
			}
			if faults := (config.Faults{}); !errors.As(err, &faults) {
				t.Errorf("%T is not config.Faults", err)
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
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if cerr := Check(file); cerr == nil || cerr.Error() != err.Error() {
				t.Errorf("check says otherwise: %v", cerr)
			}
		})
	}
}

func TestNoConfig(t *testing.T) {
	if _, err := LoadConfig("testdata/none.yml"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/none.yml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := LoadConfig("testdata"); err == nil {
		t.Error("a folder was read as a file")
	}
}

const sample = "../../configs/collector.yml"

// The shipped sample can be used as it is, and what it shows as defaults are the defaults.
func TestSample(t *testing.T) {
	t.Setenv("DUTY_DESK_TOKEN", "x")
	if err := Check(sample); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	got.file, got.dir, got.Data = "", "", filepath.Base(got.Data)
	got.HTTP.ExternalURL, got.Fleet.Names, got.Services = "", nil, nil // marked as examples
	if len(got.Heartbeat) == 0 {
		got.Heartbeat = nil
	}
	if len(got.Report.Planned) == 0 {
		got.Report.Planned = nil
	}
	if len(got.Include) == 0 {
		got.Include = nil
	}
	if len(got.Modules) == 0 {
		got.Modules = nil
	}
	if len(got.Rules.Files) == 0 {
		got.Rules.Files = nil
	}
	if len(got.Pages.Escalation) > 0 || got.Pages.Replies != want.Pages.Replies {
		t.Errorf("pages: %+v", got.Pages)
	}
	got.Pages = want.Pages // its receiver is an example
	if len(got.People) == 0 {
		got.People = nil
	}
	if r := got.Roster; len(r.Shifts)+len(r.Overrides)+len(r.Swaps)+len(r.Important) == 0 {
		got.Roster = want.Roster
	}
	if len(got.Fleet.Agents) == 0 {
		got.Fleet.Agents = nil
	}
	for _, s := range got.Checks {
		if s.Every != 10*time.Second || s.Timeout != 2*time.Second || s.Slow != time.Second {
			t.Errorf("check %s: %v, %v, %v are not the defaults", s.Name, s.Every, s.Timeout, s.Slow)
		}
	}
	got.Checks = nil
	a, b := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range a.NumField() {
		if f := a.Type().Field(i); f.IsExported() && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			t.Errorf("%s: the sample shows\n%+v, the default is\n%+v", f.Name, a.Field(i), b.Field(i))
		}
	}
}

// The sample names every key that there is, live or behind #=, in the section of its top-level key.
func TestSampleIsWhole(t *testing.T) {
	b, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	begins := regexp.MustCompile(`(?m)^([a-z_]+):`)
	at := begins.FindAllSubmatchIndex(b, -1)
	for i, m := range at {
		end := len(b)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		sections[string(b[m[2]:m[3]])] = string(b[m[0]:end])
	}
	more, err := filepath.Glob("../../configs/services/*.yml") // checks in the depth that the sample has no room for
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range more {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sections["checks"] += string(text)
	}
	own, err := os.ReadFile("../../configs/contract.yaml") // as is the contract
	if err != nil {
		t.Fatal(err)
	}
	sections["contract"] += string(own)
	keys := yamlKeys(reflect.TypeFor[Config](), "")
	if len(keys) < 100 {
		t.Fatalf("only %d keys found: %v", len(keys), keys)
	}
	for _, key := range keys {
		top, _, _ := strings.Cut(key, ".")
		last := key[strings.LastIndex(key, ".")+1:]
		if !regexp.MustCompile(`(?m)(^|[ {\-])` + last + `:`).MatchString(withoutComments(sections[top])) {
			t.Errorf("configs/collector.yml and configs/services do not show %s", key)
		}
	}
}

// withoutComments keeps the keys behind #=, and drops what is said about keys.
func withoutComments(section string) string {
	section = strings.ReplaceAll(section, "#=", "  ")
	return regexp.MustCompile(`(^|\s)#[^\n]*`).ReplaceAllString(section, "")
}

// yamlKeys are the paths of all keys of a configuration.
func yamlKeys(t reflect.Type, under string) (out []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if f.Anonymous && strings.Contains(f.Tag.Get("yaml"), ",inline") {
			out = append(out, yamlKeys(f.Type, under)...)
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("%v.%s has no yaml tag", t, f.Name))
		}
		path := strings.TrimPrefix(under+"."+name, ".")
		out = append(append(out, path), yamlKeys(f.Type, path)...)
	}
	return out
}
