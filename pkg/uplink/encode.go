package uplink

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	pb "xunjian/proto/uplink/v1"
)

// encoder writes batches against the history of one stream (or of nothing, for a frame that stands alone).
type encoder struct {
	schemas  ids[schemaKey, *outSchema]
	subjects ids[string, *outSubject]
	seq      uint64 // of the last report
	round    uint64 // of messages, to find what has not been used for long
}

type schemaKey struct {
	kind  string
	every time.Duration
}

type outSchema struct {
	series []metric.Series
	cols   []column
	at     int64 // ms, of the last report
}

type outSubject struct {
	cols []column
	at   int64
}

func newEncoder() *encoder { return &encoder{} }

// ids gives out ids; when all are in use the one not used for longest is given out again, which redefines it for both ends.
type ids[K comparable, V any] struct {
	byKey map[K]*entry[V]
	keys  []K // by id - 1
}

type entry[V any] struct {
	id    uint32
	used  uint64
	value V
}

func (x *ids[K, V]) get(k K, now uint64) (*entry[V], bool) {
	e, ok := x.byKey[k]
	if ok {
		e.used = now
	}
	return e, ok
}

func (x *ids[K, V]) add(k K, now uint64) *entry[V] {
	if x.byKey == nil {
		x.byKey = make(map[K]*entry[V])
	}
	e := &entry[V]{used: now}
	if len(x.keys) < maxIDs {
		x.keys = append(x.keys, k)
		e.id = uint32(len(x.keys))
	} else {
		oldest := slices.MinFunc(x.keys, func(a, b K) int { return cmpUint(x.byKey[a].used, x.byKey[b].used) })
		e.id = x.byKey[oldest].id
		delete(x.byKey, oldest)
		x.keys[e.id-1] = k
	}
	x.byKey[k] = e
	return e
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// encode writes batches as one message. The history moves on, so the message must be the next one that is sent.
func (e *encoder) encode(batches ...Batch) *pb.Batch {
	e.round++
	m := &pb.Batch{}
	probed := make(map[string]int64)
	for _, b := range batches {
		for _, r := range b.Reports {
			e.report(m, r)
			if name, ok := strings.CutPrefix(r.Kind, metric.KindProbe); ok {
				probed[name] = r.At.UnixMilli()
			}
		}
	}
	for _, b := range batches {
		for _, r := range b.Results {
			e.result(m, r, probed)
		}
	}
	return m
}

func (e *encoder) report(m *pb.Batch, r metric.Report) {
	every := r.Every.Truncate(time.Millisecond)
	s := e.schema(m, schemaKey{r.Kind, every}, r.Samples)
	at := r.At.UnixMilli()
	m.Reports = append(m.Reports, &pb.Report{
		Schema:  s.id,
		SeqStep: int64(r.Seq - e.seq - 1),
		AtStep:  at - s.value.at - every.Milliseconds(),
		Values:  appendRow(nil, s.value.cols, func(i int) float64 { return r.Samples[i].Value }),
	})
	e.seq, s.value.at = r.Seq, at
}

func (e *encoder) schema(m *pb.Batch, k schemaKey, samples []metric.Sample) *entry[*outSchema] {
	s, ok := e.schemas.get(k, e.round)
	if ok && sameSeries(s.value.series, samples) {
		return s
	}
	if !ok {
		s = e.schemas.add(k, e.round)
	}
	s.value = &outSchema{series: make([]metric.Series, len(samples)), cols: newColumns(len(samples))}
	def := &pb.Schema{
		Id: s.id, Kind: []byte(k.kind), EveryMs: uint32(k.every.Milliseconds()),
		Series: make([]*pb.Series, len(samples)), Before: uint32(len(m.Reports)),
	}
	for i, x := range samples {
		s.value.series[i] = x.Series
		def.Series[i] = seriesToWire(x.Series)
	}
	m.Schemas = append(m.Schemas, def)
	return s
}

func sameSeries(a []metric.Series, b []metric.Sample) bool {
	return slices.EqualFunc(a, b, func(x metric.Series, y metric.Sample) bool {
		return x.Name == y.Series.Name && slices.Equal(x.Labels, y.Series.Labels)
	})
}

func seriesToWire(s metric.Series) *pb.Series {
	out := &pb.Series{Name: []byte(s.Name), Labels: make([][]byte, 0, 2*len(s.Labels))}
	for _, l := range s.Labels {
		out.Labels = append(out.Labels, []byte(l.Name), []byte(fit(l.Value, maxLabelValue)))
	}
	return out
}

// fit makes a text such as the other end takes. A mount point or URL may be longer or no UTF-8; what is changed ends with a
// hash of the whole, so that different texts stay different and one bad label does not cost the whole report.
func fit(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	mark := fmt.Sprintf("~%x", sum[:4])
	return clip(s, limit-len(mark)-len("…")) + mark
}

// result writes a result against the report of its check in the same message, or the last result of its subject.
func (e *encoder) result(m *pb.Batch, r check.Result, probed map[string]int64) {
	s := e.subject(m, r)
	at := r.At.UnixMilli()
	base, ok := probed[r.Check]
	if !ok {
		base = s.value.at
	}
	s.value.at = at
	out := &pb.Result{Subject: s.id, AtStep: at - base, Again: uint32(max(r.Again, 0)), Control: r.Control}
	out.Request, out.Cut = bytesOf(fit(r.Request, maxName)), bytesOf(fit(r.Cut, maxReason))
	if compact(r) {
		row := compactRow(r, at)
		out.Values = append([]byte{rowMark}, appendRow(nil, s.value.cols, func(i int) float64 { return float64(row[i]) })...)
	} else {
		for _, a := range r.Attempts {
			out.Attempts = append(out.Attempts, attemptToWire(a, at))
		}
	}
	m.Results = append(m.Results, out)
}

func (e *encoder) subject(m *pb.Batch, r check.Result) *entry[*outSubject] {
	def := &pb.Subject{Check: []byte(r.Check), Service: []byte(r.Service), Target: []byte(fit(r.Target, maxTarget))}
	key := []string{r.Check, r.Service, r.Target}
	if len(r.Attempts) > 0 {
		for _, p := range r.First().Phases {
			def.Phases = append(def.Phases, []byte(p.Name))
			key = append(key, p.Name)
		}
	}
	k := strings.Join(key, "\x00")
	if s, ok := e.subjects.get(k, e.round); ok {
		return s
	}
	s := e.subjects.add(k, e.round)
	s.value = &outSubject{cols: newColumns(rowFixed + len(def.Phases))}
	def.Id, def.Before = s.id, uint32(len(m.Results))
	m.Subjects = append(m.Subjects, def)
	return s
}

// The row of a compact result: these and then the phases' microseconds. rowMark goes before it on the wire, so that a row
// that is all as foretold is not empty.
const (
	rowStart = iota
	rowDuration
	rowStatus
	rowExpiry
	rowBytes
	rowFixed

	rowMark = 1
)

// compact says that a result can be written as a row: its only attempt was ok and has nothing beside its numbers to tell.
func compact(r check.Result) bool {
	if len(r.Attempts) != 1 {
		return false
	}
	a := r.First()
	if a.Outcome != check.OK || a.Class != "" || a.Reason != "" || a.Trouble != "" ||
		len(a.Steps)+len(a.Findings) > 0 || len(a.Phases) > maxPhases {
		return false
	}
	for _, v := range compactRow(r, r.At.UnixMilli()) {
		if v > 1<<53 || v < -1<<53 {
			return false
		}
	}
	return true
}

func compactRow(r check.Result, at int64) []int64 {
	a := r.First()
	row := make([]int64, rowFixed, rowFixed+len(a.Phases))
	row[rowStart], row[rowDuration] = startStep(a, at), micros(a.Duration)
	row[rowStatus], row[rowExpiry], row[rowBytes] = int64(a.Status), expiryToWire(a.CertExpiry), a.Bytes
	for _, p := range a.Phases {
		row = append(row, micros(p.Duration))
	}
	return row
}

// startStep is when an attempt began, in microseconds after the result's time in milliseconds.
func startStep(a check.Attempt, at int64) int64 { return a.Start.UnixMicro() - at*1000 }

func micros(d time.Duration) int64 { return d.Round(time.Microsecond).Microseconds() }

func expiryToWire(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix() + 1
}

func attemptToWire(a check.Attempt, at int64) *pb.Attempt {
	out := &pb.Attempt{
		StartUs: startStep(a, at), DurationUs: micros(a.Duration),
		Outcome: []byte(a.Outcome), Class: []byte(a.Class), Reason: []byte(fit(a.Reason, maxReason)),
		Status: int64(a.Status), CertExpiry: expiryToWire(a.CertExpiry), Bytes: a.Bytes,
	}
	for _, p := range a.Phases[:min(len(a.Phases), maxPhases)] {
		out.Phases = append(out.Phases, &pb.Phase{Name: []byte(p.Name), DurationUs: micros(p.Duration)})
	}
	out.Trouble = bytesOf(string(a.Trouble))
	for _, s := range a.Steps[:min(len(a.Steps), maxSteps)] {
		out.Steps = append(out.Steps, stepToWire(s))
	}
	for _, f := range a.Findings[:min(len(a.Findings), maxFindings)] {
		out.Findings = append(out.Findings, &pb.Finding{
			Name: []byte(fit(f.Name, maxName)), Level: bytesOf(f.Level), Reason: bytesOf(fit(f.Reason, maxReason)),
			Until: expiryToWire(f.Until), Value: finite(f.Value),
		})
	}
	return out
}

func stepToWire(s check.Step) *pb.Step {
	out := &pb.Step{
		Name: []byte(fit(s.Name, maxName)), DurationUs: micros(s.Duration), Class: bytesOf(string(s.Class)),
		Reason: bytesOf(fit(s.Reason, maxReason)), Status: int64(s.Status),
	}
	if s.Outcome != check.OK {
		out.Outcome = []byte(s.Outcome)
	}
	return out
}

// finite is v where v is a number that JSON can hold.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// bytesOf leaves an empty text out of the message.
func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// roughSize is a bound on the encoded size of a batch, definitions included.
func roughSize(b Batch) (n int) {
	for _, r := range b.Reports {
		n += 64 + len(r.Kind)
		for _, s := range r.Samples {
			n += 32 + len(s.Series.Name)
			for _, l := range s.Series.Labels {
				n += 6 + len(l.Name) + len(l.Value)
			}
		}
	}
	for _, r := range b.Results {
		n += 128 + len(r.Check) + len(r.Service) + len(r.Target) + min(len(r.Request), maxName) + min(len(r.Cut), maxReason)
		for _, a := range r.Attempts {
			n += 128 + min(len(a.Reason), maxReason) + 48*len(a.Phases)
			for _, p := range a.Phases {
				n += 2 * len(p.Name)
			}
			for _, s := range a.Steps[:min(len(a.Steps), maxSteps)] {
				n += 64 + min(len(s.Name), maxName) + min(len(s.Reason), maxReason)
			}
			for _, f := range a.Findings[:min(len(a.Findings), maxFindings)] {
				n += 64 + min(len(f.Name), maxName) + min(len(f.Reason), maxReason)
			}
		}
	}
	return n
}

// memory is about what a batch holds in memory; series are shared with the reports before and after.
func memory(b Batch) (n int64) {
	for _, r := range b.Reports {
		n += 160 + 56*int64(len(r.Samples))
	}
	for _, r := range b.Results {
		n += 160
		for _, a := range r.Attempts {
			n += 200 + int64(len(a.Reason)) + 24*int64(len(a.Phases)) + 120*int64(len(a.Steps)+len(a.Findings))
			for _, s := range a.Steps {
				n += int64(len(s.Reason))
			}
		}
	}
	return n
}

// at turns milliseconds into a time; the second result is false for times that no clock shows.
func at(ms int64) (time.Time, bool) {
	const last = math.MaxInt64 / int64(time.Millisecond) // the year 2262
	return time.UnixMilli(ms).UTC(), ms >= 0 && ms <= last
}
