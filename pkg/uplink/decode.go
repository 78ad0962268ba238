package uplink

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	pb "xunjian/proto/uplink/v1"
)

// decoder reads what an encoder wrote, and believes nothing of it.
type decoder struct {
	maxSeries int
	boot      uint64
	series    int // of all schemas
	schemas   map[uint32]*inSchema
	subjects  map[uint32]*inSubject
	seq       uint64
	message   uint64 // number of the message in hand, to see which rows are free again
	samples   int    // of the message in hand
}

type inSchema struct {
	kind    string
	every   time.Duration
	cols    []column
	rows    [][]metric.Sample // filled in again with each message; the series in them stay, and the first row is always there
	taken   int               // of rows, by the message of that number
	message uint64
	at      int64
	banned  *fault // why reports of this schema are refused
}

// keptRows is how many reports of one schema in one message find their samples made already.
const keptRows = 2

// samples is a row to be filled in, which is free again with the next message.
func (s *inSchema) samples(message uint64) []metric.Sample {
	if s.message != message {
		s.message, s.taken = message, 0
	}
	if s.taken < len(s.rows) {
		s.taken++
		return s.rows[s.taken-1]
	}
	row := slices.Clone(s.rows[0])
	if len(s.rows) < keptRows {
		s.rows, s.taken = append(s.rows, row), s.taken+1
	}
	return row
}

type inSubject struct {
	check, service, target string
	phases                 []string
	cols                   []column
	at                     int64
	banned                 *fault
}

func newDecoder(boot uint64, maxSeries int) *decoder {
	return &decoder{boot: boot, maxSeries: maxSeries, schemas: make(map[uint32]*inSchema), subjects: make(map[uint32]*inSubject)}
}

// decode reads a whole message even after a fault, so that the history stays that of the other end. The samples of the
// reports are valid until the next message is decoded.
func (d *decoder) decode(m *pb.Batch) (Batch, *fault) {
	d.message++
	d.samples = 0
	b := Batch{Reports: make([]metric.Report, 0, len(m.GetReports()))}
	var probed map[string]int64
	if len(m.GetResults()) > 0 {
		probed = make(map[string]int64)
	}
	bad := d.reports(m, &b, probed)
	bad = firstFault(bad, d.results(m, &b, probed))
	if bad != nil {
		return Batch{}, bad
	}
	return b, nil
}

func (d *decoder) reports(m *pb.Batch, b *Batch, probed map[string]int64) (bad *fault) {
	schemas := m.GetSchemas()
	define := func(before int) {
		for len(schemas) > 0 && int(schemas[0].GetBefore()) <= before {
			bad = firstFault(bad, d.defineSchema(schemas[0]))
			schemas = schemas[1:]
		}
	}
	for i, w := range m.GetReports() {
		define(i)
		r, f := d.report(w)
		if f != nil {
			f = &fault{reason: f.reason, detail: fmt.Sprintf("report %d: %s", i, f.detail), broken: f.broken}
		}
		bad = firstFault(bad, f)
		if f != nil && f.broken {
			return bad // nothing that follows can be understood
		}
		b.Reports = append(b.Reports, r)
		if name, ok := strings.CutPrefix(r.Kind, metric.KindProbe); ok && probed != nil {
			probed[name] = r.At.UnixMilli()
		}
	}
	define(math.MaxInt)
	return bad
}

func (d *decoder) results(m *pb.Batch, b *Batch, probed map[string]int64) (bad *fault) {
	subjects := m.GetSubjects()
	define := func(before int) {
		for len(subjects) > 0 && int(subjects[0].GetBefore()) <= before {
			bad = firstFault(bad, d.defineSubject(subjects[0]))
			subjects = subjects[1:]
		}
	}
	for i, w := range m.GetResults() {
		define(i)
		r, f := d.result(w, probed)
		if f != nil {
			f = &fault{reason: f.reason, detail: fmt.Sprintf("result %d: %s", i, f.detail), broken: f.broken}
		}
		bad = firstFault(bad, f)
		b.Results = append(b.Results, r)
	}
	define(math.MaxInt)
	return bad
}

