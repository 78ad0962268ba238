package test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/disk/disktest"
)

// TestDiskFull fills the collector's disk while an agent sends numbered reports: they wait with the agent, whose stream
// stays, incidents and pages go on as fast as before, the collector starts on the full disk, too, and when there is room
// again everything arrives, once.
func TestDiskFull(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	mount, _ := disktest.Ext4(t, 160, "")
	r := newRigOn(t, filepath.Join(mount, "data"), "storage: {reserve_mib: 8}\n")
	r.startAgent()
	stop := r.startSender()
	eventually(t, "the first reports", func() error { return r.newest(1) })
	healthy := r.timeToPage("cloud-doc")
	ballast := fillAtOnce(t, mount)
	eventually(t, "the alarm of the full disk", func() error { return r.hasIncident("CollectorDiskFull") })
	eventually(t, "reports that are refused", func() error { return r.atLeast("xunjian_uplink_withheld_total", 1) })
	last, streams, memory := r.number(), r.ownMetric("xunjian_uplink_streams_opened_total"), r.memory()
	full := r.timeToPage("sms")
	time.Sleep(20 * time.Second) // more messages than a stream's window have come then
	full = max(full, r.timeToPage("gateway"))
	t.Logf("paged after %v on a healthy disk, after %v at most on the full one", healthy, full)
	if full > healthy+slack {
		t.Errorf("the full disk delays pages")
	}
	if now := r.ownMetric("xunjian_uplink_streams_opened_total"); now != streams {
		t.Errorf("%v streams were opened while the disk was full: streams are to stay", now-streams)
	}
	if grown := r.memory() - memory; grown > 64<<20 {
		t.Errorf("memory has grown by %d MiB while the disk was full", grown>>20)
	}
	r.collector.kill()
	r.startUntil("/-/healthy") // ready it is not
	r.timeToPage("signature")
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

// slack is what a busy machine may add to the time of one page, and less than a stream that ends and comes back costs.
const slack = 5 * time.Second

// timeToPage breaks a service and waits for its page.
func (r *killRig) timeToPage(service string) time.Duration {
	r.t.Helper()
	before, began := pagesOf(r.t, r.log, service, "firing"), time.Now()
	fault(r.t, "http://"+r.simulator, service, map[string]any{"mode": "error500"})
	eventually(r.t, "a page of "+service, func() error {
		if pagesOf(r.t, r.log, service, "firing") == before {
			return errors.New("no page yet")
		}
		return nil
	})
	return time.Since(began)
}

// ownMetric is one number of the collector's own, all labels added up.
func (r *killRig) ownMetric(name string) (sum float64) {
	r.t.Helper()
	req, err := http.NewRequest("GET", r.url()+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	found := false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if err := lines.Err(); err != nil || !found {
		r.t.Fatalf("%s is not among the collector's metrics (%s, %v)", name, resp.Status, err)
	}
	return sum
}

func (r *killRig) atLeast(name string, want float64) error {
	r.t.Helper()
	if v := r.ownMetric(name); v < want {
		return fmt.Errorf("%s is %v", name, v)
	}
	return nil
}

// memory is what the collector has taken of the machine's, files that it maps left out.
func (r *killRig) memory() (bytes int64) {
	r.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.collector.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		r.t.Fatal(err)
	}
	return bytes << 10
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
