package rules_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
	"xunjian/pkg/query"
	"xunjian/pkg/rule"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
)

// TestPromtool runs the rules' own unit tests, and the linter, with the real tool.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
			t.Skip("XUNJIAN_WITHOUT_PEERS is set and promtool is not installed")
		}
		t.Fatalf("%v: install it, or set XUNJIAN_WITHOUT_PEERS to go without", err)
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "host.yml"},
		{"test", "rules", "host_test.yml"},
		{"check", "rules", "--lint=all", "--lint-fatal", "gateway.yml"},
		{"test", "rules", "gateway_test.yml"},
		{"check", "rules", "--lint=all", "--lint-fatal", "collector.yml"},
		{"test", "rules", "collector_test.yml"},
	} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestManagerTakesTheFolder(t *testing.T) {
	if err := rule.Check([]string{"."}); err != nil {
		t.Error(err)
	}
}

// TestCollectorRulesAreTried: each rule on the collector's own health is seen firing, and not firing before, in both languages.
func TestCollectorRulesAreTried(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rules, tried := read("collector.yml"), read("collector_test.yml")
	alerts := regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(rules, -1)
	if n := strings.Count(rules, "summary_en: "); len(alerts) < 20 || n != len(alerts) || strings.Count(rules, "      summary: ") != n {
		t.Errorf("%d alerts, %d English texts", len(alerts), n)
	}
	for _, a := range alerts {
		if !strings.Contains(tried, "alertname: "+a[1]+"\n    exp_alerts:\n    - exp_labels") {
			t.Errorf("%s is nowhere seen firing", a[1])
		}
		if !strings.Contains(tried, "alertname: "+a[1]+", exp_alerts: []") {
			t.Errorf("%s is nowhere seen quiet", a[1])
		}
	}
}

// TestTexts: every alert speaks both languages and has a level, a wait and a hold.
func TestTexts(t *testing.T) {
	s := string(mustRead(t))
	alerts := strings.Count(s, "- alert:")
	for _, key := range []string{"      summary: ", "      summary_en: ", "    labels: {level: ", "    for: ", "    keep_firing_for: "} {
		if n := strings.Count(s, key); n != alerts {
			t.Errorf("%d alerts have %d times %q", alerts, n, strings.TrimSpace(key))
		}
	}
}

// TestNames: the rules look at nothing that agents do not send.
func TestNames(t *testing.T) {
	names := regexp.MustCompile(`\b(?:node|probe|xunjian)_\w+`).FindAllString(string(mustRead(t)), -1)
	if len(names) < 20 {
		t.Fatalf("only %d names found", len(names))
	}
	for _, n := range names {
		if _, ok := metric.Describe(n); !ok {
			t.Errorf("%s is not in the catalogue", n)
		}
	}
}

