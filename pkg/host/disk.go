package host

import (
	"context"
	"regexp"
	"slices"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/disk"

	"xunjian/pkg/metric"
)

// diskExcluded is node_exporter's default: partitions, loop and memory devices.
var diskExcluded = regexp.MustCompile(`^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`)

var diskNames = []string{
	"node_disk_reads_completed_total", "node_disk_reads_merged_total", "node_disk_read_bytes_total", "node_disk_read_time_seconds_total",
	"node_disk_writes_completed_total", "node_disk_writes_merged_total", "node_disk_written_bytes_total", "node_disk_write_time_seconds_total",
	"node_disk_io_now", "node_disk_io_time_seconds_total", "node_disk_io_time_weighted_seconds_total",
}

type disk struct {
	devices
	excluded map[string]bool // what the expression said of a name
	names    []string
}

func newDisk() *disk { return &disk{devices: newDevices(diskNames), excluded: map[string]bool{}} }

// collect leaves out disks that never had a request: gopsutil does not tell them from ones that do not exist.
func (d *disk) collect(ctx context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	counters, err := gopsutil.IOCountersWithContext(ctx)
	if err != nil {
		return nil, 0, err
	}
	d.names = d.names[:0]
	for name := range counters {
		if !d.skip(name) {
			d.names = append(d.names, name)
		}
	}
	slices.Sort(d.names)
	keep := min(len(d.names), maxDevices)
	const ticks = 1000 // the kernel counts milliseconds; divided, not multiplied, 18676 gives 18.676 and packs well
	for _, name := range d.names[:keep] {
		c := counters[name]
		dst = d.add(dst, name,
			float64(c.ReadCount), float64(c.MergedReadCount), float64(c.ReadBytes), float64(c.ReadTime)/ticks,
			float64(c.WriteCount), float64(c.MergedWriteCount), float64(c.WriteBytes), float64(c.WriteTime)/ticks,
			float64(c.IopsInProgress), float64(c.IoTime)/ticks, float64(c.WeightedIO)/ticks)
	}
	return dst, (len(d.names) - keep) * len(diskNames), nil
}

func (d *disk) skip(name string) bool {
	skip, known := d.excluded[name]
	if !known {
		if len(d.excluded) >= 16*maxDevices {
			clear(d.excluded)
		}
		skip = diskExcluded.MatchString(name)
		d.excluded[name] = skip
	}
	return skip
}
