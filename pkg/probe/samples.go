package probe

import (
	"math"
	"net/url"
	"slices"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// column is one series of a check and how to read it from a round.
type column struct {
	series metric.Series
	value  func(check.Result) float64
}

// schema is a check's fixed list of series.
type schema []column

// phases are those of HTTP in the order in which they happen, under blackbox_exporter's names.
var phases = []string{"resolve", "connect", "tls", "processing", "transfer"}

// timed names the series of each kind's phases, as blackbox_exporter does where it has them.
var timed = map[string]struct {
	name   string
	phases []string
}{
	"http": {"probe_http_duration_seconds", phases},
	"dns":  {"probe_dns_duration_seconds", []string{"resolve", "connect", "request"}},
	"icmp": {"probe_icmp_duration_seconds", []string{"resolve", "setup", "rtt"}},
	"grpc": {"probe_grpc_duration_seconds", []string{"resolve", "connect", "tls", "check"}},
	"tls":  {"xunjian_probe_tls_duration_seconds", []string{"resolve", "connect", "tls"}},
	"tlcp": {"xunjian_probe_tls_duration_seconds", []string{"resolve", "connect", "tls"}},
}

func newSchema(spec check.Spec) schema {
	s := schema{
		{metric.New(metric.ProbeSuccess), success},
		{metric.New("probe_duration_seconds"), duration},
		{metric.New("probe_failed_due_to_regex"), failedContent},
		{metric.New("xunjian_probe_attempts"), func(r check.Result) float64 { return float64(len(r.Attempts)) }},
		{metric.New("xunjian_probe_failures"), failures},
		{metric.New("xunjian_probe_slow"), slow},
	}
	for _, name := range timed[spec.Kind].phases {
		s = append(s, column{metric.New(timed[spec.Kind].name, "phase", name), phase(name)})
	}
	s = append(s, column{metric.New("probe_dns_lookup_time_seconds"), phase("resolve")})
	if spec.Kind == "http" {
		s = append(s, column{metric.New("probe_http_status_code"), status}, column{metric.New("probe_http_uncompressed_body_length"), length})
	}
	if overTLS(spec) {
		s = append(s, column{metric.New("probe_ssl_earliest_cert_expiry"), expiry})
	}
	s = append(s, ownColumns(spec)...)
	s.label(spec)
	return s
}

// ownColumns are the kind's own series, and those of its steps.
func ownColumns(spec check.Spec) (s schema) {
	kind := Kinds[spec.Kind]
	if kind.Series != nil {
		for i, series := range kind.Series(spec) {
			s = append(s, column{series, func(r check.Result) float64 { return valueAt(r.First().Values, i) }})
		}
	}
	if kind.Steps != nil {
		for _, name := range kind.Steps(spec) {
			s = append(s,
				column{metric.New(metric.StepSuccess, "step", name), stepSuccess(name)},
				column{metric.New("xunjian_probe_step_slow", "step", name), stepSlow(name)},
				column{metric.New("xunjian_probe_step_duration_seconds", "step", name), stepDuration(name)})
		}
	}
	return s
}

func valueAt(values []float64, i int) float64 {
	if i >= len(values) {
		return math.NaN()
	}
	return values[i]
}

func step(r check.Result, name string) (check.Step, bool) {
	for _, s := range r.First().Steps {
		if s.Name == name && s.Outcome != check.Unknown {
			return s, true
		}
	}
	return check.Step{}, false
}

// stepSuccess is NaN for a step that was not made.
func stepSuccess(name string) func(check.Result) float64 {
	return func(r check.Result) float64 {
		switch s, made := step(r, name); {
		case !made:
			return math.NaN()
		case s.Outcome == check.Fail:
			return 0
		}
		return 1
	}
}

func stepSlow(name string) func(check.Result) float64 {
	return func(r check.Result) float64 {
		switch s, made := step(r, name); {
		case !made:
			return math.NaN()
		case s.Outcome == check.Slow:
			return 1
		}
		return 0
	}
}

func stepDuration(name string) func(check.Result) float64 {
	return func(r check.Result) float64 {
		if s, made := step(r, name); made {
			return seconds(s.Duration)
		}
		return math.NaN()
	}
}

func (s schema) label(spec check.Spec) {
	for i := range s {
		series := s[i].series
		for name, value := range spec.Labels {
			series = series.With(name, value)
		}
		s[i].series = series.With("check", spec.Name).With("service", spec.Service).With("instance", maskTarget(spec.Target))
	}
}

func (s schema) samples(r check.Result) []metric.Sample {
	out := make([]metric.Sample, len(s))
	for i, c := range s {
		out[i] = metric.Sample{Series: c.series, Value: c.value(r)}
	}
	return out
}

func overTLS(spec check.Spec) bool {
	switch spec.Kind {
	case "tls":
		return true
	case "tcp":
		return spec.TCP.TLS || spec.TCP.StartTLS != "" || slices.ContainsFunc(spec.TCP.Dialogue, func(e check.Exchange) bool { return e.StartTLS })
	case "dns":
		return spec.DNS.TLS
	case "grpc":
		return spec.GRPC.TLS
	case "smpp", "cmpp":
		return spec.SMS != nil && spec.SMS.TLS
	}
	u, err := url.Parse(spec.Target)
	return err == nil && u.Scheme == "https" || spec.Kind == "http" && spec.HTTP.Redirects > 0
}

// success is of the scheduled attempt, as blackbox_exporter's; a probe that could not run is neither up nor down.
func success(r check.Result) float64 {
	switch r.First().Outcome {
	case check.OK, check.Slow:
		return 1
	case check.Fail:
		return 0
	}
	return math.NaN()
}

func duration(r check.Result) float64 {
	if r.First().Outcome == check.Unknown {
		return math.NaN()
	}
	return seconds(r.First().Duration)
}

func failedContent(r check.Result) float64 {
	switch a := r.First(); {
	case a.Outcome == check.Unknown:
		return math.NaN()
	case a.Class == check.ClassContent:
		return 1
	}
	return 0
}

func slow(r check.Result) float64 {
	switch r.First().Outcome {
	case check.Slow:
		return 1
	case check.Unknown:
		return math.NaN()
	}
	return 0
}

func failures(r check.Result) float64 {
	n := 0
	for _, a := range r.Attempts {
		if a.Outcome == check.Fail {
			n++
		}
	}
	return float64(n)
}

func phase(name string) func(check.Result) float64 {
	return func(r check.Result) float64 {
		for _, p := range r.First().Phases {
			if p.Name == name {
				return seconds(p.Duration)
			}
		}
		return math.NaN()
	}
}

func status(r check.Result) float64 {
	if s := r.First().Status; s != 0 {
		return float64(s)
	}
	if r.First().Outcome == check.Fail {
		return 0 // as blackbox_exporter writes an answer that never came
	}
	return math.NaN()
}

func length(r check.Result) float64 {
	if r.First().Status == 0 {
		return math.NaN()
	}
	return float64(r.First().Bytes)
}

func expiry(r check.Result) float64 {
	if r.First().CertExpiry.IsZero() {
		return math.NaN()
	}
	return float64(r.First().CertExpiry.Unix())
}

// seconds keeps microseconds: finer digits are noise that storing would have to pay for.
func seconds(d time.Duration) float64 { return float64(d.Round(time.Microsecond).Microseconds()) / 1e6 }
