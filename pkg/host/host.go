// Package host reads the machine that the agent runs on, under node_exporter's names, labels and meanings.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/shirou/gopsutil/v3/common"

	"xunjian/pkg/metric"
)

const (
	deadline = 2 * time.Second       // of one item in one reading
	patience = 50 * time.Millisecond // after which a slow item has a goroutine to itself and the others go on

	maxSeries    = 500  // of a reading, without the processors' and the agent's own
	maxCPUSeries = 1024 // of the processors
	maxDevices   = 64   // filesystems, disks, interfaces: of each
	maxLabel     = 512  // bytes of a label's value that comes from the machine

	// nowhere is a root below which nothing can exist: gopsutil looks there for serial numbers and labels of disks,
	// which nobody asked for and which would cost more than the counters.
	nowhere = "/dev/null/nowhere"
)

// Options of a Reader; the zero value reads this machine.
type Options struct {
	Proc      string       // where procfs is, default /proc
	MaxSeries int          // default 500; processors' series, at most 1,024, do not count
	Logger    *slog.Logger // told when an item starts to fail and when it is well again
}

// Reader reads the host item by item. An item that fails or is late costs its own samples only.
type Reader struct {
	items  []*item
	env    common.EnvMap
	series int
	log    *slog.Logger
}

// New prepares a reader; nothing is read yet.
func New(o Options) *Reader { return newReader(o, statfs) }

func newReader(o Options, statfs statfsFunc) *Reader {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = maxSeries
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Reader{
		series: o.MaxSeries,
		log:    o.Logger,
		env: common.EnvMap{
			common.HostProcEnvKey: o.Proc,
			common.HostSysEnvKey:  nowhere, common.HostDevEnvKey: nowhere, common.HostRunEnvKey: nowhere,
			common.HostEtcEnvKey: nowhere, common.HostVarEnvKey: nowhere, common.HostRootEnvKey: nowhere,
		},
		// The order of the samples, and of who is cut last when there are too many.
		items: []*item{
			newItem("cpu", 1, newCPU().collect),
			newItem("memory", 1, newMemory().collect),
			newItem("system", 1, newSystem(o.Proc).collect),
			newItem("filesystem", len(filesystemNames), newFilesystem(o.Proc, statfs).collect),
			newItem("disk", len(diskNames), newDisk().collect),
			newItem("network", len(networkNames), newNetwork().collect),
		},
	}
}

// collectFunc appends an item's samples to dst and says how many series it left out. Samples may come with an error.
type collectFunc func(ctx context.Context, now time.Time, dst []metric.Sample) (out []metric.Sample, dropped int, err error)

// item is one part of a reading and what is remembered of it.
type item struct {
	name    string
	unit    int // series that are kept or cut together
	collect collectFunc
	busy    atomic.Bool // a goroutine is in collect, maybe since an earlier reading

	good     []metric.Sample // the last samples delivered: their series are the item's schema
	spare    []metric.Sample // room for the next samples; nil while a late goroutine has it
	dropped  int
	failures int
	failing  bool

	success, took, droppedSeries, failed metric.Series
}

func newItem(name string, unit int, collect collectFunc) *item {
	own := func(metricName string) metric.Series { return metric.New(metricName, "collector", name) }
	return &item{
		name: name, unit: unit, collect: collect,
		success:       own("xunjian_agent_collector_success"),
		took:          own("xunjian_agent_collector_duration_seconds"),
		droppedSeries: own("xunjian_agent_dropped_series"),
		failed:        own("xunjian_agent_collector_failures_total"),
	}
}

// reading is what one item gave.
type reading struct {
	samples []metric.Sample
	dropped int
	took    time.Duration
	err     error
}

var (
	errLate = errors.New("no answer within the deadline")
	errBusy = errors.New("no answer yet since an earlier reading")
)

// run collects once; it runs beside others and touches nothing of the item but what collect owns.
func (it *item) run(ctx context.Context, now time.Time, dst []metric.Sample) (r reading) {
	if !it.busy.CompareAndSwap(false, true) {
		return reading{took: deadline, err: errBusy}
	}
	start := time.Now()
	defer func() {
		// gopsutil indexes into lines without looking; a truncated file must not end the agent.
		if p := recover(); p != nil {
			r = reading{err: fmt.Errorf("read %s: unexpected content: %v", it.name, p)}
		}
		r.took = time.Since(start)
		it.busy.Store(false)
	}()
	r.samples, r.dropped, r.err = it.collect(ctx, now, dst[:0])
	return r
}

// Read reads every item and returns the samples in an order that stays the same from reading to reading, with NaN for
// those that this reading lacks. It takes 2 s at most, whatever hangs. One caller at a time; now is the wall clock's time.
func (r *Reader) Read(ctx context.Context, now time.Time) []metric.Sample {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, common.EnvKey, r.env), deadline)
	defer cancel()
	readings, rooms := make([]reading, len(r.items)), make([][]metric.Sample, len(r.items))
	for i, it := range r.items {
		readings[i] = reading{took: deadline, err: errLate}
		rooms[i], it.spare = it.spare, nil // a late goroutine keeps its room
	}
	crew(ctx, len(r.items), patience,
		func(i int) reading { return r.items[i].run(ctx, now, rooms[i]) },
		func(i int, rd reading) { readings[i] = rd })

	out := make([]metric.Sample, 0, r.size(readings))
	room := r.series
	for i, it := range r.items {
		n := len(out)
		out = it.append(out, readings[i], room)
		if it.name != "cpu" {
			room -= len(out) - n
		}
	}
	return r.appendOwn(out, readings)
}

func (r *Reader) size(readings []reading) int {
	n := 4 * len(r.items)
	for i, it := range r.items {
		n += max(len(it.good), len(readings[i].samples))
	}
	return n
}

// append adds the item's samples to out: this reading's, or NaN for each of the last known series.
func (it *item) append(out []metric.Sample, rd reading, room int) []metric.Sample {
	if rd.err != nil && rd.samples == nil {
		for _, s := range it.good {
			out = append(out, metric.Sample{Series: s.Series, Value: math.NaN()})
		}
		return out
	}
	got := rd.samples
	it.dropped = rd.dropped
	if it.name != "cpu" && len(got) > room {
		keep := max(room, 0) / it.unit * it.unit
		it.dropped += len(got) - keep
		got = got[:keep]
	}
	it.good, it.spare = got, it.good
	return append(out, got...)
}

// appendOwn adds what the agent says of its own reading.
func (r *Reader) appendOwn(out []metric.Sample, readings []reading) []metric.Sample {
	for i, it := range r.items {
		r.note(it, readings[i].err)
		success := 1.0
		if readings[i].err != nil {
			success = 0
		}
		out = append(out,
			metric.Sample{Series: it.success, Value: success},
			// To a tenth of a millisecond: finer digits are noise that would be paid for on the wire and on disk.
			metric.Sample{Series: it.took, Value: math.Round(readings[i].took.Seconds()*1e4) / 1e4},
			metric.Sample{Series: it.droppedSeries, Value: float64(it.dropped)},
			metric.Sample{Series: it.failed, Value: float64(it.failures)})
	}
	return out
}

// note counts a failure and logs the change from well to failing and back, not each failure.
func (r *Reader) note(it *item, err error) {
	if err != nil {
		it.failures++
	}
	switch failing := err != nil; {
	case failing && !it.failing:
		r.log.Warn("host item fails", "collector", it.name, "error", err)
	case !failing && it.failing:
		r.log.Info("host item is well again", "collector", it.name)
	}
	it.failing = err != nil
}
