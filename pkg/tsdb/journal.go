package tsdb

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"
)

// A commit writes its records as one group under rising keys. Each record has a number of its own; a group of
// small ones holds each under the key that is its number, others are compressed and cut into pieces:
//
//	single: 1, record, CRC32C over key and all of this
//	first:  2, u32 length of all pieces, u32 CRC32C over key and all pieces, u32 records, bytes
//	next:   3, bytes
//
// A big value would make bbolt rewrite its neighbours with every commit, so no value reaches 1 KiB.
const (
	valueSingle = iota + 1
	valueFirst
	valueNext
)

const (
	maxSingle     = 980 // bytes of a record that may stand alone
	maxPiece      = 980
	zipAbove      = 8 // records; above, compressing pays: a page fewer to write is worth 30 µs
	firstHeader   = 13
	maxGroupBytes = 64 << 20 // of a group that is read back
	bucketShift   = 14       // 16,384 keys a bucket
)

// The kinds of record.
const (
	kindRow    = iota + 1
	kindSeen   // a report that was refused: only that it was done with
	kindStream // what a stream number stands for
	kindSchema // what a schema number stands for
)

// Versions of a record. In the first, every NaN of a row was an absent value.
const (
	journalVersion = 2
	journalAnyNaN  = 1
)

var errJournal = fmt.Errorf("journal: %w", ErrCorrupt)

// record is one thing to be remembered. Only the fields of its kind are set.
type record struct {
	kind      byte
	stream    uint32
	lane      byte
	boot, seq uint64
	ms        int64
	schema    uint32
	values    []float64
	agent     string
	body      []byte // JSON of a definition
}

func (r record) append(b []byte) []byte {
	b = append(b, journalVersion, r.kind)
	le := binary.LittleEndian
	switch r.kind {
	case kindRow:
		b = le.AppendUint32(b, r.stream)
		b = append(b, r.lane)
		b = le.AppendUint64(b, r.boot)
		b = le.AppendUint64(b, r.seq)
		b = le.AppendUint64(b, uint64(r.ms))
		b = le.AppendUint32(b, r.schema)
		for _, v := range r.values {
			b = le.AppendUint64(b, math.Float64bits(v))
		}
	case kindSeen:
		b = le.AppendUint64(b, r.boot)
		b = le.AppendUint64(b, r.seq)
		b = append(b, r.agent...)
	case kindStream:
		b = le.AppendUint32(b, r.stream)
		b = append(b, r.body...)
	case kindSchema:
		b = le.AppendUint32(b, r.schema)
		b = append(b, r.body...)
	}
	return b
}

func parseRecord(b []byte) (record, error) {
	r := &reader{b: b}
	version := r.u8()
	out := record{kind: r.u8()}
	if version > journalVersion {
		return out, fmt.Errorf("journal record version %d, this program knows up to %d: %w", version, journalVersion, ErrNewer)
	}
	switch out.kind {
	case kindRow:
		out.stream, out.lane = r.u32(), r.u8()
		out.boot, out.seq, out.ms = r.u64(), r.u64(), int64(r.u64())
		out.schema = r.u32()
		if len(r.b)%8 != 0 || out.lane >= laneCount {
			r.fail()
		}
		out.values = make([]float64, len(r.b)/8)
		for i := range out.values {
			out.values[i] = math.Float64frombits(r.u64())
			if version <= journalAnyNaN && math.IsNaN(out.values[i]) {
				out.values[i] = Absent
			}
		}
	case kindSeen:
		out.boot, out.seq = r.u64(), r.u64()
		out.agent = string(r.b)
	case kindStream:
		out.stream = r.u32()
		out.body = r.b
	case kindSchema:
		out.schema = r.u32()
		out.body = r.b
	default:
		r.fail()
	}
	if r.bad || version < journalAnyNaN {
		return out, fmt.Errorf("record of kind %d: %w", out.kind, errJournal)
	}
	return out, nil
}

// define fills in a record that says what a number stands for.
func (r record) define(v any) (record, error) {
	var err error
	if r.body, err = json.Marshal(v); err != nil {
		return r, fmt.Errorf("define: %w", err)
	}
	return r, nil
}

