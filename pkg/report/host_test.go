package report

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/metric"
)

type failing struct{ err error }

func (f failing) Select(context.Context, time.Time, time.Time, string, map[string]string, func(metric.Series, []int64, []float64) error) error {
	return f.err
}

func oneHost(t testing.TB) (*feed, Sources) {
	t.Helper()
	f, src := oneService(t)
	src.Services, src.Checks = nil, nil
	src.Hosts = []Host{{Name: "db-01", IP: "10.0.0.9", Role: "数据库", Every: 10 * time.Second}}
	return f, src
}

func dbSeries(name string, more ...string) metric.Series {
	return metric.New(name, append([]string{measure.LabelAgent, "db-01"}, more...)...)
}

// Two processors: one idle for half of the time, the other always; for one minute both are busy. Then the counters start anew.
func TestProcessor(t *testing.T) {
	f, src := oneHost(t)
	for cpu, rate := range []float64{0.5, 1} {
		idle := 1000.0
		f.sampled(dbSeries(seriesCPU, "cpu", fmt.Sprint(cpu), "mode", "idle"), at(t, "2026-11-02 00:00:00"), at(t, "2026-11-02 02:00:00"), 10*time.Second, func(x time.Time) (float64, bool) {
			switch m := x.Sub(at(t, "2026-11-02 00:00:00")); {
			case m == time.Hour:
				idle = 3 // restarted
			case m > 30*time.Minute && m <= 31*time.Minute:
			default:
				idle += rate * 10
			}
			return idle, true
		})
		f.sampled(dbSeries(seriesCPU, "cpu", fmt.Sprint(cpu), "mode", "user"), at(t, "2026-11-02 00:00:00"), at(t, "2026-11-02 02:00:00"), 10*time.Second, func(time.Time) (float64, bool) { return 0, true })
	}
	l := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 00:00:00").Hosts[0].CPU
	near(t, "peak", value(t, l.Peak), 1)
	near(t, "P95", value(t, l.P95), 0.25)
	near(t, "mean", value(t, l.Mean), (119*0.25+1)/120)
}

// A reading after a gap longer than three intervals says nothing of the time before it.
func TestProcessorGap(t *testing.T) {
	f, src := oneHost(t)
	ms := func(s string) int64 { return at(t, s).UnixMilli() }
	f.add(dbSeries(seriesCPU, "cpu", "0", "mode", "idle"), []int64{ms("2026-11-02 00:00:00"), ms("2026-11-02 00:00:10"), ms("2026-11-02 00:00:20"), ms("2026-11-02 01:00:00"), ms("2026-11-02 01:00:30")},
		[]float64{100, 105, math.NaN(), 105, 135})
	l := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 00:00:00").Hosts[0].CPU
	near(t, "peak", value(t, l.Peak), 0.5)
	near(t, "mean", value(t, l.Mean), 0.25)
}

func TestMemoryAndOnline(t *testing.T) {
	f, src := oneHost(t)
	const gib = 1 << 30
	whole := func(name string, v func(x time.Time) float64) {
		f.sampled(dbSeries(name), at(t, "2026-11-01 00:00:00"), at(t, "2026-12-01 00:00:00"), 30*time.Second, func(x time.Time) (float64, bool) {
			return v(x), x.Day() != 10
		})
	}
	src.Hosts[0].Every, src.Hosts[0].Since = 30*time.Second, at(t, "2026-01-01 00:00:00")
	whole(seriesMemory, func(time.Time) float64 { return 8 * gib })
	whole(seriesAvailable, func(x time.Time) float64 {
		if x.Equal(at(t, "2026-11-20 00:00:30")) {
			return 0 // half a minute of nothing left
		}
		return 6 * gib
	})
	h := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 00:00:00").Hosts[0]
	minutes := 29.0 * 24 * 60
	near(t, "peak", value(t, h.Memory.Peak), 1-3.0/8)
	near(t, "mean", value(t, h.Memory.Mean), (0.25*(minutes-1)+1-3.0/8)/minutes)
	month, lost := 30*24*time.Hour, 24*time.Hour-time.Minute // the last reading of the 9th holds for 90 s, 60 of them on the 10th
	near(t, "online", value(t, h.Online), float64(month-lost)/float64(month))
}

