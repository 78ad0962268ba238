package collector

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"xunjian/pkg/access"
	"xunjian/pkg/api"
	"xunjian/pkg/check"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// A second run on the same data goes on where the first one stopped: same CA, same incident, same people, told its end.
func TestRunTwice(t *testing.T) {
	r := newRig(t, plain("")).start()
	ca, first := r.fleet.Fingerprint(), filepath.Join(r.dir, "data", "first-start.txt")
	for range 2 {
		r.round("balance", "sms", check.Fail)
	}
	open := r.incidents("open")
	if len(open) != 1 || open[0].Level != "urgent" {
		t.Fatalf("open: %+v", open)
	}
	if _, err := os.Stat(first); err != nil {
		t.Error(err)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if _, err := os.Stat(filepath.Join(r.dir, "data", "control.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("control file outlived its collector: %v", err)
	}

	r.start()
	if r.fleet.Fingerprint() != ca {
		t.Error("another CA")
	}
	if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a second first start: %v", err)
	}
	got := r.incidents("open")
	if len(got) != 1 || got[0].ID != open[0].ID || !got[0].ResponseDue.Equal(open[0].ResponseDue) {
		t.Fatalf("open after a restart: %+v", got)
	}
	for range 2 {
		r.round("balance", "sms", check.OK)
		time.Sleep(2 * time.Millisecond)
	}
	if got := r.incidents("open"); got[0].VerifyingSince.IsZero() {
		t.Errorf("the end of a fault from before the restart is not told: %+v", got[0])
	}
}

// A second collector on the same data says within seconds which file is held, and the first one does not notice.
func TestSecondCollector(t *testing.T) {
	r := newRig(t, plain("")).start()
	began := time.Now()
	c, err := New(r.options())
	if err == nil {
		c.Close()
		t.Fatal("two collectors on one data folder")
	}
	file := filepath.Join(r.dir, "data", "records.db")
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), file) {
		t.Errorf("%v: want the name of %s", err, file)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("told after %v", took)
	}
	if _, closeAll, err := Offline(r.options().Config); !errors.Is(err, store.ErrLocked) {
		if err == nil {
			closeAll()
		}
		t.Errorf("a command on the files of a running collector: %v", err)
	}
	if status, text := r.ask("GET", "/-/ready"); status != http.StatusOK {
		t.Errorf("the first one is disturbed: %d %s", status, text)
	}
}

// What New opened before it failed is let go of again, and the error names what is at fault.
func TestNewFails(t *testing.T) {
	taken := listener(t).Addr().String()
	for name, c := range map[string]struct {
		text  string
		spoil func(t *testing.T, data string)
		say   string
	}{
		"people's door taken": {"http: {listen: '" + taken + "'}\nuplink: {listen: '127.0.0.1:0'}\n", nil, taken},
		"agents' door taken":  {"http: {listen: '127.0.0.1:0'}\nuplink: {listen: '" + taken + "'}\n", nil, taken},
		"missing rules":       {plain("rules: {files: [none.yml]}\n"), nil, "none.yml"},
		"damaged records": {plain(""), func(t *testing.T, data string) {
			spoil(t, filepath.Join(data, "records.db"), bytes.Repeat([]byte("junk"), 10_000))
		}, "records.db"},
		"damaged series": {plain(""), func(t *testing.T, data string) {
			files, err := filepath.Glob(filepath.Join(data, "series", "*"))
			if err != nil || len(files) == 0 {
				t.Fatal("no series files", err)
			}
			for _, f := range files {
				spoil(t, f, bytes.Repeat([]byte("junk"), 10_000))
			}
		}, "series"},
		"lost CA key": {plain(""), func(t *testing.T, data string) {
			if err := os.Remove(filepath.Join(data, "ca.key")); err != nil {
				t.Fatal(err)
			}
		}, "ca.key"},
		"data is a file": {"data: file\n" + plain(""), func(t *testing.T, data string) {
			spoil(t, filepath.Join(filepath.Dir(data), "file"), nil)
		}, "file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, plain("")).start()
			r.stop()
			data := filepath.Join(r.dir, "data")
			if c.spoil != nil {
				c.spoil(t, data)
			}
			r.write(c.text)
			for range 2 {
				c2, err := New(r.options())
				if err == nil {
					c2.Close()
					t.Fatal("started")
				}
				if !strings.Contains(err.Error(), c.say) || errors.Is(err, store.ErrLocked) || errors.Is(err, tsdb.ErrLocked) {
					t.Errorf("%v: want %q", err, c.say)
				}
			}
			if c.spoil == nil {
				r.write(plain(""))
				r.start()
			}
		})
	}
}