// defineSchema takes a definition; of a bad one it remembers why, so that only reports that need it are refused.
func (d *decoder) defineSchema(m *pb.Schema) *fault {
	if old := d.schemas[m.GetId()]; old != nil {
		d.series -= len(old.cols)
		delete(d.schemas, m.GetId())
	}
	if m.GetId() == 0 || m.GetId() > maxIDs {
		return faultf(faultSeries, "schema id %d, want 1 to %d", m.GetId(), maxIDs)
	}
	s := &inSchema{}
	d.schemas[m.GetId()] = s
	if d.series+len(m.GetSeries()) > d.maxSeries {
		s.banned = faultf(faultSeries, "%d series more than the %d of this stream, at most %d are taken", len(m.GetSeries()), d.series, d.maxSeries)
		return s.banned
	}
	if err := s.define(m); err != nil {
		*s = inSchema{banned: faultf(faultLabel, "%v", err)}
		return s.banned
	}
	d.series += len(s.cols)
	return nil
}

func (s *inSchema) define(m *pb.Schema) (err error) {
	if s.kind, err = text("kind", m.GetKind(), maxName); err != nil {
		return err
	}
	if s.kind == "" {
		return fmt.Errorf("kind is empty")
	}
	if s.every = time.Duration(m.GetEveryMs()) * time.Millisecond; s.every > maxEvery {
		return fmt.Errorf("interval %v, at most %v is taken", s.every, maxEvery)
	}
	row := make([]metric.Sample, len(m.GetSeries()))
	seen := make(map[string]bool, len(row))
	for i, w := range m.GetSeries() {
		if row[i].Series, err = seriesFromWire(w); err != nil {
			return fmt.Errorf("series %d: %w", i, err)
		}
		key := row[i].Series.String()
		if seen[key] {
			return fmt.Errorf("series %d: %.100s is there twice", i, key)
		}
		seen[key] = true
	}
	s.cols, s.rows = newColumns(len(row)), [][]metric.Sample{row}
	return nil
}

func seriesFromWire(w *pb.Series) (metric.Series, error) {
	name, err := text("metric name", w.GetName(), maxName)
	if err != nil {
		return metric.Series{}, err
	}
	n := len(w.GetLabels())
	if name == "" || n%2 != 0 || n > 2*maxLabels {
		return metric.Series{}, fmt.Errorf("metric %q with %d label names and values: want a name, and at most %d of both", name, n, maxLabels)
	}
	s := metric.Series{Name: shared(name), Labels: make([]metric.Label, 0, n/2)}
	last := ""
	for i := 0; i < n; i += 2 {
		l, err := text("label name", w.GetLabels()[i], maxName)
		if err != nil {
			return metric.Series{}, err
		}
		if l <= last || l == "__name__" {
			return metric.Series{}, fmt.Errorf("label %q after %q: want names in order, once each, and not __name__", l, last)
		}
		v, err := text("value of label "+l, w.GetLabels()[i+1], maxLabelValue)
		if err != nil {
			return metric.Series{}, err
		}
		s.Labels = append(s.Labels, metric.Label{Name: shared(l), Value: shared(v)})
		last = l
	}
	return s, nil
}

// shared is s in one copy for all agents that say the same.
func shared(s string) string { return unique.Make(s).Value() }

func (d *decoder) report(m *pb.Report) (metric.Report, *fault) {
	d.seq += 1 + uint64(m.GetSeqStep())
	s := d.schemas[m.GetSchema()]
	switch {
	case s == nil:
		return metric.Report{}, faultf(faultSchema, "schema %d", m.GetSchema())
	case s.banned != nil:
		return metric.Report{}, s.banned
	}
	s.at += s.every.Milliseconds() + m.GetAtStep()
	if d.samples += len(s.cols); d.samples > maxSamples {
		return metric.Report{}, &fault{reason: faultSize, detail: fmt.Sprintf("more than %d samples in one message", maxSamples), broken: true}
	}
	if err := decodeRow(m.GetValues(), s.cols); err != nil {
		return metric.Report{}, &fault{reason: faultValues, detail: err.Error(), broken: true}
	}
	r := metric.Report{Boot: d.boot, Seq: d.seq, Kind: s.kind, Every: s.every, Samples: s.samples(d.message)}
	for i := range s.cols {
		r.Samples[i].Value = math.Float64frombits(s.cols[i].bits)
	}
	var ok bool
	if r.At, ok = at(s.at); !ok || d.seq == 0 {
		return metric.Report{}, faultf(faultTime, "sequence %d at %d ms", d.seq, s.at)
	}
	return r, nil
}

func (d *decoder) defineSubject(m *pb.Subject) *fault {
	if m.GetId() == 0 || m.GetId() > maxIDs {
		return faultf(faultSeries, "subject id %d, want 1 to %d", m.GetId(), maxIDs)
	}
	s := &inSubject{}
	if err := s.define(m); err != nil {
		s = &inSubject{banned: faultf(faultResult, "%v", err)}
	}
	d.subjects[m.GetId()] = s
	return s.banned
}

