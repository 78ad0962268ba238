package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/disk/disktest"
)

// TestDiskFull fills the collector's disk while an agent sends numbered reports: they wait with the agent, incidents and
// pages go on, the collector starts on the full disk, too, and when there is room again everything arrives, once.
func TestDiskFull(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	mount, _ := disktest.Ext4(t, 160, "")
	r := newRigOn(t, filepath.Join(mount, "data"), "storage: {reserve_mib: 8}\n")
	r.startAgent()
	stop := r.startSender()
	eventually(t, "the first reports", func() error { return r.newest(1) })
	ballast := fillAtOnce(t, mount)
	eventually(t, "the alarm of the full disk", func() error { return r.hasIncident("CollectorDiskFull") })
	last := r.number()
	fault(t, "http://"+r.simulator, "sms", map[string]any{"mode": "error500"})
	eventually(t, "a page from the full disk", func() error { return r.paged("sms", "firing") })
	r.collector.kill()
	r.startUntil("/-/healthy") // ready it is not
	fault(t, "http://"+r.simulator, "gateway", map[string]any{"mode": "error500"})
	eventually(t, "a page after a start on the full disk", func() error { return r.paged("gateway", "firing") })
	time.Sleep(5 * time.Second)
	if now := r.number(); now > last+250 {
		t.Errorf("reports went on being stored on the full disk: number %v, then %v", last, now)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reports after room was made", func() error { return r.newest(last + 500) })
	sent := stop()
	r.agent.stop(t)
	r.collector.stop(t)
	r.eachOnce(sent)
	t.Logf("%d reports, full from about number %v", sent, last)
}

// fillAtOnce takes all room in one call: a slow filler would also take the reserve that the collector gives up for its
// records.
func fillAtOnce(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	for size := int64(st.Bavail) * st.Bsize; size > 0; size -= 64 << 10 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err == nil {
			return path
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	t.Fatal("the disk cannot be filled")
	return ""
}

// number is the newest numbered report that queries see, 0 for none.
func (r *killRig) number() float64 {
	r.t.Helper()
	var got struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := call("GET", r.url()+"/api/v1/query?query=max(last_over_time(test_number[1h]))", r.token, nil, &got); err != nil {
		r.t.Fatal(err)
	}
	if len(got.Data.Result) == 0 {
		return 0
	}
	n := 0.0
	if _, err := fmt.Sscan(fmt.Sprint(got.Data.Result[0].Value[1]), &n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *killRig) newest(want float64) error {
	if n := r.number(); n < want {
		return fmt.Errorf("the newest is %v, want %v", n, want)
	}
	return nil
}

func (r *killRig) hasIncident(rule string) error {
	var got struct {
		Incidents []map[string]any `json:"incidents"`
	}
	if err := call("GET", r.url()+"/api/xunjian/v1/incidents?state=all", r.token, nil, &got); err != nil {
		return err
	}
	for _, inc := range got.Incidents {
		for _, v := range inc {
			if v == rule {
				return nil
			}
		}
	}
	return fmt.Errorf("none of %v", got.Incidents)
}

func (r *killRig) paged(service, status string) error {
	if pagesOf(r.t, r.log, service, status) == 0 {
		return errors.New("no page yet")
	}
	return nil
}
