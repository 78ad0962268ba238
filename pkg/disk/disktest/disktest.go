// Package disktest gives tests file systems of their own to fill and to break.
package disktest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// apart names the test that a process was started for.
const apart = "XUNJIAN_TEST_APART"

// Apart runs a top-level test again in a process with a mount namespace of its own, so that what it mounts is gone with
// it, however it ends. It returns true in that process, where the test is to go on, and false in the first one.
func Apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apart) == t.Name() {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("only root may mount file systems")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), apart+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil && len(out) == 0:
		t.Skipf("no mount namespace to be had here: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// Tmpfs mounts a file system in memory.
func Tmpfs(t *testing.T, mib int) (dir string) {
	t.Helper()
	return mount(t, "-t", "tmpfs", "-o", "size="+strconv.Itoa(mib)+"m", "tmpfs")
}

// Ext4 makes an image and mounts it; options are the mount's. It can be mounted again with Remount.
func Ext4(t *testing.T, mib int, options string) (dir, image string) {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("no mkfs.ext4 here")
	}
	image = filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return Mount(t, image, options), image
}

// Mount mounts an image.
func Mount(t *testing.T, image, options string) (dir string) {
	t.Helper()
	return mount(t, "-o", strings.Trim("loop,"+options, ","), image)
}

func mount(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("mount %v: %v: %s", args, err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Unmount takes a mount away at once.
func Unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v: %s", err, out)
	}
}

// Device is the block device under a mount, as sysfs calls it.
func Device(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", dir).Output()
	if err != nil {
		t.Skipf("findmnt: %v", err)
	}
	return filepath.Base(strings.TrimSpace(string(out)))
}

// RefuseWrites has the kernel refuse every write into the files of a running process, with ENOSPC or EROFS, until the returned
// function is called.
func RefuseWrites(t *testing.T, pid int, no syscall.Errno) (end func()) {
	t.Helper()
	names := map[syscall.Errno]string{syscall.EROFS: "EROFS", syscall.ENOSPC: "ENOSPC"}
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error="+names[no], "-p", strconv.Itoa(pid))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no strace here, which answers in the kernel's place: %v", err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go of the process
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
		t.Skipf("strace cannot attach to a process here: %s", lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, said) }() // ends with strace
	return end
}

// Fill writes a file until the disk has no more than so many bytes left, and returns its path.
func Fill(t *testing.T, dir string, leave int64) (path string) {
	t.Helper()
	path = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		left := int64(st.Bavail) * st.Bsize
		if left <= leave {
			return path
		}
		n := min(int64(len(b)), left-leave)
		if _, err := f.Write(b[:n]); err != nil {
			return path
		}
		if err := f.Sync(); err != nil {
			return path
		}
	}
}
