package promapi

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// encodeValue writes a query's value as Prometheus does, series by series, so that an answer never stands whole in memory.
func encodeValue(s *sink, v parser.Value) error {
	switch v := v.(type) {
	case promql.Matrix:
		return encodeList(s, len(v), func(i int) error { return encodeSeries(s, &v[i]) })
	case promql.Vector:
		return encodeList(s, len(v), func(i int) error { s.buf = appendSample(s.buf, &v[i]); return s.spill() })
	}
	return encodeJSON(s, v) // scalars and strings marshal themselves
}

func encodeList(s *sink, n int, item func(i int) error) error {
	s.buf = append(s.buf, '[')
	for i := range n {
		if i > 0 {
			s.buf = append(s.buf, ',')
		}
		if err := item(i); err != nil {
			return err
		}
	}
	s.buf = append(s.buf, ']')
	return nil
}

// encodeJSON writes anything else. HTML is not escaped, for Prometheus does not do it either where it matters.
func encodeJSON(s *sink, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	s.buf = append(s.buf, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
	return s.spill()
}

func encodeSeries(s *sink, series *promql.Series) error {
	s.buf = append(s.buf, `{"metric":`...)
	s.buf = appendLabels(s.buf, series.Metric)
	if err := encodePoints(s, series.Floats); err != nil {
		return err
	}
	for i, p := range series.Histograms {
		s.buf = appendFirst(s.buf, i, `,"histograms":[`)
		s.buf = append(appendTime(append(s.buf, '['), p.T), ',')
		s.buf = append(appendHistogram(s.buf, p.H), ']')
		if err := s.spill(); err != nil {
			return err
		}
	}
	if len(series.Histograms) > 0 {
		s.buf = append(s.buf, ']')
	}
	s.buf = append(s.buf, '}')
	return s.spill()
}

// appendFirst opens a list before its first item and separates the others.
func appendFirst(b []byte, i int, open string) []byte {
	if i == 0 {
		return append(b, open...)
	}
	return append(b, ',')
}

func appendSample(b []byte, p *promql.Sample) []byte {
	b = appendLabels(append(b, `{"metric":`...), p.Metric)
	if p.H == nil {
		b = append(appendTime(append(b, `,"value":[`...), p.T), ',')
		return append(appendFloat(b, p.F), `]}`...)
	}
	b = append(appendTime(append(b, `,"histogram":[`...), p.T), ',')
	return append(appendHistogram(b, p.H), `]}`...)
}

func appendLabels(b []byte, l labels.Labels) []byte {
	b = append(b, '{')
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, l.Name), ':')
		b = appendString(b, l.Value)
	})
	return append(b, '}')
}

// appendString takes the short way where nothing needs an escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return appendEscaped(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // a string can always be encoded
		return append(b, `""`...)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// appendTime writes milliseconds as seconds, with as many of three digits behind the point as Prometheus writes: none or all.
func appendTime(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
}

// appendFloat writes the shortest digits that read back as f. Nearly all values are whole or have few decimals, and of those
// the digits are at hand: no other number of at most fifteen digits reads back as the same f.
func appendFloat(b []byte, f float64) []byte {
	const decimals, most = 1000, 1e15
	if q := f * decimals; q < most && q > -most && (f != 0 || !math.Signbit(f)) {
		if n := int64(math.Round(q)); float64(n)/decimals == f && (n != 0 || f == 0) {
			return append(appendThousandths(append(b, '"'), n), '"')
		}
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return append(strconv.AppendFloat(append(b, '"'), f, format, -1, 64), '"')
}

// appendThousandths writes n/1000 without zeros at its end.
func appendThousandths(b []byte, n int64) []byte {
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendInt(b, n/1000, 10)
	f := n % 1000
	if f == 0 {
		return b
	}
	b = append(b, '.', byte('0'+f/100))
	if f %= 100; f > 0 {
		b = append(b, byte('0'+f/10))
	}
	if f %= 10; f > 0 {
		b = append(b, byte('0'+f))
	}
	return b
}

// appendHistogram writes count, sum and the buckets that hold something; the number before a bucket's bounds says which
// of them belong to it.
func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = appendFloat(append(b, `{"count":`...), h.Count)
	b = appendFloat(append(b, `,"sum":`...), h.Sum)
	n := 0
	for it := h.AllBucketIterator(); it.Next(); {
		k := it.At()
		if k.Count == 0 {
			continue
		}
		b = appendFirst(b, n, `,"buckets":[`)
		b = append(append(b, '['), bounds(k.LowerInclusive, k.UpperInclusive), ',')
		b = append(appendFloat(b, k.Lower), ',')
		b = append(appendFloat(b, k.Upper), ',')
		b = append(appendFloat(b, k.Count), ']')
		n++
	}
	if n > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func bounds(lower, upper bool) byte {
	switch {
	case lower && upper:
		return '3'
	case lower:
		return '1'
	case upper:
		return '0'
	}
	return '2'
}
