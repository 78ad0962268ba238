// Package spool keeps opaque frames in order on the agent's disk, within bounds and through crashes, until they have been delivered.
package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Options says where and how much. Zero values mean the defaults given.
type Options struct {
	Dir          string
	MaxBytes     int64         // default 64 MiB, of all segments together
	MaxAge       time.Duration // default 72 h, against the times given to Append; eight appends in a row must agree, so that one leap of the clock drops nothing
	SegmentBytes int64         // default 1 MiB; a segment is what is dropped at once when MaxBytes is reached
	NoSync       bool          // leave it to the system when appended frames reach the disk; a power loss then loses the last of them
}

// MaxFrame is the longest frame that is accepted, and believed when read.
const MaxFrame = 4 << 20

// leapGuard is how many appends in a row must find the head too old before it is dropped, so that one leap of the
// machine's clock does not empty the queue.
const leapGuard = 8

// Reason says why frames were lost.
type Reason string

// The reasons.
const (
	Size   Reason = "size"   // MaxBytes was reached
	Age    Reason = "age"    // older than MaxAge
	Damage Reason = "damage" // what was read is not what was written; a torn tail counts once
	Disk   Reason = "disk"   // the disk was full or failed
)

// Stats is the queue's state, and its losses since Open; frames that Append refused are the caller's to count.
type Stats struct {
	Frames   int
	Bytes    int64 // on disk
	Segments int
	Oldest   time.Time // of the head frame, zero when empty
	Foreign  int       // files in the folder that are not the queue's; they are left alone
	Dropped  map[Reason]uint64
}

// Mark names a frame's place; marks of later frames are greater.
type Mark struct {
	Segment uint64
	Offset  int64
}

// After says whether m's frame comes later than o's.
func (m Mark) After(o Mark) bool {
	return m.Segment > o.Segment || m.Segment == o.Segment && m.Offset > o.Offset
}

// Frame is a frame and its place.
type Frame struct {
	Mark Mark
	At   time.Time
	Data []byte
}

// ErrTooLarge is returned by Append for a frame that no amount of dropping makes room for.
var ErrTooLarge = errors.New("frame is larger than the spool takes")

// Queue is safe for use by several goroutines.
type Queue struct {
	opts Options
	dir  *os.File
	lock *os.File

	mu      sync.Mutex
	segs    []*segment // oldest first
	w       *os.File   // the last segment, nil when the next frame opens a new one
	r       *os.File   // the segment of id rid, nil when none is open for reading
	rid     uint64
	pos     int64 // of the head frame in segs[0]
	cursor  *os.File
	next    uint64 // id of the next segment
	tail    Mark
	peeked  Mark
	aged    int // appends in a row that found the head too old
	closed  bool
	foreign int
	dropped map[Reason]uint64
}

// Append adds a frame. It makes room by dropping the oldest, and returns an error when the frame itself was not kept.
func (q *Queue) Append(at time.Time, frame []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return os.ErrClosed
	}
	need := int64(headerSize + len(frame))
	if len(frame) > MaxFrame || segmentHead+need > q.opts.MaxBytes {
		return fmt.Errorf("append frame of %d bytes: %w", len(frame), ErrTooLarge)
	}
	q.expire(at)
	for len(q.segs) > 0 && q.bytes()+need+q.rollCost(need) > q.opts.MaxBytes {
		q.dropOldest(Size)
	}
	err := q.write(at, frame)
	if isFull(err) && len(q.segs) > 0 {
		q.dropOldest(Disk)
		err = q.write(at, frame)
	}
	if err != nil {
		return fmt.Errorf("append to spool: %w", err)
	}
	return nil
}

// Tail is the place of the frame appended last.
func (q *Queue) Tail() Mark {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tail
}

// Peek is the oldest frame. Damage is passed over and counted; an error is a trouble of the moment.
func (q *Queue) Peek() (frame []byte, ok bool, err error) {
	frames, err := q.Frames(1, 0)
	if err != nil || len(frames) == 0 {
		return nil, false, err
	}
	q.mu.Lock()
	q.peeked = frames[0].Mark
	q.mu.Unlock()
	return frames[0].Data, true, nil
}

