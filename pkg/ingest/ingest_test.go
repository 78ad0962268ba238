package ingest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"xunjian/pkg/check"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// A fault becomes an incident while the store has not even begun to commit.
func TestJudgedBeforeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, time.Second)
		now := time.Now()
		c := h.receive("host-1", uplink.Batch{Reports: []metric.Report{h.report(now)}, Results: []check.Result{round(now, check.Fail)}})
		if h.open() != 1 {
			t.Error("no incident although the check failed three times")
		}
		if got := c.told(); len(got) != 0 {
			t.Errorf("durable before any commit: %v", got)
		}
		defer h.run()()
		if err := h.settled(c); err != nil {
			t.Error(err)
		}
		h.counted("reports_total 1\nresults_total fail 1")
	})
}

// A store that takes nothing more holds up the agent, and not the symptom.
func TestJudgedBeforeFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		c, blocked, sent := &tally{}, false, 0
		for !blocked { // until the store's queue is full
			returned := make(chan error, 1)
			go func() {
				returned <- h.Receive(ctx, "host-1", uplink.Batch{Reports: []metric.Report{h.report(time.Now())}, Results: []check.Result{round(time.Now(), check.OK)}}, c.durable)
			}()
			synctest.Wait()
			sent++
			select {
			case <-returned:
			default:
				blocked = true
			}
			if sent > 1_000_000 {
				t.Fatal("the store's queue has no end")
			}
			time.Sleep(10 * time.Millisecond)
		}
		failed := make(chan error, 1)
		go func() {
			failed <- h.Receive(ctx, "host-2", uplink.Batch{Reports: []metric.Report{h.report(time.Now())}, Results: []check.Result{round(time.Now(), check.Fail)}}, c.durable)
		}()
		synctest.Wait()
		if h.open() != 1 {
			t.Errorf("no incident behind %d batches that wait for the store", sent)
		}
		cancel()
		synctest.Wait()
	})
}

// Credentials that are refused and never worked are a wrong setting: the round has no verdict in the store, which figures are
// made of. After they worked once, a refusal has.
func TestRefusedCredentialsThatNeverWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		for i, c := range []struct {
			outcome check.Outcome
			stored  int
		}{{check.Fail, 0}, {check.Fail, 0}, {check.OK, 1}, {check.Fail, 2}} {
			now := time.Now()
			res := round(now, c.outcome)
			for j := range res.Attempts {
				if c.outcome == check.Fail {
					res.Attempts[j].Class, res.Attempts[j].Reason = check.ClassAuth, "401 Unauthorized"
				}
			}
			rep := h.report(now)
			rep.Kind = metric.KindProbe + "web"
			rep.Samples = []metric.Sample{{Series: metric.New("probe_success")}, {Series: metric.New("xunjian_probe_attempts"), Value: 3}}
			if err := h.settled(h.receive("host-1", uplink.Batch{Reports: []metric.Report{rep}, Results: []check.Result{res}})); err != nil {
				t.Error(err)
			}
			if got := h.verdicts(); got != c.stored {
				t.Errorf("after round %d: %d verdicts, want %d", i+1, got, c.stored)
			}
		}
	})
}

// verdicts counts the samples that say how a round ended.
func (h *house) verdicts() (n int) {
	h.Helper()
	m, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, "probe_success")
	if err != nil {
		h.Fatal(err)
	}
	for s, err := range h.series.Select(h.Context(), 0, 1<<60, m) {
		if err != nil {
			h.Fatal(err)
		}
		for _, v := range s.V {
			if !math.IsNaN(v) {
				n++
			}
		}
	}
	return n
}

// What comes twice is stored once, counted, acknowledged, and changes nothing else.
func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		now := time.Now()
		b := uplink.Batch{Reports: []metric.Report{h.report(now)}, Results: []check.Result{round(now, check.Fail)}}
		if err := h.settled(h.receive("host-1", b)); err != nil {
			t.Error(err)
		}
		pages, told := h.pages(), h.told
		for range 3 {
			if err := h.settled(h.receive("host-1", b)); err != nil {
				t.Error(err)
			}
		}
		if h.told != told || h.pages() != pages || h.open() != 1 {
			t.Errorf("%d symptoms more, %d pages where there were %d, %d incidents", h.told-told, h.pages(), pages, h.open())
		}
		if got := h.stamps("host-1"); len(got) != 1 {
			t.Errorf("stored at %v", got)
		}
		h.counted("duplicates_total 3\nreports_total 1\nresults_total fail 4")
	})
}

