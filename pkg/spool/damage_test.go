package spool

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// image is a closed queue of n frames in one segment: the file's name, its bytes and the end of each frame.
func image(t testing.TB, n int) (name string, data []byte, ends []int) {
	t.Helper()
	dir := t.TempDir()
	q := mustOpen(t, Options{Dir: dir})
	end := len(magic)
	for _, f := range names(n) {
		mustAppend(t, q, f)
		end += headerSize + len(f)
		ends = append(ends, end)
	}
	q.Close()
	name = segmentName(1)
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || len(data) != end {
		t.Fatalf("%d bytes on disk, want %d, %v", len(data), end, err)
	}
	return name, data, ends
}

// reopen puts data in the place of a segment and opens the queue.
func reopen(t testing.TB, dir, name string, data []byte) *Queue {
	t.Helper()
	os.RemoveAll(dir)
	os.MkdirAll(dir, 0o700)
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := Open(Options{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestCutAtEveryByte(t *testing.T) {
	name, data, ends := image(t, 5)
	dir := filepath.Join(t.TempDir(), "s")
	for cut := range len(data) + 1 {
		q := reopen(t, dir, name, data[:cut])
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		want := append(names(5)[:whole:whole], "after")
		mustAppend(t, q, "after")
		torn := cut > len(magic) && !slices.Contains(ends, cut)
		if lost := q.Stats().Dropped[Damage]; (lost == 1) != torn {
			t.Errorf("cut at %d: %d counted as damaged", cut, lost)
		}
		q.Close()
		q = mustOpen(t, Options{Dir: dir})
		if lost := q.Stats().Dropped[Damage]; lost != 0 {
			t.Errorf("cut at %d: damage is found a second time", cut)
		}
		wantFrames(t, q, want...)
		q.Close()
	}
}

func TestFlipEveryByte(t *testing.T) {
	name, data, ends := image(t, 5)
	dir := filepath.Join(t.TempDir(), "s")
	for i := range data {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := slices.Clone(data)
			bad[i] ^= mask
			q := reopen(t, dir, name, bad)
			mustAppend(t, q, "after")
			got := drain(t, q)
			hit := 0
			for hit < len(ends) && ends[hit] <= i {
				hit++
			}
			start := ends[hit] - headerSize - len("frame 0000")
			want := slices.Concat(names(5)[:hit], names(5)[hit+1:]) // only the frame that was hit
			switch {
			case i < len(magic)-1:
				want = names(5)
			case i == len(magic)-1:
				want = nil // another version
			case i < start+headerSize:
				want = names(5)[:hit] // nothing leads to the frames behind
			}
			if want = append(slices.Clone(want), "after"); !slices.Equal(got, want) {
				t.Errorf("byte %d ^ %#x: got %q, want %q", i, mask, got, want)
			}
			if st := q.Stats(); (st.Dropped[Damage] == 0 && st.Foreign == 0) != (i < len(magic)-1) {
				t.Errorf("byte %d: loss is not counted: %+v", i, st)
			}
			q.Close()
		}
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	f := func(what string, spoil func(path string), want []string, lost uint64) {
		t.Helper()
		o := Options{Dir: t.TempDir(), SegmentBytes: 150} // four frames each
		q := mustOpen(t, o)
		mustAppend(t, q, names(12)...)
		q.Close()
		spoil(q.path(2))
		q = mustOpen(t, o)
		if got := drain(t, q); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		if n := q.Stats().Dropped[Damage]; n != lost {
			t.Errorf("%s: %d counted, want %d", what, n, lost)
		}
		q.Close()
	}
	spoilAt := func(off int64) func(string) {
		return func(path string) {
			h, _ := os.OpenFile(path, os.O_RDWR, 0)
			h.WriteAt([]byte("#"), off)
			h.Close()
		}
	}
	all := names(12)
	f("header", spoilAt(segmentHead+30+3), slices.Concat(all[:5], all[8:]), 1)
	f("bytes", spoilAt(segmentHead+30+25), slices.Concat(all[:5], all[6:]), 1)
	f("gone", func(p string) { os.Remove(p) }, slices.Concat(all[:4], all[8:]), 0)
	f("empty", func(p string) { os.Truncate(p, 0) }, slices.Concat(all[:4], all[8:]), 0)
}

func TestDamageWhileOpen(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir(), SegmentBytes: 150})
	mustAppend(t, q, names(12)...)
	os.Truncate(q.path(1), segmentHead+35)
	os.Remove(q.path(2))
	wantFrames(t, q, slices.Concat(names(12)[:1], names(12)[8:])...)
	if n := q.Stats().Dropped[Damage]; n != 7 {
		t.Errorf("%d counted, want 7", n)
	}
}

func TestSpoiltCursorBringsFramesAgain(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 150}
	for _, cursor := range []string{"", "short", strings.Repeat("x", cursorSize)} {
		q := mustOpen(t, o)
		mustAppend(t, q, names(3)...)
		q.Peek()
		q.Drop()
		q.Close()
		os.WriteFile(filepath.Join(o.Dir, cursorName), []byte(cursor), 0o600)
		q = mustOpen(t, o)
		wantFrames(t, q, names(3)...)
		q.Close()
	}
}

