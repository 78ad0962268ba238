package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"

	"xunjian/pkg/metric"
	"xunjian/pkg/tsdb"
)

// benchDays is how long the benchmarks' hosts have reported; 30 days of 100 hosts take minutes to write.
const benchDays = 30

// benchStore is what hosts have said up to the end of a month, all days merged. It stays between runs when
// XUNJIAN_BENCH_DIR names a folder.
func benchStore(b *testing.B, hosts, days int) (*tsdb.DB, time.Time) {
	b.Helper()
	end := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	dir := os.Getenv("XUNJIAN_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	dir = fmt.Sprintf("%s/%d-%d", dir, hosts, days)
	_, err := os.Stat(dir)
	if merr := os.MkdirAll(dir, 0o750); merr != nil {
		b.Fatal(merr)
	}
	db, oerr := tsdb.Open(dir, tsdb.Options{
		Linger: -1, FlushEvery: 100 * time.Millisecond, MaxAge: 10 * 365 * 24 * time.Hour, Now: func() time.Time { return end.Add(4 * time.Hour) },
	})
	if oerr != nil {
		b.Fatal(oerr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	b.Cleanup(func() { cancel(); wg.Wait(); _ = db.Close() })
	if err != nil {
		fillBench(b, db, hosts, end, days)
	}
	return db, end
}

// fillBench writes what hosts that work say: a load that wanders in hundredths, and bytes that rise.
func fillBench(b *testing.B, db *tsdb.DB, hosts int, end time.Time, days int) {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	load, bytes := make([]float64, hosts), make([]float64, hosts)
	var done sync.WaitGroup
	rows := days * 24 * 60 * 4
	for i := range rows {
		at := end.Add(time.Duration(i-rows+1) * 15 * time.Second)
		for h := range hosts {
			load[h] = math.Abs(load[h] + rnd.NormFloat64()/10)
			bytes[h] += float64(rnd.IntN(1 << 20))
			agent := fmt.Sprintf("host-%03d", h)
			s := tsdb.Stream{Agent: agent, Kind: metric.KindHost, Every: 15 * time.Second, Labels: []metric.Label{{Name: "instance", Value: agent}}}
			done.Add(1)
			err := db.Append(context.Background(), s, metric.Report{
				Agent: agent, Boot: 1, Seq: uint64(i + 1), Kind: metric.KindHost, Every: s.Every, At: at,
				Samples: []metric.Sample{sample("node_load1", math.Round(load[h]*100)/100), sample("node_disk_written_bytes_total", bytes[h])},
			}, func(o tsdb.Outcome, err error) {
				if o != tsdb.Stored || err != nil {
					b.Errorf("row %d: %v, %v", i, o, err)
				}
				done.Done()
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	done.Wait()
	for range 100 {
		stats, err := db.Merge(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if stats.Days == 0 {
			return
		}
	}
}

func benchRange(b *testing.B, e *Engine, expr string, s Span) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		r, err := e.Range(context.Background(), expr, s)
		if err != nil {
			b.Fatal(err)
		}
		if m, ok := r.Value.(promql.Matrix); !ok || len(m) == 0 {
			b.Fatal("no answer")
		}
	}
}

func BenchmarkOneSeriesDay(b *testing.B) {
	db, end := benchStore(b, 100, benchDays)
	e := New(Options{Store: db})
	for name, expr := range map[string]string{
		"values": `node_load1{instance="host-007"}`, "rate": `rate(node_disk_written_bytes_total{instance="host-007"}[5m])`,
		"avg 5m": `avg_over_time(node_load1{instance="host-007"}[5m])`,
	} {
		b.Run(name, func(b *testing.B) { benchRange(b, e, expr, Span{end.Add(-24 * time.Hour), end, time.Minute}) })
	}
}

func BenchmarkAvgWeek(b *testing.B) {
	db, end := benchStore(b, 100, benchDays)
	e := New(Options{Store: db})
	b.Run("aggregates", func(b *testing.B) {
		benchRange(b, e, `avg_over_time(node_load1[1h])`, Span{end.Add(-7 * 24 * time.Hour), end, time.Hour})
	})
	b.Run("samples", func(b *testing.B) {
		benchRange(b, e, `avg_over_time(node_load1[1h])`, Span{end.Add(-7*24*time.Hour + time.Second), end, time.Hour})
	})
	b.Run("now", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Instant(context.Background(), `avg_over_time(node_load1[7d])`, end.Add(-time.Second)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkQuantileMonth(b *testing.B) {
	db, end := benchStore(b, 100, benchDays)
	e := New(Options{Store: db})
	for b.Loop() {
		if _, err := e.Instant(context.Background(), `quantile_over_time(0.95, node_load1[30d])`, end); err != nil {
			b.Fatal(err)
		}
	}
}
