package report

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
)

var shanghai = time.FixedZone("Asia/Shanghai", 8*3600)

// at reads a moment in Shanghai.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	out, err := time.ParseInLocation(time.DateTime, s, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// feed hands out samples from memory, in chunks, as a store does.
type feed struct {
	series []samples
	chunk  int
}

type samples struct {
	metric.Series
	t []int64
	v []float64
}

func (f *feed) add(s metric.Series, t []int64, v []float64) {
	f.series = append(f.series, samples{s, t, v})
}

func (f *feed) Select(ctx context.Context, from, to time.Time, name string, labels map[string]string, fn func(metric.Series, []int64, []float64) error) error {
	step := f.chunk
	if step == 0 {
		step = 997
	}
	for _, s := range f.series {
		if s.Name != name || !carries(s.Series, labels) {
			continue
		}
		a, _ := slices.BinarySearch(s.t, from.UnixMilli())
		b, _ := slices.BinarySearch(s.t, to.UnixMilli())
		for ; a < b; a += step {
			end := min(a+step, b)
			if err := fn(s.Series, s.t[a:end:end], s.v[a:end:end]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func carries(s metric.Series, labels map[string]string) bool {
	for k, v := range labels {
		if s.Get(k) != v {
			return false
		}
	}
	return true
}

// sampled writes a series on a grid: value says what is there at t, false that nothing is.
func (f *feed) sampled(s metric.Series, from, to time.Time, every time.Duration, value func(t time.Time) (float64, bool)) {
	var ts []int64
	var vs []float64
	for t := from; t.Before(to); t = t.Add(every) {
		if v, ok := value(t); ok {
			ts, vs = append(ts, t.UnixMilli()), append(vs, v)
		}
	}
	f.add(s, ts, vs)
}

// cut is a stretch in which a check fails, or is not watched.
type trouble struct{ from, to time.Time }

func in(list []trouble, t time.Time) bool {
	return slices.ContainsFunc(list, func(x trouble) bool { return !t.Before(x.from) && t.Before(x.to) })
}

// noise is between 0 and 1 and always the same for the same moment.
func noise(t time.Time, salt int64) float64 {
	x := uint64(t.Unix()*2654435761 + salt*40503)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x%10000) / 10000
}

// sampleMonth is a copy of the sample's parts, whose samples are made once and only read.
func sampleMonth(t testing.TB) (Config, Sources, Month, time.Time) {
	t.Helper()
	sampleOnce.Do(func() { sampled.cfg, sampled.src, sampled.month, sampled.asOf = makeSample(t) })
	s := sampled
	s.src.Samples = &feed{series: slices.Clone(s.src.Samples.(*feed).series)}
	s.src.Checks, s.src.Faults = slices.Clone(s.src.Checks), slices.Clone(s.src.Faults)
	return s.cfg, s.src, s.month, s.asOf
}

var (
	sampleOnce sync.Once
	sampled    struct {
		cfg   Config
		src   Sources
		month Month
		asOf  time.Time
	}
)

// makeSample is a realistic November 2026 (and the October before it): four services, three hosts, and incidents of
// every kind with texts that try to break things.
func makeSample(t testing.TB) (Config, Sources, Month, time.Time) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Project, cfg.ContractNo = "省级一体化协同办公平台运维服务", "SLT-2026-0117"
	cfg.ServicePeriod, cfg.Customer, cfg.Vendor = "2026年1月1日至2026年12月31日", "省水利厅", "福州某某信息技术有限公司"
	cal, err := contract.LoadCalendar(shanghai)
	if err != nil {
		t.Fatal(err)
	}
	month, err := ParseMonth("2026-11", at(t, "2026-12-01 08:30:00"), shanghai)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{}
	src := Sources{Samples: f, Calendar: cal, Services: []check.Service{
		{Name: "cloud-doc", ZH: "云文档服务", EN: "Cloud documents", Key: true},
		{Name: "signature", ZH: "签章服务", EN: "Signature", Key: true},
		{Name: "sms", ZH: "短信服务", EN: "SMS", Key: true},
		{Name: "gateway", ZH: "网关服务", EN: "Gateway", Key: true},
	}}
	sampleChecks(t, f, &src, month)
	sampleSteps(t, f, &src, month)
	sampleHosts(t, f, &src, month)
	src.Faults = sampleFaults(t)
	return cfg, src, month, at(t, "2026-12-01 08:30:00")
}

func sampleChecks(t testing.TB, f *feed, src *Sources, m Month) {
	down := map[string][]trouble{
		"signature": {{at(t, "2026-11-03 09:10:00"), at(t, "2026-11-03 12:25:00")}},
		"cloud-doc": {{at(t, "2026-11-12 02:00:00"), at(t, "2026-11-12 02:07:00")}, {at(t, "2026-11-20 15:00:00"), at(t, "2026-11-20 15:01:00")}},
		"gateway":   {{at(t, "2026-11-30 22:40:00"), at(t, "2026-12-01 09:00:00")}},
	}
	blind := map[string][]trouble{"sms": {{at(t, "2026-11-14 00:00:00"), at(t, "2026-11-14 18:30:00")}}}
	for i, s := range src.Services {
		src.Checks = append(src.Checks, measure.Check{Spec: check.Spec{Name: s.Name + "-http", Service: s.Name, Every: time.Minute, Agents: []string{"app-01", "app-02"}}})
		for _, agent := range []string{"app-01", "app-02"} {
			name := []string{measure.LabelCheck, s.Name + "-http", measure.LabelAgent, agent, "service", s.Name}
			f.sampled(metric.New("probe_success", name...), m.Previous().From(), m.To(), time.Minute, func(x time.Time) (float64, bool) {
				if in(blind[s.Name], x) {
					return 0, false
				}
				if in(down[s.Name], x) {
					return 0, true
				}
				return 1, true
			})
			f.sampled(metric.New("probe_ssl_earliest_cert_expiry", append(name, "instance", "https://"+s.Name+".example.org/")...), m.From(), m.To(), time.Hour, func(x time.Time) (float64, bool) {
				return float64(at(t, "2026-12-20 08:00:00").AddDate(0, i*7, 0).Unix()), x.Before(at(t, "2026-11-14 00:00:00")) || i != 2
			})
			f.sampled(metric.New("probe_duration_seconds", name...), m.Previous().From(), m.To(), time.Minute, func(x time.Time) (float64, bool) {
				return 0.03*float64(i+1) + 0.05*noise(x, int64(i)) + 1.4*math.Pow(noise(x, int64(i+9)), 40), !in(blind[s.Name], x)
			})
		}
	}
}

// sampleSteps is a transaction every half hour whose second step fails now and then, and once all of a night.
func sampleSteps(t testing.TB, f *feed, src *Sources, m Month) {
	flow := &check.Flow{Steps: []check.FlowStep{
		{Name: "login", ZH: "登录签章平台", EN: "Sign in"},
		{Name: "sign", ZH: "对随机摘要签名", EN: "Sign a random digest"},
		{Name: "verify", ZH: "本地验证签名", EN: "Verify here"},
	}}
	src.Checks = append(src.Checks, measure.Check{Spec: check.Spec{Name: "signature-flow", Service: "signature", Every: 30 * time.Minute, Flow: flow}})
	bad := []trouble{{at(t, "2026-11-03 09:10:00"), at(t, "2026-11-03 12:25:00")}}
	name := []string{measure.LabelCheck, "signature-flow", measure.LabelAgent, "app-01", "service", "signature"}
	always := func(v float64) func(time.Time) (float64, bool) {
		return func(time.Time) (float64, bool) { return v, true }
	}
	f.sampled(metric.New("probe_success", name...), m.From(), m.To(), 30*time.Minute, func(x time.Time) (float64, bool) {
		if in(bad, x) {
			return 0, true
		}
		return 1, true
	})
	for i, s := range flow.Steps {
		labels := append(slices.Clone(name), "step", s.Name)
		f.sampled(metric.New("xunjian_probe_step_success", labels...), m.From(), m.To(), 30*time.Minute, func(x time.Time) (float64, bool) {
			if in(bad, x) && i > 0 {
				return 0, i == 1 // what comes after a failed critical step is not made
			}
			return 1, true
		})
		f.sampled(metric.New("xunjian_probe_step_duration_seconds", labels...), m.From(), m.To(), 30*time.Minute, func(x time.Time) (float64, bool) {
			return 0.1*float64(i+1) + 0.05*noise(x, int64(i)), true
		})
		f.sampled(metric.New("xunjian_probe_step_slow", labels...), m.From(), m.To(), 30*time.Minute, always(0))
	}
}

func sampleHosts(t testing.TB, f *feed, src *Sources, m Month) {
	roles := []string{"应用服务器（公文、审批）", "应用服务器（签章、短信网关对接）", "数据库服务器"}
	for i, role := range roles {
		name := []string{"app-01", "app-02", "db-01"}[i]
		src.Hosts = append(src.Hosts, Host{Name: name, IP: fmt.Sprintf("10.20.30.%d", 11+i), Role: role, Every: time.Minute})
		off := []trouble{{at(t, "2026-11-14 00:00:00").AddDate(0, 0, i*3), at(t, "2026-11-14 05:00:00").AddDate(0, 0, i*3)}}
		for cpu := range 2 {
			idle := 0.0
			f.sampled(metric.New(seriesCPU, measure.LabelAgent, name, "cpu", fmt.Sprint(cpu), "mode", "idle"), m.From(), m.To(), time.Minute, func(x time.Time) (float64, bool) {
				busy := 0.1 + 0.2*noise(x, int64(i*2+cpu))
				if h := x.Hour(); h >= 8 && h < 18 {
					busy += 0.3 * noise(x, 77)
				}
				idle += 60 * (1 - busy)
				return idle, !in(off, x)
			})
		}
		f.sampled(metric.New(seriesMemory, measure.LabelAgent, name), m.From(), m.To(), time.Minute, func(x time.Time) (float64, bool) { return 16 << 30, !in(off, x) })
		f.sampled(metric.New(seriesAvailable, measure.LabelAgent, name), m.From(), m.To(), time.Minute, func(x time.Time) (float64, bool) {
			return float64(16<<30) * (0.55 - 0.1*noise(x, 5) - 0.12*float64(i)), !in(off, x)
		})
		for j, path := range []string{"/", "/data", "/var/lib/docker-registry-cache"}[:2+i%2] {
			sampleDisk(f, name, path, 40*float64(1+j)*1e9, 0.35+0.2*float64(j), []float64{0.0005, 0.009, 0}[(i+j)%3], m)
		}
	}
}

func sampleDisk(f *feed, host, path string, size, used, slope float64, m Month) {
	labels := []string{measure.LabelAgent, host, "mountpoint", path, "fstype", "xfs", "device", "/dev/vda1"}
	f.sampled(metric.New(seriesSize, labels...), m.From(), m.To(), time.Hour, func(time.Time) (float64, bool) { return size, true })
	free := func(x time.Time) (float64, bool) {
		return math.Round(size * (1 - used - slope*x.Sub(m.From()).Hours()/24)), true
	}
	f.sampled(metric.New(seriesFree, labels...), m.From(), m.To(), time.Hour, free)
	f.sampled(metric.New(seriesAvail, labels...), m.From(), m.To(), time.Hour, free)
}

// fault makes a record as the desk would.
type fault struct {
	id, service, zh        string
	level                  contract.Level
	class                  symptom.Class
	source                 symptom.Source
	start, found, reported string
	ack, recovered, closed string
	pause                  [2]string
	by, detail, cause, did string
	repeats                string
}

func (f fault) record(t testing.TB) incident.Record {
	t.Helper()
	when := func(s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		return at(t, s)
	}
	r := incident.Record{
		ID: f.id, Service: f.service, ServiceZH: f.zh, Class: f.class, Source: f.source, Level: f.level, Detail: f.detail,
		FaultStart: when(f.start), DetectedAt: when(f.found), ReportedAt: when(f.reported), AckAt: when(f.ack), AckBy: f.by,
		RecoveredAt: when(f.recovered), ClosedAt: when(f.closed), Handled: incident.Handled{Cause: f.cause, Handling: f.did}, RecurrenceOf: f.repeats, Terms: contract.DefaultTerms(),
	}
	r.History = contract.History{FaultStart: r.FaultStart, Detected: r.DetectedAt, Reported: r.ReportedAt, Level: f.level}
	step := func(k contract.StepKind, s string) {
		if s != "" {
			r.History.Steps = append(r.History.Steps, contract.Step{Kind: k, At: at(t, s)})
		}
	}
	step(contract.Acknowledged, f.ack)
	step(contract.Paused, f.pause[0])
	step(contract.Resumed, f.pause[1])
	step(contract.Recovered, f.recovered)
	r.SLAStart = r.Terms.Start(r.History)
	return r
}

const longHandling = "09:14 值班工程师镕接到告警并响应；09:20 登录 <app-01> 与 <app-02> 核查，签章服务进程存在但线程池耗尽（active=200 & queue=1024）；09:40 提交处理方案：重启签章服务并将连接池上限由 200 调至 400，风险为重启期间约 2 分钟无法签章，回退方式为恢复原配置；10:10 甲方同意；10:12 重启 app-02，10:20 重启 app-01；因数据库侧仍有长事务阻塞，协同数据库管理员于 12:05 终止阻塞会话；12:25 五次以上连续探测正常，恢复。后续：调整慢查询、增加连接池使用率监测。"

func sampleFaults(t testing.TB) []incident.Record {
	var out []incident.Record
	for _, f := range []fault{
		{
			id: "INC-20261031-0002", service: "sms", zh: "短信服务", level: contract.General, class: symptom.Partial, source: symptom.FromProbe,
			start: "2026-10-31 22:05:10", found: "2026-10-31 22:05:40", ack: "2026-10-31 22:16:02", recovered: "2026-11-01 01:30:00", closed: "2026-11-02 09:00:00",
			by: "驻点𬭎", detail: "DELIVRD 状态报告超时", cause: "运营商通道拥塞", did: "切换备用通道，拥塞解除后切回。",
		},
		{
			id: "INC-20261103-0001", service: "signature", zh: "签章服务", level: contract.Urgent, class: symptom.Down, source: symptom.FromProbe,
			start: "2026-11-03 09:10:00", found: "2026-11-03 09:10:31", reported: "2026-11-03 09:12:40", ack: "2026-11-03 09:14:05", recovered: "2026-11-03 12:25:00", closed: "2026-11-04 16:40:00",
			pause: [2]string{"2026-11-03 09:40:00", "2026-11-03 10:10:00"}, by: "驻点镕",
			detail: "timeout: no complete answer within 2s; app-01, app-02", cause: "数据库长事务导致连接池耗尽，签章请求全部排队（=1+1 不应被当作公式）", did: longHandling,
		},
		{
			id: "INC-20261112-0001", service: "cloud-doc", zh: "云文档服务", level: contract.Urgent, class: symptom.Wrong, source: symptom.FromProbe,
			start: "2026-11-12 02:00:00", found: "2026-11-12 02:00:31", ack: "2026-11-12 02:21:44", recovered: "2026-11-12 02:07:00", closed: "2026-11-12 10:00:00",
			by: "二线䶮", detail: `content: healthcheck answered "false" with status 200`, cause: "存储挂载瞬断", did: "自动恢复；值班人员 21 分后响应，超过 10 分钟要求，已按制度说明情况。",
		},
		{
			id: "INC-20261118-0001", service: "公文流转", zh: "公文流转", level: contract.Minor, class: symptom.Reported, source: symptom.FromPerson,
			start: "2026-11-18 10:00:00", reported: "2026-11-18 10:00:00", ack: "2026-11-18 10:30:00", recovered: "2026-11-18 15:00:00", closed: "2026-11-19 09:00:00",
			by: "用户喆", detail: "用户反映附件上传按钮位置不便，希望调整到正文上方 <建议>", cause: "界面布局", did: "已转为需求变更。",
		},
		{
			id: "INC-20261123-0001", service: "gateway", zh: "网关服务", level: contract.General, class: symptom.Slow, source: symptom.FromProbe,
			start: "2026-11-23 14:00:00", found: "2026-11-23 14:02:00", ack: "2026-11-23 14:20:00", recovered: "2026-11-23 23:40:00",
			by: "Duty desk", detail: "slow: p95 2.4 s over 2 s", did: "=HYPERLINK(\"http://example.test\",\"x\")", repeats: "INC-20261102-0009",
		},
		{
			id: "INC-20261130-0001", service: "gateway", zh: "网关服务", level: contract.Urgent, class: symptom.Down, source: symptom.FromProbe,
			start: "2026-11-30 22:40:00", found: "2026-11-30 22:40:31", ack: "2026-11-30 22:44:00", by: "驻点镕", detail: "connect: connection refused",
		},
	} {
		out = append(out, f.record(t))
	}
	return out
}
