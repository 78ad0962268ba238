package metric

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WriteText writes samples in Prometheus' text format: families in order of name, in each the samples' own order, NaN and
// repeated series left out. A zero at writes no time stamps.
func WriteText(w io.Writer, samples []Sample, at time.Time) error {
	sorted := slices.Clone(samples)
	slices.SortStableFunc(sorted, func(a, b Sample) int { return cmp.Compare(a.Series.Name, b.Series.Name) })
	stamp := "\n"
	if !at.IsZero() {
		stamp = " " + strconv.FormatInt(at.UnixMilli(), 10) + "\n"
	}
	out, family, seen := bufio.NewWriter(w), "", map[string]bool{}
	for _, s := range sorted {
		if math.IsNaN(s.Value) {
			continue
		}
		if s.Series.Name != family {
			family = s.Series.Name
			clear(seen)
			writeHeader(out, family)
		}
		series := s.Series.String()
		if seen[series] {
			continue
		}
		seen[series] = true
		fmt.Fprint(out, series, " ", FormatValue(s.Value), stamp)
	}
	return out.Flush()
}

var helpEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// writeHeader names a family's help and type; the writer keeps its first error for Flush.
func writeHeader(out *bufio.Writer, name string) {
	d, _ := Describe(name)
	if d.Help != "" {
		fmt.Fprintf(out, "# HELP %s %s\n", name, helpEscaper.Replace(d.Help))
	}
	fmt.Fprintf(out, "# TYPE %s %s\n", name, d.Type)
}
