package tsdb

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"xunjian/pkg/metric"
)

// schema is an immutable list of series, in order of their text; a report's values follow it column by column.
// The labels of the stream are not in it, so that all hosts of a kind can share one.
type schema struct {
	id     uint32
	series []metric.Series
}

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

// layout is how one stream's reports lately looked: the series in the order of the samples, and where
// each goes. Comparing with it spares sorting and hashing nearly every report.
type layout struct {
	series []metric.Series
	column []int
	schema *schema
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
func (l *layout) values(samples []metric.Sample, sparse bool) []float64 {
	v := make([]float64, len(samples))
	for i := range samples {
		x := samples[i].Value
		if x != x && !sparse {
			x = Absent
		}
		v[l.column[i]] = x
	}
	return v
}

// newLayout checks and sorts the series of a report; the schema is the caller's to find.
// ok is false when a series is unnamed, doubled, or too long, or is not UTF-8.
func newLayout(samples []metric.Sample, maxBytes int) (l *layout, sorted []metric.Series, ok bool) {
	l = &layout{series: make([]metric.Series, len(samples)), column: make([]int, len(samples))}
	type named struct {
		text   string
		series metric.Series
		at     int
	}
	all := make([]named, len(samples))
	for i, s := range samples {
		if !validSeries(s.Series, maxBytes) {
			return nil, nil, false
		}
		l.series[i] = cloneSeries(s.Series)
		clean := cleanSeries(l.series[i])
		all[i] = named{clean.String(), clean, i}
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.text, b.text) })
	for i, s := range all {
		if i > 0 && all[i-1].text == s.text {
			return nil, nil, false
		}
		l.column[s.at] = i
		sorted = append(sorted, s.series)
	}
	return l, sorted, true
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

// cloneSeries frees the series from the buffer of the message it came in.
func cloneSeries(s metric.Series) metric.Series {
	out := metric.Series{Name: strings.Clone(s.Name), Labels: make([]metric.Label, len(s.Labels))}
	for i, l := range s.Labels {
		out.Labels[i] = metric.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)}
	}
	return out
}

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
