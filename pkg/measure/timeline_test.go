package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const sec = int64(1000)

// line is a timeline of results every 10 s from 0: 1 up, 0 down, x could not run, . no result.
func line(results string, until int64) *timeline {
	l := newTimeline(steady(10*time.Second), 3)
	for i, r := range results {
		v, given := map[rune]float64{'1': 1, '0': 0, 'x': math.NaN()}[r]
		if given {
			if err := l.add(int64(i)*10*sec, says(v)); err != nil {
				panic(err)
			}
		}
	}
	l.close(until)
	return l
}

// tally is time up, down and unknown.
type tally struct{ up, down, unknown int64 }

func (t *tally) add(s state, ms int64) {
	switch s {
	case up:
		t.up += ms
	case down:
		t.down += ms
	case unknown:
		t.unknown += ms
	}
}

func within(runs []stretch, spans []span) tally {
	var f Figures
	f.take(clip(runs, spans), func(span) bool { return true })
	return tally{f.Up, f.Down, f.Unknown}
}

func tallyOf(window span, lanes ...lane) tally { return within(combine(lanes, window), []span{window}) }

func TestHoldRule(t *testing.T) {
	f := func(results string, seconds, up, down, unknown int64) {
		t.Helper()
		window := span{0, seconds * sec}
		got := tallyOf(window, lane{exists: []span{window}, vantages: []*timeline{line(results, window.to)}})
		if want := (tally{up * sec, down * sec, unknown * sec}); got != want {
			t.Errorf("%q over %d s: %+v, want %+v", results, seconds, got, want)
		}
	}
	f("1111", 40, 40, 0, 0)
	f("11", 100, 40, 0, 60)         // the last holds for three intervals
	f("1..1", 40, 40, 0, 0)         // a late result within the hold
	f("1....1", 60, 40, 0, 20)      // a gap longer than it
	f("0....1", 60, 10, 30, 20)     // what failed last is not down for ever
	f("1x11", 40, 30, 0, 10)        // could not run: unknown at once
	f("1x....", 60, 10, 0, 50)      //
	f("1100001111", 100, 60, 40, 0) //
	f("", 60, 0, 0, 60)             //
	f("....11", 60, 20, 0, 40)      // before the first result
}

