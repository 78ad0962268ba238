package load

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since its start, and holds now.
type Usage struct {
	CPU     time.Duration // on a core, from the scheduler's own account, all threads
	Written int64         // bytes sent to the block layer
	RSS     int64         // bytes
	Peak    int64         // the most that RSS ever was
}

// UsageOf reads the account of a running process.
func UsageOf(pid int) (u Usage, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return u, fmt.Errorf("process %d has ended (see its log)", pid)
	}
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return u, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ns)
	}
	for _, want := range []struct {
		file, key string
		into      *int64
		unit      int64
	}{
		{"io", "write_bytes:", &u.Written, 1}, {"status", "VmRSS:", &u.RSS, 1 << 10}, {"status", "VmHWM:", &u.Peak, 1 << 10},
	} {
		if *want.into, err = field(fmt.Sprintf("/proc/%d/%s", pid, want.file), want.key, want.unit); err != nil {
			return u, err
		}
	}
	return u, nil
}

// field reads a number from a file of lines "key: number".
func field(path, key string, unit int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n * unit, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", key, path)
}
