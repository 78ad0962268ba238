package uplink

// ledger knows which messages of a stream are settled: durable, or refused. Acknowledgements are cumulative, so one that
// is settled early waits for those before it.
type ledger struct {
	first uint64 // number of open[0]
	open  []int  // what each message still waits for
}

func newLedger() *ledger { return &ledger{first: 1} }

// begin enters the next message, which waits for a number of parts, and returns its number.
func (l *ledger) begin(parts int) uint64 {
	l.open = append(l.open, parts)
	return l.first + uint64(len(l.open)) - 1
}

// settle settles one part of message n, and returns how many messages became acknowledged by it.
func (l *ledger) settle(n uint64) (through int) {
	l.open[n-l.first]--
	for len(l.open) > 0 && l.open[0] <= 0 {
		l.open = l.open[1:]
		l.first++
		through++
	}
	return through
}

// acked is the last message up to which all are settled.
func (l *ledger) acked() uint64 { return l.first - 1 }

func (l *ledger) waiting() int { return len(l.open) }
