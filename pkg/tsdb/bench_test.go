package tsdb

import (
	"math"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"xunjian/pkg/metric"
	hour "xunjian/pkg/recording"
)

// recording is rows of a host, each as wide as there are series.
type recording struct {
	series []metric.Series
	rows   [][]float64
}

func loadRecording(tb testing.TB) recording {
	tb.Helper()
	r, err := hour.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return recording{r.Series, r.Rows}
}

// every keeps each n-th row: real steps of n seconds.
func (r recording) every(n int) recording {
	out := recording{series: r.series}
	for i := 0; i < len(r.rows); i += n {
		out.rows = append(out.rows, r.rows[i])
	}
	return out
}

// rowBlocks cuts the rows into runs with stamps 15 s apart.
func (r recording) rowBlocks(rows int) (stamps [][]int64, values [][]float64) {
	for i := 0; i+rows <= len(r.rows); i += rows {
		var t []int64
		var v []float64
		for k, row := range r.rows[i : i+rows] {
			t = append(t, 1_700_000_000_000+int64(i+k)*15_000)
			v = append(v, row...)
		}
		stamps, values = append(stamps, t), append(values, v)
	}
	return stamps, values
}

// xorBytes is the size of the same data in Prometheus' chunks of 120 samples.
func xorBytes(tb testing.TB, r recording, rows int) (n int) {
	for i := 0; i+rows <= len(r.rows); i += rows {
		for c := range r.series {
			for k := 0; k < rows; k += 120 {
				chunk := chunkenc.NewXORChunk()
				app, err := chunk.Appender()
				if err != nil {
					tb.Fatal(err)
				}
				for j := k; j < min(k+120, rows); j++ {
					app.Append(0, 1_700_000_000_000+int64(i+j)*15_000, r.rows[i+j][c])
				}
				n += len(chunk.Bytes())
			}
		}
	}
	return n
}

func ourBytes(r recording, rows int) (bytes, samples int) {
	var e blockEncoder
	stamps, values := r.rowBlocks(rows)
	for i := range stamps {
		bytes += len(e.encode(nil, 1, stamps[i], values[i]))
		samples += len(values[i])
	}
	return bytes, samples
}

// TestRecordingIsSmall holds the size of real data against Prometheus' chunks: the reason for a codec of our own.
func TestRecordingIsSmall(t *testing.T) {
	for name, c := range map[string]struct {
		rec  recording
		rows int
		most float64
	}{
		"second by second": {loadRecording(t), 240, 0.38},
		"each 15th second": {loadRecording(t).every(15), 220, 0.5},
	} {
		ours, samples := ourBytes(c.rec, c.rows)
		xor := xorBytes(t, c.rec, c.rows)
		share := float64(ours) / float64(xor)
		t.Logf("%s: %.3f B a sample, Prometheus' chunks %.3f: %.2f", name, float64(ours)/float64(samples), float64(xor)/float64(samples), share)
		if share > c.most {
			t.Errorf("%s: %.2f of Prometheus' chunks, want at most %.2f", name, share, c.most)
		}
	}
}

func BenchmarkBlock(b *testing.B) {
	rec := loadRecording(b)
	for _, rows := range []int{120, 240, 960} {
		stamps, values := rec.rowBlocks(rows)
		samples := len(stamps) * len(values[0])
		name := strconv.Itoa(rows)
		b.Run("encode/"+name, func(b *testing.B) {
			var e blockEncoder
			bytes := 0
			for b.Loop() {
				bytes = 0
				for i := range stamps {
					bytes += len(e.encode(nil, 1, stamps[i], values[i]))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
			b.ReportMetric(float64(bytes)/float64(samples), "B/sample")
		})
		b.Run("decode/"+name, func(b *testing.B) {
			var e blockEncoder
			var blocks [][]byte
			for i := range stamps {
				blocks = append(blocks, e.encode(nil, 1, stamps[i], values[i]))
			}
			var d blockDecoder
			var out []float64
			for b.Loop() {
				for _, raw := range blocks {
					k, err := openBlock(nil, raw)
					if err != nil {
						b.Fatal(err)
					}
					for c := range k.columns {
						if out, err = d.values(out[:0], &k, c); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
		})
	}
}

// BenchmarkXOR is Prometheus' codec on the same data, for a ratio of one run.
func BenchmarkXOR(b *testing.B) {
	rec := loadRecording(b)
	const rows = 120
	n := len(rec.rows) / rows * rows
	var chunks []*chunkenc.XORChunk
	encode := func() {
		chunks = chunks[:0]
		for i := 0; i < n; i += rows {
			for c := range rec.series {
				chunk := chunkenc.NewXORChunk()
				app, err := chunk.Appender()
				if err != nil {
					b.Fatal(err)
				}
				for k := range rows {
					app.Append(0, int64(i+k)*15_000, rec.rows[i+k][c])
				}
				chunks = append(chunks, chunk)
			}
		}
	}
	perSample := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*len(rec.series)), "ns/sample")
	}
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			encode()
		}
		perSample(b)
	})
	b.Run("decode", func(b *testing.B) {
		encode()
		sum := 0.0
		for b.Loop() {
			for _, c := range chunks {
				it := c.Iterator(nil)
				for it.Next() != chunkenc.ValNone {
					_, v := it.At()
					sum += v
				}
			}
		}
		perSample(b)
		runtime.KeepAlive(sum)
	})
}

