package test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// wallClock steps the wall clock of one running Go program and leaves its monotonic clock alone, as somebody who sets the
// machine's clock does. Go asks the kernel's page for both clocks through one pointer, runtime.vdsoClockgettimeSym. The
// pointer is turned to a few instructions of ours, which ask the kernel and add a number of seconds to the wall clock. They
// take the place of runtime.rt0_go, which starts a program and never runs again.
type wallClock struct {
	pid  int
	step uint64 // where the number is in the program's memory
	by   time.Duration
}

// patched are instructions of amd64: clock_gettime(edi clock, rsi *timespec).
var patched = []byte{
	0x57, 0x56, 0x48, 0x83, 0xec, 0x08, // push rdi; push rsi; sub rsp, 8
	0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, // mov rax, the kernel's own
	0xff, 0xd0, // call rax
	0x48, 0x83, 0xc4, 0x08, 0x5e, 0x5f, // add rsp, 8; pop rsi; pop rdi
	0x85, 0xff, 0x75, 0x07, // test edi, edi; jnz over the addition: only the wall clock, number 0, is stepped
	0x48, 0x81, 0x06, 0, 0, 0, 0, // add qword [rsi], the step in seconds
	0xc3, // ret
}

const (
	kernelAt = 8
	stepAt   = 31
)

// newWallClock readies a running program; it needs Linux on amd64 and the right to write into the program's memory.
func newWallClock(t *testing.T, p *proc) *wallClock {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("steps a program's clock on linux/amd64 only")
	}
	symbols := symbolsOf(t, p.Path, "runtime.vdsoClockgettimeSym", "runtime.rt0_go.abi0", "runtime.rt0_go")
	start := max(symbols["runtime.rt0_go.abi0"], symbols["runtime.rt0_go"])
	w := &wallClock{pid: p.Process.Pid, step: start + stepAt}
	kernel := make([]byte, 8)
	w.memory(t, func(mem *os.File) error {
		if _, err := mem.ReadAt(kernel, int64(symbols["runtime.vdsoClockgettimeSym"])); err != nil {
			return err
		}
		code := append([]byte(nil), patched...)
		copy(code[kernelAt:], kernel)
		if _, err := mem.WriteAt(code, int64(start)); err != nil {
			return err
		}
		_, err := mem.WriteAt(binary.LittleEndian.AppendUint64(nil, start), int64(symbols["runtime.vdsoClockgettimeSym"]))
		return err
	})
	return w
}

// set puts the wall clock ahead of the true one, or behind; whole seconds.
func (w *wallClock) set(t *testing.T, by time.Duration) {
	t.Helper()
	w.by = by
	w.memory(t, func(mem *os.File) error {
		_, err := mem.WriteAt(binary.LittleEndian.AppendUint32(nil, uint32(int32(by/time.Second))), int64(w.step))
		return err
	})
}

// memory changes the program's memory while none of its threads runs.
func (w *wallClock) memory(t *testing.T, change func(*os.File) error) {
	t.Helper()
	if err := syscall.Kill(w.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(w.pid, syscall.SIGCONT)
	awaitStopped(t, w.pid)
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", w.pid), os.O_RDWR, 0)
	if err == nil {
		defer mem.Close()
		err = change(mem)
	}
	if err != nil {
		t.Fatalf("step the clock of process %d: %v", w.pid, err)
	}
}

// awaitStopped waits until every thread has stopped.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "a stopped process", func() error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return err
		}
		var state byte
		if i := lastByte(b, ')'); i >= 0 && i+2 < len(b) {
			state = b[i+2]
		}
		if state != 'T' {
			return fmt.Errorf("state %c", state)
		}
		return nil
	})
}

func lastByte(b []byte, c byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == c {
			return i
		}
	}
	return -1
}

// symbolsOf finds where a program has some of its symbols; the first must be there.
func symbolsOf(t *testing.T, file string, names ...string) map[string]uint64 {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, s := range all {
		for _, name := range names {
			if s.Name == name {
				out[name] = s.Value
			}
		}
	}
	if out[names[0]] == 0 {
		t.Fatalf("%s has no symbol %s", file, names[0])
	}
	return out
}