func mustRead(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("host.yml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fleet is what an agent of each host says for as long as the test runs.
func fleet(begin time.Time, i int) map[string][]metric.Sample {
	elapsed := float64(i) * 15
	host := func(used, memory, idle float64, readonly float64) []metric.Sample {
		mount := []string{"device", "/dev/sda1", "fstype", "xfs", "mountpoint", "/data"}
		one := func(name string, v float64, pairs ...string) metric.Sample {
			return metric.Sample{Series: metric.New(name, pairs...), Value: v}
		}
		return []metric.Sample{
			one("node_filesystem_size_bytes", 1000, mount...), one("node_filesystem_free_bytes", 1000-used, mount...),
			one("node_filesystem_avail_bytes", 1000-used, mount...), one("node_filesystem_readonly", readonly, mount...),
			one("node_filesystem_files", 1000, mount...), one("node_filesystem_files_free", 500, mount...),
			one("node_memory_MemTotal_bytes", 100), one("node_memory_MemAvailable_bytes", 100-memory),
			one("node_cpu_seconds_total", idle*elapsed, "cpu", "0", "mode", "idle"),
			one("node_cpu_seconds_total", (1-idle)*elapsed, "cpu", "0", "mode", "user"),
			one("node_filefd_allocated", 1), one("node_filefd_maximum", 1000),
		}
	}
	return map[string][]metric.Sample{
		"well": host(500, 50, 0.9, 0),
		"full": host(960, 50, 0.9, 0),
		"sick": host(100, 97, 0.01, 1),
		"check": {{
			Series: metric.New("probe_ssl_earliest_cert_expiry", "check", "doc", "service", "cloud-doc", "instance", "https://doc.example/"),
			Value:  float64(begin.Add(100 * time.Hour).Unix()),
		}, {
			Series: metric.New("xunjian_probe_slow", "check", "doc", "service", "cloud-doc", "instance", "https://doc.example/"), Value: 1,
		}},
	}
}

// TestOverTheStore lets the built-in rules watch the real store through the real engine for half an hour.
func TestOverTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := tsdb.Open(t.TempDir(), tsdb.Options{Linger: -1})
		if err != nil {
			t.Fatal(err)
		}
		engine := query.New(query.Options{Store: db})
		var mu sync.Mutex
		heard := map[string]symptom.Symptom{}
		rules, err := rule.New(rule.Options{Queryable: engine.Queryable(), Query: engine.QueryFunc(), Sink: func(_ context.Context, found []symptom.Symptom) error {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range found {
				heard[s.Key()] = s
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, run := range []func(context.Context) error{db.Run, rules.Run} {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		begin := time.Now()
		for i := range 4 * 30 {
			readings := fleet(begin, i)
			for _, agent := range slices.Sorted(maps.Keys(readings)) {
				report(t, db, agent, i, readings[agent])
			}
			time.Sleep(15 * time.Second)
		}
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		got := map[string]string{}
		for key, s := range heard {
			got[key] = fmt.Sprintf("%s %v %s", s.Level, s.Firing, s.Detail)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("symptoms (-want +got):\n%s", d)
		}
	})
}

var want = map[string]string{
	"host/host/full /data/HostDiskFull":     word(contract.General, "主机 full 的磁盘 /data 已用 96.0%，达到一般故障线 95%"),
	"host/host/sick /data/HostDiskReadOnly": word(contract.Urgent, "主机 sick 的磁盘 /data 变为只读，可能已发生存储故障"),
	"host/host/sick/HostMemoryFull":         word(contract.General, "主机 sick 的内存已用 97.0%，持续 10 分钟达到一般故障线 95%"),
	"host/host/sick/HostProcessorBusy":      word(contract.General, "主机 sick 的处理器使用率 99.0%，持续 10 分钟达到一般故障线 95%，同时有服务运行缓慢"),
	"warning/cloud-doc/https://doc.example//CertificateExpiring": word(contract.General,
		"https://doc.example/ 的证书将在 4.2 天后到期（提醒线 7 天）"),
}

func word(l contract.Level, detail string) string { return fmt.Sprintf("%s true %s", l, detail) }

func report(t *testing.T, db *tsdb.DB, agent string, i int, samples []metric.Sample) {
	t.Helper()
	r := metric.Report{Agent: agent, Boot: 1, Seq: uint64(i + 1), Kind: metric.KindHost, Every: 15 * time.Second, At: time.Now(), Samples: samples}
	s := tsdb.Stream{Agent: agent, Kind: r.Kind, Every: r.Every, Labels: []metric.Label{{Name: "agent", Value: agent}}}
	if agent != "check" {
		s.Labels = append(s.Labels, metric.Label{Name: "instance", Value: agent})
	}
	done := make(chan error, 1)
	err := db.Append(context.Background(), s, r, func(o tsdb.Outcome, err error) {
		if err == nil && o != tsdb.Stored {
			err = fmt.Errorf("report is %v", o)
		}
		done <- err
	})
	if err == nil {
		err = <-done
	}
	if err != nil {
		t.Fatal(err)
	}
}
