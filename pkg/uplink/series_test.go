package uplink

import (
	"fmt"
	"runtime"
	"testing"

	pb "xunjian/proto/uplink/v1"
)

// A stream that defines as many series as one may, in the reports of 400 checks over HTTPS, and sends them, holds at most 4 MiB
// of the collector's memory.
func TestSeriesOfAStreamCostLittle(t *testing.T) {
	const checks, each = 400, 25
	most := ServerOptions{}.withDefaults().MaxSeries
	if checks*each != most {
		t.Fatalf("%d series, want the %d of a stream", checks*each, most)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d := newDecoder(1, most)
	for c := range checks {
		m := &pb.Batch{}
		s := &pb.Schema{Id: uint32(c + 1), Kind: []byte(fmt.Sprintf("probe:check-%d", c)), EveryMs: 10_000}
		for i := range each {
			s.Series = append(s.Series, &pb.Series{Name: fmt.Appendf(nil, "probe_http_%d", i), Labels: [][]byte{
				[]byte("check"), fmt.Appendf(nil, "check-%d", c), []byte("instance"), fmt.Appendf(nil, "https://host-%d.example.org/", c),
				[]byte("phase"), []byte("processing"), []byte("service"), []byte("documents"),
			}})
		}
		m.Schemas = append(m.Schemas, s)
		m.Reports = append(m.Reports, &pb.Report{Schema: s.Id, AtStep: 1_790_000_000_000, Values: appendRow(nil, newColumns(each), func(i int) float64 { return float64(i) * 1.1 })})
		if _, f := d.decode(m); f != nil {
			t.Fatal(f)
		}
	}
	held := heap() - before
	runtime.KeepAlive(d)
	t.Logf("%d series hold %.2f MiB", most, float64(held)/(1<<20))
	if held > 4<<20 {
		t.Errorf("%d series hold %d bytes", most, held)
	}
	if _, f := d.decode(&pb.Batch{Schemas: []*pb.Schema{{Id: checks + 1, Kind: []byte("host"), Series: []*pb.Series{{Name: []byte("one_more")}}}}}); f == nil || f.reason != faultSeries {
		t.Errorf("one more: %v", f)
	}
}
