package report

import (
	"math"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/measure"

	"xunjian/pkg/i18n"
)

// writer puts figures into words of one language and times into one zone.
type writer struct {
	*i18n.Printer
	loc *time.Location
}

func (w writer) t(key string, pairs ...string) string { return w.T("report."+key, pairs...) }

func (w writer) nodata() string { return w.T("common.nodata") }

// or is the text, or 无数据 when there is none.
func (w writer) or(s string) string {
	if strings.TrimSpace(s) == "" {
		return w.nodata()
	}
	return s
}

// time is a moment to the second.
func (w writer) time(t time.Time) string {
	if t.IsZero() {
		return w.nodata()
	}
	return t.In(w.loc).Format(time.DateTime)
}

// duration is 3小时12分, with every part that is not zero, down to the second; what is left over counts as a second more,
// so that a limit missed by a millisecond does not look kept.
func (w writer) duration(d time.Duration) string {
	d = (d + time.Second - 1).Truncate(time.Second)
	var out []string
	for _, u := range []struct {
		key string
		d   time.Duration
	}{{"unit.day", 24 * time.Hour}, {"unit.hour", time.Hour}, {"unit.minute", time.Minute}, {"unit.second", time.Second}} {
		if n := d / u.d; n > 0 {
			out = append(out, w.t(u.key, "n", strconv.FormatInt(int64(n), 10)))
			d -= n * u.d
		}
	}
	if len(out) == 0 {
		return w.t("unit.second", "n", "0")
	}
	return w.join(out)
}

// join sets short phrases side by side: Chinese needs no space between them.
func (w writer) join(out []string) string {
	if w.Lang == "en" {
		return strings.Join(out, " ")
	}
	return strings.Join(out, "")
}

func (w writer) maybeDuration(d measure.Maybe[time.Duration], none string) string {
	if !d.Known {
		return none
	}
	return w.duration(d.Value)
}

// latency is a response time in milliseconds: to a tenth below 100, and whole from there on.
func latency(d time.Duration) float64 {
	ms := float64(d) / float64(time.Millisecond)
	if ms >= 100 {
		return math.Round(ms)
	}
	return math.Round(ms*10) / 10
}

// cut shortens a share to three decimals of its percentage, downwards: what is not all never prints as 100%, and what
// misses a target never prints as the target.
func cut(v float64) float64 {
	out := math.Floor(v*1e5+1e-6) / 1e5
	if v < 1 && out >= 1 {
		return 0.99999
	}
	return out
}

func share(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(cut(v)*100, 'f', 3, 64), "0"), ".") + "%"
}

func load(v float64) string { return strconv.FormatFloat(v*100, 'f', 1, 64) + "%" }

// gigabytes is a change in GB, to two decimals.
func gigabytes(n int64) float64 { return math.Round(float64(n)/1e7) / 100 }

func signed(v float64, decimals int) string {
	s := strconv.FormatFloat(math.Abs(v), 'f', decimals, 64)
	switch {
	case strings.Trim(s, "0.") == "":
		return s
	case v < 0:
		return "−" + s
	}
	return "+" + s
}

// short bounds a text that people or targets wrote; the record itself keeps all of it.
func short(s string) string {
	const most = 1500
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// month is 2026年11月.
func (w writer) month(m *Model) string {
	from := m.From.In(w.loc)
	return w.t("month", "year", strconv.Itoa(from.Year()), "month", strconv.Itoa(int(from.Month())), "name", from.Month().String())
}

// title is a name for people, in the writer's language where there is one.
func (w writer) title(name, zh, en string) string {
	switch {
	case w.Lang == "en" && en != "":
		return en
	case zh != "":
		return zh
	}
	return name
}

func (w writer) verdict(v Verdict) string { return w.t("verdict." + string(v)) }

// symptom says in one line what is wrong, and what was seen.
func (w writer) symptom(f Fault) string {
	s := w.title(f.Service, f.ZH, f.EN)
	if f.Component != "" && f.Component != f.Service {
		s += w.t("in_brackets", "text", f.Component)
	}
	s += " " + w.T("common.class."+string(f.Class))
	if f.Detail != "" {
		s += w.t("colon") + f.Detail
	}
	if f.CarriedIn {
		s = w.t("carried_in") + s
	}
	return short(s)
}

// groups is a hash in groups that a person can compare.
func groups(hash string) string {
	var out []string
	for len(hash) > 8 {
		out, hash = append(out, hash[:8]), hash[8:]
	}
	return strings.Join(append(out, hash), " ")
}
