package report

import (
	"testing"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
)

// An early warning is no fault, until a person grades it higher.
func TestWarningsAreNoFaults(t *testing.T) {
	_, src := oneService(t)
	record := func(id string, class symptom.Class, level contract.Level) incident.Record {
		r := sampleFaults(t)[0]
		r.ID, r.Class, r.Level, r.Service, r.History.Level = id, class, level, "gw", level
		return r
	}
	src.Faults = []incident.Record{
		record("warned", symptom.Warning, contract.Minor), record("blind", symptom.Unknown, contract.Minor),
		record("graded", symptom.Warning, contract.General), record("broken", symptom.Partial, contract.Minor),
	}
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00")
	names := func(fs []Fault) (out string) {
		for _, f := range fs {
			out += f.ID + " "
		}
		return out
	}
	if got := names(m.Warnings); got != "blind warned " {
		t.Errorf("warnings: %s", got)
	}
	if got := names(m.Faults); got != "broken graded " {
		t.Errorf("faults: %s", got)
	}
}

// A certificate that several agents see stands once, as it was seen last.
func TestExpiries(t *testing.T) {
	f, src := oneService(t)
	old, renewed := at(t, "2026-11-20 00:00:00"), at(t, "2026-12-12 08:00:00")
	for i, agent := range []string{"a1", "a2"} {
		s := metric.New("probe_ssl_earliest_cert_expiry", "check", "gw-http", "agent", agent, "service", "gw", "instance", "https://gw/")
		f.add(s, []int64{at(t, "2026-11-05 00:00:00").UnixMilli(), at(t, "2026-11-10 00:00:00").UnixMilli() + int64(i)}, []float64{float64(old.Unix()), float64(renewed.Unix())})
	}
	enc := metric.New("xunjian_probe_tlcp_cert_expiry", "check", "gw-tlcp", "agent", "a1", "service", "gw", "instance", "gw:443", "usage", "enc")
	f.add(enc, []int64{at(t, "2026-11-05 00:00:00").UnixMilli()}, []float64{float64(old.Unix())})
	m := build(t, DefaultConfig(), src, "2026-11", "2026-12-02 08:00:00")
	if len(m.Expiries) != 2 {
		t.Fatalf("%+v", m.Expiries)
	}
	if e := m.Expiries[0]; e.Kind != "tlcp" || e.Usage != "enc" || e.Days != -11 || e.ZH != "网关服务" {
		t.Errorf("first to end: %+v", e)
	}
	if e := m.Expiries[1]; !e.Until.Equal(renewed) || e.Days != 11 {
		t.Errorf("renewed: %+v", e)
	}
}