func TestVantagesAndChecks(t *testing.T) {
	window := span{0, 60 * sec}
	whole := func(results ...string) lane {
		n := lane{exists: []span{window}}
		for _, r := range results {
			n.vantages = append(n.vantages, line(r, window.to))
		}
		return n
	}
	f := func(name string, up, down, unknown int64, lanes ...lane) {
		t.Helper()
		if got, want := tallyOf(window, lanes...), (tally{up * sec, down * sec, unknown * sec}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	f("one vantage alone is no outage", 60, 0, 0, whole("110011", "111111"))
	f("both agree", 40, 20, 0, whole("110011", "100001"))
	f("one vantage against two is no outage", 60, 0, 0, whole("110011", "111111", "111111"))
	f("two against one are", 40, 20, 0, whole("110011", "110011", "111111"))
	f("who knows nothing has no vote", 40, 20, 0, whole("110011", "xxxxxx"))
	f("the worst check decides", 30, 30, 0, whole("110111"), whole("111001"))
	f("an unknown check makes the service unknown", 40, 0, 20, whole("1111xx"), whole("111111"))
	f("down weighs more than unknown", 40, 10, 10, whole("1111xx"), whole("111101"))
	late := whole("..1111")
	late.exists = []span{{20 * sec, window.to}}
	f("a check that was not there yet", 60, 0, 0, late, whole("111111"))
	f("no check at all", 0, 0, 0)
}

func TestOutages(t *testing.T) {
	runs := combine([]lane{{exists: []span{{0, 300 * sec}}, vantages: []*timeline{line("1110001101100x.....0011000", 260*sec)}}}, span{0, 260 * sec})
	var f Figures
	f.take(runs, func(s span) bool { return s.to-s.from >= 20*sec })
	// The single failure at 80 s is none; the one from 110 s lasts, unknown time left out, until the good result at 210 s.
	want := []Outage{
		{30 * sec, 60 * sec, 30 * sec, true, true},
		{110 * sec, 210 * sec, 40 * sec, true, true},
		{230 * sec, 260 * sec, 30 * sec, false, true},
	}
	if diff := cmp.Diff(want, f.Interruptions()); diff != "" {
		t.Error(diff)
	}
}

func TestTicks(t *testing.T) {
	l := newTimeline(steady(10*time.Second), 3)
	l.phase[10*sec] = 3 * sec
	for _, c := range []struct{ from, to, want int64 }{{0, 60, 6}, {3, 4, 1}, {4, 13, 0}, {4, 14, 1}, {13, 13, 0}, {20, 10, 0}} {
		if got := l.ticks(span{c.from * sec, c.to * sec}); got != c.want {
			t.Errorf("ticks in [%d, %d): %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

func TestTimelineRefusesDisorder(t *testing.T) {
	l := newTimeline(steady(time.Second), 3)
	for _, at := range []int64{1000, 1000, 2000} {
		if err := l.add(at, up); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.add(1500, up); err == nil {
		t.Error("a sample from before the last one was taken")
	}
}

// Against the rules applied second by second.
func TestCombineByTheSecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const seconds = 120
		every := int64(10)
		lanes := make([]lane, rapid.IntRange(1, 3).Draw(t, "checks"))
		raw := make([][]string, len(lanes))
		for i := range lanes {
			from := rapid.Int64Range(0, 60).Draw(t, "since")
			lanes[i].exists = []span{{from * sec, seconds * sec}}
			for range rapid.IntRange(0, 3).Draw(t, "vantages") {
				r := rapid.StringMatching(`[10x.]{12}`).Draw(t, "results")
				raw[i] = append(raw[i], r)
				lanes[i].vantages = append(lanes[i].vantages, line(r, seconds*sec))
			}
		}
		var want tally
		for s := int64(0); s < seconds; s++ {
			if st := bySecond(lanes, raw, s, every); st != absent {
				want.add(st, sec)
			}
		}
		if got := tallyOf(span{0, seconds * sec}, lanes...); got != want {
			t.Fatalf("got %+v, want %+v for %v", got, want, raw)
		}
	})
}

func bySecond(lanes []lane, raw [][]string, s, every int64) state {
	out := absent
	for i, n := range lanes {
		if s*sec < n.exists[0].from {
			continue
		}
		check, good, bad := unknown, 0, 0
		for _, r := range raw[i] {
			v := '.'
			for age := int64(0); age < 3; age++ { // the newest result within the hold
				if k := s/every - age; k >= 0 && r[k] != '.' {
					v = rune(r[k])
					break
				}
			}
			switch v {
			case '1':
				good++
			case '0':
				bad++
			}
		}
		if good > 0 {
			check = up
		}
		if bad > 0 && good == 0 || bad > 1 && bad > good {
			check = down
		}
		switch {
		case out == down || check == down:
			out = down
		case out == unknown || check == unknown:
			out = unknown
		default:
			out = up
		}
	}
	return out
}

func TestWithinSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs []stretch
		at := int64(0)
		for range rapid.IntRange(0, 20).Draw(t, "runs") {
			at += rapid.Int64Range(0, 5).Draw(t, "hole")
			end := at + rapid.Int64Range(1, 9).Draw(t, "length")
			runs = append(runs, stretch{span: span{at, end}, state: state(rapid.IntRange(0, 2).Draw(t, "state"))})
			at = end
		}
		var spans []span
		at = 0
		for range rapid.IntRange(0, 10).Draw(t, "spans") {
			at += rapid.Int64Range(0, 8).Draw(t, "pause")
			end := at + rapid.Int64Range(1, 12).Draw(t, "span")
			spans = append(spans, span{at, end})
			at = end
		}
		var want tally
		for _, r := range runs {
			for ms := r.from; ms < r.to; ms++ {
				if slices.ContainsFunc(spans, func(s span) bool { return ms >= s.from && ms < s.to }) {
					want.add(r.state, 1)
				}
			}
		}
		if got := within(runs, spans); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// A quantile is within 1 % of the true nearest-rank quantile, wherever the values lie.
func TestSketchError(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, draw := range []func() float64{
		func() float64 { return rnd.ExpFloat64() * 0.08 },
		func() float64 { return 0.0001 + rnd.Float64()*1e-4 },
		func() float64 { return math.Exp(rnd.NormFloat64()*2 - 3) },
		func() float64 { return 0.25 },
		func() float64 { return 30 + rnd.Float64()*3000 },
	} {
		s, half, other := new(Sketch), new(Sketch), new(Sketch)
		var all []float64
		for i := range 20_000 {
			v := draw() + 2e-4
			all = append(all, v)
			s.add(v)
			if i%2 == 0 {
				half.add(v)
			} else {
				other.add(v)
			}
		}
		slices.Sort(all)
		half.merge(other)
		for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.999, 1} {
			want := all[max(int(math.Ceil(q*float64(len(all)))), 1)-1]
			got := s.Quantile(q).Value.Seconds()
			if e := math.Abs(got-want) / want; e > 0.01 {
				t.Errorf("quantile %v: %v, want %v (error %.4f)", q, got, want, e)
			}
			if m := half.Quantile(q); m != s.Quantile(q) {
				t.Errorf("quantile %v of merged halves: %v, of the whole %v", q, m, s.Quantile(q))
			}
		}
		if got := s.Largest().Value.Seconds(); math.Abs(got-all[len(all)-1]) > 1e-6 {
			t.Errorf("largest %v, want %v", got, all[len(all)-1])
		}
	}
}

func TestSketchTakesNoNonsense(t *testing.T) {
	s := new(Sketch)
	for _, v := range []float64{math.NaN(), math.Inf(1), -1} {
		s.add(v)
	}
	if s.Quantile(0.5).Known || s.Largest().Known {
		t.Error("a quantile of nothing")
	}
	s.add(0)
	if got := s.Quantile(0.5); !got.Known || got.Value != 0 {
		t.Errorf("quantile of a zero: %v", got)
	}
}
