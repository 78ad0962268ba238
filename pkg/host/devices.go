package host

import (
	"strings"

	"xunjian/pkg/metric"
)

// devices makes the series of devices once: a row of the same names for each.
type devices struct {
	names []string
	rows  map[string][]metric.Series
}

func newDevices(names []string) devices {
	return devices{names: names, rows: map[string][]metric.Series{}}
}

// row is the device's series, in the order of names.
func (d devices) row(device string) []metric.Series {
	if known := d.rows[device]; known != nil {
		return known
	}
	if len(d.rows) >= 4*maxDevices { // devices come and go, containers' interfaces above all
		clear(d.rows)
	}
	row := make([]metric.Series, 0, len(d.names))
	labels := []metric.Label{{Name: "device", Value: label(device)}}
	for _, name := range d.names {
		row = append(row, metric.Series{Name: name, Labels: labels})
	}
	d.rows[strings.Clone(device)] = row
	return row
}

// add appends a row's samples.
func (d devices) add(dst []metric.Sample, device string, values ...float64) []metric.Sample {
	for i, s := range d.row(device) {
		dst = append(dst, metric.Sample{Series: s, Value: values[i]})
	}
	return dst
}
