package uplink

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	pb "xunjian/proto/uplink/v1"
)

// overWire sends batches through marshalling and both ends of the code, as one message each.
func overWire(t interface {
	Helper()
	Fatalf(string, ...any)
}, boot uint64, batches []Batch,
) (out []Batch, sizes []int) {
	t.Helper()
	enc, dec := newEncoder(), newDecoder(boot, 4096)
	for i, b := range batches {
		raw, err := proto.Marshal(enc.encode(b))
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		m := &pb.Batch{}
		if err := unmarshal.Unmarshal(raw, m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		got, f := dec.decode(m)
		if f != nil {
			t.Fatalf("message %d: %v", i, f)
		}
		if bound := roughSize(b); len(raw) > bound {
			t.Fatalf("message %d has %d bytes, more than its bound %d", i, len(raw), bound)
		}
		out, sizes = append(out, got), append(sizes, len(raw))
	}
	return out, sizes
}

func TestWireKeepsEverything(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123).UTC()
	full := check.Attempt{
		Start: now.Add(-3 * time.Microsecond), Duration: 2*time.Second + 5*time.Microsecond, Outcome: check.Fail, Class: check.ClassTLS,
		Reason: "证书已过期", Status: 502, CertExpiry: time.Unix(1_700_000_000, 0).UTC(), Bytes: 1 << 20,
		Phases: []check.Phase{{Name: "resolve", Duration: time.Millisecond}, {Name: "connect"}},
	}
	ok := full
	ok.Outcome, ok.Class, ok.Reason = check.OK, "", ""
	r := report(metric.KindProbe+"gate", 3)
	r.Boot, r.Seq, r.At, r.Every = 9, 17, now, 10*time.Second
	r.Samples[2].Value, r.Samples[3].Value = math.NaN(), math.Inf(-1)
	alone := metric.Report{Boot: 9, Seq: 18, Kind: metric.KindHost, At: now.Add(-time.Hour), Samples: []metric.Sample{{Series: metric.New("up"), Value: 1}}}
	results := func(attempts ...check.Attempt) []check.Result {
		return []check.Result{{Check: "gate", Service: "网关", Target: "https://gw/", At: now, Attempts: attempts}}
	}
	in := []Batch{
		{Reports: []metric.Report{r}, Results: results(full, ok, full)},
		{Reports: []metric.Report{alone}, Results: results(ok)},
		{Results: results(ok)},
		{Results: results(inSteps(ok))},
		{Results: []check.Result{{Check: "gate", Service: "网关", Target: "https://gw/", At: now, Attempts: []check.Attempt{ok}, Again: 4, Request: "r-1"}}},
		{Results: []check.Result{{Check: "gate", Service: "网关", Target: "https://gw/", At: now, Attempts: []check.Attempt{full}, Control: true, Cut: "the default gateway does not answer"}}},
		{Results: results(check.Attempt{Start: now, Outcome: check.Unknown, Class: check.ClassSetup})},
	}
	got, _ := overWire(t, 9, in)
	if diff := cmp.Diff(in, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-sent +came)\n%s", diff)
	}
}

// inSteps is an attempt with all that a flow can tell besides.
func inSteps(a check.Attempt) check.Attempt {
	a.Outcome, a.Class, a.Reason, a.Trouble = check.Fail, check.ClassContent, "签名不符", check.Wrong
	a.Steps = []check.Step{
		{Name: "login", Duration: time.Millisecond, Outcome: check.OK, Status: 302},
		{Name: "sign", Duration: 2 * time.Second, Outcome: check.Slow},
		{Name: "verify", Outcome: check.Fail, Class: check.ClassContent, Reason: "验签失败", Status: 200},
		{Name: "document", Outcome: check.Unknown, Class: check.ClassSetup},
	}
	a.Findings = []check.Finding{
		{Name: "certificate", Level: "general", Reason: "7 天后到期", Until: time.Unix(1_800_000_000, 0).UTC(), Value: 6.5},
		{Name: "cleanup"},
	}
	return a
}

