package console

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/query"
)

// hostView is one server's line.
type hostView struct {
	Name   string
	State  string // ok, down (silent), unknown (not heard yet, or stopped on purpose)
	Heard  string // what is known of its last report
	CPU    share
	Memory share
	Disk   share  // the fullest file system
	Mount  string // which that is
	Load   string // empty without data
}

// share is a percentage; without data it is not drawn.
type share struct {
	Has   bool
	Value float64
}

// Text is the share for people.
func (s share) Text(p *i18n.Printer) string {
	if !s.Has {
		return p.T("common.nodata")
	}
	return fmt.Sprintf("%.0f%%", s.Value)
}

// Grade is the colour after the shipped rules' limits.
func (s share) Grade() string {
	switch {
	case !s.Has:
		return "unknown"
	case s.Value >= 95:
		return "down"
	case s.Value >= 85:
		return "slow"
	}
	return "ok"
}

// figures are the queries behind the lines; each answers once for every instance.
var figures = map[string]string{
	"cpu":    `100 * (1 - sum by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m])) / sum by (instance) (rate(node_cpu_seconds_total[2m])))`, // right from the second reading on
	"memory": `100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`,
	"disk":   `topk by (instance) (1, 100 * (1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660"} / (node_filesystem_size_bytes - node_filesystem_free_bytes + node_filesystem_avail_bytes)))`,
	"load":   `node_load1`,
}

const (
	figuresFor  = 5 * time.Second // that figures are kept, so that many browsers cost one evaluation
	figuresWait = 3 * time.Second // that a page waits for them
)

// readings are the values of a figure by instance.
type readings map[string]query.Point

type hostCache struct {
	mu   sync.Mutex
	at   time.Time
	data map[string]readings
}

// figures are the newest readings. A figure that cannot be read is missing: the page has more urgent things to show.
func (c *Console) figures(ctx context.Context, now time.Time) map[string]readings {
	h := &c.hosts
	h.mu.Lock()
	defer h.mu.Unlock()
	if age := now.Sub(h.at); age >= 0 && age < figuresFor {
		return h.data
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), figuresWait) // others share what comes of it
	defer cancel()
	h.data = map[string]readings{}
	for name, expr := range figures {
		res, err := c.o.Query.Instant(ctx, expr, now)
		if err != nil {
			c.log.Error("read figure of hosts", "figure", name, "error", err)
			continue
		}
		h.data[name] = readings{}
		for _, point := range res.Points() {
			h.data[name][point.Series.Get("instance")] = point
		}
	}
	h.at = now
	return h.data
}

func (c *Console) hostViews(ctx context.Context, p *i18n.Printer, now time.Time) (out []hostView) {
	data := c.figures(ctx, now)
	for _, a := range c.o.Agents() {
		if a.RevokedAt.IsZero() {
			out = append(out, hostOf(p, a, data, now))
		}
	}
	return out
}

// hostOf shows no reading of an agent that is not heard: the last one says nothing about now.
func hostOf(p *i18n.Printer, a fleet.Agent, data map[string]readings, now time.Time) hostView {
	v := hostView{Name: plain(a.Name), State: "ok"}
	age := ageOf(p, now.Sub(a.LastHeard))
	switch {
	case a.LastHeard.IsZero():
		v.State, v.Heard = "unknown", p.T("console.never_heard")
	case a.State() == "stopped":
		v.State, v.Heard = "unknown", p.T("console.stopped", "age", ageOf(p, now.Sub(a.LeftAt)))
	case a.Silent:
		v.State, v.Heard = "down", p.T("console.silent", "age", age)
	default:
		v.Heard = p.T("console.heard", "age", age)
		v.CPU, v.Memory, v.Disk = data["cpu"].share(a.Name), data["memory"].share(a.Name), data["disk"].share(a.Name)
		if v.Disk.Has {
			v.Mount = plain(data["disk"][a.Name].Series.Get("mountpoint"))
		}
		if l, ok := data["load"][a.Name]; ok {
			v.Load = fmt.Sprintf("%.2f", l.Value)
		}
	}
	return v
}

// ageOf is a time gone by in its largest whole unit.
func ageOf(p *i18n.Printer, d time.Duration) string {
	d = max(0, d)
	for _, u := range []struct {
		key string
		of  time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if d >= u.of {
			return p.T("console.age."+u.key, "n", strconv.Itoa(int(d/u.of)))
		}
	}
	return p.T("console.age.second", "n", strconv.Itoa(int(d/time.Second)))
}

func (r readings) share(instance string) share {
	p, ok := r[instance]
	if !ok || math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
		return share{}
	}
	return share{true, min(max(p.Value, 0), 100)}
}
