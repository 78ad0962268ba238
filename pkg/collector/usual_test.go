package collector

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/measure"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
)

// slowCheck is a service with a check whose own threshold is far away, in a file of its own.
const slowCheck = `
services: [{name: reading, zh: 阅文}]
checks: [{name: reading, service: reading, kind: tcp, target: '192.0.2.1:5', every: 1m, timeout: 30s, slow: 20s}]
`

// withReading starts the collector anew, in a place where agent host-1 has asked the check each four minutes from half past
// eight to eleven, so many days before today up to so many, and got its answers in so long.
func (c *court) withReading(sections string, took ...days) {
	c.Helper()
	c.end()
	c.write("reading.yml", slowCheck)
	c.write("collector.yml", courtConfig+"include: [reading.yml]\n"+sections)
	c.store(took...)
	c.open()
}

// days are some of the past: from so many days ago to so many.
type days struct {
	from, to int
	took     time.Duration
}

var fortnight = days{14, 1, 400 * time.Millisecond}

// store puts answers into the series of a collector that does not run.
func (c *court) store(past ...days) {
	c.Helper()
	db, err := tsdb.Open(filepath.Join(c.dir, "data", "series"), tsdb.Options{Linger: -1, MaxAge: 1e5 * time.Hour})
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.Context())
	var running sync.WaitGroup
	running.Go(func() { err = errors.Join(err, db.Run(ctx)) })
	own := []string{"check", "reading", "service", "reading", "instance", "x"}
	stream := tsdb.Stream{Agent: "host-1", Kind: metric.KindProbe + "reading", Every: 4 * time.Minute, Labels: []metric.Label{{Name: "agent", Value: "host-1"}}}
	stored := make(chan error, 100)
	seq := uint64(0)
	for _, d := range past {
		for n := d.from; n >= d.to; n-- {
			today := time.Now().In(beijing)
			at := time.Date(today.Year(), today.Month(), today.Day()-n, 8, 30, 0, 0, beijing)
			for range 37 {
				at = at.Add(4 * time.Minute)
				seq++
				err := db.Append(ctx, stream, metric.Report{Agent: "host-1", Boot: uint64(time.Now().UnixNano()), Seq: seq, Kind: stream.Kind, Every: stream.Every, At: at, Samples: []metric.Sample{
					{Series: metric.New("probe_success", own...), Value: 1},
					{Series: metric.New("probe_duration_seconds", own...), Value: d.took.Seconds()},
				}}, func(o tsdb.Outcome, err error) {
					if o != tsdb.Stored && err == nil {
						err = fmt.Errorf("%v", o)
					}
					stored <- err
				})
				if err = errors.Join(err, <-stored); err != nil {
					c.Fatal(err)
				}
			}
		}
	}
	cancel()
	running.Wait()
	if err := errors.Join(err, db.Close()); err != nil {
		c.Fatal(err)
	}
}

// reads has answers come that the agent finds good, each minute until a time.
func (c *court) reads(until string, took time.Duration) {
	c.Helper()
	for !time.Now().After(c.at(until)) {
		now := time.Now()
		res := check.Result{Check: "reading", Service: "reading", Target: "x", At: now, Attempts: []check.Attempt{{Start: now, Duration: took, Outcome: check.OK}}}
		c.teller.tell(c.Context(), c.board.Observe(now, "host-1", res))
		time.Sleep(time.Minute)
	}
}

