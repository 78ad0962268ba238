package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func mustOpen(t testing.TB, o Options) *Queue {
	t.Helper()
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func mustAppend(t testing.TB, q *Queue, frames ...string) {
	t.Helper()
	for _, f := range frames {
		if err := q.Append(t0, []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
}

// failer is what testing.T and rapid.T have in common here.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// drain reads and drops everything.
func drain(t failer, q *Queue) (out []string) {
	t.Helper()
	for {
		f, ok, err := q.Peek()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, string(f))
		if err := q.Drop(); err != nil {
			t.Fatal(err)
		}
	}
}

func wantFrames(t testing.TB, q *Queue, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, drain(t, q)); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("frame %04d", i))
	}
	return out
}

func TestOrderSurvivesReopening(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "a", "spool"), SegmentBytes: 200}
	q := mustOpen(t, o)
	mustAppend(t, q, names(50)...)
	for range 17 {
		q.Peek()
		q.Drop()
	}
	q.Close()
	q = mustOpen(t, o)
	if q.Len() != 33 {
		t.Errorf("%d frames after reopening, want 33", q.Len())
	}
	mustAppend(t, q, "late")
	wantFrames(t, q, append(names(50)[17:], "late")...)
	if st := q.Stats(); st.Frames != 0 || st.Bytes != 0 || st.Segments != 0 {
		t.Errorf("an empty queue keeps %+v", st)
	}
}

func TestRestartsDoNotLeaveAFileEach(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	for range 20 {
		q := mustOpen(t, o)
		mustAppend(t, q, "x")
		q.Close()
	}
	if st := mustOpen(t, o).Stats(); st.Segments != 1 || st.Frames != 20 {
		t.Errorf("after 20 restarts: %+v", st)
	}
}

func TestFramesReadsAhead(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir(), SegmentBytes: 100})
	mustAppend(t, q, names(9)...)
	got, err := q.Frames(100, 1<<20)
	if err != nil || len(got) != 9 {
		t.Fatalf("got %d frames, %v", len(got), err)
	}
	if got, _ := q.Frames(100, 65); len(got) != 2 {
		t.Errorf("%d frames in 65 bytes, want 2", len(got))
	}
	if got, _ := q.Frames(100, 1); len(got) != 1 {
		t.Errorf("%d frames in 1 byte, want the head", len(got))
	}
	if err := q.DropThrough(got[6].Mark); err != nil {
		t.Fatal(err)
	}
	if err := q.DropThrough(got[2].Mark); err != nil { // gone already
		t.Fatal(err)
	}
	if q.Len() != 2 {
		t.Errorf("%d frames are left, want 2", q.Len())
	}
	if q.Tail() != got[8].Mark {
		t.Errorf("tail %v, want %v", q.Tail(), got[8].Mark)
	}
	wantFrames(t, q, names(9)[7:]...)
}

func TestSizeDropsTheOldest(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir(), MaxBytes: 16 << 10})
	frame := bytes.Repeat([]byte("x"), 500)
	for i := range 200 {
		frame[0] = byte(i)
		if err := q.Append(t0, frame); err != nil {
			t.Fatal(err)
		}
		if st := q.Stats(); st.Bytes > 16<<10 {
			t.Fatalf("%d bytes after frame %d", st.Bytes, i)
		}
	}
	st := q.Stats()
	if st.Dropped[Size]+uint64(st.Frames) != 200 || st.Bytes < 12<<10 {
		t.Errorf("kept and dropped do not add up: %+v", st)
	}
	got := drain(t, q)
	for i, f := range got {
		if f[0] != byte(200-len(got)+i) {
			t.Fatalf("frame %d of the rest is number %d", i, f[0])
		}
	}
	if err := q.Append(t0, make([]byte, 17<<10)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a frame larger than the queue: %v", err)
	}
}

func TestSmallerLimitAtReopening(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 1 << 10}
	q := mustOpen(t, o)
	mustAppend(t, q, names(500)...)
	q.Close()
	o.MaxBytes = 8 << 10
	q = mustOpen(t, o)
	st := q.Stats()
	if st.Bytes > o.MaxBytes || st.Dropped[Size]+uint64(st.Frames) != 500 {
		t.Errorf("%+v", st)
	}
}

func TestAgeDropsTheOldest(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir(), MaxAge: time.Hour, SegmentBytes: 300})
	for i := range 100 {
		if err := q.Append(t0.Add(time.Duration(i)*time.Minute), []byte("frame")); err != nil {
			t.Fatal(err)
		}
	}
	st := q.Stats()
	if st.Dropped[Age] != 39 || st.Frames != 61 || !st.Oldest.Equal(t0.Add(39*time.Minute)) {
		t.Errorf("after 100 minutes with an hour kept: %+v", st)
	}
}

func TestALeapOfTheClockDropsNothing(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir()})
	mustAppend(t, q, "a", "b")
	year := t0.AddDate(1, 0, 0)
	for range leapGuard - 1 {
		if err := q.Append(year, []byte("leap")); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, q, "c")
	if n := q.Len(); n != leapGuard+2 {
		t.Errorf("%d frames are left, want all %d", n, leapGuard+2)
	}
}

