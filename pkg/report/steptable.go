package report

import (
	"fmt"

	"xunjian/pkg/incident"
)

// stability is the second table of 2.1: speed and steadiness, around the clock and in office hours.
func (w writer) stability(m *Model) table {
	t := table{key: "stability", columns: []column{
		{"service", 18, true},
		{"calendar", 10, false},
		{"p50", 10, false},
		{"p95", 10, false},
		{"max", 10, false},
		{"slow", 11, false},
		{"variation", 10, false},
		{"outages", 9, false},
		{"flaps", 9, false},
		{"longest", 15, false},
		{"mtbf", 15, false},
		{"mttr", 15, false},
		{"worst", 24, false},
		{"planned", 15, false},
	}}
	for _, s := range m.Services {
		for _, c := range []struct {
			key string
			Stability
		}{{"always", s.Detail}, {"office", s.OfficeDetail}} {
			t.rows = append(t.rows, append([]cell{words(w.title(s.Name, s.ZH, s.EN)), words(w.t("calendar." + c.key))}, w.steadiness(c.Stability)...))
		}
	}
	return t
}

func (w writer) steadiness(s Stability) []cell {
	none := w.nodata()
	count, flaps := w.missing(), w.missing()
	if s.Outages.Known {
		none, count, flaps = w.t("nothing"), integer(s.Outages.Value), integer(s.Flaps)
	}
	variation := w.missing()
	if s.Variation.Known {
		variation = number(fmt.Sprintf("%.1f", s.Variation.Value), s.Variation.Value, "0.0")
	}
	worst := w.missing()
	switch {
	case s.Worst.Known && s.Worst.Value == 1:
		worst = words(w.t("nothing"))
	case s.Worst.Known:
		worst = words(w.time(s.WorstAt)[:len("2006-01-02 15:04")] + " " + share(s.Worst.Value))
	}
	planned := words(none)
	if s.Planned > 0 {
		planned = words(w.duration(s.Planned))
	}
	return []cell{
		w.latency(s.P50), w.latency(s.P95), w.latency(s.Max), w.share(s.Slow), variation, count, flaps,
		words(w.maybeDuration(s.Longest, none)), words(w.maybeDuration(s.MTBF, none)), words(w.maybeDuration(s.MTTR, none)), worst, planned,
	}
}

// steps is 2.2: the core functions, step by step.
func (w writer) steps(m *Model) table {
	t := table{key: "steps", columns: []column{
		{"function", 30, true},
		{"step", 24, true},
		{"done", 10, false},
		{"success", 11, false},
		{"p95", 10, false},
		{"slow", 11, false},
		{"always", 13, false},
		{"failed", 12, false},
		{"checked_by", 14, false},
		{"verdict", 14, false},
	}}
	for _, s := range m.Steps {
		failed := words(w.t("nothing"))
		if s.Failed > 0 {
			failed = integer(s.Failed)
			if s.Most {
				failed = words(w.t("most", "n", whole(s.Failed)))
			}
		}
		t.rows = append(t.rows, []cell{
			words(w.title(s.Service, s.ServiceZH, s.ServiceEN) + w.t("in_brackets", "text", s.Check)), words(w.title(s.Step, s.ZH, s.EN)),
			integer(s.Done), w.share(s.Success), w.latency(s.P95), w.share(s.Slow), w.share(s.Always), failed,
			words("\u200b"), // for the pen: who looked by hand
			words(w.verdict(s.Verdict)),
		})
	}
	return t
}

// expiries is 2.4: what ends, the first to end first.
func (w writer) expiries(m *Model) table {
	t := table{key: "expiries", columns: []column{
		{"object", 44, true}, {"kind", 24, false}, {"issuer", 20, false}, {"until", 22, false}, {"days", 12, false}, {"action", 30, true},
	}}
	for _, e := range m.Expiries {
		kind := w.t("expiry." + e.Kind)
		if e.Usage != "" {
			kind = w.t("expiry." + e.Kind + "." + e.Usage)
		}
		t.rows = append(t.rows, []cell{
			words(w.title(e.Service, e.ZH, e.EN) + " " + w.or(e.Target)), words(kind), words(w.nodata()), words(w.time(e.Until)),
			number(whole(e.Days), float64(e.Days), "#,##0"), words("\u200b"), // for the pen
		})
	}
	return t
}

// warnings is 3.3: early warnings and gaps in monitoring.
func (w writer) warnings(m *Model) table {
	t := table{key: "warnings", columns: []column{{"id", 19, false}, {"kind", 14, false}, {"time", 22, false}, {"content", 60, true}, {"handling", 40, true}}}
	for _, f := range m.Warnings {
		handling := short(f.Handling)
		if handling == "" && !f.Recovered.IsZero() {
			handling = w.t("by_itself", "time", w.time(f.Recovered))
		}
		kind := w.T("common.class." + string(f.Class))
		if f.Excused == incident.ExcusedFalse && f.Spared {
			kind, handling = w.T("incident.excused."+string(f.Excused)), w.t("false_alarm", "why", short(f.Why), "person", f.Agreed)
		}
		t.rows = append(t.rows, []cell{
			words(f.ID), words(kind), words(w.time(f.SLAStart)), words(w.symptom(f)), words(w.or(handling)),
		})
	}
	return t
}