func (c *court) learn() {
	c.Helper()
	if _, err := c.learnUsual(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// usually is what is known of answers at nine.
func (c *court) usually() time.Duration {
	c.Helper()
	c.learn()
	for _, s := range c.board.Services(c.at("09:00")) {
		if len(s.Checks) == 1 && s.Checks[0].Check == "reading" {
			return s.Checks[0].Usual
		}
	}
	c.Fatal("nobody has read")
	return 0
}

// slowerThanUsual is the history of R15's other threshold.
var slowerThanUsual = ruling{
	func(c *court) string {
		c.withReading("", fortnight)
		c.learn()
		c.until("08:50")
		c.reads("08:59", 400*time.Millisecond)
		well := c.newest("reading").ID == ""
		c.reads("09:15", 1600*time.Millisecond)
		r := c.newest("reading")
		c.ack("09:16", r.ID)
		c.restart("09:17")
		c.reads("09:30", 1600*time.Millisecond) // nobody knows yet what is usual
		c.learn()
		c.reads("09:40", 1600*time.Millisecond)
		c.reads("09:59", 900*time.Millisecond)
		c.until("10:10")
		end := c.newest("reading")
		return fmt.Sprint(well, " ", r.Detail, r.FaultStart.In(beijing).Format(" 15:04 "), end.RecoveredAt.In(beijing).Format("15:04 "), c.kinds(r.ID))
	},
	map[string]string{"": "reading general no | true 慢于平时：连续两个五分钟窗口用时的中位数为 1.6s，是平时（此时段近 14 天中位数 400ms）的 4.0 倍，超过限值 1.2s 09:00 09:41 opened acknowledged verifying recovered"},
}

// A fresh collector, one with too few days, and one that is told so by its configuration know no such threshold.
func TestTooLittleIsUsual(t *testing.T) {
	for name, tc := range map[string]struct {
		sections string
		past     []days
		told     bool
	}{
		"a fortnight":     {"", []days{fortnight}, true},
		"fresh":           {"", nil, false},
		"six days":        {"", []days{{6, 1, 400 * time.Millisecond}}, false},
		"off":             {"inspect: {slow_usual: 0}\n", []days{fortnight}, false},
		"two days enough": {"inspect: {slow_usual_days: 2, slow_usual_least: 2}\n", []days{{2, 1, 400 * time.Millisecond}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold(t, "", func(c *court) {
				c.withReading(tc.sections, tc.past...)
				c.learn()
				c.until("09:00")
				c.reads("10:00", 1600*time.Millisecond)
				if got := c.newest("reading").ID != ""; got != tc.told {
					t.Errorf("told: %v", got)
				}
			})
		})
	}
}

// However long a service is slow, that does not become usual: neither while it lasts nor afterwards, unless people find that it
// was no fault.
func TestSlowDaysAreNotUsual(t *testing.T) {
	slow := symptom.Symptom{Service: "reading", Component: "reading", Class: symptom.Slow, Level: contract.General, Detail: "slow"}
	spell := func(t *testing.T, play func(c *court, id string)) {
		hold(t, "", func(c *court) {
			c.withReading("", fortnight)
			c.sees("08:10", "08:10", slow)
			c.end()
			c.until("+10 08:00")
			c.store(days{9, 1, 5 * time.Second}) // and the first day, of the fault's beginning, says nothing
			c.open()
			c.reads("+10 08:01", 5*time.Second)
			play(c, c.newest("reading").ID)
		})
	}
	spell(t, func(c *court, _ string) {
		if got := c.usually(); got != 400*time.Millisecond {
			t.Errorf("while it lasts, %v is usual", got)
		}
		c.ends("+10 08:10", slow)
		c.until("+10 08:20")
		if got := c.usually(); got != 400*time.Millisecond {
			t.Errorf("when it is over, %v is usual", got)
		}
	})
	spell(t, func(c *court, id string) {
		c.did(c.desk.Doubt(id, c.by("+10 08:10", "新线路，一直如此"), incident.Dismissal{}))
		if c.lost == nil {
			a := c.by("+10 08:11", "")
			a.Person = "班长"
			c.did(c.desk.Dismiss(id, a, incident.Dismissal{}))
		}
		if got := c.usually(); c.lost != nil || got != 5*time.Second {
			t.Errorf("when people say that it was none, %v is usual: %v", got, c.lost)
		}
	})
}

// What was known stays in force when the samples cannot be read.
func TestUsualStaysWhenItCannotBeRead(t *testing.T) {
	hold(t, "", func(c *court) {
		c.withReading("", fortnight)
		c.learn()
		c.until("09:00")
		c.reads("09:00", 400*time.Millisecond)
		if err := c.series.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.learnUsual(c.Context()); err == nil {
			t.Error("learned from closed files")
		}
		if got := c.board.Services(c.at("09:01"))[4].Checks[0].Usual; got != 400*time.Millisecond {
			t.Errorf("%v is usual", got)
		}
	})
}

// What is usual is learned at the start, after each midnight, and when the configuration wants more days.
func TestFollowUsual(t *testing.T) {
	hold(t, "", func(c *court) {
		c.withReading("inspect: {slow_usual_least: 12}\n", days{10, 1, 400 * time.Millisecond})
		c.reads("08:05", 400*time.Millisecond)
		known := func() time.Duration {
			for _, s := range c.board.Services(c.at("09:00")) {
				if s.Service.Name == "reading" {
					return s.Checks[0].Usual
				}
			}
			return -1
		}
		c.run(c.followUsual)
		c.until("08:10")
		if got := known(); got != 0 {
			t.Errorf("of ten days out of twelve %v is known", got)
		}
		c.write("collector.yml", courtConfig+"include: [reading.yml]\n")
		if err := c.reload(); err != nil {
			t.Fatal(err)
		}
		c.until("08:11")
		if got := known(); got != 400*time.Millisecond {
			t.Errorf("of ten days out of seven %v is known", got)
		}
		c.until("+4 00:09") // of whose fortnight ten days are left, and at midnight nine
		c.board.Usual(nil)
		c.until("+4 00:11")
		if got := known(); got != 400*time.Millisecond {
			t.Errorf("the next day %v is known", got)
		}
	})
	zone := beijing
	for now, want := range map[time.Time]time.Duration{
		time.Date(2026, 10, 12, 8, 0, 0, 0, zone):    16*time.Hour + 10*time.Minute,
		time.Date(2026, 10, 12, 0, 0, 0, 0, zone):    10 * time.Minute,
		time.Date(2026, 10, 12, 0, 9, 59, 0, zone):   24*time.Hour + time.Second,
		time.Date(2026, 10, 12, 0, 10, 0, 0, zone):   24 * time.Hour,
		time.Date(2026, 10, 12, 23, 59, 59, 0, zone): 10*time.Minute + time.Second,
	} {
		if got := untilMorning(now); got != want {
			t.Errorf("at %v: %v, want %v", now, got, want)
		}
	}
}

// What one check from one agent costs: a fortnight at ten seconds, read out of a store.
func BenchmarkUsual(b *testing.B) {
	db, err := tsdb.Open(b.TempDir(), tsdb.Options{Linger: time.Millisecond, MaxAge: 1e5 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { err = errors.Join(err, db.Run(ctx)) })
	own := []string{"check", "c", "service", "s", "instance", "x"}
	stream := tsdb.Stream{Agent: "a", Kind: metric.KindProbe + "c", Every: 10 * time.Second, Labels: []metric.Label{{Name: "agent", Value: "a"}}}
	until := time.Now().In(beijing)
	begin, stored := until.AddDate(0, 0, -15), make(chan error, 200)
	const rows = 15 * 8640
	waits := 0
	for n := range rows {
		at := begin.Add(time.Duration(n) * stream.Every)
		samples := []metric.Sample{{Series: metric.New("probe_success", own...), Value: 1}, {Series: metric.New("probe_duration_seconds", own...), Value: 0.2 + float64(n*7919%100_003)/1e6}}
		if err := db.Append(ctx, stream, metric.Report{Agent: "a", Boot: 1, Seq: uint64(n + 1), Kind: stream.Kind, Every: stream.Every, At: at, Samples: samples}, func(_ tsdb.Outcome, err error) { stored <- err }); err != nil {
			b.Fatal(err)
		}
		if waits++; waits == cap(stored) {
			for ; waits > 0; waits-- {
				if err := <-stored; err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("one vantage", func(b *testing.B) {
		b.ReportAllocs()
		h := measure.Habit{Samples: samples{db}, Location: beijing, Days: 14, Least: 7, Until: until}
		for b.Loop() {
			if usual, err := h.Of(ctx, map[string]string{"check": "c", "agent": "a", "instance": "x"}); err != nil || usual[3] < 200*time.Millisecond {
				b.Fatal(usual, err)
			}
		}
	})
	cancel()
	running.Wait()
	if err := errors.Join(err, db.Close()); err != nil {
		b.Fatal(err)
	}
}
