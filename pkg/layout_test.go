// Package pkg_test holds what is true of all packages together: the layout, and the story from a reading to a report.
package pkg_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "xunjian/"

// rows lists every package from words up to programs. A package imports only from rows above its own.
var rows = [][]string{
	// words, and words about words
	{"metric", "contract", "check"},
	{"symptom"},
	// papers, which tools handle
	{"paper"},
	// tools
	{"clock", "config", "spool", "store", "disk", "i18n", "ses", "tlcp", "recording", "sms"},
	// tools made of tools
	{"flow", "roster"},
	// parts
	{"host", "probe", "blackbox", "uplink", "tsdb", "fleet", "heartbeat", "rule", "access", "channel"},
	// duties
	{"query", "ingest", "inspect", "incident", "measure"},
	// outcomes
	{"pager", "report", "promapi", "alertapi", "deed"},
	// doors
	{"api"},
	{"console"},
	// programs
	{"agent", "collector", "simulator"},
}

// owners names the only packages that may import a module or generated package.
var owners = map[string][]string{
	module + "proto/":                  {"uplink"},
	"google.golang.org/grpc":           {"uplink"},
	"google.golang.org/protobuf":       {"uplink"},
	"go.etcd.io/bbolt":                 {"store", "tsdb"},
	"github.com/shirou/gopsutil":       {"host"},
	"github.com/prometheus/prometheus": {"query", "rule", "promapi"},
	"github.com/tidwall/gjson":         {"channel", "flow", "probe"},
	"github.com/wneessen/go-mail":      {"channel"},
	"golang.org/x/net/html":            {"flow"},
	"github.com/pquerna/otp":           {"access", "flow", "simulator"},
	"github.com/miekg/dns":             {"probe"},
	"golang.org/x/net/http2":           {"probe"},
	"golang.org/x/net/icmp":            {"probe"},
	"github.com/klauspost/compress":    {"recording", "tsdb"},
	"github.com/xuri/excelize":         {"report"},
	"github.com/beevik/etree":          {"report"},
	"go.yaml.in/yaml":                  {"config"},
	"golang.org/x/crypto/argon2":       {"access"},
	"github.com/alexedwards/scs":       {"console"},
	"github.com/linxGnu/gosmpp":        {"sms", "simulator"},
	"github.com/bigwhite/gocmpp":       {"sms", "simulator"},
	"github.com/alecthomas/kong":       {},
	"github.com/6tail/lunar-go":        {}, // tests ask it for working days
	"github.com/emmansun/gmsm":         {"flow", "probe", "ses", "simulator", "tlcp"},
}

// agentMayReach is all of our code that the agent may link, and agentNever what it must not drag in:
// it is to be small and light on machines that have other work.
var (
	agentMayReach = []string{"agent", "check", "config", "flow", "host", "i18n", "metric", "paper", "probe", "ses", "sms", "spool", "tlcp", "uplink"}
	agentNever    = []string{"github.com/prometheus/", "go.etcd.io/bbolt", "github.com/klauspost/"}
)

type pkg struct {
	inside, outside []string // imports within pkg/, and all others
	docs            int
}

func TestLayout(t *testing.T) {
	row := map[string]int{}
	for i, r := range rows {
		for _, p := range r {
			row[p] = i
		}
	}
	pkgs := packages(t)
	for name, p := range pkgs {
		from, ok := row[name]
		if !ok {
			t.Errorf("pkg/%s has no row: give it one in rows", name)
			continue
		}
		if p.docs != 1 {
			t.Errorf("pkg/%s has %d package comments, want 1", name, p.docs)
		}
		for _, to := range p.inside {
			if row[to] >= from {
				t.Errorf("pkg/%s (row %d) imports pkg/%s (row %d): only rows above its own are allowed", name, from, to, row[to])
			}
		}
		checkOwners(t, name, p.outside)
	}
	for name := range row {
		if pkgs[name] == nil {
			t.Errorf("rows names pkg/%s, which is not there", name)
		}
	}
}

func checkOwners(t *testing.T, name string, imports []string) {
	t.Helper()
	for _, path := range imports {
		for prefix, who := range owners {
			if strings.HasPrefix(path, prefix) && !slices.Contains(who, name) {
				t.Errorf("pkg/%s imports %s; only %v may", name, path, who)
			}
		}
	}
}

func TestAgentReach(t *testing.T) {
	pkgs, seen := packages(t), map[string]bool{"agent": true}
	for todo := []string{"agent"}; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if !slices.Contains(agentMayReach, name) {
			t.Errorf("the agent links pkg/%s", name)
			continue
		}
		for _, path := range pkgs[name].outside {
			for _, never := range agentNever {
				if strings.HasPrefix(path, never) {
					t.Errorf("the agent links %s through pkg/%s", path, name)
				}
			}
		}
		for _, to := range pkgs[name].inside {
			if !seen[to] {
				seen[to], todo = true, append(todo, to)
			}
		}
	}
}

// TestSizes holds files and functions to what a person can take in: 500 lines a file, 80 a function
// (tables of test cases apart), main at 60.
func TestSizes(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		limit := 500
		if filepath.Base(path) == "main.go" && (strings.Contains(path, "cmd/agent") || strings.Contains(path, "cmd/collector")) {
			limit = 60
		}
		if n := fset.File(f.Pos()).LineCount(); n > limit {
			t.Errorf("%s has %d lines, more than %d", path, n, limit)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := length(fset, fn) - tables(fset, fn, path); n > 80 {
				t.Errorf("%s: %s has %d lines, more than 80", path, fn.Name.Name, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func length(fset *token.FileSet, n ast.Node) int {
	return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
}

// tables is the length of a test's tables: cases are data, and do not count as lines of the function.
func tables(fset *token.FileSet, fn *ast.FuncDecl, path string) (n int) {
	if !strings.HasSuffix(path, "_test.go") {
		return 0
	}
	ast.Inspect(fn, func(node ast.Node) bool {
		lit, ok := node.(*ast.CompositeLit)
		if ok {
			n += length(fset, lit)
		}
		return !ok
	})
	return n
}

// packages reads the imports of every non-test file under pkg/.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	dirs, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*pkg{}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		p := &pkg{}
		out[d.Name()] = p
		files, err := filepath.Glob(filepath.Join(d.Name(), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				p.docs++
			}
			for _, im := range f.Imports {
				path := strings.Trim(im.Path.Value, `"`)
				if to, ok := strings.CutPrefix(path, module+"pkg/"); ok {
					p.inside = append(p.inside, to)
				} else {
					p.outside = append(p.outside, path)
				}
			}
		}
	}
	return out
}