func TestMounts(t *testing.T) {
	f, src := oneHost(t)
	disk := func(path, fstype string, size float64, free, avail func(x time.Time) float64) {
		l := []string{"mountpoint", path, "fstype", fstype, "device", "d" + path}
		from, to := at(t, "2026-11-01 00:00:00"), at(t, "2026-12-01 00:00:00")
		f.sampled(dbSeries(seriesSize, l...), from, to, time.Hour, func(time.Time) (float64, bool) { return size, true })
		f.sampled(dbSeries(seriesFree, l...), from, to, time.Hour, func(x time.Time) (float64, bool) { return free(x), true })
		f.sampled(dbSeries(seriesAvail, l...), from, to, time.Hour, func(x time.Time) (float64, bool) { return avail(x), true })
	}
	hours := func(x time.Time) float64 { return x.Sub(at(t, "2026-11-01 00:00:00")).Hours() }
	rising := func(x time.Time) float64 { return 600e9 - hours(x)/24*1e9*10 } // 10 GB a day of 1000 GB
	disk("/data", "xfs", 1000e9, rising, rising)
	flat := func(time.Time) float64 { return 400e9 }
	disk("/", "ext4", 1000e9, flat, func(time.Time) float64 { return 350e9 }) // 50 GB are root's alone
	full := func(time.Time) float64 { return 40e9 }
	disk("/full", "xfs", 1000e9, full, full)
	cleared := func(x time.Time) float64 { // cleared up on the 20th, then 20 GB a day
		if d := hours(x) / 24; d >= 20 {
			return 900e9 - (d-20)*20e9
		}
		return 500e9 - hours(x)/24*10e9
	}
	disk("/logs", "xfs", 1000e9, cleared, cleared)
	disk("/run", "tmpfs", 1e9, flat, flat)
	h := build(t, DefaultConfig(), src, "2026-11", "2026-12-01 00:00:00").Hosts[0]
	if len(h.Mounts) != 4 {
		t.Fatalf("%d mounts: %+v", len(h.Mounts), h.Mounts)
	}
	root, data, fullDisk, logs := h.Mounts[0], h.Mounts[1], h.Mounts[2], h.Mounts[3]
	near(t, "/ as df says", value(t, root.Used), 600.0/950)
	if !root.Flat || root.FullDays.Known || root.Growth != measure.Known(int64(0)) {
		t.Errorf("/: %+v", root)
	}
	last := 719.0 / 24 * 10 // GB written by the last sample
	near(t, "/data used", value(t, data.Used), (400+last)/1000)
	near(t, "/data growth", float64(value(t, data.Growth)), math.Round(last*1e9))
	near(t, "/data days", value(t, data.FullDays), math.Floor((0.95-(400+last)/1000)/0.01))
	near(t, "/full days", value(t, fullDisk.FullDays), 0)
	near(t, "/logs days", value(t, logs.FullDays), math.Floor((0.95-(100+(719.0/24-20)*20)/1000)/0.02))
	if h.Verdict != Bad {
		t.Errorf("verdict %s with a disk at 96 %%", h.Verdict)
	}
}

// Less than a week says nothing of the trend.
func TestShortTrend(t *testing.T) {
	d := newDisk(30)
	put := func(day int) {
		free := 89.5 - float64(day)
		putSize(d, day, 100)
		putFree(d, day, free)
		putAvail(d, day, free)
	}
	for day := range 6 {
		put(day)
	}
	if m := d.mount("/"); m.FullDays.Known || m.Flat || !m.Used.Known || !m.Growth.Known {
		t.Errorf("six days: %+v", m)
	}
	put(6)
	if m := d.mount("/"); m.FullDays != measure.Known(78.0) { // (95 − 16.5) / 1 a day
		t.Errorf("seven days: %+v", m)
	}
}

func TestHostVerdicts(t *testing.T) {
	f := func(want Verdict, h HostLine) {
		t.Helper()
		if got := h.judge(); got != want {
			t.Errorf("%+v: %s, want %s", h, got, want)
		}
	}
	f(NoData, HostLine{})
	f(Healthy, HostLine{CPU: Load{P95: measure.Known(0.84)}})
	f(Watch, HostLine{CPU: Load{P95: measure.Known(0.85)}})
	f(Bad, HostLine{Memory: Load{Mean: measure.Known(0.95)}})
	f(Watch, HostLine{Mounts: []Mount{{Used: measure.Known(0.5), FullDays: measure.Known(30.0)}}})
	f(Bad, HostLine{Mounts: []Mount{{Used: measure.Known(0.5), FullDays: measure.Known(7.0)}, {Used: measure.Known(0.9)}}})
}
