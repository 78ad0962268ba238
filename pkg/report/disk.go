package report

import (
	"context"
	"math"
	"slices"

	"xunjian/pkg/measure"

	"xunjian/pkg/metric"
)

// notDisks are file systems that no disk stands behind.
var notDisks = []string{"tmpfs", "devtmpfs", "ramfs", "overlay", "squashfs", "iso9660", "proc", "sysfs", "cgroup2", "autofs", "nsfs", "fuse.lxcfs"}

// disk is what a month's samples say of one file system.
type disk struct {
	size, free, avail float64 // the newest; all are NaN until seen
	firstFree         float64
	sizeOn            []float64 // by day of the month: the newest
	minFree, minAvail []float64 // by day of the month
}

func newDisk(days int) *disk {
	nan := func() []float64 {
		out := make([]float64, days)
		for i := range out {
			out[i] = math.NaN()
		}
		return out
	}
	return &disk{size: math.NaN(), free: math.NaN(), avail: math.NaN(), firstFree: math.NaN(), minFree: nan(), minAvail: nan(), sizeOn: nan()}
}

// mounts reads the file systems. Use is df's: used / (used + available to users), at the last sample. Growth is used
// bytes at the last sample less those at the first. Days to full follow DOMAIN 3.4 rule 3.
func (b *builder) mounts(ctx context.Context, h Host) ([]Mount, error) {
	days := int(b.month.To().Sub(b.month.From()).Hours()/24 + 0.5)
	disks := map[string]*disk{}
	pick := func(put func(d *disk, day int, v float64)) func(metric.Series, []int64, []float64) error {
		return func(s metric.Series, ts []int64, vs []float64) error {
			path := s.Get("mountpoint")
			if slices.Contains(notDisks, s.Get("fstype")) {
				return nil
			}
			if disks[path] == nil {
				disks[path] = newDisk(days)
			}
			for i, t := range ts {
				if day := int((t - b.month.From().UnixMilli()) / (24 * 3600 * 1000)); !math.IsNaN(vs[i]) && day >= 0 && day < days {
					put(disks[path], day, vs[i])
				}
			}
			return nil
		}
	}
	for _, s := range []struct {
		name string
		put  func(*disk, int, float64)
	}{{seriesSize, putSize}, {seriesFree, putFree}, {seriesAvail, putAvail}} {
		if err := b.selectHost(ctx, h, s.name, pick(s.put)); err != nil {
			return nil, err
		}
	}
	var out []Mount
	for path, d := range disks {
		out = append(out, d.mount(path))
	}
	slices.SortFunc(out, compareMounts)
	return out, nil
}

func putSize(d *disk, day int, v float64) { d.size, d.sizeOn[day] = v, v }

func putFree(d *disk, day int, v float64) {
	if math.IsNaN(d.firstFree) {
		d.firstFree = v
	}
	d.free, d.minFree[day] = v, least(d.minFree[day], v)
}

func putAvail(d *disk, day int, v float64) { d.avail, d.minAvail[day] = v, least(d.minAvail[day], v) }

func least(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return min(a, b)
}

func (d *disk) mount(path string) Mount {
	m := Mount{Path: path}
	if u := usedShare(d.size, d.free, d.avail); !math.IsNaN(u) {
		m.Used = measure.Known(u)
	}
	if g := d.firstFree - d.free; !math.IsNaN(g) && d.known() > 1 {
		m.Growth = measure.Known(int64(g))
	}
	slope, enough := d.slope()
	switch {
	case !enough || !m.Used.Known:
	case m.Used.Value >= badShare:
		m.FullDays = measure.Known(0.0)
	case slope <= 0:
		m.Flat = true
	default:
		m.FullDays = measure.Known(math.Floor((badShare - m.Used.Value) / slope))
	}
	return m
}

func (d *disk) known() (n int) {
	for _, v := range d.minFree {
		if !math.IsNaN(v) {
			n++
		}
	}
	return n
}

func usedShare(size, free, avail float64) float64 {
	used := size - free
	if used+avail <= 0 {
		return math.NaN()
	}
	return used / (used + avail)
}

// minDays and clearing: a trend needs a week, and starts anew after somebody cleared up.
const (
	minDays  = 7
	clearing = 0.05
)

// slope is the Theil-Sen slope of the daily maxima, in shares a day: the median of the slopes between all pairs of days.
func (d *disk) slope() (float64, bool) {
	type point struct{ day, used float64 }
	var points []point
	for day := range d.minFree {
		u := usedShare(d.sizeOn[day], d.minFree[day], d.minAvail[day])
		if math.IsNaN(u) {
			continue
		}
		if n := len(points); n > 0 && points[n-1].used-u > clearing {
			points = points[:0]
		}
		points = append(points, point{float64(day), u})
	}
	if len(points) < minDays {
		return 0, false
	}
	var slopes []float64
	for i, p := range points {
		for _, q := range points[i+1:] {
			slopes = append(slopes, (q.used-p.used)/(q.day-p.day))
		}
	}
	slices.Sort(slopes)
	n := len(slopes)
	return (slopes[(n-1)/2] + slopes[n/2]) / 2, true
}
