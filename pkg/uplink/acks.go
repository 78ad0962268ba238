package uplink

// ledger knows which messages of a stream are settled: durable, or refused. Acknowledgements are cumulative, so one that
// is settled early waits for those before it.
type ledger struct {
	first uint64 // number of open[0]
	open  []owed
	gap   uint64 // the first message that was read and not stored, 0 for none: it and those after it are never acknowledged here
}

// owed is what a message still waits for, and what it holds until then.
type owed struct {
	parts int
	load  load
}

func newLedger() *ledger { return &ledger{first: 1} }

// begin enters the next message, which waits for a number of parts, and returns its number.
func (l *ledger) begin(parts int, holds load) uint64 {
	l.open = append(l.open, owed{parts, holds})
	return l.first + uint64(len(l.open)) - 1
}

// settle settles one part of message n. It returns what the message holds when that was its last part, and how many
// messages became acknowledged by it.
func (l *ledger) settle(n uint64) (free load, through int) {
	m := &l.open[n-l.first]
	if m.parts--; m.parts == 0 {
		free, m.load = m.load, load{}
	}
	for len(l.open) > 0 && l.open[0].parts <= 0 {
		l.open = l.open[1:]
		l.first++
		through++
	}
	return free, through
}

// abandon is what all messages hold that will never be settled.
func (l *ledger) abandon() (held []load) {
	for i := range l.open {
		held = append(held, l.open[i].load)
		l.open[i].load = load{}
	}
	return held
}

// miss notes that message n, which is not settled yet, will not be stored.
func (l *ledger) miss(n uint64) {
	if l.gap == 0 || n < l.gap {
		l.gap = n
	}
}

// acked is the last message up to which all are settled and none was missed.
func (l *ledger) acked() uint64 {
	if l.gap > 0 {
		return min(l.first, l.gap) - 1
	}
	return l.first - 1
}

func (l *ledger) waiting() int { return len(l.open) }
