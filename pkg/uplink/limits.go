package uplink

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// What one message, schema or result may hold at most. Both ends know the same numbers.
const (
	defaultMaxMessage  = 1 << 20
	maxUnpacked        = 4 << 20  // of one spool frame
	maxMessageUnpacked = 16 << 20 // of all frames of a message
	maxFrames          = 4096     // of one message
	maxFields          = 100_000  // of one message, all levels together
	maxSamples         = 100_000  // of one message or frame: a report of no bytes can stand for thousands
	maxIDs             = 1024     // schemas of a stream, and subjects
	maxLabels          = 64
	maxName            = 128 // bytes of a metric's or label's name, or a kind
	maxLabelValue      = 128 // bytes
	maxTarget          = 2048
	maxReason          = 1024
	maxAttempts        = 16
	maxPhases          = 16
	maxSteps           = 64 // of an attempt
	maxFindings        = 32 // of an attempt
	maxAgain           = 64
	maxEvery           = 7 * 24 * time.Hour
)

// fault is why a message is refused. A broken one leaves the ends with different histories, so that the stream must end.
type fault struct {
	reason string // of a fixed set, for counting
	detail string
	broken bool
	raw    []byte // what the fault is in, when it is not the whole message
}

func (f *fault) Error() string { return f.reason + ": " + f.detail }

// The reasons.
const (
	faultProtobuf = "malformed"       // not the protobuf message that it should be
	faultSize     = "too_large"       // longer than MaxMessage, or than maxUnpacked when unpacked
	faultValues   = "bad_values"      // a row that the column code cannot read
	faultSchema   = "unknown_schema"  // an id that was never defined
	faultSeries   = "too_many_series" // more than MaxSeries or maxIDs
	faultLabel    = "bad_label"       // too long, too many, out of order, not UTF-8
	faultTime     = "bad_time"        // a time no clock shows
	faultResult   = "bad_result"      // a result that says nothing that can be understood
	faultFrame    = "bad_frame"       // a spool frame that cannot be unpacked
	faultPanic    = "panic"           // the receiver panicked
	faultReceiver = "receiver"        // the receiver said no
)

func faultf(reason, format string, args ...any) *fault {
	return &fault{reason: reason, detail: fmt.Sprintf(format, args...)}
}

// text is b as a string when it is UTF-8 and not longer than limit.
func text(what string, b []byte, limit int) (string, error) {
	if len(b) > limit {
		return "", fmt.Errorf("%s of %d bytes, at most %d are taken: %.40q…", what, len(b), limit, b)
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%s is not UTF-8: %.40q", what, b)
	}
	return string(b), nil
}

// firstFault keeps the first fault, but tells of a broken one before all others.
func firstFault(a, b *fault) *fault {
	if a == nil || b != nil && b.broken && !a.broken {
		return b
	}
	return a
}

// clip shortens what a peer said before it is shown or logged.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