// TestDeliveredSegmentComesBack: after a power loss the folder may still hold a segment that was delivered and removed.
func TestDeliveredSegmentComesBack(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 150}
	q := mustOpen(t, o)
	mustAppend(t, q, names(12)...)
	first, err := os.ReadFile(q.path(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		q.Peek()
		q.Drop()
	}
	q.Close()
	os.WriteFile(q.path(1), first, 0o600)
	q = mustOpen(t, o)
	wantFrames(t, q, names(12)[6:]...)
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg")); len(files) != 0 {
		t.Errorf("left %v", files)
	}
}

// FuzzReopen puts any bytes where a segment and the cursor are; whatever they are, the queue opens, takes a frame and gives it back.
func FuzzReopen(f *testing.F) {
	_, data, _ := image(f, 3)
	f.Add(data, []byte(nil))
	f.Add(data[:40], []byte("01234567890123456789"))
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, data, cursor []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, cursorName), cursor, 0o600)
		os.WriteFile(filepath.Join(dir, segmentName(1)), data, 0o600)
		q := mustOpen(t, Options{Dir: dir, NoSync: true})
		mustAppend(t, q, "after")
		n := q.Len()
		got := drain(t, q)
		if len(got) == 0 || got[len(got)-1] != "after" || len(got) > n {
			t.Errorf("got %q of %d", got, n)
		}
		if st := q.Stats(); st.Frames != 0 || st.Bytes != 0 {
			t.Errorf("an empty queue has %+v", st)
		}
		q.Close()
	})
}

// child is what the killed processes of the tests below do.
func child(dir string) {
	if os.Getenv("SPOOL_TEST_MOUNT") != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
			fmt.Println("mount:", err)
			os.Exit(3)
		}
		fmt.Print(fillDisk(dir))
		return
	}
	q, err := Open(Options{Dir: dir, SegmentBytes: 2 << 10})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := q.Append(time.Now(), fmt.Appendf(nil, "%d %s", os.Getpid(), strings.Repeat("x", i%300))); err != nil {
			os.Exit(1)
		}
		fmt.Println("kept")
		if i%3 == 2 {
			q.Peek()
			fmt.Println("dropping")
			q.Drop()
		}
	}
}

// TestKill kills a process that appends and drops, and finds everything that it was told is kept and had not begun to drop.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	kept, dropping := 0, 0
	for range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SPOOL_TEST_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() { // once it has begun, however long a busy machine takes to start it
			time.AfterFunc(time.Duration(5+rand.IntN(60))*time.Millisecond, func() { cmd.Process.Kill() })
		})
		if rand.IntN(4) == 0 { // or while it opens the queue
			kill()
		}
		for s := bufio.NewScanner(out); s.Scan(); {
			kill()
			switch s.Text() {
			case "kept":
				kept++
			case "dropping":
				dropping++
			default:
				t.Errorf("child: %s", s.Text())
			}
		}
		cmd.Wait()
		q := mustOpen(t, Options{Dir: dir, SegmentBytes: 2 << 10})
		n := q.Len()
		if n < kept-dropping {
			t.Fatalf("%d frames found, %d were kept and %d of them dropped", n, kept, dropping)
		}
		if st := q.Stats(); st.Dropped[Size] != 0 {
			t.Fatalf("dropped %+v", st)
		}
		q.Close()
		kept, dropping = n, 0
	}
	if kept < 50 {
		t.Errorf("only %d frames were written: the test tests nothing", kept)
	}
}

// TestDiskFull fills a disk of 256 KiB, with the queue alone on it and with a neighbour that eats the rest.
func TestDiskFull(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_CHILD="+t.TempDir(), "SPOOL_TEST_MOUNT=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 3 {
		t.Skipf("this kernel forbids mounts in user namespaces, so no disk can be filled: %v %s", err, out)
	}
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillDisk(dir string) (faults string) {
	q, err := Open(Options{Dir: dir, SegmentBytes: 32 << 10})
	if err != nil {
		return err.Error()
	}
	frame := make([]byte, 1000)
	put := func(n int) (kept int) {
		for i := range n {
			frame[0] = byte(i)
			if q.Append(t0, frame) == nil {
				kept++
			}
		}
		return kept
	}
	if kept := put(1000); kept != 1000 {
		faults += fmt.Sprintf("alone: kept %d of 1000\n", kept)
	}
	if st := q.Stats(); st.Dropped[Disk]+uint64(st.Frames) != 1000 || st.Frames < 150 {
		faults += fmt.Sprintf("alone: %+v\n", st)
	}
	// The neighbour takes all that is free, again and again; each append gives up the oldest for itself.
	ballast, _ := os.Create(filepath.Join(dir, "ballast"))
	refused := 0
	for range 40 {
		for err = nil; err == nil; {
			_, err = ballast.Write(make([]byte, 4096))
		}
		refused += 20 - put(20)
	}
	st := q.Stats()
	if st.Dropped[Disk]+uint64(st.Frames) != 1800 || refused != 0 || st.Frames < 100 {
		faults += fmt.Sprintf("beside a neighbour: %d refused, %+v\n", refused, st)
	}
	os.Remove(ballast.Name())
	ballast.Close()
	if kept := put(100); kept != 100 || q.Len() < 100 {
		faults += fmt.Sprintf("after: kept %d of 100\n", kept)
	}
	if err := q.Close(); err != nil {
		faults += err.Error()
	}
	return faults
}
