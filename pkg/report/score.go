package report

import (
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/incident"
)

// Score is what missed deadlines cost in the yearly assessment (4 故障响应与解决时间), as far as the month goes. Party A scores:
// this is what the records come to.
type Score struct {
	No     string          `json:"no"`   // of the row in the form
	Name   string          `json:"name"` // of the row
	Points contract.Points `json:"points"`

	From time.Time `json:"from"` // the service year
	To   time.Time `json:"to"`

	Lines  []ScoreLine     `json:"lines"`  // of the incidents that began in the month; those that are spared cost 0
	Month  contract.Points `json:"month"`  // taken in the month
	Before contract.Points `json:"before"` // taken in the year before the month
	Left   contract.Points `json:"left"`   // of the row, never below 0

	Provisional bool `json:"provisional,omitempty"` // a clock in it rests on working days that nobody has announced
}

// ScoreLine is one incident that missed a deadline.
type ScoreLine struct {
	contract.Deduction
	Excused     incident.Excused `json:"excused,omitempty"` // why it costs nothing, or why somebody thought that it should not
	Provisional bool             `json:"provisional,omitempty"`
}

// score works out what the year's incidents up to the end of the month cost.
func (b *builder) score(m Month) Score {
	a := b.cfg.Assessment
	row, _ := a.Row(contract.ResponseRow)
	s := Score{No: row.No, Name: row.Name, Points: row.Points}
	s.From, s.To = serviceYear(b.cfg.Period, m)
	cases, of, guessed := b.cases()
	from, to := latest(m.From(), s.From), earlier(m.To(), s.To)
	before, _ := a.Deduct(cases, s.From, from)
	month, _ := a.Deduct(cases, from, to)
	_, s.Left = a.Deduct(cases, s.From, to)
	for _, d := range before {
		s.Before += d.Points
		s.Provisional = s.Provisional || guessed[d.Case]
	}
	for _, d := range month {
		s.Month += d.Points
		s.Provisional = s.Provisional || guessed[d.Case]
		s.Lines = append(s.Lines, ScoreLine{d, of[d.Case], guessed[d.Case]})
	}
	s.From, s.To = s.From.UTC(), s.To.UTC()
	return s
}

// serviceYear is the contract's period that the month lies in; the calendar year where no such period is told.
func serviceYear(p contract.Period, m Month) (from, to time.Time) {
	if from, to, ok := p.Span(m.loc); ok && from.Before(m.To()) && m.From().Before(to) {
		return from, to
	}
	return time.Date(m.Year, 1, 1, 0, 0, 0, 0, m.loc), time.Date(m.Year+1, 1, 1, 0, 0, 0, 0, m.loc)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// cases are the incidents as the assessment sees them, each fault once: what is listed under another costs with that.
func (b *builder) cases() (out []contract.Case, excused map[string]incident.Excused, guessed map[string]bool) {
	excused, guessed = map[string]incident.Excused{}, map[string]bool{}
	services := map[string]string{}
	for _, r := range b.src.Faults {
		services[r.ID] = r.Service
	}
	for _, r := range b.src.Faults {
		if r.Parent != "" || r.SLAStart.After(b.asOf) {
			continue
		}
		clocks := r.Clocks(b.asOf)
		c := contract.Case{
			ID: r.ID, Start: r.SLAStart, Level: clocks.Level, Breaches: clocks.Breaches, Services: hit(r, services),
			Exclusion: r.Exclusion(), PartyA: r.ExcusedBy,
		}
		if r.Excused == incident.ExcusedWaived {
			c.Waived = r.ExcusedOn
		}
		out = append(out, c)
		excused[r.ID], guessed[r.ID] = r.Excused, clocks.Provisional
	}
	return out, excused, guessed
}

// hit is how many services a fault has hit, itself and what is listed under it.
func hit(r incident.Record, services map[string]string) int {
	names := map[string]bool{}
	for _, id := range append([]string{r.ID}, r.Children...) {
		if s := services[id]; s != "" && s != "host" {
			names[s] = true
		}
	}
	return len(names)
}

func (w writer) score(m *Model) table {
	t := table{key: "score", columns: []column{
		{"id", 19, false}, {"start", 20, false}, {"missed", 34, true}, {"level", 10, false}, {"points", 12, false}, {"remark", 50, true},
	}}
	s := m.Score
	for _, l := range s.Lines {
		t.rows = append(t.rows, []cell{
			words(l.Case), words(w.time(l.Start)), words(w.missedBy(l.Breaches)), words(w.T("common.level." + string(l.Level))),
			words(w.guessed(l.Points.String(), l.Provisional)), words(w.remark(l)),
		})
	}
	none := words(w.t("no_target"))
	sum := func(key string, p contract.Points, pairs ...string) {
		points := words(w.guessed(p.String(), s.Provisional))
		if !m.Watched && s.Before == 0 {
			points = w.missing()
		}
		t.rows = append(t.rows, []cell{words(w.t("score."+key, pairs...)), none, none, none, points, none})
	}
	sum("month", s.Month)
	sum("year", s.Before+s.Month, "from", s.From.In(w.loc).Format(time.DateOnly))
	sum("left", s.Left, "points", s.Points.String())
	return t
}

// missedBy names the deadlines that were missed, each with its level.
func (w writer) missedBy(all []contract.Breach) string {
	var out []string
	for _, b := range all {
		out = append(out, w.t("score.missed_by", "level", w.T("common.level."+string(b.Level)), "clock", w.T("incident.clock."+string(b.Clock)), "at", w.time(b.At)))
	}
	return strings.Join(out, "\n")
}

// remark says why a missed deadline costs nothing, or that the contract does not spare it for the reason given.
func (w writer) remark(l ScoreLine) string {
	if l.Excused == "" {
		return w.t("nothing")
	}
	why := w.T("incident.excused." + string(l.Excused))
	if l.Waived != "" {
		why += w.t("in_brackets", "text", short(l.Waived))
	}
	if l.Points == 0 {
		return w.t("score.spared", "why", why, "person", l.PartyA)
	}
	return w.t("score.not_spared", "why", why)
}

// guessed marks a figure that rests on working days which nobody has announced.
func (w writer) guessed(text string, yes bool) string {
	if !yes {
		return text
	}
	return text + w.t("guessed")
}
