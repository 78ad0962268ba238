package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	lockName   = "lock"
	cursorName = "cursor"
	cursorSize = 20
)

// Open reads the folder, cuts torn tails and goes on where the last Queue ended; the folder is made when it is missing.
func Open(o Options) (*Queue, error) {
	q := &Queue{opts: o.withDefaults(), dropped: make(map[Reason]uint64), next: 1, pos: segmentHead}
	if err := q.open(); err != nil {
		q.closeFiles()
		return nil, fmt.Errorf("open spool %s: %w", o.Dir, err)
	}
	return q, nil
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 72 * time.Hour
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 1 << 20
	}
	o.SegmentBytes = min(o.SegmentBytes, max(o.MaxBytes/8, 1<<10)) // so that one segment is never most of the queue
	return o
}

func (q *Queue) open() (err error) {
	if err := os.MkdirAll(q.opts.Dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(filepath.Clean(q.opts.Dir))); err != nil {
		return err
	}
	if q.dir, err = os.Open(q.opts.Dir); err != nil {
		return err
	}
	if q.lock, err = lockFile(filepath.Join(q.opts.Dir, lockName)); err != nil {
		return err
	}
	if q.cursor, err = os.OpenFile(filepath.Join(q.opts.Dir, cursorName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := q.load(); err != nil {
		return err
	}
	for len(q.segs) > 0 && q.bytes() > q.opts.MaxBytes {
		q.dropOldest(Size)
	}
	return errors.Join(q.resume(), q.saveCursor(), q.dir.Sync())
}

// load finds the segments and the place to go on.
func (q *Queue) load() error {
	ids, err := q.list()
	if err != nil {
		return err
	}
	at, ok := q.loadCursor()
	if ok {
		q.next = max(q.next, at.Segment+1)
	}
	for _, id := range ids {
		q.next = max(q.next, id+1)
		if ok && id < at.Segment {
			os.Remove(q.path(id)) // delivered; the cursor went on before the file was removed
			continue
		}
		from := segmentHead
		if ok && id == at.Segment {
			from = at.Offset
		}
		if err := q.adopt(id, from); err != nil {
			return err
		}
	}
	return nil
}

// list is the ids of the segments, oldest first. Whatever else lies in the folder is counted and left alone.
func (q *Queue) list() ([]uint64, error) {
	entries, err := os.ReadDir(q.opts.Dir)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, e := range entries {
		id, ok := segmentID(e.Name())
		switch {
		case ok && e.Type().IsRegular():
			ids = append(ids, id)
		case e.Name() != lockName && e.Name() != cursorName:
			q.foreign++
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// adopt takes over a segment of an earlier queue, from offset from on, and cuts it at the first bad header.
func (q *Queue) adopt(id uint64, from int64) error {
	path := q.path(id)
	found, err := scan(path, id, from)
	if err != nil {
		return fmt.Errorf("scan segment %d: %w", id, err)
	}
	if found.foreign {
		q.foreign++
		return nil
	}
	if !found.whole {
		q.dropped[Damage]++
		if err := truncate(path, found.size); err != nil {
			return err
		}
	}
	if found.frames == 0 {
		return os.Remove(path)
	}
	if len(q.segs) == 0 {
		q.pos = found.start
	}
	q.segs = append(q.segs, &segment{id: id, size: found.size, frames: found.frames})
	return nil
}

type scanned struct {
	size    int64 // of the sound part
	start   int64 // of the first frame not before the place asked for
	frames  int   // from start on
	whole   bool  // nothing was behind the sound part
	foreign bool  // another version, or not a segment at all
}

// scan walks a segment's headers. A file that ends within its magic is a segment that never held a frame.
func scan(path string, id uint64, from int64) (scanned, error) {
	f, err := os.Open(path)
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var word [len(magic)]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return scanned{whole: true}, onlyRealErrors(err)
	}
	s := scanned{size: segmentHead}
	err = s.walk(r, id, from)
	last := len(magic) - 1
	s.foreign = word[last] != magic[last] || string(word[:]) != magic && s.size == segmentHead
	return s, err
}

func (s *scanned) walk(r *bufio.Reader, id uint64, from int64) error {
	var b [headerSize]byte
	for {
		if n, err := io.ReadFull(r, b[:]); err != nil {
			s.whole = n == 0
			return onlyRealErrors(err)
		}
		h, err := parseHeader(Mark{id, s.size}, b[:])
		if err != nil { // damage ends the walk; what stands before it is whole
			return nil //nolint:nilerr
		}
		if _, err := r.Discard(int(h.length)); err != nil {
			return onlyRealErrors(err)
		}
		if s.size >= from {
			if s.frames == 0 {
				s.start = s.size
			}
			s.frames++
		}
		s.size += h.size()
	}
}

func onlyRealErrors(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// resume appends to the last segment again, so that restarts do not leave a file each.
func (q *Queue) resume() (err error) {
	if len(q.segs) == 0 {
		return nil
	}
	last := q.segs[len(q.segs)-1]
	q.tail = Mark{Segment: last.id}
	q.w, err = os.OpenFile(q.path(last.id), os.O_RDWR, 0)
	return err
}

func truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// saveCursor writes the place of the head. It is not synced: an older place brings frames again, which is harmless.
func (q *Queue) saveCursor() error {
	at := Mark{q.next - 1, 0}
	if len(q.segs) > 0 {
		at = Mark{q.segs[0].id, q.pos}
	}
	b := make([]byte, 0, cursorSize)
	b = binary.BigEndian.AppendUint64(b, at.Segment)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Offset))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := q.cursor.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write spool cursor: %w", err)
	}
	return nil
}

func (q *Queue) loadCursor() (Mark, bool) {
	var b [cursorSize]byte
	if _, err := q.cursor.ReadAt(b[:], 0); err != nil {
		return Mark{}, false
	}
	m := Mark{binary.BigEndian.Uint64(b[:]), int64(binary.BigEndian.Uint64(b[8:]))}
	return m, m.Segment < maxID && crc32.Checksum(b[:16], castagnoli) == binary.BigEndian.Uint32(b[16:])
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process uses this spool: %w", err)
	}
	return f, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (q *Queue) closeFiles() {
	for _, f := range []*os.File{q.dir, q.lock, q.cursor, q.r, q.w} {
		if f != nil {
			f.Close()
		}
	}
}
