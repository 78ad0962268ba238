package channel

import (
	"context"
	"strings"
	"time"
)

// An Alertmanager takes an alert for over at its endsAt, and is told again well before that while it lasts.
const (
	alertHolds   = 5 * time.Minute
	alertRefresh = time.Minute
	alertBatch   = 500
)

// alertmanager hands alerts to an Alertmanager as Prometheus does.
type alertmanager struct {
	base
	wiring
}

func newAlertmanager(b base, w wiring) (Channel, error) { return &alertmanager{b, w}, nil }

// posted is an alert as POST /api/v2/alerts takes it.
type posted struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alerts are a message's. What fires ends, unless it is told again, in a while.
func (m Message) alerts(now time.Time) (out []posted) {
	for _, a := range m.Payload.Alerts {
		end := a.EndsAt
		if end.IsZero() {
			end = now.Add(alertHolds)
		}
		out = append(out, posted{a.Labels, a.Annotations, a.StartsAt, end, a.GeneratorURL})
	}
	return out
}

// Send makes one try.
func (am *alertmanager) Send(ctx context.Context, m Message) (Receipt, error) {
	return am.put(ctx, m.Key, m.alerts(time.Now()))
}

// Every is how often Refresh wants to be called.
func (am *alertmanager) Every() time.Duration { return alertRefresh }

// Refresh makes one try for all.
func (am *alertmanager) Refresh(ctx context.Context, open []Message) error {
	now := time.Now()
	var all []posted
	for _, m := range open {
		all = append(all, m.alerts(now)...)
	}
	for len(all) > 0 {
		n := min(len(all), alertBatch)
		if _, err := am.put(ctx, "", all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (am *alertmanager) put(ctx context.Context, key string, alerts []posted) (Receipt, error) {
	r, err := am.request(key)
	if err != nil {
		return Receipt{}, err
	}
	r.url = strings.TrimSuffix(r.url, "/") + "/api/v2/alerts"
	a, err := am.post(ctx, am.s.Timeout, r, alerts)
	if err != nil {
		return Receipt{}, err
	}
	a.text = without(a.text, r.token)
	if refusal := a.refused(); refusal != nil {
		return Receipt{}, refusal
	}
	if len(a.body) > 0 { // an Alertmanager's yes is empty
		return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseNoVerdict}
	}
	return Receipt{Answer: "HTTP 200"}, nil
}
