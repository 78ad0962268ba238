package rule

import (
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"xunjian/pkg/contract"
)

const (
	labelSeverity = "severity" // what the rule files of the world say instead of a level
	untold        = "none"     // the severity of alerts that are always firing, such as Watchdog: they open nothing
)

// severities are the words in use for each level; a word that is not among them is general.
var severities = map[string]contract.Level{
	"critical": contract.Urgent, "page": contract.Urgent, "emergency": contract.Urgent, "disaster": contract.Urgent, "fatal": contract.Urgent,
	"warning": contract.General, "error": contract.General, "major": contract.General, "high": contract.General, "average": contract.General,
	"info": contract.Minor, "information": contract.Minor, "notice": contract.Minor, "minor": contract.Minor, "low": contract.Minor, "ticket": contract.Minor,
}

// levelOf is how grave an alert is: by its level, else by its severity, else general.
func levelOf(l labels.Labels) contract.Level {
	if level, err := contract.ParseLevel(l.Get(labelLevel)); err == nil {
		return level
	}
	if level, ok := severities[strings.ToLower(l.Get(labelSeverity))]; ok {
		return level
	}
	return contract.General
}

// quiet says whether nobody is to be told of an alert.
func quiet(l labels.Labels) bool {
	return l.Get(labelLevel) == "" && strings.EqualFold(l.Get(labelSeverity), untold)
}

// templated is a label's value that is known only when the alert is there.
func templated(s string) bool { return strings.Contains(s, "{{") }
