package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v3/load"
	"golang.org/x/sys/unix"

	"xunjian/pkg/metric"
)

var systemNames = []string{
	"node_load1", "node_load5", "node_load15", "node_filefd_allocated", "node_filefd_maximum", "node_boot_time_seconds", "node_time_seconds",
}

// system reads load, file descriptors, clocks and the kernel's name.
type system struct {
	proc   string
	series []metric.Series
	buf    []byte

	booted float64       // the kernel's word
	offset time.Duration // of the wall clock from the time since boot, when booted was read

	uts   unix.Utsname
	uname metric.Series
}

func newSystem(proc string) *system {
	s := &system{proc: proc}
	for _, name := range systemNames {
		s.series = append(s.series, metric.New(name))
	}
	return s
}

func (s *system) collect(ctx context.Context, now time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	avg, loadErr := s.load(ctx)
	allocated, maximum, fdErr := s.fileDescriptors()
	booted, bootErr := s.bootTime()
	values := [...]float64{avg[0], avg[1], avg[2], allocated, maximum, booted, float64(now.UnixMilli()) / 1e3}
	for i, series := range s.series {
		dst = append(dst, metric.Sample{Series: series, Value: values[i]})
	}
	unameErr := s.readUname()
	if unameErr == nil {
		dst = append(dst, metric.Sample{Series: s.uname, Value: 1})
	}
	return dst, 0, errors.Join(loadErr, fdErr, bootErr, unameErr)
}

func (s *system) load(ctx context.Context) (avg [3]float64, err error) {
	avg = [3]float64{math.NaN(), math.NaN(), math.NaN()}
	defer func() {
		if p := recover(); p != nil { // gopsutil takes three numbers for granted
			err = fmt.Errorf("read loadavg: unexpected content: %v", p)
		}
	}()
	stat, err := load.AvgWithContext(ctx)
	if err != nil {
		return avg, fmt.Errorf("read loadavg: %w", err)
	}
	return [3]float64{stat.Load1, stat.Load5, stat.Load15}, nil
}

func (s *system) fileDescriptors() (allocated, maximum float64, err error) {
	if s.buf, err = readFile(filepath.Join(s.proc, "sys/fs/file-nr"), s.buf); err == nil {
		allocated, maximum, err = parseFileNr(s.buf)
	}
	if err != nil {
		return math.NaN(), math.NaN(), fmt.Errorf("read file-nr: %w", err)
	}
	return allocated, maximum, nil
}

// parseFileNr reads "allocated, free, maximum".
func parseFileNr(text []byte) (allocated, maximum float64, err error) {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return 0, 0, fmt.Errorf("%d fields, not 3", len(fields))
	}
	a, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return 0, 0, err
	}
	m, err := strconv.ParseUint(string(fields[2]), 10, 64)
	if err != nil {
		return 0, 0, err
	}
	return float64(a), float64(m), nil
}

// bootTime is what stat says. The file is long and holds nothing else that is needed here, so it is read again only when
// somebody set the clock, which moves the boot time too.
func (s *system) bootTime() (float64, error) {
	offset, err := clockOffset()
	if err != nil {
		return math.NaN(), fmt.Errorf("read clocks: %w", err)
	}
	if s.booted != 0 && (offset-s.offset).Abs() < 10*time.Millisecond {
		return s.booted, nil
	}
	if s.buf, err = readFile(filepath.Join(s.proc, "stat"), s.buf); err == nil {
		s.booted, err = parseBootTime(s.buf)
	}
	if err != nil {
		s.booted = 0
		return math.NaN(), fmt.Errorf("read stat: %w", err)
	}
	s.offset = offset
	return s.booted, nil
}

func clockOffset() (time.Duration, error) {
	var wall, boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
		return 0, err
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0, err
	}
	return time.Duration(wall.Nano() - boot.Nano()), nil
}

// parseBootTime finds the line "btime <seconds>".
func parseBootTime(text []byte) (float64, error) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 63)
			return float64(n), err
		}
	}
	return 0, errors.New("no btime line")
}

// readUname asks each time, because a host can be renamed, and makes the series anew only when something changed.
func (s *system) readUname() error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("read uname: %w", err)
	}
	if uts == s.uts {
		return nil
	}
	text := func(field []byte) string { return label(unix.ByteSliceToString(field)) }
	s.uname = metric.New("node_uname_info", "sysname", text(uts.Sysname[:]), "release", text(uts.Release[:]), "version", text(uts.Version[:]),
		"machine", text(uts.Machine[:]), "nodename", text(uts.Nodename[:]), "domainname", text(uts.Domainname[:]))
	s.uts = uts
	return nil
}
