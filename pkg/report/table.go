package report

import (
	"strings"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

// table is one of the report's tables in words: the one source of the Word form's lists and of the Excel sheets.
type table struct {
	key     string
	columns []column
	rows    [][]cell
}

func (t table) width() (w float64) {
	for _, c := range t.columns {
		w += c.width
	}
	return w
}

// column names a table's column; its head is in the catalogue under report.<table>.<key>.
type column struct {
	key   string
	width float64 // in Excel's characters
	left  bool    // long texts start at the left, all else is centred
}

// cell is a text, and the number behind it where a reader may want to reckon with it.
type cell struct {
	text    string
	number  float64
	format  string // Excel's, empty: text
	missing bool
}

func words(s string) cell { return cell{text: s} }

// stacked breaks a moment between date and time, so that its column can be narrow.
func stacked(s string) cell { return words(strings.Replace(s, " ", "\n", 1)) }

func number(text string, v float64, format string) cell {
	return cell{text: text, number: v, format: format}
}

func integer(n int64) cell { return number(whole(n), float64(n), "#,##0") }

// tables puts the model into words.
func tables(m *Model, p *i18n.Printer, loc *time.Location) []table {
	w := writer{p, loc}
	return []table{w.summary(m), w.services(m), w.stability(m), w.steps(m), w.hosts(m), w.expiries(m), w.faults(m), w.levels(m), w.warnings(m), w.score(m)}
}

func (w writer) missing() cell { return cell{text: w.nodata(), missing: true} }

func (w writer) share(v measure.Maybe[float64]) cell {
	if !v.Known {
		return w.missing()
	}
	return number(share(v.Value), cut(v.Value), "0.000%")
}

func (w writer) load(v measure.Maybe[float64]) cell {
	if !v.Known {
		return w.missing()
	}
	return number(load(v.Value), v.Value, "0.0%")
}

func (w writer) latency(d measure.Maybe[time.Duration]) cell {
	if !d.Known {
		return w.missing()
	}
	ms := latency(d.Value)
	return number(strings.TrimSuffix(signless(ms), ".0"), ms, "#,##0.0")
}

func signless(v float64) string { return strings.TrimPrefix(signed(v, 1), "+") }

func (w writer) summary(m *Model) table {
	t := table{key: "summary", columns: []column{
		{"metric", 34, true}, {"now", 14, false}, {"previous", 14, false}, {"change", 20, false}, {"target", 14, false}, {"verdict", 22, false},
	}}
	for _, h := range m.Summary {
		subject := w.title(h.Subject, h.TitleZH, h.TitleEN)
		if h.Key == "faults" {
			subject = w.T("common.level." + h.Subject)
		}
		t.rows = append(t.rows, []cell{
			words(w.t("metric."+h.Key, "subject", subject)), w.mark(w.figure(h.Unit, h.Now), h.Provisional), w.figure(h.Unit, h.Previous),
			w.change(h), w.target(h), words(w.verdict(h.Verdict)),
		})
	}
	return t
}

func (w writer) figure(u Unit, v measure.Maybe[float64]) cell {
	switch {
	case !v.Known:
		return w.missing()
	case u == Share:
		return w.share(v)
	}
	return integer(int64(v.Value))
}

// change is the month against the one before: percentage points, or a count.
func (w writer) change(h Headline) cell {
	switch {
	case !h.Now.Known || !h.Previous.Known:
		return w.missing()
	case h.Unit == Share:
		return words(w.t("points", "n", signed((cut(h.Now.Value)-cut(h.Previous.Value))*100, 3)))
	}
	return words(signed(h.Now.Value-h.Previous.Value, 0))
}

func (w writer) target(h Headline) cell {
	if !h.Target.Known {
		return words(w.t("no_target"))
	}
	return words("≥" + share(h.Target.Value))
}

func (w writer) services(m *Model) table {
	t := table{key: "services", columns: []column{
		{"service", 18, true},
		{"planned", 11, false},
		{"done", 11, false},
		{"success", 11, false},
		{"always", 13, false},
		{"office", 13, false},
		{"p50", 10, false},
		{"p95", 10, false},
		{"max", 10, false},
		{"outages", 9, false},
		{"longest", 15, false},
		{"mttr", 15, false},
		{"unknown", 16, false},
		{"verdict", 20, false},
	}}
	for _, s := range m.Services {
		longest, mttr := w.nodata(), w.nodata()
		if s.Outages.Known && !s.Longest.Known {
			longest, mttr = w.t("nothing"), w.t("nothing")
		}
		if s.Longest.Known && s.Lasting && !s.MTTR.Known {
			mttr = w.t("lasting")
		}
		count := w.missing()
		if s.Outages.Known {
			count = integer(s.Outages.Value)
		}
		planned, done, unknown := integer(s.Planned), integer(s.Done), words(w.duration(s.Unknown))
		if s.Planned == 0 {
			planned, done, unknown = w.missing(), w.missing(), w.missing()
		}
		t.rows = append(t.rows, []cell{
			words(w.title(s.Name, s.ZH, s.EN)), planned, done, w.share(s.Success), w.share(s.Always), w.mark(w.share(s.Office), s.OfficeGuessed),
			w.latency(s.P50), w.latency(s.P95), w.latency(s.Max), count,
			words(w.maybeDuration(s.Longest, longest)), words(w.maybeDuration(s.MTTR, mttr)),
			unknown, words(w.verdict(s.Verdict)),
		})
	}
	return t
}

func (w writer) hosts(m *Model) table {
	t := table{key: "hosts", columns: []column{
		{"host", 18, true},
		{"ip", 16, false},
		{"role", 20, true},
		{"cpu_mean", 9, false},
		{"cpu_p95", 9, false},
		{"cpu_peak", 9, false},
		{"mem_mean", 9, false},
		{"mem_peak", 9, false},
		{"mount", 18, true},
		{"used", 9, false},
		{"growth", 13, false},
		{"full", 13, false},
		{"online", 11, false},
		{"verdict", 12, false},
	}}
	for _, h := range m.Hosts {
		mounts := h.Mounts
		if len(mounts) == 0 {
			mounts = []Mount{{}}
		}
		for _, d := range mounts {
			t.rows = append(t.rows, []cell{
				words(h.Name), words(w.or(h.IP)), words(w.or(h.Role)), w.load(h.CPU.Mean), w.load(h.CPU.P95), w.load(h.CPU.Peak),
				w.load(h.Memory.Mean), w.load(h.Memory.Peak), words(w.or(d.Path)), w.load(d.Used), w.growth(d), w.full(d),
				w.share(h.Online), words(w.verdict(h.Verdict)),
			})
		}
	}
	return t
}

func (w writer) growth(d Mount) cell {
	if !d.Growth.Known {
		return w.missing()
	}
	gb := gigabytes(d.Growth.Value)
	return number(signed(gb, 2)+" GB", gb, `+0.00;-0.00;0.00`)
}

func (w writer) full(d Mount) cell {
	const decade = 3650
	switch {
	case d.Flat:
		return words(w.t("flat"))
	case !d.FullDays.Known:
		return w.missing()
	case d.FullDays.Value > decade:
		return words(w.t("days", "n", ">"+whole(decade)))
	}
	return number(w.t("days", "n", whole(int64(d.FullDays.Value))), d.FullDays.Value, "#,##0")
}

func (w writer) faults(m *Model) table {
	t := table{key: "faults", columns: []column{
		{"id", 19, false},
		{"level", 6, false},
		{"symptom", 28, true},
		{"found_by", 9, false},
		{"start", 11.5, false},
		{"found_at", 11.5, false},
		{"responded", 11.5, false},
		{"recovered", 11.5, false},
		{"confirmed", 11.5, false},
		{"response", 12, false},
		{"recovery", 18, false},
		{"paused", 11, false},
		{"late", 11, false},
		{"cause", 28, true},
		{"handling", 64, true},
		{"report_no", 9, false},
	}}
	for _, f := range m.Faults {
		t.rows = append(t.rows, []cell{
			words(f.ID), words(w.T("common.level." + string(f.Level))), words(w.symptom(f)), words(w.t(foundBy(f))),
			stacked(w.time(f.Start)), stacked(w.foundAt(f)), stacked(w.responded(f)), stacked(w.pending(f.Recovered, "not_recovered")),
			stacked(w.confirmed(f)), words(w.guessed(w.maybeDuration(f.Response, w.t("not_responded")), f.Provisional)),
			words(w.guessed(w.recovery(f), f.Provisional)), words(w.paused(f)), words(w.guessed(w.late(f), f.Provisional)),
			words(w.or(short(f.Cause))), words(w.or(short(f.Handling))), words(w.nodata()),
		})
	}
	return t
}

func foundBy(f Fault) string {
	if f.ByUser {
		return "by_user"
	}
	return "by_monitoring"
}

// foundAt is the detection, the report, or both.
func (w writer) foundAt(f Fault) string {
	if f.Detected.IsZero() || f.Reported.IsZero() {
		return w.time(later(f.Detected, f.Reported))
	}
	stack := func(who string, at time.Time) string { return w.t(who) + "\n" + stacked(w.time(at)).text }
	return stack("by_monitoring", f.Detected) + "\n" + stack("by_user", f.Reported)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (w writer) responded(f Fault) string {
	if f.Responded.IsZero() {
		return w.t("not_responded")
	}
	return strings.TrimSpace(w.time(f.Responded) + "\n" + short(f.Responder))
}

func (w writer) pending(t time.Time, key string) string {
	if t.IsZero() {
		return w.t(key)
	}
	return w.time(t)
}

// confirmed is when a recovery was confirmed, and whether by nobody's objection.
func (w writer) confirmed(f Fault) string {
	s := w.pending(f.Confirmed, "not_confirmed")
	if f.ByDefault {
		s += "\n" + w.T("incident.default_confirmed")
	}
	return s
}

// late is how a fault kept its deadlines; why it is not counted; and what somebody agreed to in vain.
func (w writer) late(f Fault) string {
	s := w.t("late." + string(f.Late()))
	if f.Excused != "" && f.Parent == "" {
		s += w.t("in_brackets", "text", w.T("incident.excused."+string(f.Excused)))
	}
	return s
}

// mark makes a figure that rests on guessed days a text that says so.
func (w writer) mark(c cell, guessed bool) cell {
	if !guessed || c.missing {
		return c
	}
	return words(w.guessed(c.text, true))
}

func (w writer) recovery(f Fault) string {
	if !f.Net.Known {
		return w.t("not_recovered")
	}
	if f.Paused == 0 {
		return w.duration(f.Net.Value)
	}
	return w.duration(f.Net.Value) + " /\n" + w.duration(f.Raw.Value)
}

func (w writer) paused(f Fault) string {
	if f.Paused == 0 {
		return w.t("nothing")
	}
	return w.duration(f.Paused)
}

func (w writer) levels(m *Model) table {
	t := table{key: "levels", columns: []column{
		{"level", 12, false}, {"count", 10, false}, {"met", 10, false}, {"breached", 10, false}, {"response", 20, false}, {"recovery", 20, false}, {"repeats", 12, false},
	}}
	for _, l := range m.Levels {
		t.rows = append(t.rows, w.level(l, m.Watched))
	}
	return t
}

func (w writer) level(l LevelSum, watched bool) []cell {
	name := w.t("total")
	if l.Level != "" {
		name = w.T("common.level." + string(l.Level))
	}
	row := []cell{words(w.guessed(name, l.Provisional))}
	if !watched {
		return append(row, w.missing(), w.missing(), w.missing(), w.missing(), w.missing(), w.missing())
	}
	none := w.nodata()
	if l.Count == 0 {
		none = w.t("nothing")
	}
	met := integer(l.Met)
	if l.Level == contract.Minor && l.Count > 0 && l.Limited == 0 {
		met = words(w.t("late.nolimit"))
	}
	return append(row, integer(l.Count), met, integer(l.Breached), words(w.maybeDuration(l.Response, none)), words(w.maybeDuration(l.Recovery, none)), integer(l.Repeats))
}
