package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/contract"
	"xunjian/pkg/i18n"
)

// Word is the month as a .docx: the form filled in, nil for the one that comes with the program. Equal models and forms give
// equal bytes; missing lists the form's placeholders that have no value. A form that cannot be used is ErrForm.
func Word(m *Model, form []byte, p *i18n.Printer) (out []byte, missing []string, err error) {
	if form == nil {
		if form, err = DefaultForm(p); err != nil {
			return nil, nil, fmt.Errorf("default form: %w", err)
		}
	}
	v, err := values(m, p)
	if err != nil {
		return nil, nil, err
	}
	out, missing, err = fill(form, v)
	if err != nil {
		return nil, nil, fmt.Errorf("fill form of %s: %w", m.Month, err)
	}
	return out, missing, nil
}

// values are all placeholders of the report: the texts, and a list for each table under its columns' keys.
func values(m *Model, p *i18n.Printer) (Values, error) {
	w := writer{p, m.zone()}
	text, err := w.texts(m)
	if err != nil {
		return Values{}, err
	}
	v := Values{Text: text, Lists: map[string][]map[string]string{}, Empty: w.t("none_this_month")}
	for _, t := range tables(m, p, w.loc) {
		items := make([]map[string]string, 0, len(t.rows))
		for _, r := range t.rows {
			it := map[string]string{}
			for i, c := range t.columns {
				it[c.key] = r[i].text
			}
			items = append(items, it)
		}
		v.Lists[t.key] = items
	}
	return v, nil
}

func (w writer) texts(m *Model) (map[string]string, error) {
	digest, err := m.Digest()
	if err != nil {
		return nil, err
	}
	r := m.Rules
	return map[string]string{
		"project": r.Project, "contract_no": r.ContractNo, "service_period": r.ServicePeriod, "customer": r.Customer, "vendor": r.Vendor,
		"month": w.month(m), "period": w.period(m), "as_of": w.time(m.AsOf), "digest": groups(digest),
		"summary_text": w.summaryText(m), "target": share(r.Target), "inspect_target": share(r.InspectTarget),
		"confirm": strconv.Itoa(r.Confirm), "hold": strconv.Itoa(r.Hold), "gap_limit": share(r.GapLimit),
		"workdays": strconv.Itoa(r.Workdays), "office_hours": w.officeHours(m),
		"unfinished": w.onlyIf(m.Unfinished, "unfinished"), "provisional": w.onlyIf(m.Provisional, "provisional"),
		"guessed": w.onlyIf(m.Guessed || m.Provisional, "guessed_note"),
	}, nil
}

// onlyIf is a remark, or a blank that counts as a value.
func (w writer) onlyIf(cond bool, key string) string {
	if !cond {
		return "\u200b"
	}
	return w.t(key)
}

// period is 2026年11月1日至11月30日.
func (w writer) period(m *Model) string {
	from, last := m.From.In(w.loc), m.To.In(w.loc).AddDate(0, 0, -1)
	return w.t("period", "from", from.Format(time.DateOnly), "to", last.Format(time.DateOnly))
}

func (w writer) officeHours(m *Model) string {
	r := m.Rules
	s := strings.Join(r.OfficeHours, w.t("comma"))
	if len(r.SummerHours) > 0 {
		s += w.t("summer", "from", r.SummerFrom, "to", r.SummerTo, "hours", strings.Join(r.SummerHours, w.t("comma")))
	}
	return s
}

// summaryText says the month in a few sentences, from the figures alone.
func (w writer) summaryText(m *Model) string {
	var out []string
	if m.Unfinished {
		out = append(out, w.t("unfinished"))
	}
	out = append(out, w.availabilityText(m))
	all := m.Levels[len(m.Levels)-1]
	switch {
	case !m.Watched:
		out = append(out, w.t("sum.nothing"))
	case all.Count == 0:
		out = append(out, w.t("sum.nofault"))
	default:
		by := func(l contract.Level) string {
			for _, s := range m.Levels {
				if s.Level == l {
					return whole(s.Count)
				}
			}
			return "0"
		}
		out = append(out, w.t("sum.faults", "n", whole(all.Count), "urgent", by(contract.Urgent), "general", by(contract.General), "minor", by(contract.Minor), "breached", whole(all.Breached)))
	}
	if n := carried(m.Faults); n > 0 {
		out = append(out, w.t("sum.carried", "n", whole(n)))
	}
	if m.Provisional {
		out = append(out, w.t("provisional"))
	}
	if m.Guessed {
		out = append(out, w.t("guessed_note"))
	}
	return w.join(out)
}

func carried(faults []Fault) (n int64) {
	for _, f := range faults {
		if f.CarriedIn {
			n++
		}
	}
	return n
}

// availabilityText names the service that was available least.
func (w writer) availabilityText(m *Model) string {
	var least *ServiceLine
	known := 0
	for i, s := range m.Services {
		if !s.Always.Known {
			continue
		}
		known++
		if least == nil || s.Always.Value < least.Always.Value {
			least = &m.Services[i]
		}
	}
	if least == nil {
		return w.t("sum.noservice")
	}
	return w.t("sum.services", "n", strconv.Itoa(len(m.Services)), "known", strconv.Itoa(known),
		"service", w.title(least.Name, least.ZH, least.EN), "share", share(least.Always.Value), "target", share(m.Rules.Target))
}
