package host

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/cpu"

	"xunjian/pkg/metric"
)

// manyCores is the number of cores above which only the first fewModes of modes are told for each.
const (
	manyCores = 48
	fewModes  = 5
	idleMode  = 2
	jumpBack  = 3.0 // seconds by which idle time must fall for the core to count as replugged
)

var modes = [...]string{"user", "system", "idle", "iowait", "steal", "nice", "irq", "softirq"}

type cpu struct{ cores map[string]*core }

type core struct {
	series []metric.Series
	last   [len(modes)]float64
}

func newCPU() *cpu { return &cpu{cores: map[string]*core{}} }

func (c *cpu) collect(ctx context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	times, err := gopsutil.TimesWithContext(ctx, true)
	if err != nil {
		return nil, 0, err
	}
	if len(times) == 0 { // gopsutil hides a stat file that is missing or unreadable
		return nil, 0, errors.New("read stat: no processors")
	}
	per := len(modes)
	if len(times) > manyCores {
		per = fewModes
	}
	keep := min(len(times), maxCPUSeries/per)
	for i := range times[:keep] {
		core := c.core(times[i].CPU)
		core.update(&times[i])
		for m := range per {
			dst = append(dst, metric.Sample{Series: core.series[m], Value: core.last[m]})
		}
	}
	return dst, (len(times) - keep) * per, nil
}

func (c *cpu) core(name string) *core {
	if known := c.cores[name]; known != nil {
		return known
	}
	if len(c.cores) >= maxCPUSeries {
		clear(c.cores)
	}
	name = strings.Clone(name) // gopsutil's name is a part of the whole line
	fresh := &core{}
	for _, mode := range modes {
		fresh.series = append(fresh.series, metric.New("node_cpu_seconds_total", "cpu", strings.TrimPrefix(name, "cpu"), "mode", mode))
	}
	c.cores[name] = fresh
	return fresh
}

// update takes the core's times but never lets a counter fall, as the kernel lets iowait and idle do, unless idle fell so
// far that the core was unplugged and plugged in again.
func (c *core) update(t *gopsutil.TimesStat) {
	now := [...]float64{t.User, t.System, t.Idle, t.Iowait, t.Steal, t.Nice, t.Irq, t.Softirq}
	if c.last[idleMode]-now[idleMode] >= jumpBack {
		c.last = [len(modes)]float64{}
	}
	for m, v := range now {
		if v >= c.last[m] && !math.IsInf(v, 1) {
			c.last[m] = v
		}
	}
}