func (h *house) pages() int {
	h.Helper()
	got, err := h.desk.Outbox(0, 100)
	if err != nil {
		h.Fatal(err)
	}
	return len(got)
}

// What is not kept is counted under the agent and the reason; the agent is told that it need not send it again.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		now := time.Now()
		first := h.report(now)
		for _, r := range []metric.Report{first, h.report(now), h.report(now.Add(time.Hour)), h.report(now.AddDate(0, -1, 0)), h.report(now.Add(time.Second), "long", strings.Repeat("x", 200))} {
			if err := h.settled(h.receive("host-1", uplink.Batch{Reports: []metric.Report{r}})); err != nil {
				t.Errorf("%v: %v", r.At, err)
			}
		}
		h.settled(h.receive("host-2", uplink.Batch{Reports: []metric.Report{h.report(now.AddDate(1, 0, 0))}}))
		h.counted("refused_total host-1 bad_series 1\nrefused_total host-1 future 1\nrefused_total host-1 same_time 1\nrefused_total host-1 too_old 1\nrefused_total host-2 future 1\nreports_total 1")
	})
}

// What no agent of ours sends is refused whole: nothing of it is judged, stored or called durable.
func TestMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		now := time.Now()
		bad := round(now, check.Fail)
		kind := func(k string, labels ...string) metric.Report {
			r := h.report(now, labels...)
			r.Kind = k
			return r
		}
		for say, b := range map[string]uplink.Batch{
			"label agent is the":    {Reports: []metric.Report{h.report(now, "agent", "host-2")}},
			"label instance is":     {Reports: []metric.Report{h.report(now, "instance", "host-2")}},
			"label job is the":      {Reports: []metric.Report{h.report(now, "a", "b", "job", "node")}},
			"label job is":          {Reports: []metric.Report{kind("probe/web", "job", "probe")}},
			"label agent is":        {Reports: []metric.Report{kind("probe/web", "agent", "x")}},
			`kind "hosts"`:          {Reports: []metric.Report{kind("hosts")}},
			`kind ""`:               {Reports: []metric.Report{kind("")}},
			`kind "probe/"`:         {Reports: []metric.Report{kind("probe/")}},
			`kind "probe/../x"`:     {Reports: []metric.Report{kind("probe/../x")}},
			"without an attempt":    {Results: []check.Result{{Check: "web", At: now}}},
			`outcome "splendid"`:    {Results: []check.Result{{Check: "web", At: now, Attempts: []check.Attempt{{Outcome: "splendid"}}}}},
			`outcome "`:             {Results: []check.Result{{Check: "web", At: now, Attempts: []check.Attempt{{}}}}},
			`outcome "second line"`: {Results: []check.Result{{Check: "web", At: now, Attempts: []check.Attempt{{Outcome: check.Fail}, {Outcome: "second line"}}}}},
		} {
			b.Results = append(b.Results, bad)
			err := h.Receive(t.Context(), "host-1", b, func(error) { t.Errorf("%s: durable was called", say) })
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v", say, err)
			}
		}
		if h.open() != 0 {
			t.Error("a result beside something malformed was judged")
		}
		time.Sleep(time.Minute)
		h.counted("refused_total host-1 malformed 13")
	})
}

// An agent's word counts for the checks that the plan gives it, and for no other.
func TestNotAssigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		now := time.Now()
		foreign := round(now, check.Fail)
		foreign.Check = "secret"
		h.settled(h.receive("other", uplink.Batch{Results: []check.Result{round(now, check.Fail), foreign}}))
		h.settled(h.receive("host-1", uplink.Batch{Results: []check.Result{foreign, round(time.Now(), check.OK)}}))
		if h.open() != 0 {
			t.Error("an agent opened an incident by a check that is not its own")
		}
		if got := h.board.Services(time.Now())[0].Checks; len(got) != 1 || got[0].Agent != "host-1" {
			t.Errorf("the board shows %+v", got)
		}
		h.counted("refused_total host-1 not_assigned 1\nrefused_total other not_assigned 2\nresults_total ok 1")
	})
}

