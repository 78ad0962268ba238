package collector

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/disk"
	"xunjian/pkg/disk/disktest"
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

// A file system that loses what was synced is refused by `collector check` and at the start, with the key that overrules it.
func TestPlaceIsJudged(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	loose, _ := disktest.Ext4(t, 64, "barrier=0")
	good, _ := disktest.Ext4(t, 64, "")
	for dir, want := range map[string]string{good: "", loose: "nobarrier"} {
		r := newRig(t, plain("data: "+dir+"/data"))
		_, err := LoadConfig(r.file)
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "storage.any_filesystem: true")):
			t.Errorf("%s: %v", want, err)
		}
		if cerr := Check(r.file); (cerr == nil) != (err == nil) {
			t.Errorf("check says otherwise: %v", cerr)
		}
	}
	r := newRig(t, plain("data: "+loose+"/data\nstorage: {any_filesystem: true}")).start()
	if err := r.log.has("nobarrier"); err != nil {
		t.Error(err)
	}
}

// TestRecordsGoOnOnAFullDisk fills a real disk under a running collector: readings are refused, a fault still becomes an
// incident and a page, and with room again all goes on by itself.
func TestRecordsGoOnOnAFullDisk(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	dir := disktest.Tmpfs(t, 96)
	phone := newPhone(t)
	r := newRig(t, plain("data: "+dir+"/data\npages: {webhooks: [{name: duty, url: '"+phone.URL+"'}]}")).start()
	base := time.Now().Add(-time.Hour)
	r.send(base, 1, 100)
	ballast := disktest.Fill(t, dir, 0)
	r.eventually("no space", func() error {
		if err := r.series.NoSpace(); errors.Is(err, tsdb.ErrNoSpace) {
			return nil
		}
		return errors.New("reports are taken still")
	})
	s, rep := reading(101, base)
	told := make(chan error, 1)
	if err := r.series.Append(t.Context(), s, rep, func(_ tsdb.Outcome, err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, tsdb.ErrNoSpace) {
		t.Errorf("a report on a full disk: %v", err)
	}
	r.round("balance", "sms", check.Fail)
	r.eventually("the page", func() error {
		told := phone.told()
		for what := range told {
			if strings.HasPrefix(what, "firing sms ") {
				return nil
			}
		}
		return fmt.Errorf("%q; %d wait", told, r.teller.waiting())
	})
	if got := r.readings(); len(got) != 100 {
		t.Errorf("%d readings on a full disk", len(got))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.eventually("room again", r.series.NoSpace)
	if got := r.send(base, 101, 110); got[0] != tsdb.Stored {
		t.Errorf("with room again: %v", got)
	}
	r.eventually("the reserve again", func() error { _, err := os.Stat(dir + "/data/reserve"); return err })
}
