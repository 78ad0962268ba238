package probe

import (
	"bytes"
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
	buf    *bytes.Buffer
	length int64 // uncompressed; all that came, whether it was kept or not
}

// maxPooled keeps the buffers of a few large answers from staying for ever.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (b body) bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf.Bytes()
}

func (b body) release() {
	if b.buf != nil && b.buf.Cap() <= maxPooled {
		b.buf.Reset()
		buffers.Put(b.buf)
	}
}

// read takes the body to its end or the cap. What nobody looks at is counted and not kept.
func (j judge) read(ctx context.Context, resp *http.Response) (body, *fault) {
	b := body{buf: buffers.Get().(*bytes.Buffer)}
	src, err := j.unpacked(resp)
	if err != nil {
		return b, blame(ctx, "read body", err, check.ClassContent)
	}
	keep := int64(flow.MaxPage)
	if j.readsBody {
		keep = j.limit
	}
	src = io.LimitReader(src, j.limit+1)
	n, err := b.buf.ReadFrom(io.LimitReader(src, keep+1))
	if err == nil && n > keep {
		var rest int64
		b.buf.Truncate(int(keep))
		rest, err = io.Copy(io.Discard, src)
		n += rest
	}
	b.length = min(n, j.limit)
	switch {
	case n > j.limit, errors.Is(err, errTooMuch):
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
