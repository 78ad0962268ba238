// Package metric holds the words for numbers: a series, its samples, and the report that carries them.
package metric

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Label is one name and value of a series.
type Label struct{ Name, Value string }

// Series names one stream of numbers. Labels are sorted by name and never hold __name__.
type Series struct {
	Name   string
	Labels []Label
}

// New makes a series from label pairs (name, value, name, value, …) in any order.
func New(name string, pairs ...string) Series {
	s := Series{Name: name, Labels: make([]Label, 0, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Labels = append(s.Labels, Label{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(s.Labels, compareLabels)
	return s
}

func compareLabels(a, b Label) int { return strings.Compare(a.Name, b.Name) }

// Get is the value of a label, empty when the series does not have it.
func (s Series) Get(name string) string {
	i, ok := slices.BinarySearchFunc(s.Labels, name, func(l Label, n string) int { return strings.Compare(l.Name, n) })
	if !ok {
		return ""
	}
	return s.Labels[i].Value
}

// With is a copy of the series with one label set.
func (s Series) With(name, value string) Series {
	out := Series{Name: s.Name, Labels: make([]Label, 0, len(s.Labels)+1)}
	for _, l := range s.Labels {
		if l.Name != name {
			out.Labels = append(out.Labels, l)
		}
	}
	out.Labels = append(out.Labels, Label{name, value})
	slices.SortFunc(out.Labels, compareLabels)
	return out
}

// String is the series in Prometheus' text form: name{label="value",…}. Equal series have equal strings.
func (s Series) String() string {
	if len(s.Labels) == 0 {
		return s.Name
	}
	var b strings.Builder
	b.WriteString(s.Name)
	b.WriteByte('{')
	for i, l := range s.Labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l.Name)
		b.WriteString(`="`)
		b.WriteString(labelEscaper.Replace(l.Value))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// Sample is one number of one series; its time is the report's.
type Sample struct {
	Series Series
	Value  float64
}

// FormatValue is a value as Prometheus' text form writes it.
func FormatValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Report is one reading by one agent: all its samples share the stamp At, the planned tick of a fixed grid.
// NaN stands for a series that this reading does not have, so that a kind keeps its schema from reading to reading.
type Report struct {
	Agent   string        // set by the receiver from the peer's certificate, never believed from the wire
	Boot    uint64        // drawn anew at each start of the agent
	Seq     uint64        // from 1 in each boot, without holes; (Agent, Boot, Seq) is unique
	Kind    string        // "host", or "probe/" and the name of the check
	Every   time.Duration // the grid's interval, 0 when the report stands alone
	At      time.Time     // millisecond precision
	Samples []Sample
}

// KindHost is the kind of the reports on the host itself; KindProbe opens the kind of a check's reports.
const (
	KindHost  = "host"
	KindProbe = "probe/"
)
