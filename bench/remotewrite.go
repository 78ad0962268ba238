package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"

	"xunjian/pkg/metric"
)

// requestSamples is how many samples one remote write request carries, as Prometheus' own queue sends them.
const requestSamples = 2000

// Protobuf tags of prometheus.WriteRequest and what is in it.
const (
	tagSeries  = 1<<3 | 2 // WriteRequest.timeseries
	tagLabel   = 1<<3 | 2 // TimeSeries.labels
	tagSamples = 2<<3 | 2 // TimeSeries.samples
	tagName    = 1<<3 | 2 // Label.name
	tagText    = 2<<3 | 2 // Label.value
	tagValue   = 1<<3 | 1 // Sample.value
	tagStamp   = 2 << 3   // Sample.timestamp
)

// appendLabels encodes a series' labels, which Prometheus wants in order of their names.
func appendLabels(dst []byte, s metric.Series) []byte {
	dst = appendLabel(dst, "__name__", s.Name)
	for _, l := range s.Labels {
		dst = appendLabel(dst, l.Name, l.Value)
	}
	return dst
}

func appendLabel(dst []byte, name, value string) []byte {
	inner := 2 + uvarintLen(uint64(len(name))) + len(name) + uvarintLen(uint64(len(value))) + len(value)
	dst = binary.AppendUvarint(append(dst, tagLabel), uint64(inner))
	dst = append(binary.AppendUvarint(append(dst, tagName), uint64(len(name))), name...)
	return append(binary.AppendUvarint(append(dst, tagText), uint64(len(value))), value...)
}

func uvarintLen(v uint64) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}

// appendSeries encodes a series with its samples; a zero value is left out, as protobuf has it.
func appendSeries(dst, labels []byte, stamps []int64, values []float64) []byte {
	inner := len(labels)
	for i, t := range stamps {
		n := sampleLen(t, values[i])
		inner += 1 + uvarintLen(uint64(n)) + n
	}
	dst = binary.AppendUvarint(append(dst, tagSeries), uint64(inner))
	dst = append(dst, labels...)
	for i, t := range stamps {
		dst = binary.AppendUvarint(append(dst, tagSamples), uint64(sampleLen(t, values[i])))
		if bits := math.Float64bits(values[i]); bits != 0 {
			dst = binary.LittleEndian.AppendUint64(append(dst, tagValue), bits)
		}
		dst = binary.AppendUvarint(append(dst, tagStamp), uint64(t))
	}
	return dst
}

func sampleLen(t int64, v float64) int {
	n := 1 + uvarintLen(uint64(t))
	if math.Float64bits(v) != 0 {
		n += 9
	}
	return n
}

// remoteWriter sends samples as Prometheus' remote write does; it is not for concurrent use.
type remoteWriter struct {
	url     string
	client  *http.Client
	body    []byte
	samples int
	zipped  []byte
}

func (w *remoteWriter) add(ctx context.Context, labels []byte, stamps []int64, values []float64) error {
	w.body = appendSeries(w.body, labels, stamps, values)
	if w.samples += len(stamps); w.samples < requestSamples {
		return nil
	}
	return w.flush(ctx)
}

func (w *remoteWriter) flush(ctx context.Context) error {
	if w.samples == 0 {
		return nil
	}
	w.zipped = s2.EncodeSnappy(w.zipped[:cap(w.zipped)], w.body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(w.zipped))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("remote write to %s: %s: %s", w.url, resp.Status, text)
	}
	w.body, w.samples = w.body[:0], 0
	return nil
}

// feed sends the ticks [from, to) of a dataset in order of time, perSeries samples of a series together, over so many
// connections. 1 sample a series is what a Prometheus that scrapes sends; more load faster and end in the same files.
func feed(ctx context.Context, page string, d dataset, from, to, perSeries, conns int) error {
	labels := make([][][]byte, d.hosts)
	for h := range labels {
		for _, s := range d.series {
			for _, l := range d.owned(h) {
				s = s.With(l.Name, l.Value)
			}
			labels[h] = append(labels[h], appendLabels(nil, s))
		}
	}
	writers := make([]*remoteWriter, conns)
	for i := range writers {
		writers[i] = &remoteWriter{url: page, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	}
	for tick := from; tick < to; tick += perSeries {
		wait, ctx := errgroup.WithContext(ctx) // all stay within the hour by which a series may be behind another
		for i, w := range writers {
			wait.Go(func() error { return w.sendTicks(ctx, d, labels, i, conns, tick, min(tick+perSeries, to)) })
		}
		if err := wait.Wait(); err != nil {
			return err
		}
	}
	for _, w := range writers {
		w.client.CloseIdleConnections()
	}
	return nil
}

func (w *remoteWriter) sendTicks(ctx context.Context, d dataset, labels [][][]byte, first, every, from, to int) error {
	n := to - from
	stamps, values := make([]int64, n), make([]float64, n)
	var rows []float64
	for h := first; h < d.hosts; h += every {
		rows = rows[:0]
		for i := range stamps {
			stamps[i] = d.stamp(h, from+i)
			rows = d.row(rows, h, from+i)
		}
		for c := range d.series {
			for i := range values {
				values[i] = rows[i*len(d.series)+c]
			}
			if err := w.add(ctx, labels[h][c], stamps, values); err != nil {
				return err
			}
		}
	}
	return w.flush(ctx)
}
