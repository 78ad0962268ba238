package simulator_test

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// documentSpecs are full checks of cloud-doc in each of its shapes.
func documentSpecs(t *testing.T, s *simulator.Simulator) map[string]check.Spec {
	t.Helper()
	for name, value := range map[string]string{
		"XUNJIAN_DOC_TOKEN": simulator.DocToken, "XUNJIAN_DOC_SECRET": simulator.DocSecret,
	} {
		t.Setenv(name, value)
	}
	base := s.URL(simulator.CloudDoc)
	store := check.Store{
		URL: base + "/store/{{ url(name) }}", Size: "size", Headers: map[string]string{"Authorization": "Bearer {{ secrets.token }}"},
		List: base + "/store", Names: `files.#(name%"【监测】*")#|#(name<"【监测】{{ now('yyyyMMddHHmmss', '-1h', 'UTC') }}")#.name`, Remove: base + "/store/{{ url(each) }}",
	}
	token, secret := check.Ref{Env: "XUNJIAN_DOC_TOKEN"}, check.Ref{Env: "XUNJIAN_DOC_SECRET"}
	specs := map[string]check.Spec{
		"wopi":       {Document: check.Document{Source: base + "/wopi/files/{{ url(id) }}"}, Secrets: map[string]check.Ref{"token": token}},
		"onlyoffice": {Document: check.Document{Licence: true}, Secrets: map[string]check.Ref{"token": token, "jwt": secret}},
		"wps":        {Document: check.Document{Licence: true, App: simulator.DocApp}, Secrets: map[string]check.Ref{"token": token, "key": secret}},
		"wps-2":      {Document: check.Document{Licence: true, App: simulator.DocApp, Sign: "wps-2"}, Secrets: map[string]check.Ref{"token": token, "key": secret}},
	}
	for name, spec := range specs {
		spec.Name, spec.Service, spec.Target = name, "cloud-doc", base
		spec.Kind = strings.TrimSuffix(name, "-2")
		spec.Document.Full, spec.Document.Store = true, store
		spec.TLS.CA, spec.Again = string(s.CA()), new(0)
		spec.Every, spec.Timeout, spec.Slow = 5*time.Minute, 3*ample, 3*ample
		specs[name] = spec
	}
	return specs
}

func TestDocumentKinds(t *testing.T) {
	s := start(t, simulator.Options{})
	for name, spec := range documentSpecs(t, s) {
		t.Run(name, func(t *testing.T) {
			spec.WithDefaults().Validate(func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
			r := round(t, newProber(t, spec))
			if r.Outcome() != check.OK {
				t.Errorf("%s: %s", r.Outcome(), r.First().Reason)
			}
		})
	}
}

