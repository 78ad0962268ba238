package check

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVerdictOfARound(t *testing.T) {
	tests := map[string]struct {
		attempts  []Outcome
		confirmed bool
		outcome   Outcome
	}{
		"ok":                                {[]Outcome{OK}, false, OK},
		"could not run":                     {[]Outcome{Unknown}, false, Unknown},
		"one failure, not asked again":      {[]Outcome{Fail}, false, Fail},
		"failure confirmed":                 {[]Outcome{Fail, Fail, Fail}, true, Fail},
		"slowness confirmed":                {[]Outcome{Slow, Slow, Slow}, true, Slow},
		"one completes, so it is slow":      {[]Outcome{Fail, Slow, Fail}, true, Slow},
		"slow first":                        {[]Outcome{Slow, Fail, Fail}, true, Slow},
		"blip":                              {[]Outcome{Fail, OK, OK}, false, Fail},
		"half":                              {[]Outcome{Fail, OK, Fail}, false, Fail},
		"slow once":                         {[]Outcome{Slow, OK, OK}, false, Slow},
		"re-probe could not run":            {[]Outcome{Fail, Fail, Unknown}, false, Fail},
		"second failure alone is not proof": {[]Outcome{Fail, Fail}, false, Fail},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var r Result
			for _, o := range tc.attempts {
				r.Attempts = append(r.Attempts, Attempt{Outcome: o})
			}
			if got := r.Confirmed(); got != tc.confirmed {
				t.Errorf("confirmed %v, want %v", got, tc.confirmed)
			}
			if got := r.Outcome(); got != tc.outcome {
				t.Errorf("outcome %s, want %s", got, tc.outcome)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	tests := map[string]struct{ in, want Spec }{
		"all left out": {
			Spec{Kind: "http"},
			Spec{Kind: "http", Every: 10 * time.Second, Timeout: 2 * time.Second, Slow: time.Second, HTTP: HTTP{Method: "GET"}},
		},
		"a second's pace leaves half of it to wait": {
			Spec{Kind: "tcp", Every: time.Second},
			Spec{Kind: "tcp", Every: time.Second, Timeout: 500 * time.Millisecond, Slow: 250 * time.Millisecond},
		},
		"what is given stays": {
			Spec{Kind: "http", Every: time.Minute, Timeout: 30 * time.Second, Slow: 3 * time.Second, HTTP: HTTP{Method: "POST"}},
			Spec{Kind: "http", Every: time.Minute, Timeout: 30 * time.Second, Slow: 3 * time.Second, HTTP: HTTP{Method: "POST"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.in.WithDefaults()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sound is a check without a fault.
func sound() Spec {
	want := "valid"
	return Spec{
		Name: "sign-status", Service: "signature", Kind: "http",
		Target: "https://sign.example:8443/api/v1/status?nonce={nonce}",
		HTTP: HTTP{
			Headers: map[string]string{"X-Nonce": "{nonce}"},
			Status:  []int{200, 204},
			Expect:  []Expect{{JSON: "result.status", Equals: &want}, {Header: "X-Route", Exists: true}, {Body: true, Refuse: "error"}},
		},
		Labels: map[string]string{"site": "fuzhou"},
	}
}

func TestSoundChecksPass(t *testing.T) {
	tcp := Spec{Name: "db", Service: "db", Kind: "tcp", Target: "[::1]:3306", TCP: TCP{Expect: "^.{5}"}}
	for _, s := range []Spec{sound(), tcp} {
		s.Validate(func(path, format string, args ...any) {
			t.Errorf("%s: %s refused: "+format, append([]any{s.Name, path}, args...)...)
		})
	}
}

func TestValidateNamesTheFault(t *testing.T) {
	long := string(make([]byte, maxTarget+1))
	tests := map[string]struct {
		spoil func(*Spec)
		paths []string
	}{
		"no name":             {func(s *Spec) { s.Name = "" }, []string{"name"}},
		"capitals":            {func(s *Spec) { s.Service = "Sign" }, []string{"service"}},
		"slash in name":       {func(s *Spec) { s.Name = "a/b" }, []string{"name"}},
		"unknown kind":        {func(s *Spec) { s.Kind = "gopher" }, []string{"kind"}},
		"no scheme":           {func(s *Spec) { s.Target = "sign.example/api" }, []string{"target"}},
		"wrong scheme":        {func(s *Spec) { s.Target = "ftp://sign.example/" }, []string{"target"}},
		"no host":             {func(s *Spec) { s.Target = "https:///api" }, []string{"target"}},
		"bad port":            {func(s *Spec) { s.Target = "https://h:99999/" }, []string{"target"}},
		"not a URL":           {func(s *Spec) { s.Target = "https://u:geheim@h/%zz" }, []string{"target"}},
		"nonce as host":       {func(s *Spec) { s.Target = "https://{nonce}.example/" }, []string{"target"}},
		"fragment":            {func(s *Spec) { s.Target = "https://h/#top" }, []string{"target"}},
		"too often":           {func(s *Spec) { s.Every = time.Millisecond }, []string{"every", "timeout"}},
		"timeout not below":   {func(s *Spec) { s.Every, s.Timeout = 5*time.Second, 5*time.Second }, []string{"timeout"}},
		"negative timeout":    {func(s *Spec) { s.Timeout = -1 }, []string{"timeout", "slow"}},
		"slow after timeout":  {func(s *Spec) { s.Timeout, s.Slow = time.Second, 2*time.Second }, []string{"slow"}},
		"usual no multiple":   {func(s *Spec) { s.SlowUsual = new(1.0) }, []string{"slow_usual"}},
		"method":              {func(s *Spec) { s.HTTP.Method = "get it" }, []string{"http.method"}},
		"header splits":       {func(s *Spec) { s.HTTP.Headers = map[string]string{"A": "b\r\nC: d"} }, []string{"http.headers.A"}},
		"header name":         {func(s *Spec) { s.HTTP.Headers = map[string]string{"A B": "c"} }, []string{"http.headers.A B"}},
		"status":              {func(s *Spec) { s.HTTP.Status = []int{200, 99} }, []string{"http.status[1]"}},
		"no subject":          {func(s *Spec) { s.HTTP.Expect = []Expect{{Match: "x"}} }, []string{"http.expect[0]"}},
		"two subjects":        {func(s *Spec) { s.HTTP.Expect = []Expect{{Body: true, JSON: "a", Match: "x"}} }, []string{"http.expect[0]"}},
		"asserts nothing":     {func(s *Spec) { s.HTTP.Expect = []Expect{{Body: true}} }, []string{"http.expect[0]"}},
		"bad regexps":         {func(s *Spec) { s.HTTP.Expect = []Expect{{Body: true, Match: "(", Refuse: "["}} }, []string{"http.expect[0].match", "http.expect[0].refuse"}},
		"long regexp":         {func(s *Spec) { s.HTTP.Expect = []Expect{{Body: true, Match: long}} }, []string{"http.expect[0].match"}},
		"too many assertions": {func(s *Spec) { s.HTTP.Expect = make([]Expect, 0); s.HTTP.Expect = manyExpects() }, []string{"http.expect"}},
		"own label":           {func(s *Spec) { s.Labels = map[string]string{"instance": "x"} }, []string{"labels.instance"}},
		"label name":          {func(s *Spec) { s.Labels = map[string]string{"a-b": "x"} }, []string{"labels.a-b"}},
		"CA":                  {func(s *Spec) { s.TLS.CA = "no certificate" }, []string{"tls.ca"}},
		"trusts all and a CA": {func(s *Spec) { s.TLS.SkipVerify, s.TLS.CAFile = true, "ca.pem" }, []string{"tls.skip_verify"}},
		"tcp without port":    {func(s *Spec) { s.Kind, s.Target = "tcp", "db.example" }, []string{"target"}},
		"tcp with a URL":      {func(s *Spec) { s.Kind, s.Target = "tcp", "https://h" }, []string{"target"}},
		"tcp regexp":          {func(s *Spec) { s.Kind, s.Target, s.TCP.Expect = "tcp", "h:1", "*" }, []string{"tcp.expect"}},
		"words of DNS": {func(s *Spec) {
			s.Kind, s.Target = "dns", "192.0.2.53"
			s.DNS = DNS{Name: "a.example", Type: "AAAAA", Class: "INN", Rcodes: []string{"NOERROR", "NXDOMIAN"}}
		}, []string{"dns.query_type", "dns.query_class", "dns.valid_rcodes[1]"}},
		"everything at once":    {func(s *Spec) { *s = Spec{} }, []string{"name", "service", "kind"}},
		"target beyond all cap": {func(s *Spec) { s.Target = "https://h/" + manyLetters() }, []string{"target"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := sound()
			tc.spoil(&s)
			var got []string
			s.Validate(func(path, format string, args ...any) { got = append(got, path) })
			if diff := cmp.Diff(tc.paths, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func manyExpects() []Expect {
	out := make([]Expect, maxExpects+1)
	for i := range out {
		out[i] = Expect{Body: true, Exists: true}
	}
	return out
}

func manyLetters() string {
	b := make([]byte, maxTarget)
	for i := range b {
		b[i] = 'a'
	}
	return string(b)
}

func TestStamp(t *testing.T) {
	plan := func() Plan { return Plan{HostEvery: 15 * time.Second, Checks: []Spec{sound()}} }
	a, b := plan(), plan()
	b.Revision = "of another day"
	a.Stamp()
	b.Stamp()
	if a.Revision == "" || a.Revision != b.Revision {
		t.Errorf("equal plans are stamped %q and %q", a.Revision, b.Revision)
	}
	c := plan()
	c.Checks[0].HTTP.Expect[0].Equals = new("revoked")
	c.Stamp()
	if c.Revision == a.Revision {
		t.Error("another expectation, the same revision")
	}
}

// A plan travels as JSON: what comes out is what went in, but for the file name of the CA, which means nothing to an agent.
func TestSpecTravelsAsJSON(t *testing.T) {
	s := sound().WithDefaults()
	s.TLS.CA = "PEM"
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got Spec
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Error(diff)
	}
}

// An attempt tells one thing of each name, the gravest.
func TestNote(t *testing.T) {
	var a Attempt
	a.Note(Finding{Name: "cleanup"}, Finding{Name: "balance", Level: "general", Reason: "first"}, Finding{Name: "cleanup", Level: "minor"})
	a.Note(Finding{Name: "balance", Level: "general", Reason: "second"}, Finding{Name: "cleanup"}, Finding{Name: "licence", Level: "of tomorrow"}, Finding{Name: "licence"})
	want := []Finding{{Name: "cleanup", Level: "minor"}, {Name: "balance", Level: "general", Reason: "first"}, {Name: "licence", Level: "of tomorrow"}}
	if !slices.Equal(a.Findings, want) {
		t.Errorf("%+v, want %+v", a.Findings, want)
	}
}
