// Package spool keeps opaque frames in order on the agent's disk, within bounds and through crashes, until they have been delivered.
package spool

import "time"

// Options says where and how much. Zero values mean the defaults given.
type Options struct {
	Dir          string
	MaxBytes     int64         // default 64 MiB, of all segments together
	MaxAge       time.Duration // default 72 h, against the times given to Append
	SegmentBytes int64         // default 1 MiB; a segment is what is dropped at once when MaxBytes is reached
	NoSync       bool          // leave it to the system when appended frames reach the disk; a power loss then loses the last of them
}

// Reason says why frames were lost.
type Reason string

// The reasons.
const (
	Size   Reason = "size"   // MaxBytes was reached
	Age    Reason = "age"    // older than MaxAge
	Damage Reason = "damage" // what was read is not what was written; the rest of a segment after a bad header counts once
	Disk   Reason = "disk"   // the disk was full or failed
)

// Stats is the queue's state, and its losses since Open.
type Stats struct {
	Frames   int
	Bytes    int64 // on disk
	Segments int
	Oldest   time.Time // of the head frame, zero when empty
	Foreign  int       // files in the folder that are not the queue's; they are left alone
	Dropped  map[Reason]uint64
}

// Mark names a frame's place; the marks of later frames are greater.
type Mark struct{ Segment, Offset uint64 }

// Queue is safe for use by several goroutines.
type Queue struct{}

// Open reads the folder, cuts torn tails and goes on where the last Queue ended; the folder is made when it is missing.
func Open(o Options) (*Queue, error) { return &Queue{}, nil }

// Append adds a frame. It makes room by dropping the oldest, and returns an error when the frame itself was not kept.
func (q *Queue) Append(at time.Time, frame []byte) error { return nil }

// Peek is the oldest frame.
func (q *Queue) Peek() (frame []byte, ok bool, err error) { return nil, false, nil }

// Drop removes the frame that Peek returned last, if it is still there.
func (q *Queue) Drop() error { return nil }

// Len is the number of frames.
func (q *Queue) Len() int { return 0 }

// Stats is a snapshot.
func (q *Queue) Stats() Stats { return Stats{} }

// Close makes everything durable. The queue must not be used afterwards.
func (q *Queue) Close() error { return nil }
