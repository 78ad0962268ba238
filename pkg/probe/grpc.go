package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"golang.org/x/net/http2"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// grpcAsker asks by the gRPC health protocol: one HTTP/2 request of a known form, over a connection that is guarded, timed and
// metered as every other. The gRPC client would bring its own resolver, balancer, retries and goroutines for the same bytes.
type grpcAsker struct {
	dialer
	secure   bool
	url      string
	body     []byte
	metadata http.Header
	pool     http2.Transport //nolint:staticcheck // net/http's knows TLS only by *tls.Conn, which would go past the meter
}

// maxHealth bounds an answer's message: a status is two bytes.
const maxHealth = 4 << 10

// servingStatus are the statuses of grpc.health.v1, by number.
var servingStatus = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

func newGRPC(spec check.Spec, env Env) (Asker, error) {
	host, port, err := hostPort(spec)
	if err != nil {
		return nil, err
	}
	g := &grpcAsker{secure: overTLS(spec), body: healthRequest(spec.GRPC.Service), metadata: http.Header{}}
	if g.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if g.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	scheme := "http"
	if g.tls != nil {
		scheme, g.tls.NextProtos = "https", []string{"h2"}
	}
	g.url = scheme + "://" + net.JoinHostPort(host, port) + "/grpc.health.v1.Health/Check"
	for name, value := range spec.GRPC.Metadata {
		g.metadata.Set(name, value)
	}
	g.metadata.Set("Content-Type", "application/grpc")
	g.metadata.Set("Te", "trailers")
	g.metadata.Set("User-Agent", "Xunjian-Probe/1")
	g.pool = http2.Transport{AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: maxHead} //nolint:staticcheck // as above
	return g, nil
}

// healthRequest is a HealthCheckRequest in the frame of an uncompressed message: its only field is the service's name.
func healthRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = append([]byte{1<<3 | 2}, binary.AppendUvarint(nil, uint64(len(service)))...)
		m = append(m, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// healthStatus reads a HealthCheckResponse out of its frame.
func healthStatus(frame []byte) (int, error) {
	switch {
	case len(frame) < 5:
		return 0, io.ErrUnexpectedEOF
	case frame[0] != 0:
		return 0, errors.New("the message is compressed unasked")
	case uint64(binary.BigEndian.Uint32(frame[1:5])) != uint64(len(frame)-5):
		return 0, errors.New("the message's length is wrong")
	}
	status := 0
	for m := frame[5:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 {
			return 0, errors.New("not a message")
		}
		m = m[n:]
		v, n := binary.Uvarint(m)
		switch {
		case n <= 0:
			return 0, errors.New("not a message")
		case tag&7 == 0: // a number
			m = m[n:]
			if tag>>3 == 1 {
				status = int(min(v, math.MaxInt32))
			}
		case tag&7 == 2 && v <= uint64(len(m)-n): // a field that later versions may add
			m = m[n+int(v):]
		default:
			return 0, errors.New("not a message")
		}
	}
	return status, nil
}

// healthSaid is what a server answered.
type healthSaid struct {
	status int // of grpc.health.v1, -1 for none
	code   int // of gRPC
}

// Ask always opens a new connection.
func (g *grpcAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	w := startWatch()
	l, bad := g.open(ctx, w)
	h := healthSaid{-1, 2} // what a client says that could not ask: UNKNOWN
	if bad == nil {
		h, bad = g.exchange(ctx, l)
		w.lap("check")
	}
	a := verdict(bad)
	a.Phases, a.Values = w.phases, netValues(g.values(h), l, g.secure)
	l.tell(&a, g.expiry)
	return a
}

// frames is a connection whose reader sees only the frames that HTTP/2 has: the library writes a line to the log about each
// other one, with which a target could fill the disk.
type frames struct {
	*link
	head  []byte      // of a frame, not yet passed on
	left  int         // of its payload
	ended atomic.Bool // the other side has said its last
}

// Sizes and types of RFC 9113; a longer frame was not agreed to, and is passed on to be refused.
const (
	frameHead    = 9
	maxFrame     = 16 << 10
	continuation = 9
)

func (f *frames) Read(p []byte) (int, error) {
	for len(f.head) == 0 && f.left == 0 {
		if err := f.next(); err != nil {
			return 0, f.note(err)
		}
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, f.note(err)
}

// next reads the head of a frame, and the whole of one that is to be hidden.
func (f *frames) next() error {
	head := make([]byte, frameHead)
	if _, err := io.ReadFull(f.Conn, head); err != nil {
		return err
	}
	f.left = int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if head[3] <= continuation || f.left > maxFrame {
		f.head = head
		return nil
	}
	_, err := io.CopyN(io.Discard, f.Conn, int64(f.left))
	f.left = 0
	return err
}

func (f *frames) note(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		f.ended.Store(true)
	}
	return err
}

func (g *grpcAsker) exchange(ctx context.Context, l *link) (healthSaid, *fault) {
	none := healthSaid{-1, 14}
	defer l.raw.Close()
	stop := l.endWith(ctx)
	defer stop()
	f := &frames{link: l}
	conn, err := g.pool.NewClientConn(f) //nolint:staticcheck // as above
	if err != nil {
		return none, f.blameHTTP2(ctx, err)
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(g.body))
	if err != nil {
		return none, unable(check.ClassSetup, "request: %v", err)
	}
	req.Header = g.metadata
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return none, f.blameHTTP2(ctx, err)
	}
	defer resp.Body.Close()
	frame, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth+1))
	switch {
	case err != nil:
		return none, f.blameHTTP2(ctx, err)
	case len(frame) > maxHealth:
		return none, failed(check.ClassContent, "answer over %d bytes", maxHealth)
	}
	return judgeHealth(resp, frame)
}

