package host

import (
	"context"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/metric"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.UnixMilli(1_790_001_234_567)

// sound answers every mount.
func sound(string) (usage, error) {
	return usage{size: 1000, free: 500, avail: 400, files: 100, filesFree: 90}, nil
}

// fixture is a reader of a tree in testdata.
func fixture(name string, ask statfsFunc) *Reader {
	return newReader(Options{Proc: filepath.Join("testdata", name, "proc")}, ask)
}

// tree is a copy of a tree that the test may change.
func tree(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name, "proc"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(r *Reader) []metric.Sample { return r.Read(context.Background(), now) }

// values maps series to value; NaN stays NaN.
func values(samples []metric.Sample) map[string]float64 {
	out := map[string]float64{}
	for _, s := range samples {
		out[s.Series.String()] = s.Value
	}
	return out
}

func success(samples []metric.Sample, collector string) float64 {
	return values(samples)[`xunjian_agent_collector_success{collector="`+collector+`"}`]
}

func dropped(samples []metric.Sample, collector string) float64 {
	return values(samples)[`xunjian_agent_dropped_series{collector="`+collector+`"}`]
}

// schema is the series in order, one a line.
func schema(samples []metric.Sample) string {
	var b strings.Builder
	for _, s := range samples {
		b.WriteString(s.Series.String() + "\n")
	}
	return b.String()
}

// only keeps the samples whose names start so.
func only(samples []metric.Sample, prefix string) (out []metric.Sample) {
	for _, s := range samples {
		if strings.HasPrefix(s.Series.Name, prefix) {
			out = append(out, s)
		}
	}
	return out
}

func allNaN(samples []metric.Sample) bool {
	for _, s := range samples {
		if !math.IsNaN(s.Value) {
			return false
		}
	}
	return len(samples) > 0
}
