package console

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
	"xunjian/pkg/query"
)

// curveView is a host's figure around a fault, drawn on the server: it needs no script.
type curveView struct {
	Host, Name  string
	Points      []string // of the polylines: a gap in the data is a gap in the line
	FaultX      float64
	FaultW      float64
	Low, High   string // of the scale
	Last        string
	From, Until string
}

// Size of a drawing, and how much before and after the fault it shows.
const (
	curveWidth, curveHeight = 300, 60
	curveBefore, curveAfter = 30 * time.Minute, 15 * time.Minute
	curveLongest            = 6 * time.Hour
	curveHosts              = 3
	curveWait               = 2 * time.Second
)

// curveFigures are what is drawn of each host; percentages have the whole scale.
var curveFigures = []struct {
	name, expr string
	percent    bool
}{
	{"cpu", `100 * (1 - sum by (instance) (rate(node_cpu_seconds_total{mode="idle",instance=%q}[2m])) / sum by (instance) (rate(node_cpu_seconds_total{instance=%[1]q}[2m])))`, true},
	{"memory", `100 * (1 - node_memory_MemAvailable_bytes{instance=%q} / node_memory_MemTotal_bytes{instance=%[1]q})`, true},
	{"disk", `max by (instance) (100 * (1 - node_filesystem_avail_bytes{instance=%q,fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660"} / node_filesystem_size_bytes{instance=%[1]q}))`, true},
	{"load", `node_load1{instance=%q}`, false},
}

// hostsOf are the servers that an incident speaks of: the one that a rule found, or those that its service runs on.
func (c *Console) hostsOf(r incident.Record, now time.Time) (out []string) {
	known := map[string]bool{}
	for _, a := range c.o.Agents() {
		known[a.Name] = true
	}
	add := func(name string) {
		if known[name] && !slices.Contains(out, name) && len(out) < curveHosts {
			out = append(out, name)
		}
	}
	whole, _, _ := strings.Cut(r.Component, " ")
	add(whole)
	for _, s := range c.o.Services(now) {
		if s.Service.Name == r.Service {
			for _, h := range s.Service.Hosts {
				add(h)
			}
		}
	}
	return out
}

// curves draws what the hosts of an incident did around the fault. What cannot be read is left out: the page has more
// urgent things to show.
func (c *Console) curves(ctx context.Context, p *i18n.Printer, r incident.Record, now time.Time) (out []curveView) {
	hosts := c.hostsOf(r, now)
	if len(hosts) == 0 || c.o.Query == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, curveWait)
	defer cancel()
	end := now
	if !r.RecoveredAt.IsZero() && r.RecoveredAt.Add(curveAfter).Before(now) {
		end = r.RecoveredAt.Add(curveAfter)
	}
	start := r.FaultStart.Add(-curveBefore)
	if end.Sub(start) > curveLongest {
		end = start.Add(curveLongest)
	}
	step := max(end.Sub(start)/100, 15*time.Second).Truncate(time.Second)
	for _, h := range hosts {
		for _, f := range curveFigures {
			res, err := c.o.Query.Range(ctx, fmt.Sprintf(f.expr, h), query.Span{Start: start, End: end, Step: step})
			if err != nil {
				c.log.Error("read curve of host", "host", h, "figure", f.name, "error", err)
				continue
			}
			all := res.Curves()
			if len(all) == 0 || len(all[0].Values) < 2 {
				continue
			}
			v := draw(all[0], f.percent, start, end, step)
			v.Host, v.Name = plain(h), p.T("console."+f.name)
			v.From, v.Until = hm(start.In(c.o.Location)), hm(end.In(c.o.Location))
			from, until := r.FaultStart, end
			if !r.RecoveredAt.IsZero() {
				until = r.RecoveredAt
			}
			v.FaultX = along(from, start, end)
			v.FaultW = max(along(until, start, end)-v.FaultX, 1)
			out = append(out, v)
		}
	}
	return out
}

func along(t, start, end time.Time) float64 {
	share := float64(t.Sub(start)) / float64(end.Sub(start))
	return math.Round(min(max(share, 0), 1)*curveWidth*10) / 10
}

// draw makes lines out of values; where more than two steps are missing, a new one begins.
func draw(c query.Curve, percent bool, start, end time.Time, step time.Duration) (v curveView) {
	top := 100.0
	if !percent {
		top = max(slices.Max(c.Values), 1)
	}
	var line strings.Builder
	for i, at := range c.AtMS {
		if i > 0 && at-c.AtMS[i-1] > 2*step.Milliseconds() {
			v.Points = append(v.Points, strings.TrimSpace(line.String()))
			line.Reset()
		}
		y := curveHeight - min(max(c.Values[i]/top, 0), 1)*curveHeight
		fmt.Fprintf(&line, "%.1f,%.1f ", along(time.UnixMilli(at), start, end), y)
	}
	v.Points = append(v.Points, strings.TrimSpace(line.String()))
	unit := ""
	if percent {
		unit = "%"
	}
	v.Low, v.High = fmt.Sprintf("%.3g%s", slices.Min(c.Values), unit), fmt.Sprintf("%.3g%s", slices.Max(c.Values), unit)
	v.Last = fmt.Sprintf("%.3g%s", c.Values[len(c.Values)-1], unit)
	return v
}
