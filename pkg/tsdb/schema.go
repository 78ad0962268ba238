package tsdb

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"

	"xunjian/pkg/metric"
)

// schema is an immutable list of series, in order of their text; a report's values follow it column by column.
// The labels of the stream are not in it, so that all hosts of a kind can share one.
type schema struct {
	id       uint32
	series   []metric.Series
	texts    []string  // of the series, for all streams together
	overflow int       // column of OverflowSeries, -1 when it has none
	layouts  []*layout // catalog.mu: in use; hosts that are alike share one
}

// common is a layout of another stream that is the same, or l itself.
func (s *schema) common(l *layout) *layout {
	for _, known := range s.layouts {
		if known.dropped == l.dropped && slices.Equal(known.column, l.column) && slices.EqualFunc(known.series, l.series, sameSeries) {
			return known
		}
	}
	const most = 8 // orders in which hosts name the same series
	if len(s.layouts) < most {
		s.layouts = append(s.layouts, l)
	}
	return l
}

func sameSeries(a, b metric.Series) bool { return a.Name == b.Name && slices.Equal(a.Labels, b.Labels) }

type schemaHash [sha256.Size]byte

// hashSchema is the name under which a list of series is found again.
func hashSchema(series []metric.Series) schemaHash {
	var b []byte
	for _, s := range series {
		text := s.String()
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// OverflowSeries counts, in a report that had more series than the caps allow or series that are none, those that
// were left out. Only such reports have it.
const OverflowSeries = "xunjian_report_dropped_series"

// layout is how one stream's reports lately looked: the series in the order of the samples, and where
// each goes. Comparing with it spares sorting and hashing nearly every report.
type layout struct {
	series  []metric.Series
	column  []int // -1: left out
	dropped int
	schema  *schema
}

// fits reports whether the samples are of this layout.
func (l *layout) fits(samples []metric.Sample) bool {
	if l == nil || len(samples) != len(l.series) {
		return false
	}
	for i := range samples {
		a, b := &samples[i].Series, &l.series[i]
		if a.Name != b.Name || !slices.Equal(a.Labels, b.Labels) {
			return false
		}
	}
	return true
}

// values is the row of a report, in the schema's order. A NaN is an absent value, but for sparse streams, which keep it.
func (l *layout) values(room []float64, samples []metric.Sample, sparse bool) []float64 {
	v := slices.Grow(room[:0], len(l.schema.series))[:len(l.schema.series)]
	for i := range samples {
		x := samples[i].Value
		if x != x && !sparse {
			x = Absent
		}
		if at := l.column[i]; at >= 0 {
			v[at] = x
		}
	}
	if l.dropped > 0 {
		v[l.schema.overflow] = float64(l.dropped)
	}
	return v
}

// kept is a series of a report that may be kept.
type kept struct {
	text   string
	series metric.Series
	at     int // in the report
}

// newLayout takes the series of a report that may be kept at all, in order of their text, at most so many: those
// that are unnamed, doubled, too long or not UTF-8 are left out.
func newLayout(samples []metric.Sample, limits Limits) (l *layout, all []kept) {
	l = &layout{series: make([]metric.Series, len(samples)), column: make([]int, len(samples))}
	known := make(map[string]bool, len(samples))
	for i, s := range samples {
		l.series[i] = cloneSeries(s.Series)
		clean := cleanSeries(l.series[i])
		text := clean.String()
		if len(all) == limits.ReportSeries || !validSeries(s.Series, limits.LabelBytes) || known[text] || s.Series.Name == OverflowSeries {
			continue
		}
		known[text] = true
		all = append(all, kept{text, clean, i})
	}
	slices.SortFunc(all, func(a, b kept) int { return strings.Compare(a.text, b.text) })
	return l, all
}

// assign gives the series that are kept their columns and returns the schema's list, with the overflow series where
// any is left out.
func (l *layout) assign(all []kept) (list []metric.Series) {
	for i := range l.column {
		l.column[i] = -1
	}
	if l.dropped = len(l.series) - len(all); l.dropped > 0 {
		all = append(all, kept{OverflowSeries, metric.Series{Name: OverflowSeries}, -1})
		slices.SortFunc(all, func(a, b kept) int { return strings.Compare(a.text, b.text) })
	}
	for i, k := range all {
		if list = append(list, k.series); k.at >= 0 {
			l.column[k.at] = i
		}
	}
	return list
}

func validSeries(s metric.Series, maxBytes int) bool {
	if s.Name == "" || !validText(s.Name, maxBytes) {
		return false
	}
	for _, l := range s.Labels {
		if l.Name == "" || l.Name == NameLabel || !validText(l.Name, maxBytes) || !validText(l.Value, maxBytes) {
			return false
		}
	}
	return true
}

func validText(s string, maxBytes int) bool { return len(s) <= maxBytes && utf8.ValidString(s) }

// cloneSeries frees the series from the buffer of the message it came in. Hosts are alike, so each text is there once for
// all of them, and comparing it with another host's is comparing addresses.
func cloneSeries(s metric.Series) metric.Series {
	out := metric.Series{Name: shared(s.Name), Labels: make([]metric.Label, len(s.Labels))}
	for i, l := range s.Labels {
		out.Labels[i] = metric.Label{Name: shared(l.Name), Value: shared(l.Value)}
	}
	return out
}

func shared(s string) string { return unique.Make(s).Value() }

// cleanSeries sorts the labels and drops those without a value, which are no labels.
func cleanSeries(s metric.Series) metric.Series {
	labels := slices.DeleteFunc(slices.Clone(s.Labels), func(l metric.Label) bool { return l.Value == "" })
	slices.SortStableFunc(labels, func(a, b metric.Label) int { return strings.Compare(a.Name, b.Name) })
	labels = slices.CompactFunc(labels, func(a, b metric.Label) bool { return a.Name == b.Name })
	return metric.Series{Name: s.Name, Labels: labels}
}

// withLabels adds a stream's labels; a label of the series that bears the same name moves to exported_…,
// as Prometheus does it, for a series may not take the identity of another host.
func withLabels(s metric.Series, labels []metric.Label) metric.Series {
	out := metric.Series{Name: s.Name, Labels: slices.Clone(labels)}
	for _, l := range s.Labels {
		for hasLabel(out.Labels, l.Name) {
			l.Name = "exported_" + l.Name
		}
		out.Labels = append(out.Labels, l)
	}
	return cleanSeries(out)
}

func hasLabel(labels []metric.Label, name string) bool {
	return slices.ContainsFunc(labels, func(l metric.Label) bool { return l.Name == name })
}