// A clock that is more than five seconds off is corrected in what is stored and judged; a smaller difference is left alone.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second, -5 * time.Second, 6 * time.Second, -6 * time.Second, 20 * time.Minute, -3 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, 0)
				defer h.run()()
				var heard []uplink.Hello
				h.o.Heard = func(_ string, x uplink.Hello) { heard = append(heard, x) }
				now := time.Now()
				h.Heard("host-1", uplink.Hello{Skew: skew})
				shown := now.Add(skew)
				h.settled(h.receive("host-1", uplink.Batch{Reports: []metric.Report{h.report(shown)}, Results: []check.Result{round(shown, check.Fail)}}))
				want := now
				if skew.Abs() <= 5*time.Second {
					want = shown
				}
				if got := h.stamps("host-1"); len(got) != 1 || !got[0].Equal(want) {
					t.Errorf("stored at %v, want %v", got, want)
				}
				st := h.board.Services(time.Now())[0].Checks
				if len(st) != 1 || !st[0].At.Equal(want) {
					t.Errorf("judged at %+v, want %v", st, want)
				}
				got, err := h.desk.List(incident.Filter{})
				if err != nil || len(got) != 1 || want.Before(now) && !got[0].FaultStart.Equal(want) || got[0].FaultStart.After(time.Now()) {
					t.Errorf("the fault began at %+v, want %v (%v)", got, want, err)
				}
				if len(heard) != 1 || heard[0].Skew != skew {
					t.Errorf("passed on: %v", heard)
				}

				h.Heard("host-1", uplink.Hello{Skew: time.Millisecond}) // its clock was set right
				later := time.Now()
				h.settled(h.receive("host-1", uplink.Batch{Reports: []metric.Report{h.report(later)}}))
				if got := h.stamps("host-1"); len(got) != 2 || !slices.ContainsFunc(got, later.Equal) {
					t.Errorf("stored at %v, want %v as it came", got, later)
				}
			})
		})
	}
}

// A clock that jumps ahead between two comparisons must not make the rounds after it look old.
func TestClockJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		defer h.run()()
		h.settled(h.receive("host-1", uplink.Batch{Results: []check.Result{round(time.Now().AddDate(1, 0, 0), check.OK)}}))
		time.Sleep(10 * time.Second)
		h.settled(h.receive("host-1", uplink.Batch{Results: []check.Result{round(time.Now(), check.Fail)}}))
		if h.open() != 1 {
			t.Error("a fault was taken for older news than a round of next year")
		}
	})
}

// broken is a store that fails as told, report by report, at once or later.
type broken struct {
	at  []error // what Append returns
	end []error // what durable is told
	n   int
	out []func()
}

func (b *broken) Append(_ context.Context, _ tsdb.Stream, _ metric.Report, durable func(tsdb.Outcome, error)) error {
	i := b.n
	b.n++
	if b.at[i] != nil {
		return b.at[i]
	}
	b.out = append(b.out, func() { durable(tsdb.Stored, b.end[i]) })
	return nil
}