// journalWriter lays out groups; it is not for concurrent use.
type journalWriter struct {
	next uint64 // number of the next record, and key of the next value
	zip  *zstd.Encoder
	ends []int

	// What is in these is of use until the next group is laid out.
	buf, framed, packed, cut []byte
	values                   []value
}

func newJournalWriter(next uint64) (*journalWriter, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	return &journalWriter{next: next, zip: z}, err
}

// value is a key of the journal with what it is to hold.
type value struct {
	key  uint64
	body []byte
}

// layOut turns records into values. Record i has the number first+i; where they were compressed, all of
// them need the key first. The writer's next number moves behind both.
func (w *journalWriter) layOut(records []record) (values []value, first uint64, zipped bool) {
	first = w.next
	w.buf, w.ends = w.buf[:0], w.ends[:0]
	longest, at := 0, 0
	for _, r := range records {
		w.buf = r.append(w.buf)
		longest, at = max(longest, len(w.buf)-at), len(w.buf)
		w.ends = append(w.ends, at)
	}
	if zipped = len(records) > zipAbove || longest > maxSingle; zipped {
		values = w.pieces(first)
	} else {
		values = w.singles(first)
	}
	w.next += uint64(max(len(records), len(values)))
	return values, first, zipped
}

func (w *journalWriter) singles(first uint64) []value {
	values := make([]value, len(w.ends))
	at := 0
	for i, end := range w.ends {
		v := append(make([]byte, 0, end-at+5), valueSingle)
		v = append(v, w.buf[at:end]...)
		key := first + uint64(i)
		values[i] = value{key, binary.LittleEndian.AppendUint32(v, checksum(key64(key), v))}
		at = end
	}
	return values
}

func (w *journalWriter) pieces(first uint64) (values []value) {
	framed := slices.Grow(w.framed[:0], len(w.buf)+3*len(w.ends))
	at := 0
	for _, end := range w.ends {
		framed = binary.AppendUvarint(framed, uint64(end-at))
		framed = append(framed, w.buf[at:end]...)
		at = end
	}
	packed := w.zip.EncodeAll(framed, w.packed[:0])
	w.framed, w.packed, values = framed, packed, w.values[:0]
	w.cut = slices.Grow(w.cut[:0], (len(packed)/(maxPiece-firstHeader)+1)*maxPiece) // pieces lie in it one after the other
	for i := 0; len(packed) > 0; i++ {
		v := w.cut[i*maxPiece : i*maxPiece : (i+1)*maxPiece]
		if i == 0 {
			v = append(v, valueFirst)
			v = binary.LittleEndian.AppendUint32(v, uint32(len(packed)))
			v = binary.LittleEndian.AppendUint32(v, checksum(key64(first), packed))
			v = binary.LittleEndian.AppendUint32(v, uint32(len(w.ends)))
		} else {
			v = append(v, valueNext)
		}
		n := min(maxPiece-len(v), len(packed))
		values = append(values, value{first + uint64(i), append(v, packed[:n]...)})
		packed = packed[n:]
	}
	w.values = values
	return values
}

// putGroup writes the values of one group. A group stays in the bucket of its first key, even when it runs
// over that bucket's end.
func putGroup(tx *bolt.Tx, values []value) error {
	b, err := tx.Bucket(bucketJournal).CreateBucketIfNotExists(key64(values[0].key >> bucketShift))
	if err != nil {
		return fmt.Errorf("journal bucket: %w", err)
	}
	b.FillPercent = 1 // keys only rise
	for _, v := range values {
		if err := b.Put(key64(v.key), v.body); err != nil {
			return fmt.Errorf("journal key %d: %w", v.key, err)
		}
	}
	return nil
}

// cutAtOnce bounds the work of one transaction, which acks wait for.
const cutAtOnce = 8

// doneBuckets finds the oldest buckets whose last key lies below keep, at most so many.
func doneBuckets(tx *bolt.Tx, keep uint64, most int) (done [][]byte) {
	top := tx.Bucket(bucketJournal)
	c := top.Cursor()
	for k, _ := c.First(); k != nil && len(done) < most; k, _ = c.Next() {
		// the last key, not the bucket's number: its last group may have run over its end
		if last, _ := top.Bucket(k).Cursor().Last(); last != nil && binary.BigEndian.Uint64(last) >= keep {
			break
		}
		done = append(done, k)
	}
	return done
}