// Frames is the oldest frames in order: at least one when there is one, else at most n, and at most size bytes.
func (q *Queue) Frames(n int, size int64) ([]Frame, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, os.ErrClosed
	}
	h, f, err := q.settle()
	if err != nil || h.length < 0 {
		return nil, err
	}
	out := []Frame{f}
	seg, off := 0, q.pos
	for len(out) < n {
		off, size = off+h.size(), size-h.size()
		for seg < len(q.segs) && off >= q.segs[seg].size {
			seg, off = seg+1, segmentHead
		}
		if seg == len(q.segs) {
			break
		}
		if h, f, err = q.read(q.segs[seg], off); err != nil || h.size() > size {
			break // damage is dealt with when it is the head
		}
		out = append(out, f)
	}
	return out, nil
}

// Drop removes the frame that Peek returned last, if it is still there.
func (q *Queue) Drop() error { return q.DropThrough(q.lastPeeked()) }

func (q *Queue) lastPeeked() Mark {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.peeked
}

// DropThrough removes the frame at m and all before it. Frames that are gone already are no error.
func (q *Queue) DropThrough(m Mark) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return os.ErrClosed
	}
	for len(q.segs) > 0 && !(Mark{q.segs[0].id, q.pos}).After(m) {
		s := q.segs[0]
		if q.pos < s.size && s.id == m.Segment {
			h, err := q.header(s, q.pos)
			if err != nil {
				break // settle counts it
			}
			q.pos += h.size()
			s.frames--
		} else {
			q.pos, s.frames = s.size, 0
		}
		if q.pos < s.size {
			continue
		}
		if err := q.removeHead(); err != nil {
			return err
		}
	}
	return q.saveCursor()
}

// Len is the number of frames.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frames()
}

func (q *Queue) frames() (n int) {
	for _, s := range q.segs {
		n += s.frames
	}
	return n
}

func (q *Queue) bytes() (n int64) {
	for _, s := range q.segs {
		n += s.size
	}
	return n
}

// Stats is a snapshot.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	st := Stats{Frames: q.frames(), Bytes: q.bytes(), Segments: len(q.segs), Foreign: q.foreign, Dropped: make(map[Reason]uint64)}
	for r, n := range q.dropped {
		st.Dropped[r] = n
	}
	if at, ok := q.headTime(); ok {
		st.Oldest = at
	}
	return st
}

// Close makes everything durable. The queue must not be used afterwards.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	err := errors.Join(q.seal(), q.saveCursor(), q.cursor.Sync())
	q.closeReader()
	return errors.Join(err, q.cursor.Close(), q.dir.Close(), q.lock.Close())
}

// expire drops the frames at the head that are older than MaxAge.
func (q *Queue) expire(at time.Time) {
	limit := at.Add(-q.opts.MaxAge)
	head, ok := q.headTime()
	if !ok || !head.Before(limit) {
		q.aged = 0
		return
	}
	if q.aged++; q.aged < leapGuard {
		return
	}
	for ok && head.Before(limit) {
		s := q.segs[0]
		h, err := q.header(s, q.pos)
		if err != nil {
			break
		}
		q.pos += h.size()
		s.frames--
		q.dropped[Age]++
		if q.pos >= s.size && q.removeHead() != nil {
			break
		}
		head, ok = q.headTime()
	}
	_ = q.saveCursor() // losing it only brings old frames back
}

// headTime is the time of the head frame; a head that cannot be read has none.
func (q *Queue) headTime() (time.Time, bool) {
	if len(q.segs) == 0 || q.pos >= q.segs[0].size {
		return time.Time{}, false
	}
	h, err := q.header(q.segs[0], q.pos)
	return h.at, err == nil
}

// settle moves the head over what cannot be read, counting it, and returns the head frame; of an empty queue, a length of -1.
func (q *Queue) settle() (header, Frame, error) {
	for len(q.segs) > 0 {
		s := q.segs[0]
		if q.pos >= s.size {
			if err := q.removeHead(); err != nil {
				return header{}, Frame{}, err
			}
			continue
		}
		h, f, err := q.read(s, q.pos)
		switch {
		case err == nil:
			return h, f, nil
		case errors.Is(err, errPayload):
			q.dropped[Damage]++
			q.pos += h.size()
			s.frames--
		case errors.Is(err, errHeader):
			q.dropped[Damage] += uint64(max(s.frames, 1))
			q.pos, s.frames = s.size, 0
		default:
			return header{}, Frame{}, fmt.Errorf("read spool segment %d: %w", s.id, err)
		}
	}
	return header{length: -1}, Frame{}, nil
}
