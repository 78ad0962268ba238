package tsdb

import "math"

// Bit patterns of values that are no numbers.
const (
	absentBits = 0x7ff8616273656e74
	staleBits  = 0x7ff0000000000002 // as Prometheus marks the end of a series
)

// Absent stands for a value that a row does not have. It is a NaN of a bit pattern of its own, so that other NaN can be kept.
var Absent = math.Float64frombits(absentBits)

// staleMarker ends a series at its time.
var staleMarker = math.Float64frombits(staleBits)

// IsAbsent tells Absent from every other value.
func IsAbsent(v float64) bool { return math.Float64bits(v) == absentBits }

// IsStale tells the marker that ends a series: PromQL finds nothing from its time on, until the next value.
func IsStale(v float64) bool { return math.Float64bits(v) == staleBits }
