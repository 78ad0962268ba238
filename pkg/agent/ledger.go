package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// The negative control's pace: once a day, a different moment for each agent and check.
const (
	controlEvery  = 24 * time.Hour
	controlSpread = 10 * time.Minute
	controlAgain  = time.Hour // after one that was not as it must be, or could not be made
)

// ledger keeps over restarts what checks have spent of their day's budget and when their negative control was made.
type ledger struct {
	file    string
	started time.Time

	mu    sync.Mutex
	kept  map[string]entry
	blind string // a day of which the budgets are not known, since the file was damaged
}

type entry struct {
	Day     string    `json:"day,omitempty"`
	Spent   int       `json:"spent,omitempty"` // attempts on that day
	Control time.Time `json:"control,omitzero"`
}

// openLedger reads the file. From a damaged one nothing can be told, so the budgets of today count as spent.
func openLedger(file, today string) (*ledger, error) {
	l := &ledger{file: file, started: time.Now(), kept: map[string]entry{}}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("read budgets: %w", err)
	}
	if err := json.Unmarshal(b, &l.kept); err != nil {
		l.kept, l.blind = map[string]entry{}, today
		return l, fmt.Errorf("read budgets: %s is damaged, so that budgets count as spent until tomorrow: %w", file, err)
	}
	return l, nil
}

// take reserves up to n attempts of the day's budget, at least one; the error says that none are left. What is reserved is
// on disk before it is spent: a crash must not give a day two budgets.
func (l *ledger) take(name, day string, n, budget int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blind == day {
		return 0, errors.New("budget: what was spent today is not known, for its file was damaged; asked again tomorrow")
	}
	e := l.kept[name]
	if e.Day != day {
		e.Day, e.Spent = day, 0
	}
	if n = min(n, budget-e.Spent); n <= 0 {
		return 0, fmt.Errorf("budget of %d attempts a day is spent", budget)
	}
	e.Spent += n
	if err := l.keep(name, e); err != nil {
		return 0, fmt.Errorf("budget cannot be kept, so nothing is spent: %w", err)
	}
	return n, nil
}

// give takes back what was reserved and not spent.
func (l *ledger) give(name, day string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.kept[name]; n > 0 && e.Day == day {
		before := e
		e.Spent -= n
		if l.keep(name, e) != nil {
			l.kept[name] = before // what counts as spent though it was not costs a round at most
		}
	}
}

// controlDue says whether a day has passed since the last negative control, or since none is known this process has run a while.
func (l *ledger) controlDue(name string, now time.Time, shift time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := l.kept[name].Control; !last.IsZero() && !last.After(now) {
		return now.Sub(last) >= controlEvery
	}
	return now.Sub(l.started) >= shift
}

// controlled notes that the negative control is made now, before it is: a restart must not make it twice.
func (l *ledger) controlled(name string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.kept[name]
	e.Control = now.UTC()
	return l.keep(name, e)
}

// doubtful has the negative control that was made just now made again before the day is over.
func (l *ledger) doubtful(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.kept[name]
	e.Control = e.Control.Add(controlAgain - controlEvery)
	_ = l.keep(name, e) // else it is made tomorrow
}

// keep writes the file; entries of checks that were not asked for days go. The caller holds mu.
func (l *ledger) keep(name string, e entry) error {
	before, had := l.kept[name]
	l.kept[name] = e
	for n, x := range l.kept {
		if n != name && e.Day != "" && x.Day != e.Day && time.Since(x.Control) > 2*controlEvery { // what has no budget does not know the day
			delete(l.kept, n)
		}
	}
	b, err := json.Marshal(l.kept)
	if err == nil {
		err = writeFile(l.file, b)
	}
	if err != nil {
		if delete(l.kept, name); had {
			l.kept[name] = before
		}
	}
	return err
}

// writeFile replaces a file as a whole.
func writeFile(file string, b []byte) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
