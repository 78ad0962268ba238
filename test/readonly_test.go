package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/disk/disktest"
)

// TestReadOnlyForAWhile has the kernel answer every write of a running collector as a read-only file system does, and
// then write again: nothing acknowledged is lost, what broke meanwhile is paged, and nobody has to do anything.
func TestReadOnlyForAWhile(t *testing.T) {
	r := newKillRig(t)
	r.startAgent()
	stop := r.startSender()
	eventually(t, "the first reports", func() error { return r.newest(1) })
	writable := disktest.RefuseWrites(t, r.collector.Process.Pid, syscall.EROFS)
	eventually(t, "reports that are refused", func() error { return r.atLeast("xunjian_uplink_withheld_total", 20) })
	eventually(t, "the collector to be not ready", func() error {
		if call("GET", r.url()+"/-/ready", "", nil, nil) == nil {
			return errors.New("it says that it is")
		}
		return nil
	})
	last := r.number()
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "error500"})
	eventually(t, "the fault that waits for its record", func() error { return r.atLeast("xunjian_symptoms_waiting", 1) })
	if now := r.number(); now != last {
		t.Errorf("reports went on being stored: number %v, then %v", last, now)
	}
	writable()
	eventually(t, "the page of what broke meanwhile", func() error {
		if pagesOf(t, r.log, "sms", "firing") == 0 {
			return errors.New("no page yet")
		}
		return nil
	})
	eventually(t, "reports again", func() error { return r.newest(last + 100) })
	eventually(t, "the collector to be ready", func() error { return call("GET", r.url()+"/-/ready", "", nil, nil) })
	select {
	case <-r.collector.done:
		t.Error("the collector has ended, it should have gone on by itself")
	default:
	}
	sent := stop()
	r.agent.stop(t)
	r.collector.stop(t)
	r.eachOnce(sent)
	t.Logf("%d reports, none stored after number %v until there were writes again", sent, last)
}

// TestReadOnlyFileSystem: a file system that turns read-only under the collector, as ext4 does after an error, and one
// that is mounted read-only when it starts. A service manager that starts it again is all it needs: once the file system
// can be written, it goes on where it was.
func TestReadOnlyFileSystem(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	mount, image := disktest.Ext4(t, 160, "errors=remount-ro")
	trigger := filepath.Join("/sys/fs/ext4", disktest.Device(t, mount), "trigger_fs_error")
	if _, err := os.Stat(trigger); err != nil {
		t.Skip(err)
	}
	r := newRigOn(t, filepath.Join(mount, "data"), "storage: {reserve_mib: 8}\n")
	r.startAgent()
	stop := r.startSender()
	eventually(t, "the first reports", func() error { return r.newest(1) })

	// nobody can do this by hand while files are open for writing
	if out, err := exec.Command("mount", "-o", "remount,ro", mount).CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("remounted read-only under a running collector: %v %s", err, out)
	}
	if err := os.WriteFile(trigger, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no report stored any more", func() error {
		select {
		case <-r.collector.done: // after a failed sync it ends
			return nil
		default:
			return r.atLeast("xunjian_uplink_withheld_total", 20)
		}
	})
	time.Sleep(5 * time.Second) // what is sent meanwhile stays with its agents
	r.collector.kill()
	r.refusesToStart("read-only")
	disktest.Unmount(t, mount)
	again := func(options string) {
		if out, err := exec.Command("mount", "-o", options, image, mount).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
	}
	if out, err := exec.Command("e2fsck", "-p", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "clean") && !strings.Contains(string(out), "recovering") {
		t.Fatalf("e2fsck: %v: %s", err, out)
	}
	again("loop")
	r.startUntil("/-/ready")
	eventually(t, "reports on the mended file system", func() error { return r.newest(200) })
	r.collector.stop(t)

	if out, err := exec.Command("mount", "-o", "remount,ro", mount).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	r.refusesToStart("read-only")
	time.Sleep(2 * time.Second)
	if out, err := exec.Command("mount", "-o", "remount,rw", mount).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	r.startUntil("/-/ready")
	last := r.number()
	eventually(t, "reports after the remount", func() error { return r.newest(last + 100) })
	sent := stop()
	r.agent.stop(t)
	r.collector.stop(t)
	r.eachOnce(sent)
	t.Logf("%d reports", sent)
}

// refusesToStart wants the collector to end at once and say why.
func (r *killRig) refusesToStart(why string) {
	r.t.Helper()
	p := start(r.t, r.dir, "collector", "serve", "--config", r.config)
	eventually(r.t, "the end of a collector that cannot write", func() error {
		select {
		case <-p.done:
			return nil
		default:
			return fmt.Errorf("it runs")
		}
	})
	b, err := os.ReadFile(p.Cmd.Stdout.(*os.File).Name())
	if err != nil {
		r.t.Fatal(err)
	}
	if p.err == nil || !strings.Contains(string(b[max(0, len(b)-1000):]), why) {
		r.t.Errorf("ended with %v and without a word of %q: %s", p.err, why, b[max(0, len(b)-1000):])
	}
}
