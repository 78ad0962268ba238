// Package parity_test compares the agent's reading of a host with that of Debian's node_exporter on the same host.
package parity_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"xunjian/pkg/host"
	"xunjian/pkg/metric"
)

const exporter = "prometheus-node-exporter"

// collectors are the exporter's that we cover; its others are not started.
var collectors = []string{"cpu", "meminfo", "filesystem", "diskstats", "netdev", "loadavg", "filefd", "stat", "time", "uname"}

// upstream undoes Debian's own choices: it leaves out lo, /run, /mnt and /media, which node_exporter itself reads, and it
// predates the exclusion of zram and erofs.
var upstream = []string{
	`--collector.netdev.device-exclude=`,
	`--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`,
	`--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`,
	`--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$`,
}

// theirsOnly are the names that node_exporter has in these collectors and we have not, as expressions with the reason.
var theirsOnly = map[string]string{
	`node_cpu_guest_seconds_total`:                                      "time of guests is a part of user and nice, which we have",
	`node_(intr|context_switches|forks)_total|node_procs_\w+`:           "gopsutil tells them only after counting all processes",
	`node_time_(zone|clocksource)_\w+`:                                  "constants of the machine's setup",
	`node_disk_(discard\w*|flush\w*)_total`:                             "gopsutil stops at the columns of Linux 2.6",
	`node_disk_(info|filesystem_info|device_mapper_info|ata_\w+)`:       "from udev, not from the kernel's counters",
	`node_network_\w+_(compressed|multicast|frame|colls|carrier)_total`: "gopsutil drops these columns",
	`node_network_receive_nohandler_total`:                              "not in net/dev, from which gopsutil reads",
	`node_memory_(Active|Inactive)_(anon|file)_bytes`:                   "gopsutil would read meminfo a second time for them",
	`node_memory_(AnonPages|Balloon|Bounce|CmaFree|CmaTotal|DirectMap\w+|EarlyMemtestBad|FileHugePages|FilePmdMapped|GPUActive|GPUReclaim|HardwareCorrupted|Hugetlb|KReclaimable|KernelStack|Mlocked|NFS_Unstable|Percpu|SecPageTables|ShmemHugePages|ShmemPmdMapped|Unaccepted|Unevictable|Zswap|Zswapped)_bytes`: "gopsutil does not read these lines",
	`node_scrape_collector_\w+|node_exporter_build_info`: "of the exporter itself; ours are xunjian_agent_collector_…",
	`(go|process|promhttp)_\w+`:                          "of the exporter itself",
}

// oursOnly are names of the fields that an old or a small kernel does not have, where gopsutil says 0.
var oursOnly = regexp.MustCompile(`^(node_memory_(AnonHugePages_bytes|HugePages_\w+|Hugepagesize_bytes|Vmalloc\w+_bytes|WritebackTmp_bytes)|xunjian_agent_\w+)$`)

// drift is how far a gauge may lie from the span of two scrapes around our reading, as a share of its value and as a
// number: this machine does other work meanwhile. Gauges that are not named are constants and must be equal.
var drift = []struct {
	names       *regexp.Regexp
	share, much float64
}{
	{regexp.MustCompile(`^node_memory_(MemFree|MemAvailable|Buffers|Cached|Active|Inactive|Mapped|Shmem|Committed_AS|AnonHugePages|PageTables|Slab|SReclaimable|SUnreclaim)_bytes$`), 0.10, 64 << 20},
	{regexp.MustCompile(`^node_memory_(Dirty|Writeback|SwapCached|SwapFree|VmallocUsed)_bytes$`), 0.10, 256 << 20}, // come and go with one burst of writing
	{regexp.MustCompile(`^node_filesystem_(free|avail)_bytes$`), 0.02, 256 << 20},
	{regexp.MustCompile(`^node_filesystem_files_free$`), 0.02, 10_000},
	{regexp.MustCompile(`^node_load(1|5|15)$`), 0, 0.5},
	{regexp.MustCompile(`^node_filefd_allocated$`), 0.10, 512},
	{regexp.MustCompile(`^node_disk_io_now$`), 0, 256},
	{regexp.MustCompile(`^node_time_seconds$`), 0, 0.01},
}

func TestParity(t *testing.T) {
	url := startExporter(t)
	reader := host.New(host.Options{})
	reader.Read(t.Context(), time.Now()) // the first reading fills what is kept
	before := scrape(t, url)
	ours := numbers(reader.Read(t.Context(), time.Now()))
	after := scrape(t, url)

	compareNames(t, ours, before)
	compared := 0
	for series, v := range ours {
		if oursOnly.MatchString(name(series)) {
			continue
		}
		low, known := before[series]
		high, still := after[series]
		switch {
		case !known && !still:
			t.Errorf("%s: node_exporter does not have it", series)
		case !known || !still: // a mount or an interface that came or went just now
		default:
			compared++
			if err := compare(name(series), v, low, high); err != nil {
				t.Errorf("%s: %v", series, err)
			}
		}
	}
	for series, v := range after {
		_, known := before[series]
		if _, has := ours[series]; known && !has && !excused(series, after) {
			t.Errorf("%s = %v: we do not have it", series, v)
		}
	}
	if compared < 60 {
		t.Errorf("only %d series compared", compared)
	}
	t.Logf("%d series compared", compared)
}

