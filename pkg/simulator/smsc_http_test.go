package simulator_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// overHTTP points a shipped flow at the simulator.
func overHTTP(s *simulator.Simulator, spec check.Spec) check.Spec {
	f := *spec.Flow
	spec.Target, spec.Timeout, spec.Slow, spec.Again = s.URL(simulator.SMS), 3*ample, 3*ample, new(0)
	spec.TLS.CA = string(s.CA())
	spec.Secrets = map[string]check.Ref{"key": {Env: "XUNJIAN_SMS"}}
	f.Vars = maps.Clone(f.Vars)
	if f.Vars["host"] != "" {
		f.Vars["host"] = strings.TrimPrefix(spec.Target, "https://")
	}
	f.Steps = slices.Clone(f.Steps)
	for i := range f.Steps {
		f.Steps[i].Slow, f.Steps[i].Timeout, f.Steps[i].Pause = 0, 2*ample, 50*time.Millisecond
	}
	spec.Flow = &f
	return spec
}

// The flows of the HTTP platforms, as shipped: their signatures hold, and each fault is named.
func TestShippedFlowsOfMessagesOverHTTP(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", simulator.SMSPassword)
	s := start(t, simulator.Options{})
	flows := map[string]check.Spec{}
	for name, spec := range shipped(t) {
		if spec.Kind == "flow" {
			flows[name] = overHTTP(s, spec)
			if steps := spec.Flow.Steps; len(steps) != 2 || steps[0].Message != check.MessageSubmit || steps[1].Message != check.MessageReport {
				t.Errorf("%s does not say what its steps are of a message, so that refusals weigh no more with time", name)
			}
		}
	}
	if len(flows) != 3 {
		t.Fatalf("%d flows", len(flows))
	}
	tests := []struct {
		mode    simulator.Mode
		outcome check.Outcome
		trouble check.Trouble
		step    string
	}{
		{simulator.OK, check.OK, "", ""},
		{simulator.SubmitRefused, check.Fail, check.Partial, "submit"},
		{simulator.Throttled, check.Unknown, "", "submit"},
		{simulator.ReportMissing, check.Fail, check.Partial, "report"},
		{simulator.Undeliverable, check.Fail, check.Partial, "report"},
		{simulator.OK, check.OK, "", ""},
	}
	for name, spec := range flows {
		for _, tc := range tests {
			t.Run(name+" "+string(tc.mode), func(t *testing.T) {
				spec := spec
				if tc.mode == simulator.ReportMissing {
					f := *spec.Flow
					f.Steps = slices.Clone(f.Steps)
					f.Steps[1].Timeout = time.Second
					spec.Flow = &f
				}
				breaks(t, s, simulator.SMS, simulator.Fault{Mode: tc.mode})
				a := round(t, newProber(t, spec)).First()
				if a.Outcome != tc.outcome || a.Trouble != tc.trouble {
					t.Errorf("%s %q: %s, want %s %q", a.Outcome, a.Trouble, a.Reason, tc.outcome, tc.trouble)
				}
				if tc.step != "" && stepOf(a, tc.step).Outcome != tc.outcome {
					t.Errorf("steps %+v", a.Steps)
				}
				if strings.Contains(a.Reason, simulator.SMSPassword) {
					t.Errorf("tells the key: %s", a.Reason)
				}
			})
		}
	}
	for _, mode := range []simulator.Mode{simulator.OK, simulator.AnySignature} {
		breaks(t, s, simulator.SMS, simulator.Fault{Mode: mode})
		for name, spec := range flows {
			want := map[simulator.Mode]check.Outcome{simulator.OK: check.OK, simulator.AnySignature: check.Fail}[mode]
			if a := newProber(t, spec).Control(t.Context(), time.Now()).First(); a.Outcome != want {
				t.Errorf("the negative control of %s, mode %s: %s: %s", name, mode, a.Outcome, a.Reason)
			}
		}
	}
	t.Setenv("XUNJIAN_SMS", "another key")
	breaks(t, s, simulator.SMS, simulator.Fault{Mode: simulator.OK})
	for name, spec := range flows {
		if a := round(t, newProber(t, spec)).First(); a.Outcome != check.Fail || stepOf(a, "submit").Outcome != check.Fail {
			t.Errorf("%s with a wrong key: %s: %s", name, a.Outcome, a.Reason)
		}
	}
}
