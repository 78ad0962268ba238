package channel

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xunjian/pkg/config"
)

// The channels of the sample configuration, which stand in comments there, are good ones, and all kinds are among them.
func TestSample(t *testing.T) {
	b, err := os.ReadFile("../../configs/collector.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, pages, _ := strings.Cut(string(b), "\npages:")
	_, list, _ := strings.Cut(pages, "\n  channels: []\n")
	if next := regexp.MustCompile(`(?m)^(  )?[a-z]`).FindStringIndex(list); next != nil {
		list = list[:next[0]]
	}
	list = "channels:\n" + regexp.MustCompile(`(?m)^( *)#= `).ReplaceAllString(list, "$1")
	type file struct {
		Config `yaml:",inline"`
	}
	got, err := config.Parse("sample", []byte(list), file{})
	if err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	got.Validate(func(path, format string, args ...any) { t.Errorf("%s: "+format, append([]any{path}, args...)...) })
	var have []string
	for _, s := range got.List {
		have = append(have, s.Kind)
	}
	slices.Sort(have)
	if !slices.Equal(slices.Compact(have), Kinds()) {
		t.Errorf("the sample shows %v, there are %v", have, Kinds())
	}
}
