package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A segment is a file of the magic and then frames, each a header and its bytes. A header is, in big endian:
// length (4), time in ms (8), CRC32C of the bytes (4), CRC32C of the segment's id, the offset and the 16 bytes before (4).
// With a sum of its own the header of a spoilt frame still leads to the next one.
const (
	magic       = "XJSPOOL1"
	segmentHead = int64(len(magic))
	headerSize  = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errHeader ends a segment, errPayload only a frame.
var (
	errHeader  = errors.New("bad frame header")
	errPayload = errors.New("bad frame checksum")
)

type segment struct {
	id     uint64
	size   int64 // of the sound part
	frames int   // not yet dropped
}

// header is what stands before a frame's bytes.
type header struct {
	mark   Mark
	at     time.Time
	length int64
	sum    uint32 // of the bytes
}

// size is that of the header and the bytes behind it.
func (h header) size() int64 { return headerSize + h.length }

func (q *Queue) path(id uint64) string { return filepath.Join(q.opts.Dir, segmentName(id)) }

func segmentName(id uint64) string { return fmt.Sprintf("%016x.seg", id) }

// maxID keeps ids far from overflow, whatever a file's name or a damaged cursor says.
const maxID = 1 << 62

// segmentID is the id in a segment's file name.
func segmentID(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ".seg")
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, ok && err == nil && id < maxID && segmentName(id) == name
}

func headerSum(m Mark, head []byte) uint32 {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:], m.Segment)
	binary.BigEndian.PutUint64(place[8:], uint64(m.Offset))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, head)
}

func encodeFrame(m Mark, at time.Time, frame []byte) []byte {
	b := make([]byte, 0, headerSize+len(frame))
	b = binary.BigEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(frame, castagnoli))
	b = binary.BigEndian.AppendUint32(b, headerSum(m, b))
	return append(b, frame...)
}

func parseHeader(m Mark, b []byte) (header, error) {
	h := header{
		mark:   m,
		length: int64(binary.BigEndian.Uint32(b)),
		at:     time.UnixMilli(int64(binary.BigEndian.Uint64(b[4:]))).UTC(),
		sum:    binary.BigEndian.Uint32(b[12:]),
	}
	if headerSum(m, b[:16]) != binary.BigEndian.Uint32(b[16:]) || h.length > MaxFrame {
		return header{}, errHeader
	}
	return h, nil
}

// header reads the header at off.
func (q *Queue) header(s *segment, off int64) (header, error) {
	r, err := q.reader(s.id)
	if err != nil {
		return header{}, err
	}
	var b [headerSize]byte
	if _, err := r.ReadAt(b[:], off); err != nil {
		return header{}, readFault(err)
	}
	h, err := parseHeader(Mark{s.id, off}, b[:])
	if err == nil && off+h.size() > s.size {
		err = errHeader
	}
	return h, err
}

// read reads the frame at off. With errPayload the header is sound and the bytes are not.
func (q *Queue) read(s *segment, off int64) (header, Frame, error) {
	h, err := q.header(s, off)
	if err != nil {
		return h, Frame{}, err
	}
	data := make([]byte, h.length)
	if _, err := q.r.ReadAt(data, off+headerSize); err != nil {
		return h, Frame{}, readFault(err)
	}
	if crc32.Checksum(data, castagnoli) != h.sum {
		return h, Frame{}, errPayload
	}
	return h, Frame{Mark: h.mark, At: h.at, Data: data}, nil
}

// readFault tells damage, which the queue goes on after, from troubles of the moment, such as too many open files.
func readFault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", errHeader, err)
	}
	return err
}

func (q *Queue) reader(id uint64) (*os.File, error) {
	if q.r != nil && q.rid == id {
		return q.r, nil
	}
	f, err := os.Open(q.path(id))
	if err != nil {
		return nil, readFault(err)
	}
	q.closeReader()
	q.r, q.rid = f, id
	return f, nil
}

func (q *Queue) closeReader() {
	if q.r != nil {
		q.r.Close()
		q.r = nil
	}
}

// rollCost is what a new segment adds when a frame of this size does not fit the present one.
func (q *Queue) rollCost(need int64) int64 {
	if q.w != nil && q.segs[len(q.segs)-1].size+need <= q.opts.SegmentBytes {
		return 0
	}
	return segmentHead
}

// write puts a frame behind the last one and makes it durable; after an error nothing of it is left.
func (q *Queue) write(at time.Time, frame []byte) error {
	if q.rollCost(int64(headerSize+len(frame))) > 0 {
		if err := q.roll(); err != nil {
			return err
		}
	}
	s := q.segs[len(q.segs)-1]
	m := Mark{s.id, s.size}
	buf := encodeFrame(m, at, frame)
	_, err := q.w.WriteAt(buf, s.size)
	if err == nil && !q.opts.NoSync {
		err = q.w.Sync()
	}
	if err != nil {
		q.abandon(s)
		return err
	}
	s.size += int64(len(buf))
	s.frames++
	q.tail = m
	return nil
}

// abandon takes back a frame that may be half written and never writes to its segment again: after a failed sync
// nobody knows what of the file is on disk.
func (q *Queue) abandon(s *segment) {
	_ = q.w.Truncate(s.size) // if it fails too, Open cuts the tail at its checksum
	q.w.Close()
	q.w = nil
	if s.size == segmentHead {
		q.segs = q.segs[:len(q.segs)-1]
		os.Remove(q.path(s.id))
	}
}

// roll seals the present segment and begins the next one.
func (q *Queue) roll() error {
	if err := q.seal(); err != nil {
		return err
	}
	id := q.next
	f, err := os.OpenFile(q.path(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	q.next++
	_, err = f.WriteString(magic)
	if err == nil {
		err = q.dir.Sync()
	}
	if err != nil {
		f.Close()
		os.Remove(q.path(id))
		return err
	}
	if len(q.segs) == 0 {
		q.pos = segmentHead
	}
	q.w, q.segs = f, append(q.segs, &segment{id: id, size: segmentHead})
	return nil
}

func (q *Queue) seal() error {
	if q.w == nil {
		return nil
	}
	err := errors.Join(q.w.Sync(), q.w.Close())
	q.w = nil
	return err
}

// dropOldest gives up the oldest segment with all that is unread in it.
func (q *Queue) dropOldest(why Reason) {
	q.dropped[why] += uint64(q.segs[0].frames)
	_ = q.removeHead() // a file that stays is found again by Open and dropped by the cursor
	_ = q.saveCursor()
}

// removeHead takes the first segment away.
func (q *Queue) removeHead() error {
	s := q.segs[0]
	if len(q.segs) == 1 && q.w != nil {
		q.w.Close() // nothing in it is wanted any more
		q.w = nil
	}
	if q.r != nil && q.rid == s.id {
		q.closeReader()
	}
	q.segs, q.pos = q.segs[1:], segmentHead
	if err := os.Remove(q.path(s.id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove spool segment: %w", err)
	}
	return q.dir.Sync()
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
