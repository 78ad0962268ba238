package uplink

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "xunjian/proto/uplink/v1"
)

// envelope takes a message of any size and content off the wire, so that a bad one can be refused by its number and with
// its hash, where gRPC's own decoding would end the stream.
type envelope struct {
	up    pb.Up
	raw   []byte
	fault *fault
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
	*e = envelope{raw: raw}
	if len(raw) > limit {
		e.fault = &fault{faultSize, fmt.Sprintf("message of %d bytes, at most %d are taken: send it in parts", len(raw), limit), true}
		return
	}
	if err := unmarshal.Unmarshal(raw, &e.up); err != nil {
		e.fault = &fault{faultProtobuf, err.Error(), true}
	}
}
