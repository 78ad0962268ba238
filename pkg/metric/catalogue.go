package metric

import "sort"

// Type is a metric's type as Prometheus' exposition names it.
type Type string

// The types in use.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Desc describes a metric name.
type Desc struct {
	Type Type
	Help string
}

// Describe is what the catalogue says of a name; unknown names are gauges without help.
func Describe(name string) (Desc, bool) {
	d, ok := catalogue[name]
	if !ok {
		d = Desc{Type: Gauge}
	}
	return d, ok
}

// Names lists the catalogue in order.
func Names() []string {
	out := make([]string, 0, len(catalogue))
	for n := range catalogue {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// catalogue holds every name that agents and the collector write.
var catalogue = map[string]Desc{}
