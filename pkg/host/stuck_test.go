package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/metric"
)

// dead is a statfs that does not come back for some mounts until they are mended.
type dead struct {
	hangs  func(path string) bool
	mended chan struct{}
	mend   func()

	mu    sync.Mutex
	asked map[string]int
}

func newDead(hangs func(string) bool) *dead {
	mended := make(chan struct{})
	return &dead{hangs: hangs, mended: mended, mend: sync.OnceFunc(func() { close(mended) }), asked: map[string]int{}}
}

func (d *dead) statfs(path string) (usage, error) {
	d.mu.Lock()
	d.asked[path]++
	d.mu.Unlock()
	if d.hangs(path) {
		<-d.mended
	}
	return sound(path)
}

func (d *dead) times(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[path]
}

func onServer(path string) bool { return strings.HasPrefix(path, "/srv/") }

// sizes tells, by mount point, which mounts answered.
func sizes(samples []metric.Sample) (answered, silent []string) {
	for _, s := range only(samples, "node_filesystem_device_error") {
		if s.Value == 0 {
			answered = append(answered, s.Series.Get("mountpoint"))
		} else {
			silent = append(silent, s.Series.Get("mountpoint"))
		}
	}
	return answered, silent
}

// hanging counts the goroutines that readings have left behind, looking again while some are only on their way out.
func hanging(most int) (n int) {
	buf := make([]byte, 256<<10)
	for range 1000 {
		synctest.Wait()
		n = strings.Count(string(buf[:runtime.Stack(buf, true)]), "created by xunjian/pkg/host.crew")
		if n <= most {
			break
		}
		runtime.Gosched()
	}
	return n
}

// TestDeadServer hangs both mounts of one NFS server for 1,000 readings: one call and one goroutine in all, device_error
// on both, everything else read as ever and without delay; then the server comes back.
func TestDeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nfs := newDead(onServer)
		defer nfs.mend()
		r := fixture("two", nfs.statfs)
		for i := range 1000 {
			start := time.Now()
			samples := read(r)
			took := time.Since(start)
			if i == 0 && took > deadline || i > 0 && took > 0 {
				t.Fatalf("reading %d took %v", i, took)
			}
			answered, silent := sizes(samples)
			if len(answered) != 6 || !slices.Equal(silent, []string{"/srv/share", "/srv/home"}) {
				t.Fatalf("reading %d: %q answered, %q did not", i, answered, silent)
			}
			for _, name := range []string{"cpu", "memory", "system", "filesystem", "disk", "network"} {
				if success(samples, name) != 1 {
					t.Fatalf("reading %d: %s fails", i, name)
				}
			}
			time.Sleep(15 * time.Second)
			if n := hanging(1); n > 1 {
				t.Fatalf("reading %d leaves %d goroutines", i, n)
			}
		}
		if n := nfs.times("/srv/share") + nfs.times("/srv/home"); n != 1 {
			t.Errorf("a dead server was asked %d times", n)
		}
		nfs.mend()
		synctest.Wait()
		if _, silent := sizes(read(r)); len(silent) != 0 {
			t.Errorf("%q do not come back", silent)
		}
	})
}

// TestOneDeadMount is the same for a mount without a server, whose neighbours are asked as ever.
func TestOneDeadMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDead(func(path string) bool { return path == "/boot" })
		defer disk.mend()
		r := fixture("two", disk.statfs)
		for range 1000 {
			if _, silent := sizes(read(r)); !slices.Equal(silent, []string{"/boot"}) {
				t.Fatalf("%q silent", silent)
			}
		}
		if disk.times("/boot") != 1 || disk.times("/") != 1000 {
			t.Errorf("asked the dead mount %d times, the root %d times", disk.times("/boot"), disk.times("/"))
		}
		if v := values(read(r))[`node_filesystem_readonly{device="/dev/sda1",fstype="ext4",mountpoint="/boot"}`]; v != 1 {
			t.Errorf("a dead mount's options are forgotten: readonly %v", v)
		}
		disk.mend()
	})
}

