package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// thrifty keeps the heap within an eighth to a third more than what is in use, unless the environment says otherwise. Open blocks and
// connections are most of what is in use, they last for an hour and for days, and next to nothing is thrown away for each
// report: collecting three times as often costs a few per cent of the processor and spares a third of the memory. A small
// heap may grow by more: a query of a dashboard would else be collected for many times over. It looks every second, for what
// is thrown away while a thousand agents connect lies between what stays, and leaves holes for good that nothing fits into.
func thrifty(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	last := 0
	for tick := time.NewTicker(time.Second); ; {
		metrics.Read(sample)
		if percent := heapPercent(sample[0].Value.Uint64()); percent != last {
			debug.SetGCPercent(percent)
			last = percent
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// heapPercent is how much may be thrown away before it is collected, as a share of what is in use: 16 MiB at most as long as
// that is more than an eighth. What is beyond the heap of a thousand agents takes long to look through, but what thousands
// of agents throw away fills an eighth of it no more than a few times a minute. It moves in steps, for each change stops
// the program for a moment.
func heapPercent(live uint64) int {
	const most = 16 << 20
	for _, percent := range []int{400, 200, 100, 50, 33, 25, 18} {
		if live*uint64(percent)/100 <= most {
			return percent
		}
	}
	return 12
}
