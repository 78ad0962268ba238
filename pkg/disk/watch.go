package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/contract"
)

// ReserveFile is the name of the file that keeps room.
const ReserveFile = "reserve"

// Look is how often a Watch looks.
const Look = time.Second

// levels say from which free share on people are told, and how loudly; it must rise by more than ends to be over.
var levels = []struct {
	under float64
	level contract.Level
}{{0.05, contract.Urgent}, {0.10, contract.General}, {0.20, contract.Minor}}

const ends = 0.01

// Options tunes New.
type Options struct {
	Dir     string
	Reserve int64                               // bytes that the reserve file takes from the disk; 0: none
	Told    contract.Level                      // the level that an earlier process has told and not ended
	Tell    func(level contract.Level, s Space) // takes each change of level, empty when there is room again
	Measure func(dir string) (Space, error)     // default SpaceOf

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Watch keeps an eye on the room of one folder's disk.
//
// Bulky writers ask Room and stop early: at twice the reserve's size of free room, the reserve in it counted as taken
// whether the file is there or not. Small writers that must never stop (records, pages) go on into what is left, and when
// that falls under half the reserve, the reserve file is given up for them. It is made again when there is plenty.
type Watch struct {
	o    Options
	path string

	mu    sync.Mutex
	space Space
	kept  bool // the reserve file is there
	full  bool // Room says no
	level contract.Level
}

// New takes the first look: it makes the reserve, or gives it up when the disk is full.
func New(o Options) (*Watch, error) {
	if o.Measure == nil {
		o.Measure = SpaceOf
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := o.Measure(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Reserve = min(o.Reserve, s.Size/16>>12<<12)
	w := &Watch{o: o, path: filepath.Join(o.Dir, ReserveFile)}
	st, err := os.Stat(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open reserve: %w", err)
	}
	if w.kept = err == nil; w.kept && st.Size() != o.Reserve { // another size was configured before, or the machine stopped while it was made
		if err := os.Remove(w.path); err != nil {
			return nil, fmt.Errorf("open reserve: %w", err)
		}
		w.kept = false
	}
	if err := w.look(); err != nil {
		return nil, err
	}
	newMetrics(o.Registerer, w)
	return w, nil
}

// Adopt takes over the level that an earlier process has told and not ended; it is for the time before Run.
func (w *Watch) Adopt(level contract.Level) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.level = level
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	w.tell()
	tick := time.NewTicker(Look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.look(); err != nil {
			w.o.Logger.Error("disk cannot be looked at", "error", err)
			continue
		}
		w.tell()
	}
}

// Room is nil while bulky writers may write.
func (w *Watch) Room() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.full {
		return nil
	}
	return fmt.Errorf("%s: %d MiB free of %d: what is left is kept for records", w.o.Dir, w.space.Free>>20, w.space.Size>>20)
}

// Space is what the last look found.
func (w *Watch) Space() Space {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.space
}

func (w *Watch) look() error {
	s, err := w.o.Measure(w.o.Dir)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.kept && s.Free < w.o.Reserve/2:
		if err := os.Remove(w.path); err != nil {
			return fmt.Errorf("give up reserve: %w", err)
		}
		w.o.Logger.Warn("disk is nearly full: the reserve is given up, so that records can be written", "free_mib", s.Free>>20)
		w.kept = false
		s.Free += w.o.Reserve // until the next look
	case !w.kept && w.o.Reserve > 0 && s.Free > 3*w.o.Reserve:
		if err := reserve(w.path, w.o.Reserve); err != nil {
			w.o.Logger.Warn("reserve is not there", "error", err)
			break
		}
		w.kept = true
		s.Free -= w.o.Reserve
	}
	net := s.Free
	if !w.kept {
		net -= w.o.Reserve
	}
	w.space = s
	if was := w.full; was {
		w.full = net < w.o.Reserve+w.o.Reserve/4
	} else {
		w.full = net < w.o.Reserve
	}
	return nil
}

// reserve makes a file whose blocks are really taken.
func reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = zeroes(f, size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make reserve of %d MiB: %w", size>>20, err), os.Remove(path))
	}
	return nil
}

func zeroes(f *os.File, size int64) error {
	b := make([]byte, 1<<20)
	for size > 0 {
		n, err := f.Write(b[:min(size, int64(len(b)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return f.Sync()
}

// tell reports a change of level, once.
func (w *Watch) tell() {
	w.mu.Lock()
	was, s := w.level, w.space
	w.level = levelOf(was, s.Share())
	now := w.level
	w.mu.Unlock()
	if now != was && w.o.Tell != nil {
		w.o.Tell(now, s)
	}
}

// levelOf is how bad a free share is, after it was told to be so bad.
func levelOf(was contract.Level, share float64) contract.Level {
	bad := func(share float64) int {
		for i, l := range levels {
			if share < l.under {
				return i
			}
		}
		return len(levels)
	}
	before, now := len(levels), bad(share)
	for i, l := range levels {
		if l.level == was {
			before = i
		}
	}
	if now > before && bad(share-ends) <= before { // better, but not by enough
		now = before
	}
	if now == len(levels) {
		return ""
	}
	return levels[now].level
}
