package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "xunjian/proto/uplink/v1"
)

// Bare is an agent's stream without a Client's care: nothing is kept, spooled or sent again, and who calls it counts the
// acknowledgements. Load generators play thousands of agents with it in one process.
type Bare struct {
	conn   *grpc.ClientConn
	stream pb.Uplink_StreamClient
	cancel context.CancelFunc
	enc    *encoder
	boot   uint64
	seq    uint64
}

// DialBare opens a stream and greets; ctx bounds the stream's whole life. Of the options it heeds Address, TLS, Dial and Boot.
func DialBare(ctx context.Context, o ClientOptions) (*Bare, error) {
	if o.Boot == 0 {
		o.Boot = rand.Uint64() | 1
	}
	conn, err := newConn(o.Address, credentials.NewTLS(o.TLS), o.Dial)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &Bare{conn: conn, cancel: cancel, enc: newEncoder(), boot: o.Boot}
	if b.stream, err = b.greet(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bare) greet(ctx context.Context) (pb.Uplink_StreamClient, error) {
	stream, err := pb.NewUplinkClient(b.conn).Stream(ctx)
	if err != nil {
		return nil, err
	}
	hello := &pb.Hello{Protocol: protocol, Version: "bare", Boot: b.boot, WallMs: time.Now().UnixMilli()}
	if err := stream.Send(&pb.Up{Body: &pb.Up_Hello{Hello: hello}}); err == nil {
		down, err := stream.Recv()
		if err == nil && down.GetWelcome() != nil {
			return stream, nil
		}
		if err == nil {
			err = errors.New("the first word was no welcome")
		}
		return nil, fmt.Errorf("greet the collector: %w", err)
	}
	_, err = stream.Recv() // says why
	return nil, fmt.Errorf("greet the collector: %w", err)
}

// Send sends a batch as one message and waits only for room on the line. Messages are numbered from 1 in the order of Send.
func (b *Bare) Send(batch Batch) error {
	for i := range batch.Reports {
		b.seq++
		batch.Reports[i].Boot, batch.Reports[i].Seq = b.boot, b.seq
	}
	return b.stream.Send(&pb.Up{Body: &pb.Up_Batch{Batch: b.enc.encode(batch)}})
}

// Recv waits for the collector's next word: the message up to which all are settled, or 0, and how many were refused.
func (b *Bare) Recv() (acked uint64, refused int, err error) {
	down, err := b.stream.Recv()
	return down.GetAck(), len(down.GetRefuse()), err
}

// Close breaks the connection off.
func (b *Bare) Close() {
	b.cancel()
	b.conn.Close()
}
