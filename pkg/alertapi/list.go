package alertapi

import (
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// defaultReceiver stands for the people on duty where no channel has a name.
const defaultReceiver = "xunjian"

// timeText is how Alertmanager writes times.
const timeText = "2006-01-02T15:04:05.000Z07:00"

type stamp time.Time

func (s stamp) MarshalText() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, timeText), nil
}

// postable is one alert as it is sent.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     sentTime          `json:"startsAt"`
	EndsAt       sentTime          `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// sentTime reads the ways of RFC 3339 in which senders write times; an empty one is none.
type sentTime struct{ time.Time }

func (t *sentTime) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t.Time, err = time.Parse(layout, string(b)); err == nil {
			return nil
		}
	}
	return err
}

func (p postable) alert() Alert {
	return Alert{Labels: p.Labels, Annotations: p.Annotations, GeneratorURL: p.GeneratorURL, StartsAt: p.StartsAt.UTC(), EndsAt: p.EndsAt.UTC()}
}

type receiver struct {
	Name string `json:"name"`
}

// gettable is one alert as it is shown.
type gettable struct {
	Annotations  map[string]string `json:"annotations"`
	EndsAt       stamp             `json:"endsAt"`
	Fingerprint  string            `json:"fingerprint"`
	Receivers    []receiver        `json:"receivers"`
	StartsAt     stamp             `json:"startsAt"`
	Status       alertStatus       `json:"status"`
	UpdatedAt    stamp             `json:"updatedAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
	Labels       map[string]string `json:"labels"`
}

type alertStatus struct {
	InhibitedBy []string `json:"inhibitedBy"`
	MutedBy     []string `json:"mutedBy"`
	SilencedBy  []string `json:"silencedBy"`
	State       string   `json:"state"`
}

type group struct {
	Alerts   []gettable        `json:"alerts"`
	Labels   map[string]string `json:"labels"`
	Receiver receiver          `json:"receiver"`
}

// question is what a list is asked for.
type question struct {
	active, unprocessed, silenced bool
	filter                        []matcher
	receiver                      *regexp.Regexp
}

// yes are the words that Alertmanager's framework takes for true; whatever else is said is false.
var yes = []string{"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"}

// ask reads the question. Whether inhibited alerts are wanted does not matter: who depends on whom is the incident desk's matter.
func ask(r *http.Request) (q question, err error) {
	form := r.URL.Query()
	flag := func(name string) bool {
		return form.Get(name) == "" || slices.Contains(yes, strings.ToLower(form.Get(name)))
	}
	q.active, q.unprocessed, q.silenced = flag("active"), flag("unprocessed"), flag("silenced")
	if q.filter, err = parseMatchers(form["filter"]); err != nil {
		return q, err
	}
	if s := form.Get("receiver"); s != "" {
		if q.receiver, err = regexp.Compile("^(?:" + s + ")$"); err != nil {
			return q, fmt.Errorf("failed to parse receiver param: %s", s)
		}
	}
	return q, nil
}

// find lists what a question asks for, in order of fingerprints.
func (d *door) find(q question, now time.Time) []gettable {
	names := d.receiverNames()
	if q.receiver != nil && !slices.ContainsFunc(names, func(r receiver) bool { return q.receiver.MatchString(r.Name) }) {
		return []gettable{}
	}
	silences := d.silences(now)
	out := []gettable{}
	b := d.Book
	b.mu.Lock()
	defer b.mu.Unlock()
	for fp, e := range b.alerts {
		if e.Over(now) || slices.ContainsFunc(q.filter, func(m matcher) bool { return !m.matches(e.Labels) }) {
			continue
		}
		state := alertStatus{InhibitedBy: []string{}, MutedBy: []string{}, SilencedBy: silencing(silences, e.Alert, b.cfg, now), State: "active"}
		_, told := b.told[e.key]
		switch {
		case len(state.SilencedBy) > 0:
			state.State = "suppressed"
		case e.key != "" && !told:
			state.State = "unprocessed"
		}
		if want := map[string]bool{"active": q.active, "unprocessed": q.unprocessed, "suppressed": q.silenced}; !want[state.State] {
			continue
		}
		g := gettable{
			Annotations: e.Annotations, EndsAt: stamp(e.EndsAt), Fingerprint: fp, Receivers: names, StartsAt: stamp(e.StartsAt),
			Status: state, UpdatedAt: stamp(e.UpdatedAt), GeneratorURL: e.GeneratorURL, Labels: e.Labels,
		}
		if g.Annotations == nil {
			g.Annotations = map[string]string{}
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b gettable) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	return out
}

func (d *door) listAlerts(w http.ResponseWriter, r *http.Request) {
	q, err := ask(r)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, d.find(q, d.Book.now()))
}

// listGroups puts alerts of one name together.
func (d *door) listGroups(w http.ResponseWriter, r *http.Request) {
	q, err := ask(r)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	byName := map[string][]gettable{}
	for _, g := range d.find(q, d.Book.now()) {
		name := g.Labels[model.AlertNameLabel]
		byName[name] = append(byName[name], g)
	}
	out := []group{}
	for name, alerts := range byName {
		g := group{Alerts: alerts, Labels: map[string]string{}, Receiver: d.receiverNames()[0]}
		if name != "" {
			g.Labels[model.AlertNameLabel] = name
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b group) int {
		return strings.Compare(a.Labels[model.AlertNameLabel], b.Labels[model.AlertNameLabel])
	})
	answer(w, http.StatusOK, out)
}

// receiverNames are never none: programs that read alerts expect one.
func (d *door) receiverNames() (out []receiver) {
	if d.Receivers != nil {
		for _, name := range d.Receivers() {
			out = append(out, receiver{name})
		}
	}
	if out == nil {
		out = []receiver{{defaultReceiver}}
	}
	return out
}

func (d *door) receivers(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, d.receiverNames())
}

type serverStatus struct {
	Cluster     cluster           `json:"cluster"`
	Config      shownConfig       `json:"config"`
	Uptime      stamp             `json:"uptime"`
	VersionInfo map[string]string `json:"versionInfo"`
}

type cluster struct {
	Status string   `json:"status"`
	Name   string   `json:"name,omitempty"`
	Peers  []string `json:"peers"`
}

type shownConfig struct {
	Original string `json:"original"`
}

// status shows a configuration that Alertmanager's tools can read; ours holds more, and secrets.
func (d *door) status(w http.ResponseWriter, _ *http.Request) {
	names := d.receiverNames()
	var text strings.Builder
	fmt.Fprintf(&text, "global:\n  resolve_timeout: %s\nroute:\n  receiver: %q\nreceivers:\n", model.Duration(d.Book.resolveTimeout()), names[0].Name)
	for _, n := range names {
		fmt.Fprintf(&text, "- name: %q\n", n.Name)
	}
	answer(w, http.StatusOK, serverStatus{
		Cluster: cluster{Status: "disabled", Peers: []string{}}, Config: shownConfig{text.String()}, Uptime: stamp(d.started),
		VersionInfo: map[string]string{
			"version": d.Version, "revision": "", "branch": "xunjian", "buildUser": "", "buildDate": "", "goVersion": runtime.Version(),
		},
	})
}

func (b *Book) resolveTimeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cfg.ResolveTimeout
}
