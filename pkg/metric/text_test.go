package metric_test

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"

	"xunjian/pkg/metric"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var at = time.UnixMilli(1_790_000_000_123)

func sample(v float64, name string, pairs ...string) metric.Sample {
	return metric.Sample{Series: metric.New(name, pairs...), Value: v}
}

func TestWriteTextGolden(t *testing.T) {
	samples := []metric.Sample{
		sample(12.5, "node_cpu_seconds_total", "cpu", "10", "mode", "idle"),
		sample(1, "probe_success"),
		sample(3, "node_cpu_seconds_total", "cpu", "2", "mode", "idle"),
		sample(math.NaN(), "node_load1"),
		sample(1, "node_uname_info", "nodename", "政务 \"主机\"\\n\n", "machine", "loongarch64"),
		sample(math.Inf(1), "probe_duration_seconds"),
		sample(4, "node_cpu_seconds_total", "mode", "idle", "cpu", "2"), // again
		sample(1e21, "node_filefd_maximum"),
		sample(-0.25, "of_nobody", "a", ""),
		sample(math.NaN(), "node_cpu_seconds_total", "cpu", "0", "mode", "idle"),
	}
	for name, stamp := range map[string]time.Time{"stamped.prom": at, "unstamped.prom": {}} {
		var got bytes.Buffer
		if err := metric.WriteText(&got, samples, stamp); err != nil {
			t.Fatal(err)
		}
		file := "testdata/" + name
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestWriteTextRoundTrip reads the text back with Prometheus' own parser and finds every number where it was.
func TestWriteTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, samples := map[string]float64{}, []metric.Sample(nil)
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			name := rapid.SampledFrom(metric.Names()).Draw(t, "name")
			s := sample(rapid.Float64().Draw(t, "value"), name, "device", rapid.String().Draw(t, "device"), "mode", rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "mode"))
			if _, again := want[s.Series.String()]; !again && !math.IsNaN(s.Value) {
				want[s.Series.String()] = s.Value
			}
			samples = append(samples, s)
		}
		var text bytes.Buffer
		if err := metric.WriteText(&text, samples, at); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, parse(t, &text)); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

// parse reads a text into series and value, and checks each family's type and time stamps.
func parse(t *rapid.T, text *bytes.Buffer) map[string]float64 {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	got := map[string]float64{}
	for name, family := range families {
		d, _ := metric.Describe(name)
		if want := strings.ToUpper(string(d.Type)); family.GetType().String() != want || family.GetHelp() != d.Help {
			t.Errorf("%s is a %s: %q; want a %s: %q", name, family.GetType(), family.GetHelp(), want, d.Help)
		}
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName(), l.GetValue())
			}
			if m.GetTimestampMs() != at.UnixMilli() {
				t.Errorf("%s has the stamp %d", name, m.GetTimestampMs())
			}
			got[metric.New(name, pairs...).String()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

type broken struct{}

var errBroken = errors.New("pipe is gone")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteTextTellsOfABrokenWriter(t *testing.T) {
	if err := metric.WriteText(broken{}, []metric.Sample{sample(1, "node_load1")}, at); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want %v", err, errBroken)
	}
}

// TestCatalogueLint holds every name against the linter behind promtool check metrics. Only node_exporter's own names
// for memory may break a rule, as they do there.
func TestCatalogueLint(t *testing.T) {
	var samples []metric.Sample
	for _, name := range metric.Names() {
		samples = append(samples, sample(1, name))
	}
	var text bytes.Buffer
	if err := metric.WriteText(&text, samples, at); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(&text).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "node_memory_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestCatalogueComplete(t *testing.T) {
	if len(metric.Names()) < 80 {
		t.Errorf("%d names in the catalogue", len(metric.Names()))
	}
	for _, name := range metric.Names() {
		d, ok := metric.Describe(name)
		if !ok || d.Help == "" || (d.Type == metric.Counter) != strings.HasSuffix(name, "_total") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d, ok := metric.Describe("of_nobody"); ok || d.Type != metric.Gauge || d.Help != "" {
		t.Errorf("an unknown name is %+v, %v", d, ok)
	}
}