func (s *inSubject) define(m *pb.Subject) (err error) {
	if s.check, err = text("check", m.GetCheck(), maxName); err != nil {
		return err
	}
	if s.service, err = text("service", m.GetService(), maxName); err != nil {
		return err
	}
	if s.target, err = text("target", m.GetTarget(), maxTarget); err != nil {
		return err
	}
	if len(m.GetPhases()) > maxPhases {
		return fmt.Errorf("%d phases, at most %d are taken", len(m.GetPhases()), maxPhases)
	}
	s.phases = make([]string, len(m.GetPhases()))
	for i, p := range m.GetPhases() {
		if s.phases[i], err = text("phase", p, maxName); err != nil {
			return err
		}
		s.phases[i] = shared(s.phases[i])
	}
	s.cols = newColumns(rowFixed + len(s.phases))
	return nil
}

func (d *decoder) result(m *pb.Result, probed map[string]int64) (check.Result, *fault) {
	s := d.subjects[m.GetSubject()]
	switch {
	case s == nil:
		return check.Result{}, faultf(faultSchema, "subject %d", m.GetSubject())
	case s.banned != nil:
		return check.Result{}, s.banned
	}
	base, ok := probed[s.check]
	if !ok {
		base = s.at
	}
	s.at = base + m.GetAtStep()
	when, ok := at(s.at)
	r := check.Result{Check: s.check, Service: s.service, Target: s.target, At: when}
	if row := m.GetValues(); len(row) > 0 {
		if err := decodeRow(row[1:], s.cols); err != nil || row[0] != rowMark {
			return r, &fault{reason: faultValues, detail: fmt.Sprint("first byte ", row[0], ", ", err), broken: true}
		}
		a, f := s.attempt()
		if f != nil {
			return r, f
		}
		r.Attempts = []check.Attempt{a}
	} else if f := attempts(&r, m.GetAttempts()); f != nil {
		return r, f
	}
	if !ok {
		return r, faultf(faultTime, "%d ms", s.at)
	}
	return r, around(&r, m)
}

// around reads what a result tells besides its attempts.
func around(r *check.Result, m *pb.Result) *fault {
	if m.GetAgain() > maxAgain {
		return faultf(faultResult, "asks again %d times, at most %d are taken", m.GetAgain(), maxAgain)
	}
	var t texts
	r.Again, r.Control = int(m.GetAgain()), m.GetControl()
	r.Request, r.Cut = t.read("request", m.GetRequest(), maxName), t.read("cut", m.GetCut(), maxReason)
	if t.err != nil {
		return faultf(faultResult, "%v", t.err)
	}
	return nil
}

// attempt is the attempt that the subject's row tells of.
func (s *inSubject) attempt() (check.Attempt, *fault) {
	var row [rowFixed + maxPhases]int64
	for i := range s.cols {
		v := math.Float64frombits(s.cols[i].bits)
		if !(v >= -1<<53 && v <= 1<<53) || v != math.Trunc(v) {
			return check.Attempt{}, faultf(faultResult, "number %v in column %d", v, i)
		}
		row[i] = int64(v)
	}
	w := &pb.Attempt{
		StartUs: row[rowStart], DurationUs: row[rowDuration], Outcome: []byte(check.OK),
		Status: row[rowStatus], CertExpiry: row[rowExpiry], Bytes: row[rowBytes],
	}
	for i, p := range s.phases {
		w.Phases = append(w.Phases, &pb.Phase{Name: []byte(p), DurationUs: row[rowFixed+i]})
	}
	return attemptFromWire(w, s.at)
}

func attempts(r *check.Result, attempts []*pb.Attempt) *fault {
	if len(attempts) == 0 || len(attempts) > maxAttempts {
		return faultf(faultResult, "%d attempts, want 1 to %d", len(attempts), maxAttempts)
	}
	for i, w := range attempts {
		a, f := attemptFromWire(w, r.At.UnixMilli())
		if f != nil {
			return faultf(f.reason, "attempt %d: %s", i, f.detail)
		}
		r.Attempts = append(r.Attempts, a)
	}
	return nil
}

