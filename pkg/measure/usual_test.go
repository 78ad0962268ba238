package measure

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xunjian/pkg/contract"
	"xunjian/pkg/metric"
)

var ofC = map[string]string{LabelCheck: "c", LabelAgent: "a1"}

func habit(samples Samples, until time.Time) Habit {
	return Habit{Samples: samples, Location: shanghai, Days: 14, Least: 7, Until: until}
}

// answers writes success and duration on a grid: a negative duration is a failure, NaN a round that could not run.
func answers(from, to time.Time, step time.Duration, took func(time.Time) float64) memory {
	return memory{
		every("probe_success", from, to, step, func(x time.Time) float64 {
			switch d := took(x); {
			case math.IsNaN(d):
				return d
			case d < 0:
				return 0
			}
			return 1
		}),
		every("probe_duration_seconds", from, to, step, func(x time.Time) float64 { return math.Abs(took(x)) }),
	}
}

func TestUsual(t *testing.T) {
	until := at(t, "2026-11-20 09:17")
	day := func(days int) time.Time { return at(t, "2026-11-20 00:00").AddDate(0, 0, -days) }
	steady := func(time.Time) float64 { return 0.4 }
	hour := func(h int) func(time.Time) bool { return func(x time.Time) bool { return x.In(shanghai).Hour() == h } }
	ms := time.Millisecond
	eight := []contract.Span{{From: day(8).UnixMilli(), To: day(0).UnixMilli()}}
	for name, tc := range map[string]struct {
		from  time.Time
		step  time.Duration
		took  func(time.Time) float64
		least int
		out   []contract.Span
		want  time.Duration // at nine
	}{
		"a fortnight":                   {day(14), time.Minute, steady, 7, nil, 400 * ms},
		"by the hour":                   {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 1.5, false: 0.4}[hour(9)(x)] }, 7, nil, 1500 * ms},
		"today does not count":          {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 0.4, false: 9}[x.Before(day(0))] }, 7, nil, 400 * ms},
		"nor what is older":             {day(40), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 9, false: 0.4}[x.Before(day(14))] }, 7, nil, 400 * ms},
		"twenty minutes a day":          {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 9, false: 0.4}[x.Minute() < 20] }, 7, nil, 400 * ms},
		"six days slow":                 {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 9, false: 0.4}[x.After(day(6))] }, 7, nil, 400 * ms},
		"eight days slow, left out":     {day(40), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 9, false: 0.4}[!x.Before(day(8))] }, 14, eight, 400 * ms},
		"forty minutes a day, left out": {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: 9, false: 0.4}[x.Minute() < 40] }, 7, mornings(day), 400 * ms},
		"failures take no time":         {day(14), time.Minute, func(x time.Time) float64 { return []float64{0.4, -0.001, -0.001, math.NaN()}[x.Minute()%4] }, 7, nil, 400 * ms},
		"seven days":                    {day(7), time.Minute, steady, 7, nil, 400 * ms},
		"six days":                      {day(6), time.Minute, steady, 7, nil, 0},
		"six days, five wanted":         {day(6), time.Minute, steady, 5, nil, 400 * ms},
		"each half an hour":             {day(14), 30 * time.Minute, steady, 7, nil, 400 * ms},
		"each hour":                     {day(14), time.Hour, steady, 7, nil, 0},
		"never at nine":                 {day(14), time.Minute, func(x time.Time) float64 { return map[bool]float64{true: -2, false: 0.4}[hour(9)(x)] }, 7, nil, 0},
		"nothing":                       {until, time.Minute, steady, 7, nil, 0},
	} {
		h := habit(answers(tc.from, until, tc.step, tc.took), until)
		h.Least, h.Except = tc.least, tc.out
		got, err := h.Of(t.Context(), ofC)
		if err != nil || got[9] != tc.want {
			t.Errorf("%s: %v, want %v; error %v", name, got[9], tc.want, err)
		}
	}
}

// mornings are the first forty minutes after nine of each day.
func mornings(day func(int) time.Time) (out []contract.Span) {
	for n := range 15 {
		nine := day(n).Add(9 * time.Hour)
		out = append(out, contract.Span{From: nine.UnixMilli(), To: nine.Add(40 * time.Minute).UnixMilli()})
	}
	return out
}

type failing struct{ error }

func (f failing) Select(context.Context, time.Time, time.Time, string, map[string]string, func(metric.Series, []int64, []float64) error) error {
	return f.error
}

// The hours are those of the wall clock, whatever it does: against a plain count over all answers, where clocks are set twice
// a year too.
func TestUsualAgainstAPlainCount(t *testing.T) {
	zones := []*time.Location{shanghai, time.UTC}
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"} {
		if z, err := time.LoadLocation(name); err == nil {
			zones = append(zones, z)
		} else {
			t.Log(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(rt, "zone")
		until := time.Unix(rapid.Int64Range(1_790_000_000, 1_825_000_000).Draw(rt, "until"), 0)
		h := Habit{
			Location: zone, Days: rapid.IntRange(1, 5).Draw(rt, "days"), Until: until, Least: 1,
		}
		step := time.Duration(rapid.SampledFrom([]int{20, 45, 61, 300}).Draw(rt, "step")) * time.Second
		seed := rapid.Uint64().Draw(rt, "seed")
		m := answers(until.AddDate(0, 0, -8), until, step, func(x time.Time) float64 {
			n := (uint64(x.Unix())*6364136223846793005 + seed) >> 33
			switch n % 7 {
			case 0:
				return -float64(n%5000) / 1000
			case 1:
				return math.NaN()
			}
			return float64(n%100_000) / 10_000
		})
		h.Samples = m
		got, err := h.Of(t.Context(), ofC)
		if err != nil {
			rt.Fatal(err)
		}
		local := until.In(zone)
		end := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)
		var all [24][]float64
		minute := int64(-1)
		for i, ms := range m[0].t {
			x := time.UnixMilli(ms).In(zone)
			if !(m[0].v[i] > 0) || x.Before(end.AddDate(0, 0, -h.Days)) || !x.Before(end) || ms/60_000 == minute {
				continue
			}
			minute = ms / 60_000
			all[x.Hour()] = append(all[x.Hour()], m[1].v[i])
		}
		for hour, took := range all {
			want := time.Duration(0)
			if slices.Sort(took); len(took) >= leastAnswers {
				want = max(seconds(took[(len(took)-1)/2]), time.Microsecond)
			}
			if got[hour] != want {
				rt.Fatalf("%s, hour %d: %v, want %v of %d answers", zone, hour, got[hour], want, len(took))
			}
		}
	})
}

func TestUsualFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := habit(failing{broken}, at(t, "2026-11-20 09:00")).Of(t.Context(), ofC); !errors.Is(err, broken) {
		t.Error(err)
	}
}