// cutJournal drops the buckets that nothing from keep on needs, at most cutAtOnce of them.
func cutJournal(tx *bolt.Tx, keep uint64) (dropped int, err error) {
	done := doneBuckets(tx, keep, cutAtOnce)
	for _, k := range done {
		if err := tx.Bucket(bucketJournal).DeleteBucket(k); err != nil {
			return 0, fmt.Errorf("cut journal bucket %x: %w", k, err)
		}
	}
	return len(done), nil
}

// journalReader walks the groups of a journal in order.
type journalReader struct {
	unzip   *zstd.Decoder
	fn      func(number, keep uint64, r record) error
	last    uint64 // the newest number or key met
	dropped int    // groups without their last pieces: never acked

	first   uint64 // of the group in hand
	pending []byte
	want    int
	sum     uint32
	count   int
}

func readJournal(tx *bolt.Tx, fn func(number, keep uint64, r record) error) (*journalReader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxGroupBytes))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	jr := &journalReader{unzip: z, fn: fn}
	top := tx.Bucket(bucketJournal)
	if top == nil {
		return nil, fmt.Errorf("no bucket: %w", errJournal)
	}
	err = top.ForEachBucket(func(k []byte) error { return top.Bucket(k).ForEach(jr.value) })
	if jr.want > 0 {
		jr.dropped++
	}
	return jr, err
}

func (j *journalReader) value(k, v []byte) error {
	if len(k) != 8 || len(v) < 2 {
		return fmt.Errorf("key %x: %w", k, errJournal)
	}
	key := binary.BigEndian.Uint64(k)
	if v[0] != valueNext && j.want > 0 {
		// only the very last group may be torn, for every commit is whole or not there
		return fmt.Errorf("key %d: the group before lacks its end: %w", key, errJournal)
	}
	j.last = max(j.last, key)
	switch {
	case v[0] == valueSingle && len(v) > 5:
		return j.single(key, v)
	case v[0] == valueFirst && len(v) > firstHeader:
		r := &reader{b: v[1:]}
		j.first, j.want, j.sum, j.count, j.pending = key, int(r.u32()), r.u32(), int(r.u32()), nil
		return j.piece(key, r.b)
	case v[0] == valueNext && j.want > 0:
		return j.piece(key, v[1:])
	}
	return fmt.Errorf("key %d: kind %d of %d bytes: %w", key, v[0], len(v), errJournal)
}

func (j *journalReader) single(key uint64, v []byte) error {
	body := v[:len(v)-4]
	if checksum(key64(key), body) != binary.LittleEndian.Uint32(v[len(v)-4:]) {
		return fmt.Errorf("key %d: checksum: %w", key, errJournal)
	}
	r, err := parseRecord(body[1:])
	if err != nil {
		return fmt.Errorf("key %d: %w", key, err)
	}
	return j.fn(key, key, r)
}

func (j *journalReader) piece(key uint64, b []byte) error {
	j.pending = append(j.pending, b...)
	if len(j.pending) < j.want {
		return nil
	}
	if len(j.pending) > j.want || checksum(key64(j.first), j.pending) != j.sum {
		return fmt.Errorf("group %d to %d: checksum: %w", j.first, key, errJournal)
	}
	j.want = 0
	plain, err := j.unzip.DecodeAll(j.pending, nil)
	if err != nil {
		return fmt.Errorf("group %d: %w: %w", j.first, errJournal, err)
	}
	return j.group(plain)
}

func (j *journalReader) group(plain []byte) error {
	r := &reader{b: plain}
	for i := range j.count {
		body := r.bytes(r.count(len(r.b)))
		if r.bad {
			return fmt.Errorf("group %d: record %d: %w", j.first, i, errJournal)
		}
		rec, err := parseRecord(body)
		if err != nil {
			return fmt.Errorf("group %d: record %d: %w", j.first, i, err)
		}
		number := j.first + uint64(i)
		j.last = max(j.last, number)
		if err := j.fn(number, j.first, rec); err != nil {
			return err
		}
	}
	return nil
}