func attemptFromWire(w *pb.Attempt, at int64) (check.Attempt, *fault) {
	if !sound(w) {
		return check.Attempt{}, faultf(faultResult, "start %d µs, duration %d µs, status %d, %d bytes, %d phases",
			w.GetStartUs(), w.GetDurationUs(), w.GetStatus(), w.GetBytes(), len(w.GetPhases()))
	}
	a := check.Attempt{
		Start: time.UnixMicro(at*1000 + w.GetStartUs()).UTC(), Duration: duration(w.GetDurationUs()),
		Outcome: check.Outcome(w.GetOutcome()), Status: int(w.GetStatus()), Bytes: w.GetBytes(), CertExpiry: expiryFromWire(w.GetCertExpiry()),
	}
	var t texts
	a.Class = check.Class(t.read("class", w.GetClass(), maxName))
	a.Reason = t.read("reason", w.GetReason(), maxReason)
	a.Trouble = check.Trouble(t.read("trouble", w.GetTrouble(), maxName))
	for _, p := range w.GetPhases() {
		a.Phases = append(a.Phases, check.Phase{Name: t.read("phase", p.GetName(), maxName), Duration: duration(p.GetDurationUs())})
	}
	switch {
	case !knownOutcome(a.Outcome):
		return check.Attempt{}, faultf(faultResult, "outcome %.40q", w.GetOutcome())
	case t.err != nil:
		return check.Attempt{}, faultf(faultResult, "%v", t.err)
	}
	return a, details(&a, w)
}

// details reads an attempt's steps and findings.
func details(a *check.Attempt, w *pb.Attempt) *fault {
	if n, m := len(w.GetSteps()), len(w.GetFindings()); n > maxSteps || m > maxFindings {
		return faultf(faultResult, "%d steps and %d findings, at most %d and %d are taken", n, m, maxSteps, maxFindings)
	}
	var t texts
	for _, x := range w.GetSteps() {
		s := check.Step{
			Name: t.read("step", x.GetName(), maxName), Duration: duration(x.GetDurationUs()), Outcome: check.OK,
			Class: check.Class(t.read("class", x.GetClass(), maxName)), Reason: t.read("reason", x.GetReason(), maxReason), Status: int(x.GetStatus()),
		}
		if len(x.GetOutcome()) > 0 {
			s.Outcome = check.Outcome(x.GetOutcome())
		}
		if !soundSpan(x.GetDurationUs(), x.GetStatus()) || !knownOutcome(s.Outcome) {
			return faultf(faultResult, "step of %d µs with status %d and outcome %.40q", x.GetDurationUs(), x.GetStatus(), x.GetOutcome())
		}
		a.Steps = append(a.Steps, s)
	}
	for _, x := range w.GetFindings() {
		if abs(x.GetUntil()) >= lastExpiry || math.IsNaN(x.GetValue()) || math.IsInf(x.GetValue(), 0) {
			return faultf(faultResult, "finding until %d with value %v", x.GetUntil(), x.GetValue())
		}
		a.Findings = append(a.Findings, check.Finding{
			Name: t.read("finding", x.GetName(), maxName), Level: t.read("level", x.GetLevel(), maxName),
			Reason: t.read("reason", x.GetReason(), maxReason), Until: expiryFromWire(x.GetUntil()), Value: x.GetValue(),
		})
	}
	if t.err != nil {
		return faultf(faultResult, "%v", t.err)
	}
	return nil
}

// texts reads texts one after the other and keeps the first error.
type texts struct{ err error }

func (t *texts) read(what string, b []byte, limit int) string {
	s, err := text(what, b, limit)
	if t.err == nil {
		t.err = err
	}
	return s
}

func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

func expiryFromWire(e int64) time.Time {
	if e == 0 {
		return time.Time{}
	}
	return time.Unix(e-1, 0).UTC()
}

func knownOutcome(o check.Outcome) bool {
	return o == check.OK || o == check.Slow || o == check.Fail || o == check.Unknown
}

const (
	dayMicros  = int64(24 * time.Hour / time.Microsecond)
	lastExpiry = 1 << 38 // the year 10680; certificates end in 9999 at most
)

// soundSpan says that a time taken and a status are such as a probe can see.
func soundSpan(us, status int64) bool {
	return us >= 0 && us <= dayMicros && status >= 0 && status < 1000
}

// sound says that an attempt's numbers are such as a probe can measure.
func sound(w *pb.Attempt) bool {
	ok := abs(w.GetStartUs()) <= dayMicros && soundSpan(w.GetDurationUs(), w.GetStatus()) &&
		w.GetBytes() >= 0 && abs(w.GetCertExpiry()) < lastExpiry && len(w.GetPhases()) <= maxPhases
	for _, p := range w.GetPhases() {
		ok = ok && soundSpan(p.GetDurationUs(), 0)
	}
	return ok
}

func abs(n int64) int64 {
	if n == math.MinInt64 {
		return math.MaxInt64
	}
	return max(n, -n)
}
