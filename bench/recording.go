package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"xunjian/pkg/metric"
	hour "xunjian/pkg/recording"
)

// recording is an hour of a host, or some series of it.
type recording struct {
	series []metric.Series
	rows   [][]float64
	rising []float64 // by series: 0, or for one that never falls what makes its values whole numbers
}

func readRecording() (recording, error) {
	hour, err := hour.Load()
	r := recording{series: hour.Series, rows: hour.Rows}
	r.findRising()
	return r, err
}

// turn is what a simulated agent reads at a tick: the recording runs round and round, and starts elsewhere for each agent.
func (r *recording) turn(agent, tick int) []float64 {
	const stride = 37 // rows between neighbours; no divisor of the rows there are
	return r.rows[(tick+agent*stride)%len(r.rows)]
}

func (r *recording) findRising() {
	for c := range r.series {
		up, scale := true, 1.0
		for i := 1; i < len(r.rows) && up; i++ {
			up = r.rows[i][c] >= r.rows[i-1][c]
			for v := r.rows[i][c]; scale < 1e6 && math.Round(v*scale)/scale != v; {
				scale *= 10
			}
		}
		if !up {
			scale = 0
		}
		r.rising = append(r.rising, scale)
	}
}

// pick is the recording with some of its series only.
func (r recording) pick(want ...string) (out recording) {
	var columns []int
	for i, s := range r.series {
		if slices.Contains(want, s.String()) {
			columns, out.series, out.rising = append(columns, i), append(out.series, s), append(out.rising, r.rising[i])
		}
	}
	for _, row := range r.rows {
		var some []float64
		for _, c := range columns {
			some = append(some, row[c])
		}
		out.rows = append(out.rows, some)
	}
	return out
}

const step = 15 * time.Second

// dataset replays the recording as many hosts, each at another phase of it.
type dataset struct {
	recording
	name   string
	hosts  int
	ticks  int
	first  time.Time // of tick 0
	stride int       // rows of the recording that pass in a tick
	jitter int64     // ms by which a stamp may come late
}

func (d dataset) samples() int { return d.hosts * d.ticks * len(d.series) }

// stamp is the time of a host's row in ms; the same host and tick always have the same.
func (d dataset) stamp(host, tick int) int64 {
	at := d.first.UnixMilli() + int64(tick)*step.Milliseconds()
	if d.jitter > 0 {
		at += rand.New(rand.NewPCG(uint64(host), uint64(tick))).Int64N(d.jitter + 1)
	}
	return at
}

// row appends what a host reads at a tick. The recording runs forward and back, and starts elsewhere for each host; where
// a tick takes several rows, hosts also differ in which of them they see. A day must not hold the same rows twice:
// no real one does, and zstd would find them. Counters go on rising while it runs back, by the differences of then.
func (d dataset) row(dst []float64, host, tick int) []float64 {
	turn := len(d.rows) / d.stride
	at := tick + host*turn/d.hosts
	lap, at := at/(2*turn), at%(2*turn)
	back := at >= turn
	if back {
		at = 2*turn - 1 - at
	}
	offset := host % d.stride
	end := d.rows[(turn-1)*d.stride+offset]
	for c, v := range d.rows[at*d.stride+offset] {
		if scale := d.rising[c]; scale > 0 {
			first, last := d.rows[offset][c], end[c]
			whole := math.Round(v * scale)
			if back {
				whole = 2*math.Round(last*scale) - whole
			}
			v = (whole + float64(lap)*2*math.Round((last-first)*scale)) / scale
		}
		dst = append(dst, v)
	}
	return dst
}

func (d dataset) host(i int) string { return fmt.Sprintf("host-%04d", i) }

// owned are the labels that each series of a host has besides its own.
func (d dataset) owned(host int) []metric.Label {
	return []metric.Label{{Name: "instance", Value: d.host(host)}, {Name: "job", Value: "node"}}
}
