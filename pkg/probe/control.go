package probe

import (
	"context"
	"fmt"
	"time"

	"xunjian/pkg/check"
)

// Controller is what an Asker may be besides: it can ask for what must be refused (DOMAIN 1.0 rule 3).
type Controller interface {
	// Control is ok when the wrong request was refused as it must be, and a failure when it went through: the probe is blind.
	Control(ctx context.Context) check.Attempt
}

// Controls says whether the check has a negative control.
func (p *Prober) Controls() bool {
	_, ok := p.asker.(Controller)
	return ok
}

// Control makes the negative control of a check that has one. It may take twice the check's timeout, for it may have to do
// rightly first what it then does wrongly.
func (p *Prober) Control(ctx context.Context, at time.Time) check.Result {
	c, ok := p.asker.(Controller)
	if !ok {
		return p.result(at, setup(fmt.Errorf("check %s has no negative control", p.spec.Name)))
	}
	a := p.guarded(ctx, 2*p.spec.Timeout, c.Control)
	r := p.result(at, a)
	r.Control = true
	return r
}
