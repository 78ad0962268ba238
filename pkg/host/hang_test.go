package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace runs the test in a process of its own whose mounts nobody else sees, for a mount that hangs would hang whoever
// looks at it. It returns false in the first process, once the second has passed.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const mark = "XUNJIAN_TEST_OWN_MOUNTS"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("this machine gives no mounts of one's own:", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	return false
}

// ownProc is a procfs in which the first process is this one, whose mounts they are.
func ownProc(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, name := range map[string]string{"/proc/self/mountinfo": "1/mountinfo", "/proc/meminfo": "meminfo"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hangingMount mounts a file system that is well enough to be mounted and never answers a statfs, as an NFS server does that
// has died: its kernel half waits in an uninterruptible call. mend lets it go.
func hangingMount(t *testing.T, dir string) (mend func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no FUSE here:", err)
	}
	if err := unix.Mount("dead:/export", dir, "fuse.nfs", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		unix.Close(fd)
		t.Skip("FUSE cannot be mounted here:", err)
	}
	// The only request that is answered is the first, FUSE_INIT: header of 40 bytes, then version 7.x.
	request := make([]byte, 64<<10)
	n, err := unix.Read(fd, request)
	if err != nil || n < 48 || binary.NativeEndian.Uint32(request[4:]) != 26 {
		t.Fatalf("%d bytes instead of FUSE_INIT: %v", n, err)
	}
	answer := make([]byte, 16+64)
	binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], request[8:16]) // the request's number
	binary.NativeEndian.PutUint32(answer[16:], 7)
	binary.NativeEndian.PutUint32(answer[20:], 31)
	binary.NativeEndian.PutUint32(answer[16+20:], 4096) // largest write
	if _, err := unix.Write(fd, answer); err != nil {
		t.Fatal("answer FUSE_INIT:", err)
	}
	return func() {
		unix.Close(fd) // what hangs is told that there is no connection
		unix.Unmount(dir, unix.MNT_DETACH)
	}
}

func threads(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHangingMount hangs a real statfs in the kernel for 1,000 readings: the first takes no longer than it may, the others no
// time at all, one thread of the process is lost and not one more, the mount is told as device_error and the rest as ever.
func TestHangingMount(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "srv")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := New(Options{Proc: ownProc(t)})
	well, _ := sizes(read(r))
	before := threads(t)
	mend := hangingMount(t, dir)
	defer mend()
	begin := time.Now()
	for i := range 1000 {
		start := time.Now()
		answered, silent := sizes(read(r))
		if took := time.Since(start); took > deadline+time.Second {
			t.Fatalf("reading %d took %v", i, took)
		}
		if took := time.Since(begin); i > 10 && took > time.Minute {
			t.Fatalf("%d readings took %v: each waits for the mount", i, took)
		}
		if len(answered) != len(well) || len(silent) != 1 || silent[0] != dir {
			t.Fatalf("reading %d: %d answered of %d, %q did not", i, len(answered), len(well), silent)
		}
	}
	// One hangs; the others are those that the runtime may start beside it.
	if n := threads(t); n > before+4 {
		t.Errorf("%d threads, %d before", n, before)
	}
	mend()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if answered, silent := sizes(read(r)); len(silent) == 0 && len(answered) == len(well) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%q are still silent", silent)
		}
	}
}

// TestThousandsOfMounts has 5,000 mounts: what is kept is bounded, what is not is counted, and the reading comes in time.
func TestThousandsOfMounts(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	const mounts = 5000
	dir := t.TempDir()
	if err := unix.Mount("many", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skip("nothing can be mounted here:", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for i := range mounts {
		point := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(point, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(dir, point, "", unix.MS_BIND, ""); err != nil {
			t.Fatalf("mount %d: %v", i, err)
		}
	}
	r := New(Options{Proc: ownProc(t)})
	// On a busy machine the first readings may come without: the list is being read, and nobody waits for it longer than he may.
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		start := time.Now()
		samples := read(r)
		if took := time.Since(start); took > deadline+time.Second {
			t.Errorf("took %v", took)
		}
		answered, silent := sizes(samples)
		if len(answered)+len(silent) > maxDevices {
			t.Fatalf("%d mounts are kept, want %d", len(answered)+len(silent), maxDevices)
		}
		if len(answered) == maxDevices {
			if got := dropped(samples, "filesystem"); got < (mounts-maxDevices)*float64(len(filesystemNames)) {
				t.Errorf("%v series are told to be left out", got)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d answered, %d did not, want %d in all", len(answered), len(silent), maxDevices)
		}
	}
}
