package flow

import (
	"os"
	"strings"
	"testing"
)

// docs/FLOW.md tells of every function.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/FLOW.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range FunctionNames() {
		if family, _, _ := strings.Cut(name, "_"); !strings.Contains(string(b), "`"+name) && !strings.Contains(string(b), "`"+family+"_…`") {
			t.Errorf("docs/FLOW.md does not tell of %s", name)
		}
	}
}