// However a batch's reports end, and in whatever order, durable is called once, after the last, with an error if any failed.
func TestDurableOnce(t *testing.T) {
	no := errors.New("no space left on device")
	for name, c := range map[string]struct {
		at, end []error
		want    error
	}{
		"all well":        {[]error{nil, nil, nil}, []error{nil, nil, nil}, nil},
		"first fails":     {[]error{nil, nil, nil}, []error{no, nil, nil}, no},
		"last fails":      {[]error{nil, nil, nil}, []error{nil, nil, no}, no},
		"all fail":        {[]error{nil, nil, nil}, []error{no, no, no}, no},
		"one not taken":   {[]error{nil, no, nil}, []error{nil, nil, nil}, no},
		"none taken":      {[]error{no, no, no}, []error{nil, nil, nil}, no},
		"of each":         {[]error{no, nil, nil}, []error{nil, no, nil}, no},
		"a single report": {[]error{nil}, []error{nil}, nil},
	} {
		for _, reverse := range []bool{false, true} {
			s, got := &broken{at: c.at, end: c.end}, []error{}
			r := New(Options{Store: s, Registerer: prometheus.NewRegistry()})
			reports := make([]metric.Report, len(c.at))
			for i := range reports {
				reports[i].Kind = metric.KindHost
			}
			if err := r.Receive(t.Context(), "host-1", uplink.Batch{Reports: reports}, func(err error) { got = append(got, err) }); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for i := range s.out {
				if len(got) != 0 {
					t.Errorf("%s: durable after %d of %d reports", name, i, len(s.out))
				}
				if reverse {
					i = len(s.out) - 1 - i
				}
				s.out[i]()
			}
			if len(got) != 1 || !errors.Is(got[0], c.want) {
				t.Errorf("%s: durable was told %v, want %v once", name, got, c.want)
			}
			failed := 0.0
			for i := range c.at {
				if c.at[i] != nil || c.end[i] != nil {
					failed++
				}
			}
			if n := testutil.ToFloat64(r.metrics.failed); n != failed {
				t.Errorf("%s: %v failures counted, want %v", name, n, failed)
			}
		}
	}
}

// A batch of many reports is called durable once, by the real store as well.
func TestBatchOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0)
		stop := h.run()
		var b uplink.Batch
		for i := range 20 {
			b.Reports = append(b.Reports, h.report(time.Now().Add(-time.Duration(i)*time.Second)))
		}
		if err := h.settled(h.receive("host-1", b)); err != nil {
			t.Error(err)
		}
		h.settled(h.receive("host-1", uplink.Batch{})) // nothing is durable at once
		stop()
		b.Reports[0] = h.report(time.Now())
		if err := h.settled(h.receive("host-1", b)); err == nil {
			t.Error("called durable by a store that has stopped")
		}
	})
}

// FuzzReceive sends batches with odd labels, kinds, times and outcomes into the real parts: each is refused, or called durable
// once; no series of one agent ever passes for another's.
func FuzzReceive(f *testing.F) {
	f.Add("host", "mountpoint", "/", "web", "ok", int64(0), int64(0), uint8(1))
	f.Add("probe/web", "agent", "host-2", "web", "fail", int64(-1), int64(1<<40), uint8(3))
	f.Add("probe/", "__name__", "x", "", "", int64(1<<62), int64(-1<<62), uint8(0))
	f.Add("host", "instance\x00", "\xff", "secret", "unknown", int64(3_600_000), int64(3_600_000), uint8(16))
	h := newHouse(f, -1)
	stop := h.run()
	defer stop()
	f.Fuzz(func(t *testing.T, kind, label, value, name, outcome string, skew, at int64, n uint8) {
		now := time.Now()
		h.Heard("host-1", uplink.Hello{Skew: time.Duration(skew)})
		h.seq++
		r := metric.Report{Boot: 7, Seq: h.seq, Kind: kind, At: now.Add(time.Duration(at)), Samples: []metric.Sample{{Series: metric.New("test_odd", label, value)}}}
		res := check.Result{Check: name, At: r.At}
		for range n {
			res.Attempts = append(res.Attempts, check.Attempt{Start: r.At, Outcome: check.Outcome(outcome)})
		}
		answers := make(chan error, 2)
		err := h.Receive(context.Background(), "host-1", uplink.Batch{Reports: []metric.Report{r}, Results: []check.Result{res}}, func(err error) { answers <- err })
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("%d bytes of refusal", len(err.Error()))
			}
			return
		}
		if err := <-answers; err != nil {
			t.Errorf("not stored: %v", err)
		}
		for _, s := range h.series.Series(0, 1<<62) {
			if s.Get("agent") != "host-1" || s.Get("job") != "node" && s.Get("job") != "probe" || s.Get("job") == "node" && s.Get("instance") != "host-1" {
				t.Fatalf("stored as %s", s)
			}
		}
	})
}
