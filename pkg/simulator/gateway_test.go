package simulator_test

import (
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// gatewayChecks are those of configs/services/gateway.yml, pointed at the simulator, whose gateway has all administrations at once.
func gatewayChecks(t *testing.T, s *simulator.Simulator) map[string]check.Spec {
	t.Helper()
	t.Setenv("XUNJIAN_TEST_KEY", simulator.GatewayKey)
	t.Setenv("XUNJIAN_TEST_ADMIN", simulator.GatewayKey)
	t.Setenv("XUNJIAN_TEST_PASSWORD", simulator.GatewayKey)
	base := s.URL(simulator.Gateway)
	return relocated(t, s, "gateway.yml", "https://gateway.example.org", base, "gateway.example.org:443", strings.TrimPrefix(base, "https://"),
		"https://docs.example.org", s.URL(simulator.CloudDoc), "http://gateway.internal:8001", base+"/admin",
		`"/status"`, `"/admin/status"`, `"/routes"`, `"/admin/routes"`, `"/upstreams/documents/health"`, `"/admin/upstreams/documents/health"`,
		`"/v1/healthcheck"`, `"/apisix/v1/healthcheck"`,
		"http://gateway.internal:9090", base, "http://gateway.internal:8080", base, "http://gateway.internal:8088", base, "http://gateway.internal:8404", base)
}

// Every fault of the gateway, as the shipped checks tell of it.
func TestGatewayChecksTellEveryFault(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := gatewayChecks(t, s)
	delete(specs, "gateway-tlcp") // the simulator's gateway speaks TLS
	const routes, deep, via, direct = "gateway-routes", "gateway-deep", "documents-via-gateway", "documents-direct"
	well := told{outcome: check.OK}
	everything := map[string]told{}
	for name := range specs {
		everything[name] = well
	}
	tests := map[simulator.Mode]map[string]told{
		simulator.OK: everything,
		simulator.RouteLost: {
			routes: {check.Fail, check.Down, "documents", "", "路由丢失 route lost"}, via: {check.Fail, check.Down, "health", "", "路由丢失"}, direct: well, deep: well,
			"gateway-kong": {check.Fail, check.Partial, "routes", "", "2 elements"}, "gateway-spring": {check.Fail, check.Partial, "routes", "", ""},
		},
		simulator.UpstreamDead: {via: {check.Fail, check.Down, "health", "", "上游不可达 upstream dead"}, direct: well, deep: well},
		simulator.RateLimited:  {routes: {check.Unknown, "", "", "", "rate limit"}, deep: {check.Unknown, "", "", "", "rate limit"}},
		simulator.AuthGone:     {routes: {check.Fail, check.Down, "documents", "", "鉴权插件失效"}},
		simulator.TargetUnhealthy: {
			"gateway-kong": {check.Fail, check.Partial, "targets", "", "10.0.0.12"}, "gateway-apisix": {check.Fail, check.Partial, "targets", "", "10.0.0.12"},
			"gateway-haproxy": {check.Fail, check.Partial, "servers", "", "doc2"}, routes: well, via: well,
		},
		simulator.CachedAnswer: {deep: {check.Fail, check.Wrong, "echo", "", "cached-answer"}},
		simulator.GatewaySlow:  {deep: {check.Fail, check.Partial, "echo", "", "X-Kong-Proxy-Latency is \"800\""}},
		simulator.AdminOpen:    {"gateway-admin-closed": {check.OK, "", "admin-open", "admin-open minor", ""}},
		simulator.Refuse:       {routes: {check.Fail, check.Down, "documents", "", ""}, deep: {check.Fail, check.Down, "echo", "", ""}, direct: well},
		simulator.Error500:     {routes: {check.Fail, check.Down, "documents", "", "500"}, deep: {check.Fail, check.Down, "echo", "", "500"}},
		simulator.TLSExpired:   {"gateway-certificate": {outcome: check.Fail, finding: "certificate urgent"}},
	}
	for mode, wants := range tests {
		t.Run(string(mode), func(t *testing.T) {
			breakService(t, s, simulator.Gateway, mode)
			for name, want := range wants {
				want.look(t, name, round(t, newProber(t, specs[name])).First())
			}
		})
	}
}

// A service that fails fails both ways, and the gateway says that it is not its own fault.
func TestGatewayTellsTheServiceBehindIt(t *testing.T) {
	s := start(t, simulator.Options{})
	specs := gatewayChecks(t, s)
	tests := map[simulator.Mode]struct{ via, direct string }{
		simulator.Refuse:      {"上游不可达 upstream dead", "refused"},
		simulator.HealthFalse: {`"false"`, `"false"`},
		simulator.Error500:    {"500", "500"},
	}
	for mode, want := range tests {
		t.Run(string(mode), func(t *testing.T) {
			breakService(t, s, simulator.CloudDoc, mode)
			told{check.Fail, check.Down, "health", "", want.via}.look(t, "via", round(t, newProber(t, specs["documents-via-gateway"])).First())
			told{outcome: check.Fail, reason: want.direct}.look(t, "direct", round(t, newProber(t, specs["documents-direct"])).First())
			told{outcome: check.OK}.look(t, "routes", round(t, newProber(t, specs["gateway-routes"])).First())
			if via := specs["documents-via-gateway"]; shippedFile(t, "gateway.yml")[via.Name].Direct != "documents-direct" {
				t.Error("the check through the gateway does not name the one that goes directly")
			}
		})
	}
}

// Once a day it is shown that the deep route tells bad from good: a wrong key and an unknown route must be refused.
func TestGatewayControl(t *testing.T) {
	s := start(t, simulator.Options{})
	spec := gatewayChecks(t, s)["gateway-deep"]
	for mode, want := range map[simulator.Mode]check.Outcome{simulator.OK: check.OK, simulator.AuthGone: check.Fail, simulator.Error500: check.Unknown} {
		breakService(t, s, simulator.Gateway, mode)
		r := newProber(t, spec).Control(t.Context(), time.Now())
		readable(t, r)
		a := r.First()
		if !r.Control || a.Outcome != want {
			t.Errorf("%s: %s %s, want %s", mode, a.Outcome, a.Reason, want)
		}
		if mode == simulator.OK && (len(a.Steps) != 2 || a.Steps[0].Status != 401 || a.Steps[1].Status != 404) {
			t.Errorf("the control made %+v", a.Steps)
		}
	}
}