// TestManyDeadServers has more dead servers than calls that may hang: the local mounts are asked before them in the first
// reading, and what hangs stays bounded.
func TestManyDeadServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := tree(t, "two")
		var mounts strings.Builder
		for i := range 40 {
			fmt.Fprintf(&mounts, "%d 1 0:%d / /srv/%d rw - nfs4 10.0.0.%d:/export rw\n", i, i, i, i)
		}
		mounts.WriteString("99 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
		write(t, dir, "1/mountinfo", mounts.String())
		nfs := newDead(onServer)
		defer nfs.mend()
		r := newReader(Options{Proc: dir}, nfs.statfs)
		for i := range 1000 {
			samples := read(r)
			answered, silent := sizes(samples)
			if i == 0 && !slices.Equal(answered, []string{"/"}) {
				t.Fatalf("the local mount waited for the dead ones: %q answered", answered)
			}
			if len(answered)+len(silent) != 41 || success(samples, "memory") != 1 {
				t.Fatalf("reading %d: %d answered, %d silent", i, len(answered), len(silent))
			}
		}
		if n := hanging(2 * maxStuck); n > 2*maxStuck {
			t.Errorf("%d goroutines hang", n)
		}
		nfs.mend()
		synctest.Wait()
		read(r)
		if _, silent := sizes(read(r)); len(silent) != 0 {
			t.Errorf("%d mounts do not come back", len(silent))
		}
	})
}

// TestLazyUnmount takes a hanging mount away, as umount -l does, and puts it back: it is still known to hang.
func TestLazyUnmount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := tree(t, "two")
		nfs := newDead(onServer)
		defer nfs.mend()
		r := newReader(Options{Proc: dir}, nfs.statfs)
		local, share := "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "31 27 0:40 / /srv/share rw - nfs4 10.0.0.5:/export/share rw\n"
		for range 100 {
			write(t, dir, "1/mountinfo", local+share)
			read(r)
			write(t, dir, "1/mountinfo", local)
			if answered, silent := sizes(read(r)); len(answered) != 1 || len(silent) != 0 {
				t.Fatalf("%q answered, %q silent", answered, silent)
			}
		}
		if n := nfs.times("/srv/share"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		nfs.mend()
	})
}

// TestFailingMount answers with an error instead of hanging: only its own numbers are missing.
func TestFailingMount(t *testing.T) {
	r := fixture("two", func(path string) (usage, error) {
		if path == "/boot" {
			return usage{}, errors.New("input/output error")
		}
		return sound(path)
	})
	for range 3 {
		samples := read(r)
		if _, silent := sizes(samples); !slices.Equal(silent, []string{"/boot"}) || success(samples, "filesystem") != 1 {
			t.Errorf("%q silent, success %v", silent, success(samples, "filesystem"))
		}
	}
}

// TestStuckItem hangs a whole item (a read of procfs may wait for a lock in the kernel): the others are delivered by the
// deadline, later ones at once, with one goroutine in all; then it is well again.
func TestStuckItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mended := make(chan struct{})
		mend := sync.OnceFunc(func() { close(mended) })
		defer mend()
		var entered, after atomic.Int64
		one := func(name string, wait <-chan struct{}) collectFunc {
			return func(_ context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
				if entered.Add(1) > 3 && wait != nil { // well in the first reading
					_ = append(dst, metric.Sample{Series: metric.New("half")}) // as one that hangs half-way
					<-wait
				}
				if name == "last" {
					after.Store(time.Now().UnixNano())
				}
				return append(dst, metric.Sample{Series: metric.New(name), Value: 1}), 0, nil
			}
		}
		r := newReader(Options{}, sound)
		r.items = []*item{newItem("first", 1, one("first", nil)), newItem("hung", 1, one("hung", mended)), newItem("last", 1, one("last", nil))}
		want := schema(read(r))
		for i := range 1000 {
			start := time.Now()
			samples := read(r)
			if took := time.Since(start); i == 0 && took != deadline || i > 0 && took != 0 {
				t.Fatalf("reading %d took %v", i, took)
			}
			if d := time.Duration(after.Load() - start.UnixNano()); d < 0 || d > patience {
				t.Fatalf("reading %d: a hanging item delayed the next by %v", i, d)
			}
			if schema(samples) != want || success(samples, "hung") != 0 || success(samples, "last") != 1 || !allNaN(samples[1:2]) || samples[2].Value != 1 {
				t.Fatalf("reading %d: %v", i, samples)
			}
			if n := hanging(1); n > 1 {
				t.Fatalf("reading %d leaves %d goroutines", i, n)
			}
			time.Sleep(15 * time.Second)
		}
		mend()
		synctest.Wait()
		samples := read(r)
		if success(samples, "hung") != 1 || values(samples)["hung"] != 1 || schema(samples) != want {
			t.Errorf("does not come back: %v", samples)
		}
	})
}

func TestPanickingItem(t *testing.T) {
	r := newReader(Options{}, sound)
	r.items = []*item{newItem("bad", 1, func(context.Context, time.Time, []metric.Sample) ([]metric.Sample, int, error) {
		var none []string
		return nil, len(none[3]), nil
	})}
	for range 2 {
		if samples := read(r); success(samples, "bad") != 0 {
			t.Errorf("%v", samples)
		}
	}
}
