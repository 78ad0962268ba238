package flow

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xunjian/pkg/check"
)

// dateForms are the ways in which services write dates; those without a zone are of this host's.
var dateForms = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006/01/02 15:04:05", "2006-01-02", "2006/01/02", "20060102150405", "20060102", http.TimeFormat}

// dayForms are those without an hour.
var dayForms = []string{"2006-01-02", "2006/01/02", "20060102"}

// ReadEnd is readDate for a date until which something is good: a day without an hour is good to its end.
func ReadEnd(s string) (time.Time, bool) {
	for _, form := range dayForms {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t.AddDate(0, 0, 1).Add(-time.Second), true
		}
	}
	return readDate(s)
}

// warn makes a finding of a date or a number: which limit it has passed, none when all is well.
func warn(l *check.Limits, text string, now time.Time) (check.Finding, error) {
	f := check.Finding{Name: l.Name}
	dates := strings.ContainsAny(l.Minor+l.General+l.Urgent, "dh")
	if dates {
		until, ok := ReadEnd(strings.TrimSpace(text))
		if !ok {
			return f, fmt.Errorf("%q is not a date", check.Clip(text, maxSeen))
		}
		f.Until, f.Value = until, math.Floor(until.Sub(now).Hours()/24)
		f.Reason = fmt.Sprintf("ends on %s, %.0f days left", until.Format(time.DateOnly), f.Value)
		if until.Before(now) {
			f.Reason = "ended on " + until.Format(time.DateOnly)
		}
	} else {
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return f, fmt.Errorf("%q is not a number", check.Clip(text, maxSeen))
		}
		f.Value, f.Reason = n, strconv.FormatFloat(n, 'f', -1, 64)+" left"
	}
	for _, limit := range [...]struct{ level, at string }{{"urgent", l.Urgent}, {"general", l.General}, {"minor", l.Minor}} {
		if limit.at != "" && passed(limit.at, f, dates, now) {
			f.Level = limit.level
			break
		}
	}
	return f, nil
}

// passed says whether less is left than the limit wants.
func passed(limit string, f check.Finding, dates bool, now time.Time) bool {
	n, err := strconv.ParseFloat(strings.TrimRight(limit, "dh"), 64)
	if err != nil {
		return false
	}
	if !dates {
		return f.Value <= n
	}
	unit := time.Hour
	if !strings.HasSuffix(limit, "h") {
		unit = 24 * time.Hour
	}
	return f.Until.Sub(now) <= time.Duration(n*float64(unit))
}

// readDate also takes seconds and milliseconds since 1970.
func readDate(s string) (time.Time, bool) {
	for _, form := range dateForms {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n <= 0:
		return time.Time{}, false
	case n > 1e11:
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}