func judgeHealth(resp *http.Response, frame []byte) (healthSaid, *fault) {
	h := healthSaid{-1, 2}
	if resp.StatusCode != http.StatusOK {
		return h, failed(check.ClassStatus, "%s, want gRPC", formatStatus(resp.StatusCode))
	}
	text, message := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if text == "" { // an answer of trailers only
		text, message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	code, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return h, failed(check.ClassContent, "not a gRPC answer: no grpc-status")
	}
	if h.code = int(code); code != 0 {
		return h, failed(check.ClassStatus, "gRPC status %d %s", code, check.Clip(message, maxSeen))
	}
	if h.status, err = healthStatus(frame); err != nil {
		h.status = -1
		return h, failed(check.ClassContent, "read health: %v", err)
	}
	if h.status != 1 {
		return h, failed(check.ClassContent, "health is %s", nameOfStatus(h.status))
	}
	return h, nil
}

func nameOfStatus(s int) string {
	if s < len(servingStatus) {
		return servingStatus[s]
	}
	return fmt.Sprint(s)
}

func (f *frames) blameHTTP2(ctx context.Context, err error) *fault {
	switch {
	case ctx.Err() != nil:
	case f.line.left.Load() <= 0:
		return failed(check.ClassContent, "more than %d KiB for an answer of a few bytes", maxBody>>10)
	case f.ended.Load():
		err = io.ErrUnexpectedEOF
	}
	return blame(ctx, "ask for health", err, check.ClassContent)
}

func grpcSeries(spec check.Spec) []metric.Series {
	out := []metric.Series{metric.New("probe_grpc_ssl"), metric.New("probe_grpc_status_code")}
	for _, s := range servingStatus {
		out = append(out, metric.New("probe_grpc_healthcheck_response", "serving_status", s))
	}
	return append(out, netSeries(spec)...)
}

// values are those of grpcSeries before netSeries.
func (g *grpcAsker) values(h healthSaid) []float64 {
	out := []float64{0, float64(h.code), 0, 0, 0, 0}
	if g.secure {
		out[0] = 1
	}
	if h.status >= 0 && h.status < len(servingStatus) {
		out[2+h.status] = 1
	}
	return out
}

// Close has nothing to give back.
func (g *grpcAsker) Close() error { return nil }