func spoil(t *testing.T, file string, with []byte) {
	t.Helper()
	if err := os.WriteFile(file, with, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The command line works on the files when no collector runs, and what it did is there at the next start.
func TestOffline(t *testing.T) {
	r := newRig(t, plain("")).start()
	r.stop()
	handler, closeAll, err := Offline(r.options().Config)
	if err != nil {
		t.Fatal(err)
	}
	client := &api.Client{URL: "http://local", HTTP: &http.Client{Transport: api.Direct(handler, access.Identity{Role: access.Admin, Via: "local"})}}
	inc, err := client.Open(t.Context(), api.Opening{Act: api.Act{Person: "tester"}, Service: "sms", Level: "general", Detail: "a user calls"})
	if err != nil {
		t.Error(err)
	}
	if _, err := client.MonthReport(t.Context(), time.Now().UTC().Format("2006-01"), "docx"); err != nil {
		t.Error(err)
	}
	if _, err := client.Services(t.Context()); err == nil {
		t.Error("services are shown though nobody watches")
	}
	if err := closeAll(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := r.incidents("open"); len(got) != 1 || got[0].ID != inc.ID {
		t.Errorf("open: %+v", got)
	}
}

// bubbled is a collector in fake time that nobody calls.
func bubbled(t *testing.T, r *rig) (c *Collector, stop func()) {
	t.Helper()
	o := r.options()
	o.HTTP, o.GRPC = bufconn.Listen(1<<16), bufconn.Listen(1<<16)
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := errors.Join(<-done, c.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A recovery that nobody watched to its end does not come true, whether the collector or a command opens the files next.
func TestRecoveryUnwatched(t *testing.T) {
	for _, next := range []string{"collector", "command"} {
		t.Run(next, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, plain(""))
				c, stop := bubbled(t, r)
				r.Collector = c
				r.round("balance", "sms", check.Fail)
				time.Sleep(time.Minute)
				for range 3 {
					r.round("balance", "sms", check.OK)
					time.Sleep(10 * time.Second)
				}
				stored := make(chan error, 1)
				err := c.series.Append(t.Context(), tsdb.Stream{Agent: "host-1", Kind: "host"}, metric.Report{Boot: 1, Seq: 1, Kind: "host", At: time.Now(), Samples: []metric.Sample{{Series: metric.New("up")}}},
					func(_ tsdb.Outcome, err error) { stored <- err })
				if err := errors.Join(err, <-stored); err != nil {
					t.Fatal(err)
				}
				if got := r.incidents("open"); len(got) != 1 || got[0].VerifyingSince.IsZero() {
					t.Fatalf("not under verification: %+v", got)
				}
				stop()
				time.Sleep(2 * time.Hour)
				if next == "command" {
					o, err := openOffline(r.options().Config)
					if err != nil {
						t.Fatal(err)
					}
					r.Collector, stop = o, func() {
						if err := o.Close(); err != nil {
							t.Error(err)
						}
					}
				} else {
					r.Collector, stop = bubbled(t, r)
				}
				if got := r.incidents("open"); len(got) != 1 || !got[0].VerifyingSince.IsZero() || got[0].State == incident.Recovered {
					t.Errorf("after two hours in which nobody looked: %+v", r.incidents("all"))
				}
				stop()
			})
		})
	}
}
