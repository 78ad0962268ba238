package host

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"xunjian/pkg/metric"
)

const (
	mountsDeadline = 1500 * time.Millisecond // leaves the rest of the item's own to tell of those that did not answer
	mountPatience  = 100 * time.Millisecond
	maxStuck       = 16 // calls that have not come back; with so many, nothing more is asked
)

var filesystemNames = []string{
	"node_filesystem_size_bytes", "node_filesystem_free_bytes", "node_filesystem_avail_bytes",
	"node_filesystem_files", "node_filesystem_files_free", "node_filesystem_readonly", "node_filesystem_device_error",
}

// The places of the last two names, which a mount has even when it does not answer.
const (
	readonlyAt    = 5
	deviceErrorAt = 6
)

// usage is what a mount answers.
type usage struct {
	size, free, avail, files, filesFree float64
	readonly                            bool
}

type statfsFunc func(path string) (usage, error)

// statfs asks the kernel itself: gopsutil's call does not tell the flags.
func statfs(path string) (usage, error) {
	var st unix.Statfs_t
	for {
		if err := unix.Statfs(path, &st); err == nil {
			break
		} else if err != unix.EINTR {
			return usage{}, err
		}
	}
	block := float64(st.Bsize)
	return usage{
		size: float64(st.Blocks) * block, free: float64(st.Bfree) * block, avail: float64(st.Bavail) * block,
		files: float64(st.Files), filesFree: float64(st.Ffree),
		readonly: st.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// filesystem reads how full the mounts are. A mount that hangs (statfs on a dead NFS server returns when the server
// does) costs one goroutine until it answers, however many readings pass and however many mounts the server has.
type filesystem struct {
	table  mountTable
	statfs statfsFunc
}

func newFilesystem(proc string, statfs statfsFunc) *filesystem {
	return &filesystem{mountTable{proc: proc, seed: maphash.MakeSeed()}, statfs}
}

type answered struct {
	usage
	err error
}

func (f *filesystem) collect(ctx context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	if err := f.table.read(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, mountsDeadline)
	defer cancel()
	mounts, todo := f.table.mounts, f.todo()
	for _, m := range mounts {
		dst = m.silent(dst)
	}
	crew(ctx, len(todo), mountPatience,
		func(k int) answered { return f.ask(ctx, mounts[todo[k]]) },
		func(k int, a answered) {
			if a.err == nil {
				i := todo[k] * len(filesystemNames)
				a.fill(dst[i : i+len(filesystemNames)])
			}
		})
	return dst, f.table.dropped, f.table.bad
}

// silent appends what is known of a mount that did not answer.
func (m *mount) silent(dst []metric.Sample) []metric.Sample {
	for i, s := range m.series {
		value := math.NaN()
		switch i {
		case readonlyAt:
			value = number(m.readonly)
		case deviceErrorAt:
			value = 1
		}
		dst = append(dst, metric.Sample{Series: s, Value: value})
	}
	return dst
}

func (u usage) fill(row []metric.Sample) {
	for i, v := range [...]float64{u.size, u.free, u.avail, u.files, u.filesFree} {
		row[i].Value = v
	}
	if u.readonly {
		row[readonlyAt].Value = 1
	}
	row[deviceErrorAt].Value = 0
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// todo lists the mounts to ask, those that can hang last; whoever hangs since an earlier reading is not asked again.
func (f *filesystem) todo() []int {
	if f.table.stuck() >= maxStuck {
		return nil
	}
	todo := make([]int, 0, len(f.table.mounts))
	for _, remote := range [...]bool{false, true} {
		for i, m := range f.table.mounts {
			if m.remote() == remote && len(m.gate) == 0 {
				todo = append(todo, i)
			}
		}
	}
	return todo
}

// ask runs beside others. It holds the mount's gate while the kernel works, so that one server is asked by one at a time.
func (f *filesystem) ask(ctx context.Context, m *mount) answered {
	select {
	case m.gate <- struct{}{}:
	case <-ctx.Done():
		return answered{err: ctx.Err()}
	}
	defer func() { <-m.gate }()
	u, err := f.statfs(m.point)
	if err != nil {
		return answered{err: fmt.Errorf("statfs %s: %w", m.point, err)}
	}
	return answered{usage: u}
}
