package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"xunjian/pkg/contract"
	"xunjian/pkg/disk/disktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// disk is one that the test fills and empties by word; the reserve counts.
type disk struct {
	size   int64
	others atomic.Int64
	path   string
}

func (d *disk) measure(string) (Space, error) {
	s := Space{Free: d.size - d.others.Load(), Size: d.size}
	if st, err := os.Stat(d.path); err == nil {
		s.Free -= st.Size()
	}
	return s, nil
}

func TestReserveIsGivenUpAndMadeAgain(t *testing.T) {
	dir := t.TempDir()
	d := &disk{size: 1000 * mib, path: filepath.Join(dir, ReserveFile)}
	w, err := New(Options{Dir: dir, Reserve: 8 * mib, Measure: d.measure})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		others int64 // MiB taken by others
		kept   bool
		room   bool
	}{
		{0, true, true},
		{983, true, true},   // 9 free beside the reserve
		{985, true, false},  // 7 free: bulky writers stop
		{983, true, false},  // 9 free: too little to go on
		{981, true, true},   // 11 free
		{989, false, false}, // 3 free: the reserve goes, 11 free
		{985, false, false}, // 15 free
		{981, false, true},  // 19 free: 11 without the reserve
		{976, false, true},  // 24 free
		{975, true, true},   // 25 free: made again
	} {
		d.others.Store(step.others * mib)
		if err := w.look(); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(d.path)
		if kept := err == nil && st.Size() == 8*mib; kept != step.kept || kept != w.kept || (w.Room() == nil) != step.room {
			t.Errorf("%d MiB of others: kept %v, room %v; want %+v", step.others, kept, w.Room(), step)
		}
	}
}

// A start on a full disk finds the reserve of the run before and gives it up at once.
func TestStartOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := &disk{size: 1000 * mib, path: filepath.Join(dir, ReserveFile)}
	if _, err := New(Options{Dir: dir, Reserve: 8 * mib, Measure: d.measure}); err != nil {
		t.Fatal(err)
	}
	d.others.Store(992 * mib)
	w, err := New(Options{Dir: dir, Reserve: 8 * mib, Measure: d.measure})
	if err != nil || w.kept || w.Room() == nil {
		t.Errorf("%v, kept %v, room %v", err, w.kept, w.Room())
	}
	if _, err := os.Stat(d.path); err == nil {
		t.Error("the reserve is there still")
	}
}

// A small disk is not spent on the reserve, and a reserve of another size is made anew.
func TestReserveFits(t *testing.T) {
	dir := t.TempDir()
	d := &disk{size: 32 * mib, path: filepath.Join(dir, ReserveFile)}
	if err := os.WriteFile(d.path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir, Reserve: 64 * mib, Measure: d.measure}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(d.path); err != nil || st.Size() != 2*mib {
		t.Errorf("%v, %v", st, err)
	}
}

func TestLevelsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{size: 1000}
		var told []string
		w, err := New(Options{Dir: t.TempDir(), Measure: d.measure, Tell: func(l contract.Level, s Space) {
			told = append(told, fmt.Sprintf("%s at %d", l, s.Free))
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(Look / 2) // between two looks
		for _, free := range []int64{1000, 201, 199, 205, 198, 99, 105, 111, 49, 55, 61, 150, 205, 211, 30, 500} {
			d.others.Store(d.size - free)
			time.Sleep(2 * Look)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{"minor at 199", "general at 99", "minor at 111", "urgent at 49", "general at 61", "minor at 150", " at 211", "urgent at 30", " at 500"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// What an earlier process has told is ended by this one when there is room again.
func TestAdoptedLevelIsEnded(t *testing.T) {
	d := &disk{size: 1000}
	var told []contract.Level
	w, err := New(Options{Dir: t.TempDir(), Measure: d.measure, Tell: func(l contract.Level, _ Space) { told = append(told, l) }})
	if err != nil {
		t.Fatal(err)
	}
	w.Adopt(contract.General)
	w.tell()
	w.tell()
	if !slices.Equal(told, []contract.Level{""}) {
		t.Errorf("told %q", told)
	}
}

// TestReserveTakesRealRoom fills a real disk and sees that giving up the reserve makes room.
func TestReserveTakesRealRoom(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	dir, _ := disktest.Ext4(t, 64, "")
	w, err := New(Options{Dir: dir, Reserve: 4 * mib})
	if err != nil || !w.kept {
		t.Fatalf("%v, kept %v", err, w.kept)
	}
	disktest.Fill(t, dir, mib)
	if err := w.look(); err != nil || w.kept || w.Room() == nil {
		t.Fatalf("%v, kept %v", err, w.kept)
	}
	if err := os.WriteFile(filepath.Join(dir, "records"), make([]byte, 3*mib), 0o600); err != nil {
		t.Errorf("no room for records: %v", err)
	}
}
