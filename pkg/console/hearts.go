package console

import (
	"context"
	"net/http"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/heartbeat"
	"xunjian/pkg/i18n"
)

// Hearts tell receivers outside that the collector works.
type Hearts interface {
	States() []heartbeat.State
	Now(ctx context.Context, receiver, by string) ([]heartbeat.State, error)
}

// heartView is how the heartbeat of one receiver does.
type heartView struct {
	Name  string
	State string // of the style sheet: ok, down, unknown
	Word  string
	Taken string // when it was last taken; empty: not since the start
	Why   string // it was not taken
}

func (c *Console) heartViews(p *i18n.Printer, now time.Time) (out []heartView) {
	if c.o.Hearts == nil {
		return nil
	}
	for _, s := range c.o.Hearts.States() {
		v := heartView{Name: plain(s.Name), State: "ok", Word: p.T("console.heart." + s.Word()), Why: plain(s.Explain(p))}
		switch {
		case s.At.IsZero():
			v.State = "unknown"
		case s.Error != "":
			v.State = "down"
		}
		if !s.Taken.IsZero() {
			v.Taken = p.T("console.heart_last", "age", ageOf(p, now.Sub(s.Taken)))
		}
		out = append(out, v)
	}
	return out
}

// beat sends a heartbeat out of turn and shows what came of it.
func (c *Console) beat(w http.ResponseWriter, r *http.Request, who access.Identity) {
	c.tryOut(w, r, who, func(ctx context.Context) error {
		_, err := c.o.Hearts.Now(ctx, r.PostFormValue("receiver"), who.Person)
		return err
	})
}