// BenchmarkAppend sends the recording as 100 agents at full speed and waits for every ack.
func BenchmarkAppend(b *testing.B) {
	rec := loadRecording(b)
	for _, linger := range []time.Duration{-1, 5 * time.Millisecond} {
		b.Run(linger.String(), func(b *testing.B) {
			db, stop := running(b, b.TempDir(), Options{Linger: linger, MaxAge: 1e5 * time.Hour})
			const agents = 100
			streams := make([]Stream, agents)
			for i := range streams {
				streams[i] = Stream{Agent: "web" + strconv.Itoa(i), Kind: metric.KindHost, Every: 15 * time.Second}
			}
			samples := make([][]metric.Sample, len(rec.rows))
			for i, row := range rec.rows {
				for c, v := range row {
					samples[i] = append(samples[i], metric.Sample{Series: rec.series[c], Value: v})
				}
			}
			base := time.Now().Add(-1e4 * time.Hour)
			var acks sync.WaitGroup
			n := 0
			for b.Loop() {
				tick := n / agents
				r := metric.Report{Boot: 1, Seq: uint64(tick + 1), At: base.Add(time.Duration(tick) * 15 * time.Second), Samples: samples[tick%len(samples)]}
				acks.Add(1)
				if err := db.Append(b.Context(), streams[n%agents], r, func(o Outcome, err error) {
					if o != Stored || err != nil {
						b.Errorf("%v, %v", o, err)
					}
					acks.Done()
				}); err != nil {
					b.Fatal(err)
				}
				n++
			}
			acks.Wait()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "reports/s")
			b.ReportMetric(float64(n*len(rec.series))/b.Elapsed().Seconds(), "samples/s")
			stop()
		})
	}
}

// BenchmarkSelect reads one series of a day out of 100 hosts.
func BenchmarkSelect(b *testing.B) {
	rec := loadRecording(b)
	db, _ := running(b, b.TempDir(), Options{Linger: -1, MaxAge: 1e5 * time.Hour})
	base := time.Now().Add(-1e4 * time.Hour).Truncate(time.Hour)
	var acks sync.WaitGroup
	const hosts, ticks = 10, 5760
	for tick := range ticks {
		var samples []metric.Sample
		for c, v := range rec.rows[tick%len(rec.rows)] {
			samples = append(samples, metric.Sample{Series: rec.series[c], Value: v})
		}
		for h := range hosts {
			acks.Add(1)
			s := Stream{Agent: "web" + strconv.Itoa(h), Kind: metric.KindHost, Labels: []metric.Label{{Name: "instance", Value: strconv.Itoa(h)}}}
			r := metric.Report{Boot: 1, Seq: uint64(tick + 1), At: base.Add(time.Duration(tick) * 15 * time.Second), Samples: samples}
			if err := db.Append(b.Context(), s, r, func(Outcome, error) { acks.Done() }); err != nil {
				b.Fatal(err)
			}
		}
	}
	acks.Wait()
	for name, ms := range map[string][]Matcher{
		"one of a day":  {matcher(b, Equal, NameLabel, "load1"), matcher(b, Equal, "instance", "3")},
		"ten of a day":  {matcher(b, Equal, NameLabel, "load1")},
		"all of a host": {matcher(b, Equal, "instance", "3")},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = 0
				for s, err := range db.Select(b.Context(), 0, math.MaxInt64, ms...) {
					if err != nil {
						b.Fatal(err)
					}
					n += len(s.T)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
		})
	}
}
