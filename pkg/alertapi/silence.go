package alertapi

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// Silence is a planned window as Alertmanager's tools see it.
type Silence struct {
	ID          string
	Matchers    []SilenceMatcher
	From, To    time.Time
	UpdatedAt   time.Time
	By, Comment string
	Services    []string // whose alerts it holds back
	Hosts       []string // and servers
	Some        bool     // it covers only what is named; else everything
}

// SilenceMatcher says of one label what a silence covers.
type SilenceMatcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsEqual bool   `json:"isEqual"`
	IsRegex bool   `json:"isRegex"`
}

type shownSilence struct {
	ID        string            `json:"id"`
	Status    map[string]string `json:"status"`
	UpdatedAt stamp             `json:"updatedAt"`
	Comment   string            `json:"comment"`
	CreatedBy string            `json:"createdBy"`
	StartsAt  stamp             `json:"startsAt"`
	EndsAt    stamp             `json:"endsAt"`
	Matchers  []SilenceMatcher  `json:"matchers"`
}

func (s Silence) show(now time.Time) shownSilence {
	state := "active"
	switch {
	case !now.Before(s.To):
		state = "expired"
	case now.Before(s.From):
		state = "pending"
	}
	if s.Matchers == nil {
		s.Matchers = []SilenceMatcher{} // null would be none at all to programs that read it
	}
	return shownSilence{
		ID: s.ID, Status: map[string]string{"state": state}, UpdatedAt: stamp(s.UpdatedAt), Comment: s.Comment, CreatedBy: s.By,
		StartsAt: stamp(s.From), EndsAt: stamp(s.To), Matchers: s.Matchers,
	}
}

// silencing names the windows that hold an alert back.
func silencing(all []Silence, a Alert, c Config, now time.Time) []string {
	out := []string{}
	service := cmp.Or(a.Labels[c.ServiceLabel], "host")
	for _, s := range all {
		if now.Before(s.From) || !now.Before(s.To) {
			continue
		}
		host := service == "host" && slices.Contains(s.Hosts, a.Labels["instance"])
		if !s.Some || slices.Contains(s.Services, service) || host {
			out = append(out, s.ID)
		}
	}
	return out
}

func (d *door) silences(now time.Time) (out []Silence) {
	if d.Silences != nil {
		out = d.Silences(now)
	}
	return out
}

func (d *door) listSilences(w http.ResponseWriter, r *http.Request) {
	filter, err := parseMatchers(r.URL.Query()["filter"])
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	now := d.Book.now()
	out := []shownSilence{}
	for _, s := range d.silences(now) {
		labels := map[string]string{}
		for _, m := range s.Matchers {
			labels[m.Name] = m.Value
		}
		if !slices.ContainsFunc(filter, func(m matcher) bool { return !m.matches(labels) }) {
			out = append(out, s.show(now))
		}
	}
	answer(w, http.StatusOK, out)
}

func (d *door) getSilence(w http.ResponseWriter, r *http.Request) {
	now := d.Book.now()
	for _, s := range d.silences(now) {
		if s.ID == r.PathValue("id") {
			answer(w, http.StatusOK, s.show(now))
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// noSilence says what to do instead: a silence here is a planned window, for which the contract wants a reason and a name.
func (d *door) noSilence(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusBadRequest, "silences are planned windows (计划维护) here and need a scope, a reason and who approved them: "+
		"use the console's page of planned windows, or collector window create / cancel")
}
