package probe

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
	"xunjian/pkg/metric"
)

// body is what was kept of an answer's body, in a buffer that is used again. The zero value is an empty one.
type body struct {
	buf    *[]byte
	length int64 // uncompressed; all that came, whether it was kept or not
}

// Buffers begin small and grow by a factor up to what may be kept, so that large answers leave little behind; those that have
// grown large are not kept for ever.
const (
	firstBuffer = 2 << 10
	growth      = 4
	maxPooled   = 64 << 10
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, firstBuffer); return &b }}

func (b body) bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

func (b body) release() {
	if b.buf != nil && cap(*b.buf) <= maxPooled {
		*b.buf = (*b.buf)[:0]
		buffers.Put(b.buf)
	}
}

// fill reads until the end or until keep bytes are there. More says that there is something left.
func (b body) fill(src io.Reader, keep int) (more bool, err error) {
	buf := (*b.buf)[:0]
	defer func() { *b.buf = buf }()
	for len(buf) < keep {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(growth*cap(buf), keep)), buf...)
		}
		n, err := src.Read(buf[len(buf):min(cap(buf), keep)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF:
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}

// read takes the body to its end or the cap. What nobody looks at is counted and not kept.
func (j judge) read(ctx context.Context, resp *http.Response) (body, *fault) {
	b := body{buf: buffers.Get().(*[]byte)}
	src, err := j.unpacked(resp)
	if err != nil {
		return b, blame(ctx, "read body", err, check.ClassContent)
	}
	keep := min(flow.MaxPage, j.limit)
	if j.readsBody {
		keep = j.limit
	}
	more, err := b.fill(src, keep)
	b.length = int64(len(b.bytes()))
	if more && err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, io.LimitReader(src, int64(j.limit-keep+1)))
		b.length += rest
	}
	switch {
	case b.length > int64(j.limit), errors.Is(err, errTooMuch):
		b.length = min(b.length, int64(j.limit))
		return b, failed(check.ClassContent, "body over %d bytes", j.limit)
	case err != nil:
		return b, blame(ctx, "read body", err, check.ClassContent)
	}
	return b, nil
}

// unpacked is the body without the compression that the check asks for. As blackbox_exporter does, it does not take the header's
// word: what the check names must come.
func (j judge) unpacked(resp *http.Response) (io.Reader, error) {
	switch {
	case resp.Request != nil && resp.Request.Method == http.MethodHead, resp.StatusCode == http.StatusNoContent:
		return resp.Body, nil
	case j.compression == "gzip":
		return gzip.NewReader(resp.Body)
	case j.compression == "deflate":
		return flate.NewReader(resp.Body), nil
	}
	return resp.Body, nil
}

// httpSecrets are the credentials that a check refers to, read anew at each attempt so that a changed file is used.
type httpSecrets struct {
	username         string
	password, bearer check.Ref
	read             func(check.Ref) (string, error)
}

func newHTTPSecrets(spec check.Spec, env Env) httpSecrets {
	h := httpSecrets{read: env.Secret}
	if b := spec.HTTP.BasicAuth; b != nil {
		h.username, h.password = b.Username, spec.Secrets[b.Password]
	}
	if spec.HTTP.Bearer != "" {
		h.bearer = spec.Secrets[spec.HTTP.Bearer]
	}
	return h
}

// header is the value of Authorization, empty for none, and what of it no reason may show.
func (h httpSecrets) header() (string, secrets, error) {
	var hidden secrets
	switch {
	case h.username != "":
		password, err := h.read(h.password)
		if err != nil {
			return "", nil, err
		}
		both := base64.StdEncoding.EncodeToString([]byte(h.username + ":" + password))
		hidden.add(password)
		hidden.add(both)
		return "Basic " + both, hidden, nil
	case h.bearer != (check.Ref{}):
		token, err := h.read(h.bearer)
		if err != nil {
			return "", nil, err
		}
		for _, c := range token {
			if c < ' ' || c == 0x7f {
				return "", nil, errors.New("secret: the bearer token holds control characters")
			}
		}
		hidden.add(token)
		return "Bearer " + token, hidden, nil
	}
	return "", nil, nil
}

func newNonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func formatStatus(code int) string {
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}

func httpSeries(spec check.Spec) []metric.Series {
	return append([]metric.Series{
		metric.New("probe_http_redirects"), metric.New("probe_http_ssl"), metric.New("probe_http_version"),
		metric.New("probe_http_content_length"), metric.New("probe_http_last_modified_timestamp_seconds"),
	}, netSeries(spec)...)
}

// httpValues are those of httpSeries before netSeries.
func httpValues(s *shot) []float64 {
	out := append(make([]float64, 0, 12), float64(s.redirects), 0, math.NaN(), math.NaN(), math.NaN())
	if s.resp == nil {
		return out
	}
	if leadsElsewhere(s.resp) {
		out[0]++ // one that was not followed counts, too
	}
	if s.link.Conn != s.link.raw {
		out[1] = 1
	}
	out[2] = float64(s.resp.ProtoMajor) + float64(s.resp.ProtoMinor)/10
	out[3] = float64(s.resp.ContentLength)
	if text := s.resp.Header.Get("Last-Modified"); text != "" {
		if t, err := http.ParseTime(text); err == nil {
			out[4] = float64(t.Unix())
		}
	}
	return out
}
