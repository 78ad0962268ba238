package uplink

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	pb "xunjian/proto/uplink/v1"
)

// packVersion says how a frame is packed. Frames wait for days on agents' disks, so every version stays readable, and
// dictionary.txt must never change: a better one comes with a new version.
const packVersion = 1

//go:embed dictionary.txt
var dictionaryText string

// dictionary is what the compressor has seen before every frame: common series, in the form that they have on the wire.
var dictionary = sync.OnceValue(func() (wire []byte) {
	for line := range strings.Lines(dictionaryText) {
		name, labels, _ := strings.Cut(strings.TrimRight(line, "}\n"), "{")
		s := field(nil, 1, name)
		for label := range strings.SplitSeq(labels, `",`) {
			if k, v, ok := strings.Cut(label, `="`); ok {
				s = field(field(s, 2, k), 2, strings.TrimRight(v, `"`))
			}
		}
		wire = field(wire, 4, string(s))
	}
	return wire
})

// field appends a length-delimited protobuf field. Built by hand, the dictionary stays the same with every protobuf library.
func field(b []byte, number byte, content string) []byte {
	b = binary.AppendUvarint(append(b, number<<3|2), uint64(len(content)))
	return append(b, content...)
}

// pack writes batches of one boot as a frame that needs no history.
func pack(boot uint64, batches []Batch) ([]byte, error) {
	m := newEncoder().encode(batches...)
	m.Boot = boot
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("pack frame: %w", err)
	}
	var out bytes.Buffer
	out.WriteByte(packVersion)
	w, err := flate.NewWriterDict(&out, flate.DefaultCompression, dictionary())
	if err != nil {
		return nil, fmt.Errorf("pack frame: %w", err)
	}
	_, _ = w.Write(raw) // a bytes.Buffer takes everything
	w.Close()
	return out.Bytes(), nil
}

// unpack reads a frame and returns how long it was unpacked; it never holds more than room bytes, whatever the frame claims.
func unpack(frame []byte, room, maxSeries int) (Batch, int, *fault) {
	if len(frame) == 0 || frame[0] != packVersion {
		return Batch{}, 0, faultf(faultFrame, "version %.1x of %d bytes", frame, len(frame))
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(frame[1:]), dictionary()), int64(room)+1))
	if err != nil {
		return Batch{}, len(raw), faultf(faultFrame, "unpack: %v", err)
	}
	if len(raw) > room {
		return Batch{}, len(raw), faultf(faultSize, "a frame of %d bytes unpacks to more than %d", len(frame), room)
	}
	m := &pb.Batch{}
	if f := parse(raw, m); f != nil {
		return Batch{}, len(raw), faultf(faultFrame, "%v", f)
	}
	b, f := newDecoder(m.GetBoot(), maxSeries).decode(m)
	if f != nil {
		return Batch{}, len(raw), &fault{reason: f.reason, detail: f.detail} // nothing outside the frame is broken
	}
	return b, len(raw), nil
}
