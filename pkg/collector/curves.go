package collector

import (
	"context"
	"fmt"
	"math"
	"time"

	"xunjian/pkg/incident"
	"xunjian/pkg/query"
)

// hostFigures are what is attached to an incident of each of its hosts, in per cent.
var hostFigures = []struct{ name, expr string }{
	{"cpu", `100 * (1 - sum by (instance) (rate(node_cpu_seconds_total{mode="idle",instance=%q}[2m])) / sum by (instance) (rate(node_cpu_seconds_total{instance=%[1]q}[2m])))`},
	{"memory", `100 * (1 - node_memory_MemAvailable_bytes{instance=%q} / node_memory_MemTotal_bytes{instance=%[1]q})`},
	{"disk", `max by (instance) (100 * (1 - node_filesystem_avail_bytes{instance=%q,fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660"} / node_filesystem_size_bytes{instance=%[1]q}))`},
}

// hostCurves is what hosts did between two moments, for the evidence of an incident.
func (c *Collector) hostCurves(ctx context.Context, hosts []string, from, to time.Time, step time.Duration) (out []incident.Curve, err error) {
	if c.engine == nil {
		return nil, nil // the files alone are open
	}
	for _, h := range hosts {
		for _, f := range hostFigures {
			res, err := c.engine.Range(ctx, fmt.Sprintf(f.expr, h), query.Span{Start: from, End: to, Step: step})
			if err != nil {
				return nil, fmt.Errorf("read %s of %s: %w", f.name, h, err)
			}
			for _, found := range res.Curves() {
				out = append(out, curveOf(h, f.name, from, found))
			}
		}
	}
	return out, nil
}

func curveOf(host, name string, from time.Time, found query.Curve) incident.Curve {
	c := incident.Curve{Host: host, Name: name, From: from.UTC().Truncate(time.Millisecond)}
	for i, v := range found.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		c.At = append(c.At, int((found.AtMS[i]-from.UnixMilli())/1000))
		c.Values = append(c.Values, math.Round(v*10)/10)
	}
	return c
}
