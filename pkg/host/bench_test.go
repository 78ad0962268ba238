package host

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRead reads this machine and reports processor time, which is what a host pays; wall time depends on who else
// is busy.
func BenchmarkRead(b *testing.B) {
	r := New(Options{})
	r.Read(b.Context(), now)
	b.ReportAllocs()
	before, n := processorTime(b), 0
	for b.Loop() {
		n = len(r.Read(b.Context(), now))
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(n), "samples")
}

// BenchmarkItem reads each item alone.
func BenchmarkItem(b *testing.B) {
	for _, it := range New(Options{}).items {
		b.Run(it.name, func(b *testing.B) {
			b.ReportAllocs()
			dst := it.run(b.Context(), now, nil).samples
			for b.Loop() {
				dst = it.run(b.Context(), now, dst).samples
			}
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
