package uplink

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "xunjian/proto/uplink/v1"
)

// envelope takes a message of any size and content off the wire, so that a bad one can be refused by its number and with
// its hash, where gRPC's own decoding would end the stream.
type envelope struct {
	up    *pb.Up
	raw   []byte
	fault *fault
	plain plainUp
}

// envelopeCodec is the server's codec: protobuf, and envelopes.
type envelopeCodec struct{ maxMessage int }

func (envelopeCodec) Name() string { return "proto" }

func (envelopeCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshal %T: not a protobuf message", v)
	}
	b, err := proto.Marshal(m)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (c envelopeCodec) Unmarshal(data mem.BufferSlice, v any) error {
	raw := data.Materialize()
	switch m := v.(type) {
	case *envelope:
		m.open(raw, c.maxMessage)
		return nil
	case proto.Message:
		return unmarshal.Unmarshal(raw, m)
	}
	return fmt.Errorf("unmarshal %T: not a protobuf message", v)
}

func (e *envelope) open(raw []byte, limit int) {
	e.up, e.raw, e.fault = nil, raw, nil
	if len(raw) > limit {
		e.fault = &fault{reason: faultSize, detail: fmt.Sprintf("message of %d bytes, at most %d are taken: send it in parts", len(raw), limit), broken: true}
		return
	}
	if e.up = e.plain.parse(raw); e.up != nil {
		return
	}
	e.up = &pb.Up{}
	if f := parse(raw, e.up); f != nil {
		e.fault = &fault{reason: f.reason, detail: f.detail, broken: true}
	}
}

// unmarshal skips fields of later versions.
var unmarshal = proto.UnmarshalOptions{DiscardUnknown: true}

// parse unmarshals a message after counting its fields, since a few bytes on the wire can make a large object.
func parse(raw []byte, m proto.Message) *fault {
	if n := countFields(raw, m.ProtoReflect().Descriptor(), maxFields); n > maxFields {
		return faultf(faultSize, "more than %d fields in %d bytes", maxFields, len(raw))
	}
	if err := unmarshal.Unmarshal(raw, m); err != nil {
		return faultf(faultProtobuf, "%v", err)
	}
	return nil
}

// countFields counts the fields of a message and all within it, up to a little more than limit. What is malformed is left
// to the unmarshaller to find.
func countFields(raw []byte, desc protoreflect.MessageDescriptor, limit int) (n int) {
	for len(raw) > 0 && n <= limit {
		number, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return n
		}
		raw = raw[size:]
		n++
		if size = protowire.ConsumeFieldValue(number, kind, raw); size < 0 {
			return n
		}
		if field := desc.Fields().ByNumber(number); kind == protowire.BytesType && field != nil && field.Message() != nil {
			inner, _ := protowire.ConsumeBytes(raw)
			n += countFields(inner, field.Message(), limit-n)
		}
		raw = raw[size:]
	}
	return n
}
