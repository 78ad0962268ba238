package console

import (
	"context"
	"fmt"
	"sync"
	"time"

	"xunjian/pkg/fleet"
	"xunjian/pkg/i18n"
	"xunjian/pkg/query"
)

// hostView is one server's line.
type hostView struct {
	Name      string
	Silent    bool
	LastHeard string // age, empty when never heard
	CPU       share
	Memory    share
	Disk      share  // the fullest file system
	Mount     string // which that is
	Load      string
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
	"cpu":    `100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m])))`,
	"memory": `100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`,
	"disk":   `topk by (instance) (1, 100 * (1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660"} / (node_filesystem_size_bytes - node_filesystem_free_bytes + node_filesystem_avail_bytes)))`,
	"load":   `node_load1`,
}

// hostCache keeps the figures for a few seconds, so that many browsers cost one evaluation.
type hostCache struct {
	mu   sync.Mutex
	at   time.Time
	data map[string]map[string]query.Point // figure, instance
}

const figuresFor = 5 * time.Second

func (c *Console) figures(ctx context.Context, now time.Time) (map[string]map[string]query.Point, error) {
	h := &c.hosts
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.at) < figuresFor && h.data != nil {
		return h.data, nil
	}
	data := map[string]map[string]query.Point{}
	for name, expr := range figures {
		res, err := c.o.Query.Instant(ctx, expr, now)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", name, err)
		}
		data[name] = map[string]query.Point{}
		for _, point := range res.Points() {
			data[name][point.Series.Get("instance")] = point
		}
	}
	h.at, h.data = now, data
	return data, nil
}

func (c *Console) hostViews(ctx context.Context, p *i18n.Printer, now time.Time) ([]hostView, error) {
	data, err := c.figures(ctx, now)
	if err != nil {
		return nil, err
	}
	var out []hostView
	for _, a := range c.o.Agents() {
		if a.RevokedAt.IsZero() {
			out = append(out, c.hostView(p, a, data, now))
		}
	}
	return out, nil
}

func (c *Console) hostView(p *i18n.Printer, a fleet.Agent, data map[string]map[string]query.Point, now time.Time) hostView {
	v := hostView{Name: a.Name, Silent: a.Silent, Load: p.T("common.nodata")}
	if !a.LastHeard.IsZero() {
		v.LastHeard = span(now.Sub(a.LastHeard))
	}
	pick := func(figure string) share {
		s, ok := data[figure][a.Name]
		return share{ok, s.Value}
	}
	v.CPU, v.Memory, v.Disk = pick("cpu"), pick("memory"), pick("disk")
	if s, ok := data["disk"][a.Name]; ok {
		v.Mount = s.Series.Get("mountpoint")
	}
	if s, ok := data["load"][a.Name]; ok {
		v.Load = fmt.Sprintf("%.2f", s.Value)
	}
	return v
}
