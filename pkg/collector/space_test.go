package collector

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/disk"
	"xunjian/pkg/tsdb"
)

// Our own disk's room becomes incidents, the store stops taking reports on a full one, and a restart forgets nothing.
func TestLowDiskIsTold(t *testing.T) {
	r := newRig(t, plain("storage: {reserve_mib: 0}"))
	var free atomic.Int64
	start := func() *rig {
		o := r.options()
		o.Measure = func(string) (disk.Space, error) { return disk.Space{Free: free.Load(), Size: 1000}, nil }
		return r.startWith(o)
	}
	level := func(want contract.Level, ended bool) func() error {
		return func() error {
			got := r.incidents("all")
			if len(got) != 1 || got[0].Level != want || got[0].VerifyingSince.IsZero() == ended {
				return fmt.Errorf("%+v", got)
			}
			return nil
		}
	}
	free.Store(150)
	start()
	r.eventually("a minor incident", level(contract.Minor, false))
	free.Store(80)
	r.eventually("a general one", level(contract.General, false))
	free.Store(20)
	r.eventually("an urgent one", level(contract.Urgent, false))
	if got := r.metric("xunjian_disk_free_bytes"); got != "20" {
		t.Errorf("metric %q", got)
	}
	r.stop()
	free.Store(900)
	start()
	r.eventually("its end", level(contract.Urgent, true))
}

func TestFullDiskTakesNoReports(t *testing.T) {
	r := newRig(t, plain("storage: {reserve_mib: 1}"))
	var free atomic.Int64
	free.Store(1 << 40)
	o := r.options()
	o.Measure = func(string) (disk.Space, error) { return disk.Space{Free: free.Load(), Size: 1 << 40}, nil }
	r.startWith(o)
	free.Store(1)
	r.eventually("not ready", func() error {
		if status, text := r.ask("GET", "/-/ready"); status != 503 {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	if err := r.series.NoSpace(); !errors.Is(err, tsdb.ErrNoSpace) {
		t.Errorf("no space: %v", err)
	}
	free.Store(1 << 40)
	r.eventually("ready again", func() error { return r.series.NoSpace() })
}

// A file system that loses data is refused, with the key that overrules it.
func TestPlaceIsJudged(t *testing.T) {
	c := Config{Data: "/proc/x"}
	var got []string
	fail := config.Fail(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
	c.validatePlace(fail)
	if len(got) != 0 {
		t.Errorf("an unknown file system was refused: %q", got)
	}
}
