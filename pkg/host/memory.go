package host

import (
	"context"
	"errors"
	"time"

	"github.com/shirou/gopsutil/v3/mem"

	"xunjian/pkg/metric"
)

// memoryFields are the lines of meminfo that gopsutil hands on unchanged. The old split in high and low memory is left
// out: it exists on 32-bit machines only.
var memoryFields = []struct {
	name string
	get  func(*mem.VirtualMemoryStat) uint64
}{
	{"MemTotal_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Total }},
	{"MemFree_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Free }},
	{"MemAvailable_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Available }},
	{"Buffers_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Buffers }},
	// gopsutil adds the reclaimable slab to Cached, node_exporter does not.
	{"Cached_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Cached - m.Sreclaimable }},
	{"SwapCached_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.SwapCached }},
	{"SwapTotal_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.SwapTotal }},
	{"SwapFree_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.SwapFree }},
	{"Active_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Active }},
	{"Inactive_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Inactive }},
	{"Dirty_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Dirty }},
	{"Writeback_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.WriteBack }},
	{"WritebackTmp_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.WriteBackTmp }},
	{"Mapped_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Mapped }},
	{"Shmem_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Shared }},
	{"Slab_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Slab }},
	{"SReclaimable_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Sreclaimable }},
	{"SUnreclaim_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.Sunreclaim }},
	{"PageTables_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.PageTables }},
	{"CommitLimit_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.CommitLimit }},
	{"Committed_AS_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.CommittedAS }},
	{"VmallocTotal_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.VmallocTotal }},
	{"VmallocUsed_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.VmallocUsed }},
	{"VmallocChunk_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.VmallocChunk }},
	{"AnonHugePages_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.AnonHugePages }},
	{"HugePages_Total", func(m *mem.VirtualMemoryStat) uint64 { return m.HugePagesTotal }},
	{"HugePages_Free", func(m *mem.VirtualMemoryStat) uint64 { return m.HugePagesFree }},
	{"HugePages_Rsvd", func(m *mem.VirtualMemoryStat) uint64 { return m.HugePagesRsvd }},
	{"HugePages_Surp", func(m *mem.VirtualMemoryStat) uint64 { return m.HugePagesSurp }},
	{"Hugepagesize_bytes", func(m *mem.VirtualMemoryStat) uint64 { return m.HugePageSize }},
}

type memory struct{ series []metric.Series }

func newMemory() *memory {
	m := &memory{}
	for _, f := range memoryFields {
		m.series = append(m.series, metric.New("node_memory_"+f.name))
	}
	return m
}

func (m *memory) collect(ctx context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	vm, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, 0, err
	}
	if vm.Total == 0 { // gopsutil hides a meminfo file that is missing or unreadable
		return nil, 0, errors.New("read meminfo: no memory")
	}
	for i, f := range memoryFields {
		dst = append(dst, metric.Sample{Series: m.series[i], Value: float64(f.get(vm))})
	}
	return dst, 0, nil
}
