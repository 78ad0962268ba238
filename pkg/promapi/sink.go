package promapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	maxHeld       = 1 << 20         // bytes of an answer that wait until it is whole; what is longer is streamed
	chunk         = 64 << 10        // bytes of a streamed answer that are sent together
	minGzip       = 512             // shorter answers are not worth it
	answerTimeout = 1 * time.Minute // in which a client has to take a whole answer
)

// sink takes an answer's bytes. As long as they are few nothing is sent, so that a late fault can still be told, and what
// the answer was made from is given back before a slow client takes its first byte.
type sink struct {
	w       http.ResponseWriter
	zip     bool
	control *http.ResponseController
	buf     []byte
	out     io.Writer // once bytes are on their way
	z       *gzip.Writer
}

func newSink(w http.ResponseWriter, r *http.Request) *sink {
	w.Header().Add("Vary", "Accept-Encoding")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s := &sink{w: w, zip: acceptsGzip(r.Header), control: http.NewResponseController(w)}
	if b, ok := buffers.Get().(*[]byte); ok {
		s.buf = (*b)[:0]
	}
	return s
}

// buffers are those of sinks that are done, for the next: an answer that grows in one of its own is copied many times over.
var buffers sync.Pool

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for levels that do not exist
	return z
}}

// live says that bytes were sent: the status cannot be changed any more.
func (s *sink) live() bool { return s.out != nil }

// spill sends what has gathered, once that is more than may be held.
func (s *sink) spill() error {
	if !s.live() {
		if len(s.buf) <= maxHeld {
			return nil
		}
		s.open(http.StatusOK)
	} else if len(s.buf) < chunk {
		return nil
	}
	_, err := s.out.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// open sends the head.
func (s *sink) open(status int) {
	_ = s.control.SetWriteDeadline(time.Now().Add(answerTimeout)) // a recorder in a test has none
	s.out = s.w
	if s.zip {
		s.w.Header().Set("Content-Encoding", "gzip")
		s.z = zippers.Get().(*gzip.Writer)
		s.z.Reset(s.w)
		s.out = s.z
	}
	s.w.WriteHeader(status)
}

// finish sends the rest. What stood only in memory goes with its length.
func (s *sink) finish(status int) (err error) {
	if !s.live() {
		if s.zip = s.zip && len(s.buf) >= minGzip; !s.zip {
			s.w.Header().Set("Content-Length", strconv.Itoa(len(s.buf)))
		}
		s.open(status)
	}
	if len(s.buf) > 0 {
		_, err = s.out.Write(s.buf)
	}
	if s.z != nil {
		if e := s.z.Close(); err == nil {
			err = e
		}
	}
	return err
}

// done gives back what the sink borrowed.
func (s *sink) done() {
	if s.z != nil {
		s.z.Reset(nil)
		zippers.Put(s.z)
		s.z = nil
	}
	if s.live() {
		_ = s.control.SetWriteDeadline(time.Time{})
	}
	if cap(s.buf) <= 2*maxHeld {
		buffers.Put(&s.buf)
	}
}