func TestDropDoesNotHitTheNextFrame(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir(), MaxBytes: 1 << 10})
	mustAppend(t, q, names(3)...)
	if f, _, _ := q.Peek(); string(f) != names(3)[0] {
		t.Fatalf("peeked %q", f)
	}
	for i := 0; q.Stats().Dropped[Size] == 0; i++ {
		mustAppend(t, q, fmt.Sprint("more ", i)) // pushes the peeked frame out
	}
	before := q.Len()
	q.Drop()
	if q.Len() != before {
		t.Error("Drop removed a frame that was never peeked")
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"note.txt":             "hello",
		"0000000000000001.SEG": "XJSPOOL1",
		"0000000000000002.seg": "XJSPOOL2 of a later version",
		"0000000000000003.seg": "what is this?",
		"ffffffffffffffff.seg": "XJSPOOL1",
	} {
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
	}
	os.Mkdir(filepath.Join(dir, "0000000000000009.seg"), 0o700)
	q := mustOpen(t, Options{Dir: dir})
	if st := q.Stats(); st.Foreign != 6 || st.Frames != 0 {
		t.Errorf("%+v", st)
	}
	mustAppend(t, q, "a")
	wantFrames(t, q, "a")
	if files, _ := os.ReadDir(dir); len(files) != 8 { // and the lock and the cursor
		t.Errorf("left %v", files)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	mustOpen(t, o)
	if q, err := Open(o); err == nil {
		q.Close()
		t.Error("two queues on one folder")
	}
}

func TestClosedQueue(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir()})
	q.Close()
	if err := q.Append(t0, nil); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, _, err := q.Peek(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := errors.Join(q.Close(), ignore(q.Drop(), os.ErrClosed)); err != nil {
		t.Error(err)
	}
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

func TestEmptyFrame(t *testing.T) {
	q := mustOpen(t, Options{Dir: t.TempDir()})
	mustAppend(t, q, "", "a", "")
	wantFrames(t, q, "", "a", "")
}

// TestModel compares the queue with a slice through random appends, drops and restarts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "") //nolint:usetesting // one folder for each of rapid's tries
		if err != nil {
			rt.Fatal(err)
		}
		o := Options{Dir: dir, SegmentBytes: rapid.Int64Range(30, 400).Draw(rt, "segment"), NoSync: true}
		q, err := Open(o)
		if err != nil {
			rt.Fatal(err)
		}
		var model []string
		count := 0
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				count++
				f := fmt.Sprint(count, string(bytes.Repeat([]byte("."), rapid.IntRange(0, 120).Draw(rt, "pad"))))
				if err := q.Append(t0, []byte(f)); err != nil {
					rt.Fatal(err)
				}
				model = append(model, f)
			},
			"drop": func(rt *rapid.T) {
				f, ok, err := q.Peek()
				if err != nil || ok != (len(model) > 0) || ok && string(f) != model[0] {
					rt.Fatalf("peek %q %v %v", f, ok, err)
				}
				if ok {
					model = model[1:]
				}
				if err := q.Drop(); err != nil {
					rt.Fatal(err)
				}
			},
			"drop many": func(rt *rapid.T) {
				frames, err := q.Frames(rapid.IntRange(1, 20).Draw(rt, "n"), 500)
				if err != nil || len(frames) > len(model) || len(frames) == 0 && len(model) > 0 {
					rt.Fatalf("%d frames of %d, %v", len(frames), len(model), err)
				}
				for i, f := range frames {
					if string(f.Data) != model[i] {
						rt.Fatalf("frame %d is %q", i, f.Data)
					}
				}
				if len(frames) == 0 {
					return
				}
				n := rapid.IntRange(1, len(frames)).Draw(rt, "through")
				if err := q.DropThrough(frames[n-1].Mark); err != nil {
					rt.Fatal(err)
				}
				model = model[n:]
			},
			"restart": func(rt *rapid.T) {
				q.Close()
				if q, err = Open(o); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				if st := q.Stats(); st.Frames != len(model) || len(st.Dropped) != 0 {
					rt.Fatalf("%d frames in the model, %+v", len(model), st)
				}
			},
		})
		if got := drain(rt, q); !slices.Equal(got, model) {
			rt.Fatalf("left %q, want %q", got, model)
		}
		q.Close()
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		b.Run(fmt.Sprintf("nosync=%v", noSync), func(b *testing.B) {
			q := mustOpen(b, Options{Dir: b.TempDir(), NoSync: noSync})
			frame := make([]byte, 1000)
			for b.Loop() {
				if err := q.Append(t0, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenFull opens a queue of 64 MiB in frames of 1 kB.
func BenchmarkOpenFull(b *testing.B) {
	o := Options{Dir: b.TempDir(), NoSync: true}
	q := mustOpen(b, o)
	frame := make([]byte, 1000)
	for q.Stats().Dropped[Size] == 0 {
		q.Append(t0, frame)
	}
	q.Close()
	b.ReportAllocs()
	for b.Loop() {
		q, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		q.Close()
	}
}