func TestWireProperty(t *testing.T) {
	name := rapid.StringMatching(`[a-z_]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		var in []Batch
		seq := rapid.Uint64Range(1, 1<<40).Draw(t, "seq")
		for range rapid.IntRange(1, 12).Draw(t, "messages") {
			var b Batch
			for range rapid.IntRange(0, 3).Draw(t, "reports") {
				r := metric.Report{
					Boot: 5, Seq: seq, Kind: rapid.SampledFrom([]string{"host", "probe/a", "probe/b"}).Draw(t, "kind"),
					Every: time.Duration(rapid.SampledFrom([]int{0, 1, 15000}).Draw(t, "every")) * time.Millisecond,
					At:    time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")).UTC(),
				}
				for i := range rapid.IntRange(0, 9).Draw(t, "series") {
					s := metric.New(name.Draw(t, "name"), "i", fmt.Sprint(i), "l"+name.Draw(t, "label"), rapid.StringN(0, 20, 100).Draw(t, "value"))
					r.Samples = append(r.Samples, metric.Sample{Series: s, Value: rapid.Float64().Draw(t, "v")})
				}
				b.Reports = append(b.Reports, r)
				seq += rapid.SampledFrom([]uint64{1, 1, 1, 2, 100}).Draw(t, "step")
			}
			for range rapid.IntRange(0, 2).Draw(t, "results") {
				b.Results = append(b.Results, drawResult(t))
			}
			in = append(in, b)
		}
		got, _ := overWire(t, 5, in)
		if diff := cmp.Diff(in, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("(-sent +came)\n%s", diff)
		}
	})
}

func drawResult(t *rapid.T) check.Result {
	at := time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")).UTC()
	r := check.Result{Check: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "check"), Service: "s", Target: "t", At: at}
	for range rapid.SampledFrom([]int{1, 1, 1, 3}).Draw(t, "attempts") {
		a := check.Attempt{
			Start:    at.Add(time.Duration(rapid.Int64Range(-1e6, 1e9).Draw(t, "start")) * time.Microsecond),
			Duration: time.Duration(rapid.Int64Range(0, 1e7).Draw(t, "duration")) * time.Microsecond,
			Outcome:  rapid.SampledFrom([]check.Outcome{check.OK, check.OK, check.Slow, check.Fail, check.Unknown}).Draw(t, "outcome"),
			Status:   rapid.SampledFrom([]int{0, 200, 503}).Draw(t, "status"), Bytes: rapid.Int64Range(0, 1<<40).Draw(t, "bytes"),
		}
		if a.Outcome != check.OK {
			a.Class, a.Reason = check.ClassTimeout, rapid.StringN(0, 30, 120).Draw(t, "reason")
		}
		if rapid.Bool().Draw(t, "tls") {
			a.CertExpiry = time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "expiry"), 0).UTC()
		}
		for _, p := range []string{"connect", "tls"}[:rapid.IntRange(0, 2).Draw(t, "phases")] {
			a.Phases = append(a.Phases, check.Phase{Name: p, Duration: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "phase")) * time.Microsecond})
		}
		for range rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(t, "steps") {
			a.Steps = append(a.Steps, check.Step{
				Name: "s", Duration: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "step")) * time.Microsecond,
				Outcome: rapid.SampledFrom([]check.Outcome{check.OK, check.Fail}).Draw(t, "made"), Reason: rapid.StringN(0, 30, 120).Draw(t, "why"),
			})
		}
		if rapid.IntRange(0, 5).Draw(t, "finding") == 0 {
			a.Findings = []check.Finding{{Name: "quota", Level: "minor", Value: rapid.Float64Range(-1e9, 1e9).Draw(t, "left")}}
		}
		r.Attempts = append(r.Attempts, a)
	}
	r.Again, r.Control = rapid.IntRange(0, maxAgain).Draw(t, "again"), rapid.Bool().Draw(t, "control")
	r.Request = rapid.StringN(0, 20, maxName).Draw(t, "request")
	return r
}

// TestManyKinds: more kinds and checks than there are ids push out the ones not used for longest, on both ends.
func TestManyKinds(t *testing.T) {
	var in []Batch
	for n := range maxIDs + 300 {
		b := probe(fmt.Sprint("c", n), n, check.OK)
		b.Reports[0].Samples = b.Reports[0].Samples[:1]
		b.Reports[0].Boot, b.Reports[0].Seq = 1, uint64(n+1)
		in = append(in, b)
	}
	in = append(in, in[maxIDs+200], in[5], in[maxIDs+250])
	got, sizes := overWire(t, 1, in)
	for i := range got {
		if got[i].Reports[0].Kind != in[i].Reports[0].Kind || got[i].Results[0].Check != in[i].Results[0].Check {
			t.Fatalf("message %d is of %s", i, got[i].Reports[0].Kind)
		}
	}
	if n := len(sizes); sizes[n-1] > 60 || sizes[n-2] < 60 {
		t.Errorf("known kind %d bytes, forgotten kind %d", sizes[n-1], sizes[n-2])
	}
}

// wireOf is a sound message of one report and one result, to be spoilt.
func wireOf(n int) (*encoder, *pb.Batch) {
	e := newEncoder()
	b := probe("gate", n, check.OK)
	b.Reports[0].Seq = 1
	return e, e.encode(b)
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 200)
	spoil := map[string]struct {
		reason string
		broken bool
		how    func(m *pb.Batch)
	}{
		"unknown schema":      {faultSchema, false, func(m *pb.Batch) { m.Reports[0].Schema = 9 }},
		"schema id 0":         {faultSeries, false, func(m *pb.Batch) { m.Schemas[0].Id = 0 }},
		"schema id too large": {faultSeries, false, func(m *pb.Batch) { m.Schemas[0].Id = maxIDs + 1 }},
		"too many series": {faultSeries, false, func(m *pb.Batch) {
			for i := range 100 {
				m.Schemas[0].Series = append(m.Schemas[0].Series, seriesToWire(metric.New("more", "i", fmt.Sprint(i))))
			}
		}},
		"label value too long":  {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Labels[1] = []byte(long) }},
		"label name too long":   {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Labels[0] = []byte(long) }},
		"metric name too long":  {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Name = []byte(long) }},
		"label value not UTF-8": {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Labels[1] = []byte("\xff\xfe") }},
		"no metric name":        {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Name = nil }},
		"label without value":   {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Labels = m.Schemas[0].Series[1].Labels[:1] }},
		"labels out of order": {faultLabel, false, func(m *pb.Batch) {
			m.Schemas[0].Series[1].Labels = [][]byte{[]byte("b"), nil, []byte("a"), nil}
		}},
		"label twice": {faultLabel, false, func(m *pb.Batch) {
			m.Schemas[0].Series[1].Labels = [][]byte{[]byte("a"), nil, []byte("a"), nil}
		}},
		"label __name__": {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1].Labels = [][]byte{[]byte("__name__"), nil} }},
		"65 labels": {faultLabel, false, func(m *pb.Batch) {
			for i := range maxLabels {
				m.Schemas[0].Series[1].Labels = append(m.Schemas[0].Series[1].Labels, fmt.Appendf(nil, "z%03d", i), nil)
			}
		}},
		"series twice":         {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Series[1] = m.Schemas[0].Series[0] }},
		"no kind":              {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].Kind = nil }},
		"interval of a year":   {faultLabel, false, func(m *pb.Batch) { m.Schemas[0].EveryMs = 4_000_000_000 }},
		"row cut off":          {faultValues, true, func(m *pb.Batch) { m.Reports[0].Values = m.Reports[0].Values[:2] }},
		"row too long":         {faultValues, true, func(m *pb.Batch) { m.Reports[0].Values = append(m.Reports[0].Values, 0) }},
		"before 1970":          {faultTime, false, func(m *pb.Batch) { m.Reports[0].AtStep = -1 << 50 }},
		"far future":           {faultTime, false, func(m *pb.Batch) { m.Reports[0].AtStep = math.MaxInt64 }},
		"sequence 0":           {faultTime, false, func(m *pb.Batch) { m.Reports[0].SeqStep = -1 }},
		"unknown subject":      {faultSchema, false, func(m *pb.Batch) { m.Results[0].Subject = 3 }},
		"subject id 0":         {faultSeries, false, func(m *pb.Batch) { m.Subjects[0].Id = 0 }},
		"check not UTF-8":      {faultResult, false, func(m *pb.Batch) { m.Subjects[0].Check = []byte{0xff} }},
		"service too long":     {faultResult, false, func(m *pb.Batch) { m.Subjects[0].Service = []byte(long) }},
		"target too long":      {faultResult, false, func(m *pb.Batch) { m.Subjects[0].Target = bytes.Repeat([]byte("x"), 3000) }},
		"phase too long":       {faultResult, false, func(m *pb.Batch) { m.Subjects[0].Phases[0] = []byte(long) }},
		"many phases":          {faultResult, false, func(m *pb.Batch) { m.Subjects[0].Phases = make([][]byte, 17) }},
		"result row cut off":   {faultValues, true, func(m *pb.Batch) { m.Results[0].Values = m.Results[0].Values[:2] }},
		"result row unmarked":  {faultValues, true, func(m *pb.Batch) { m.Results[0].Values[0] = 9 }},
		"result without times": {faultResult, false, func(m *pb.Batch) { m.Results[0].Values = nil }},
		"result far future":    {faultTime, false, func(m *pb.Batch) { m.Results[0].AtStep = 1 << 60 }},
		"many attempts": {faultResult, false, func(m *pb.Batch) {
			m.Results[0].Values, m.Results[0].Attempts = nil, make([]*pb.Attempt, maxAttempts+1)
		}},
		"unknown outcome":                {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("great")})},
		"class not UTF-8":                {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Class: []byte{0xff}})},
		"reason too long":                {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Reason: bytes.Repeat([]byte("x"), 2000)})},
		"negative time":                  {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), DurationUs: -1})},
		"start long ago":                 {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), StartUs: math.MinInt64})},
		"status 1000":                    {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Status: 1000})},
		"certificate of the year 100000": {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), CertExpiry: math.MinInt64})},
		"negative bytes":                 {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Bytes: -5})},
		"many phases in an attempt":      {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Phases: make([]*pb.Phase, 17)})},
		"trouble not UTF-8":              {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("fail"), Trouble: []byte{0xff}})},
		"many steps":                     {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Steps: make([]*pb.Step, maxSteps+1)})},
		"many findings":                  {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Findings: make([]*pb.Finding, maxFindings+1)})},
		"step not UTF-8":                 {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Steps: []*pb.Step{{Name: []byte{0xff}}}})},
		"step of no time":                {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Steps: []*pb.Step{{DurationUs: -1}}})},
		"step's outcome":                 {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Steps: []*pb.Step{{Outcome: []byte("great")}}})},
		"finding too long":               {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Findings: []*pb.Finding{{Reason: bytes.Repeat([]byte("x"), 2000)}}})},
		"finding no number":              {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Findings: []*pb.Finding{{Value: math.NaN()}}})},
		"asks for ever":                  {faultResult, false, func(m *pb.Batch) { m.Results[0].Again = maxAgain + 1 }},
		"cut too long":                   {faultResult, false, func(m *pb.Batch) { m.Results[0].Cut = bytes.Repeat([]byte("x"), 2000) }},
		"request not UTF-8":              {faultResult, false, func(m *pb.Batch) { m.Results[0].Request = []byte{0xff} }},
		"phase not UTF-8":                {faultResult, false, attempt(&pb.Attempt{Outcome: []byte("ok"), Phases: []*pb.Phase{{Name: []byte{0xff}}}})},
	}
	for name, c := range spoil {
		_, m := wireOf(1)
		d := newDecoder(1, 50)
		c.how(m)
		if _, f := d.decode(m); f == nil || f.reason != c.reason || f.broken != c.broken {
			t.Errorf("%s: %v, want %s, broken %v", name, f, c.reason, c.broken)
		}
	}
}

func attempt(a *pb.Attempt) func(m *pb.Batch) {
	return func(m *pb.Batch) { m.Results[0].Values, m.Results[0].Attempts = nil, []*pb.Attempt{a} }
}

// TestGoodGoesOnBesideBad: a refused schema spoils its own reports only, again and again, and a better definition mends it.
func TestGoodGoesOnBesideBad(t *testing.T) {
	e, d := newEncoder(), newDecoder(1, 50)
	bad := Batch{Reports: []metric.Report{{Seq: 1, Kind: "bad", At: time.UnixMilli(0), Samples: []metric.Sample{{Series: metric.Series{Name: "m", Labels: []metric.Label{{Name: "z"}, {Name: "a"}}}}}}}}
	good := host(1)
	good.Reports[0].Seq = 2
	if _, f := d.decode(e.encode(bad, good)); f == nil || f.broken {
		t.Fatalf("%v", f)
	}
	for range 3 {
		bad.Reports[0].Seq++
		good.Reports[0].Seq = bad.Reports[0].Seq + 1
		if _, f := d.decode(e.encode(bad)); f == nil || f.reason != faultLabel {
			t.Errorf("bad again: %v", f)
		}
		b, f := d.decode(e.encode(good))
		if f != nil || cmpReports(withBoot(good.Reports[0], 1), b.Reports[0]) != "" {
			t.Errorf("good: %v %s", f, cmpReports(withBoot(good.Reports[0], 1), b.Reports[0]))
		}
		bad.Reports[0].Seq++
	}
	mended := bad
	mended.Reports[0].Samples = []metric.Sample{{Series: metric.New("m", "l", "x")}}
	if _, f := d.decode(e.encode(mended)); f != nil {
		t.Errorf("mended: %v", f)
	}
	if d.series != 6 {
		t.Errorf("%d series counted, want 6", d.series)
	}
}

// TestOddTextsAreMadeToFit: a label that the other end would refuse is shortened, and different ones stay different.
func TestOddTextsAreMadeToFit(t *testing.T) {
	long := strings.Repeat("路", 60)
	r := metric.Report{Boot: 1, Seq: 1, Kind: "host", At: time.UnixMilli(0).UTC()}
	for _, v := range []string{"/ok", long + "a", long + "b", "/bad\xff", "/bad\xfe", strings.Repeat("x", maxLabelValue)} {
		r.Samples = append(r.Samples, metric.Sample{Series: metric.New("m", "mountpoint", v), Value: 1})
	}
	res := probe("gate", 1, check.Fail).Results
	res[0].Target = "http://x/" + strings.Repeat("y", 5000)
	res[0].Attempts[0].Reason = strings.Repeat("很", 1000) + "\xff"
	got, _ := overWire(t, 1, []Batch{{Reports: []metric.Report{r}}, {Results: res}})
	seen := make(map[string]bool)
	for i, s := range got[0].Reports[0].Samples {
		v := s.Series.Labels[0].Value
		if sent := r.Samples[i].Series.Labels[0].Value; len(sent) <= maxLabelValue && utf8.ValidString(sent) && v != sent {
			t.Errorf("%q became %q", sent, v)
		}
		seen[v] = true
	}
	if len(seen) != len(r.Samples) {
		t.Errorf("different labels became the same: %v", seen)
	}
	if x := got[1].Results[0]; len(x.Target) > maxTarget || !strings.HasPrefix(x.First().Reason, "很很很") {
		t.Errorf("target %d bytes, reason %.20q", len(x.Target), x.First().Reason)
	}
}

func withBoot(r metric.Report, boot uint64) metric.Report {
	r.Boot = boot
	return r
}

func TestPack(t *testing.T) {
	in := []Batch{host(1), probe("gate", 1, check.OK), probe("gate", 2, check.Fail)}
	for i := range in {
		in[i].Reports[0].Boot, in[i].Reports[0].Seq = 77, uint64(10+i)
	}
	frame := must(pack(77, in))
	got, _, f := unpack(frame, maxUnpacked, 4096)
	if f != nil {
		t.Fatal(f)
	}
	var want Batch
	for _, b := range in {
		want.Reports, want.Results = append(want.Reports, b.Reports...), append(want.Results, b.Results...)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-packed +unpacked)\n%s", diff)
	}
	if !bytes.Equal(frame, must(pack(77, in))) {
		t.Error("the same batches pack to different frames")
	}
}

// TestManyFields: a short message of very many empty parts is refused before it becomes a large object.
func TestManyFields(t *testing.T) {
	reports := bytes.Repeat([]byte{3<<3 | 2, 0}, maxFields+1)
	series := append([]byte{1<<3 | 2}, protowire.AppendBytes(nil, bytes.Repeat([]byte{4<<3 | 2, 0}, maxFields+1))...)
	for what, batch := range map[string][]byte{"reports": reports, "series": series} {
		var e envelope
		up := protowire.AppendBytes([]byte{2<<3 | 2}, batch)
		if e.open(up, 1<<20); e.fault == nil || e.fault.reason != faultSize || !e.fault.broken {
			t.Errorf("%s: %v", what, e.fault)
		}
		if got := testing.AllocsPerRun(3, func() { e.open(up, 1<<20) }); got > 20 {
			t.Errorf("%s: %v allocations to refuse it", what, got)
		}
	}
	_, m := wireOf(1)
	raw := must(proto.Marshal(m))
	if n := countFields(raw, m.ProtoReflect().Descriptor(), maxFields); n < 30 || n > 60 {
		t.Errorf("%d fields in a sound message", n)
	}
}

func TestUnpackRefuses(t *testing.T) {
	frame := must(pack(1, []Batch{host(1)}))
	var bomb bytes.Buffer
	bomb.WriteByte(packVersion)
	w := must(flate.NewWriterDict(&bomb, 1, dictionary()))
	for range 40 {
		w.Write(make([]byte, 1<<20))
	}
	w.Close()
	for name, c := range map[string]struct {
		frame  []byte
		reason string
	}{
		"empty":       {nil, faultFrame},
		"version 2":   {append([]byte{2}, frame[1:]...), faultFrame},
		"cut off":     {frame[:len(frame)/2], faultFrame},
		"not flate":   {[]byte{1, 0xff, 0xff, 0xff}, faultFrame},
		"not a batch": {must(pack(1, nil))[:1], faultFrame},
		"bomb":        {bomb.Bytes(), faultSize},
	} {
		if _, _, f := unpack(c.frame, maxUnpacked, 4096); f == nil || f.reason != c.reason || f.broken {
			t.Errorf("%s: %v, want %s", name, f, c.reason)
		}
	}
}

// TestDictionaryNeverChanges: frames on agents' disks were packed with it.
func TestDictionaryNeverChanges(t *testing.T) {
	const want = "67ca91951995ad023b4f9a9fbbca1bf796724a2c37f0f5dab4fde64dbdf24d16"
	if got := hashOf(dictionary()); got != want {
		t.Errorf("dictionary of version %d is %s, want %s: a better one needs a new version", packVersion, got, want)
	}
}

// FuzzMessage: nothing that an agent may send makes the collector's decoding panic or build more than it was sent.
func FuzzMessage(f *testing.F) {
	_, m := wireOf(1)
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: m}})))
	frame := must(pack(3, []Batch{host(1), probe("gate", 1, check.Fail)}))
	deep := probe("gate", 2, check.OK)
	deep.Results[0].Attempts[0] = inSteps(deep.Results[0].Attempts[0])
	deep.Results[0].Again, deep.Results[0].Control, deep.Results[0].Request = 1, true, "r-1"
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: newEncoder().encode(deep)}})))
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Packed{Packed: &pb.Packed{Frames: [][]byte{frame}}}})))
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Hello{Hello: &pb.Hello{Boot: 1}}})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e envelope
		e.open(raw, 1<<20)
		if e.fault != nil {
			return
		}
		d := newDecoder(1, 4096)
		for range 2 { // the second time against the history of the first
			b, f := d.decode(e.up.GetBatch())
			if f != nil && f.broken {
				return
			}
			for _, r := range b.Reports {
				if r.Seq == 0 || r.Kind == "" || len(r.Samples) > 4096 {
					t.Errorf("report %+v", r)
				}
			}
			for _, r := range b.Results {
				r.Outcome() // panics without attempts
			}
		}
		for _, frame := range e.up.GetPacked().GetFrames() {
			unpack(frame, maxUnpacked, 4096)
		}
	})
}

// FuzzPlain: what is read the short way is what the unmarshaller reads.
func FuzzPlain(f *testing.F) {
	_, m := wireOf(3)
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: m}})))
	f.Add(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{Reports: []*pb.Report{{Schema: 1, SeqStep: -3, AtStep: 9, Values: []byte{1, 2}}, {}}}}})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p plainUp
		p.parse(must(proto.Marshal(&pb.Up{Body: &pb.Up_Batch{Batch: &pb.Batch{Reports: []*pb.Report{{Schema: 7, SeqStep: 7, AtStep: 7, Values: []byte{7}}}}}})))
		short := p.parse(raw)
		if short == nil {
			return
		}
		long := &pb.Up{}
		if err := proto.Unmarshal(raw, long); err != nil {
			t.Fatalf("%x is read the short way, and is malformed: %v", raw, err)
		}
		if !proto.Equal(short, long) {
			t.Errorf("%x\nread as %v\nand is  %v", raw, short, long)
		}
	})
}