// compareNames wants each of our names there, and each of theirs here or among the excused.
func compareNames(t *testing.T, ours, theirs map[string]float64) {
	t.Helper()
	for _, n := range names(ours) {
		if !slices.Contains(names(theirs), n) && !oursOnly.MatchString(n) {
			t.Errorf("name %s: node_exporter does not have it", n)
		}
	}
	for _, n := range names(theirs) {
		if !slices.Contains(names(ours), n) && !theirsAlone(n) {
			t.Errorf("name %s: we do not have it, and theirsOnly does not excuse it", n)
		}
	}
}

func theirsAlone(n string) bool {
	for expr := range theirsOnly {
		if regexp.MustCompile(`^(` + expr + `)$`).MatchString(n) {
			return true
		}
	}
	return false
}

// excused says why a series of theirs may be missing here: its name is excused, or its disk never had a request, which is
// where gopsutil leaves a disk out.
func excused(series string, theirs map[string]float64) bool {
	n := name(series)
	if theirsAlone(n) {
		return true
	}
	labels := strings.TrimPrefix(series, n)
	return strings.HasPrefix(n, "node_disk_") && theirs["node_disk_reads_completed_total"+labels]+theirs["node_disk_writes_completed_total"+labels] == 0
}

// compare holds our value against those of the scrapes before and after it.
func compare(n string, v, before, after float64) error {
	low, high := min(before, after), max(before, after)
	slack := 1e-12 * math.Abs(high) // a multiplication by 1/1000 there is a division by 1000 here
	d, _ := metric.Describe(n)
	switch d.Type {
	case metric.Counter:
		slack += 0.011 // of the kernel's clock ticks, which come between the files that two programs read
	default:
		for _, g := range drift {
			if g.names.MatchString(n) {
				slack += max(g.share*high, g.much)
				break
			}
		}
	}
	if v < low-slack || v > high+slack {
		return fmt.Errorf("%v is not within %v … %v (± %v)", v, low, high, slack)
	}
	return nil
}

// TestCompareCanFail shows that the comparison sees a wrong unit, a wrong sum and a counter out of its span.
func TestCompareCanFail(t *testing.T) {
	for _, c := range []struct {
		name             string
		v, before, after float64
		ok               bool
	}{
		{"node_cpu_seconds_total", 100.5, 100, 101, true},
		{"node_cpu_seconds_total", 10050, 100, 101, false},
		{"node_disk_read_bytes_total", 512, 1024, 1024, false},
		{"node_memory_MemTotal_bytes", 16e9, 16e9, 16e9, true},
		{"node_memory_MemTotal_bytes", 16e9 + 1024, 16e9, 16e9, false},
		{"node_memory_Cached_bytes", 8e9, 7e9, 7e9, false},
		{"node_filesystem_readonly", 1, 0, 0, false},
		{"node_boot_time_seconds", 1_790_000_001, 1_790_000_000, 1_790_000_000, false},
	} {
		if err := compare(c.name, c.v, c.before, c.after); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestHelpAndType compares what the catalogue says of the shared names.
func TestHelpAndType(t *testing.T) {
	shared := map[string]bool{}
	for _, s := range fetch(t, startExporter(t)) {
		n := s.Series.Name
		d, ok := metric.Describe(n)
		if !ok || shared[n] {
			continue
		}
		shared[n] = true
		if string(d.Type) != s.kind || d.Help != s.help {
			t.Errorf("%s is a %s: %q; node_exporter says %s: %q", n, d.Type, d.Help, s.kind, s.help)
		}
	}
	if len(shared) < 40 {
		t.Errorf("only %d names shared", len(shared))
	}
}

// startExporter runs node_exporter with our collectors on a free loopback port and gives its address.
func startExporter(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath(exporter)
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("not compared: no " + exporter + " here")
		}
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	args := append([]string{"--web.listen-address=" + address, "--collector.disable-defaults"}, upstream...)
	for _, c := range collectors {
		args = append(args, "--collector."+c)
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-done })
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-done:
			t.Fatalf("%s ended:\n%s", exporter, &log)
		default:
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "http://" + address + "/metrics"
		}
	}
	t.Fatalf("%s does not listen", exporter)
	return ""
}

// sample is a number of the exporter's with what it says of the name.
type sample struct {
	metric.Sample
	kind, help string
}

// fetch scrapes the exporter; families of several numbers are none of ours.
func fetch(t *testing.T, url string) (out []sample) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v", resp.Status, err)
	}
	for n, family := range families {
		for _, m := range family.GetMetric() {
			if m.GetSummary() != nil || m.GetHistogram() != nil {
				continue
			}
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName(), l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			out = append(out, sample{metric.Sample{Series: metric.New(n, pairs...), Value: value}, strings.ToLower(family.GetType().String()), family.GetHelp()})
		}
	}
	return out
}

// scrape is what the exporter says now, by series.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, s := range fetch(t, url) {
		out[s.Series.String()] = s.Value
	}
	return out
}

func numbers(samples []metric.Sample) map[string]float64 {
	out := map[string]float64{}
	for _, s := range samples {
		if !math.IsNaN(s.Value) {
			out[s.Series.String()] = s.Value
		}
	}
	return out
}

func name(series string) string {
	n, _, _ := strings.Cut(series, "{")
	return n
}

func names(values map[string]float64) []string {
	var out []string
	for series := range values {
		out = append(out, name(series))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
