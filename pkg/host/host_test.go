package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/metric"
)

// TestGolden reads whole trees: names, labels, values, order.
func TestGolden(t *testing.T) {
	for _, name := range []string{"two", "loong64"} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, s := range read(fixture(name, sound)) {
				switch s.Series.Name {
				case "xunjian_agent_collector_duration_seconds": // differs from run to run
				case "node_uname_info": // is this machine's
					fmt.Fprintln(&got, s.Series.Name, s.Value)
				default:
					fmt.Fprintln(&got, s.Series, metric.FormatValue(s.Value))
				}
			}
			file := filepath.Join("testdata", name, "golden.txt")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestThisMachine reads the real thing: every item works and every name is in the catalogue.
func TestThisMachine(t *testing.T) {
	samples := New(Options{}).Read(t.Context(), now)
	for _, it := range New(Options{}).items {
		if success(samples, it.name) != 1 {
			t.Errorf("%s cannot be read here", it.name)
		}
	}
	seen := map[string]bool{}
	for _, s := range samples {
		if _, ok := metric.Describe(s.Series.Name); !ok {
			t.Errorf("%s is not in the catalogue", s.Series.Name)
		}
		if seen[s.Series.String()] {
			t.Errorf("%s comes twice", s.Series)
		}
		seen[s.Series.String()] = true
	}
}

func TestMissingFiles(t *testing.T) {
	r := fixture("empty", sound)
	for range 3 {
		read(r)
	}
	samples := read(r)
	for _, name := range []string{"cpu", "memory", "filesystem", "disk", "network", "system"} {
		if success(samples, name) != 0 {
			t.Errorf("%s succeeds without its files", name)
		}
		if got := values(samples)[`xunjian_agent_collector_failures_total{collector="`+name+`"}`]; got != 4 {
			t.Errorf("%s counts %v failures in 4 readings", name, got)
		}
	}
	got := values(samples)
	if got["node_time_seconds"] != 1_790_001_234.567 || len(only(samples, "node_uname_info")) != 1 {
		t.Errorf("what needs no file is missing: %v", schema(samples))
	}
	if !allNaN(only(samples, "node_filefd")) || !allNaN(only(samples, "node_boot")) {
		t.Error("numbers without a file to read them from")
	}
}

func TestGarbage(t *testing.T) {
	samples := read(fixture("garbage", sound))
	for _, name := range []string{"memory", "filesystem", "disk", "network", "system"} {
		if success(samples, name) != 0 {
			t.Errorf("%s succeeds on garbage", name)
		}
	}
	got := values(samples)
	if got[`node_filesystem_size_bytes{device="/dev/vda",fstype="xfs",mountpoint="/"}`] != 1000 {
		t.Error("the one good mount is lost among the bad lines")
	}
	for mode, want := range map[string]float64{"user": 0, "nice": 0, "system": 0, "idle": 5 / 100., "steal": 5 / 100.} {
		if v := got[`node_cpu_seconds_total{cpu="2",mode="`+mode+`"}`]; v != want {
			t.Errorf("cpu 2 %s = %v, want %v", mode, v, want)
		}
	}
	if n := len(only(samples, "node_cpu_seconds_total")); n != len(modes) {
		t.Errorf("%d series of processors from one good line", n)
	}
}

// TestSchemaStaysFixed takes files away and gives them back: series and order never change, values turn to NaN meanwhile.
func TestSchemaStaysFixed(t *testing.T) {
	dir := tree(t, "two")
	var log bytes.Buffer
	r := newReader(Options{Proc: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}, sound)
	first := read(r)
	for _, file := range []struct{ name, collector, prefix string }{
		{"stat", "cpu", "node_cpu"},
		{"meminfo", "memory", "node_memory"},
		{"diskstats", "disk", "node_disk"},
		{"net/dev", "network", "node_network"},
		{"1/mountinfo", "filesystem", "node_filesystem"},
	} {
		path := filepath.Join(dir, file.name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		for range 3 {
			samples := read(r)
			if diff := cmp.Diff(schema(first), schema(samples)); diff != "" {
				t.Fatalf("without %s (-want +got):\n%s", file.name, diff)
			}
			if !allNaN(only(samples, file.prefix)) || success(samples, file.collector) != 0 {
				t.Errorf("without %s: %v", file.name, only(samples, file.prefix))
			}
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		samples := read(r)
		if schema(first) != schema(samples) || success(samples, file.collector) != 1 {
			t.Errorf("%s does not come back", file.collector)
		}
		if diff := cmp.Diff(only(first, file.prefix), only(samples, file.prefix)); diff != "" {
			t.Errorf("%s comes back otherwise (-want +got):\n%s", file.collector, diff)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%s: %d lines in the log for one failure and one recovery:\n%s", file.name, n, &log)
		}
	}
}

func TestCaps(t *testing.T) {
	dir := tree(t, "two")
	var stat, netdev, disks, mounts strings.Builder
	stat.WriteString("cpu 1 1 1 1 1 1 1 1\n")
	netdev.WriteString("head\nhead\n")
	for i := range 300 {
		fmt.Fprintf(&stat, "cpu%d 1 1 1 1 1 1 1 1\n", i)
		fmt.Fprintf(&netdev, "veth%d: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n", i)
		fmt.Fprintf(&disks, "253 %d dm-%d 1 2 3 4 5 6 7 8 9 10 11\n", i, i)
		fmt.Fprintf(&mounts, "%d 1 8:%d / /data%d rw - ext4 /dev/dm-%d rw\n", i, i, i, i)
	}
	write(t, dir, "stat", stat.String()+"btime 1\n")
	write(t, dir, "net/dev", netdev.String())
	write(t, dir, "diskstats", disks.String())
	write(t, dir, "1/mountinfo", mounts.String())

	wide := newReader(Options{Proc: dir, MaxSeries: 1 << 20}, sound)
	samples := read(wide)
	for _, c := range []struct {
		collector, prefix string
		kept, all         int
	}{
		{"cpu", "node_cpu", 1020, 300 * fewModes},
		{"filesystem", "node_filesystem", 64 * 7, 300 * 7},
		{"disk", "node_disk", 64 * 11, 300 * 11},
		{"network", "node_network", 64 * 10, 300 * 10},
	} {
		if kept, left := len(only(samples, c.prefix)), int(dropped(samples, c.collector)); kept != c.kept || kept+left != c.all {
			t.Errorf("%s keeps %d and drops %d of %d series, want %d kept", c.collector, kept, left, c.all, c.kept)
		}
	}

	samples = read(newReader(Options{Proc: dir}, sound))
	rest := len(only(samples, "node_")) - len(only(samples, "node_cpu"))
	if rest > maxSeries || rest < maxSeries-11 {
		t.Errorf("%d series, want nearly %d", rest, maxSeries)
	}
	if n := len(only(samples, "node_disk")); n%len(diskNames) != 0 {
		t.Errorf("%d series of disks: one was cut in two", n)
	}
	if n := len(only(samples, "node_network")) + int(dropped(samples, "network")); n != 3000 {
		t.Errorf("%d of 3000 series of interfaces kept or counted", n)
	}
}

func TestManyCores(t *testing.T) {
	got := only(read(fixture("many", sound)), "node_cpu")
	if len(got) != 64*fewModes {
		t.Fatalf("%d series for 64 cores", len(got))
	}
	want := []metric.Sample{
		{Series: metric.New("node_cpu_seconds_total", "cpu", "63", "mode", "user"), Value: 63},
		{Series: metric.New("node_cpu_seconds_total", "cpu", "63", "mode", "system"), Value: 6.3},
		{Series: metric.New("node_cpu_seconds_total", "cpu", "63", "mode", "idle"), Value: 900},
		{Series: metric.New("node_cpu_seconds_total", "cpu", "63", "mode", "iowait"), Value: 0.05},
		{Series: metric.New("node_cpu_seconds_total", "cpu", "63", "mode", "steal"), Value: 0},
	}
	if diff := cmp.Diff(want, got[len(got)-fewModes:]); diff != "" {
		t.Errorf("last core (-want +got):\n%s", diff)
	}
}

// TestCountersNeverFall lets idle and iowait of the kernel step back a little, and then a core be plugged in anew.
func TestCountersNeverFall(t *testing.T) {
	dir := t.TempDir()
	r := newReader(Options{Proc: dir}, sound)
	for _, step := range []struct {
		stat                     string
		user, idle, iowait, nice float64
	}{
		{"cpu0 1000 5 10 9000 300 0 0 0", 10, 90, 3, 0.05},
		{"cpu0 1010 5 10 8990 299 0 0 0", 10.1, 90, 3, 0.05}, // a little back
		{"cpu0 1020 6 10 9100 310 0 0 0", 10.2, 91, 3.1, 0.06},
		{"cpu0 7 0 1 50 2 0 0 0", 0.07, 0.5, 0.02, 0}, // a new core
	} {
		write(t, dir, "stat", "cpu 0 0 0 0 0 0 0 0\n"+step.stat+"\nbtime 1\n")
		got := values(read(r))
		for mode, want := range map[string]float64{"user": step.user, "idle": step.idle, "iowait": step.iowait, "nice": step.nice} {
			if v := got[`node_cpu_seconds_total{cpu="0",mode="`+mode+`"}`]; v != want {
				t.Errorf("after %q: %s = %v, want %v", step.stat, mode, v, want)
			}
		}
	}
}

// TestDevicesComeAndGo has a new interface at every reading, as on a host of containers: what is remembered stays bounded.
func TestDevicesComeAndGo(t *testing.T) {
	dir := tree(t, "two")
	n := newNetwork()
	r := newReader(Options{Proc: dir}, sound)
	r.items = []*item{newItem("network", len(networkNames), n.collect)}
	for i := range 1000 {
		write(t, dir, "net/dev", fmt.Sprintf("head\nhead\nveth%d: %d 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n", i, i))
		got := values(read(r))
		if v := got[fmt.Sprintf(`node_network_receive_bytes_total{device="veth%d"}`, i)]; v != float64(i) {
			t.Fatalf("veth%d received %v", i, v)
		}
	}
	if len(n.rows) > 4*maxDevices {
		t.Errorf("%d devices remembered", len(n.rows))
	}
}

// TestNothingLeft has an item that works and has nothing any more, as when the last mount goes: its series go too.
func TestNothingLeft(t *testing.T) {
	there := true
	r := newReader(Options{}, sound)
	r.items = []*item{newItem("some", 1, func(_ context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
		if there {
			return append(dst, metric.Sample{Series: metric.New("some"), Value: 1}), 0, nil
		}
		return nil, 0, nil
	})}
	for _, there = range []bool{true, false, false, true} {
		samples := read(r)
		if got := len(only(samples, "some")) == 1; got != there || success(samples, "some") != 1 {
			t.Errorf("there %v, told %v, success %v", there, got, success(samples, "some"))
		}
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := fixture("two", sound)
	full := read(r)
	samples := r.Read(ctx, now)
	if schema(full) != schema(samples) || !allNaN(only(samples, "node_memory")) {
		t.Error("a reading that was called off is not NaN under the same schema")
	}
	if got := values(read(r))["node_load1"]; math.IsNaN(got) {
		t.Error("the reader does not recover from a reading that was called off")
	}
}

func TestAllocations(t *testing.T) {
	r := fixture("two", sound)
	read(r)
	if got := testing.AllocsPerRun(20, func() { read(r) }); got > 450 {
		t.Errorf("%v allocations a reading", got)
	}
}
