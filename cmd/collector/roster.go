package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
	"xunjian/pkg/roster"
)

type rosterCmd struct {
	Show     rosterShowCmd `cmd:"" default:"withargs" help:"${roster_show}"`
	Override overrideCmd   `cmd:"" help:"${roster_override}"`
	Swap     swapCmd       `cmd:"" help:"${roster_swap}"`
	SignIn   signInCmd     `cmd:"" help:"${roster_sign_in}"`
	Withdraw withdrawCmd   `cmd:"" help:"${roster_withdraw}"`
}

type rosterShowCmd struct {
	where
	Days int `help:"${days}" default:"14"`
}

// Run prints who is on duty now, then who will be, then what is missing.
func (r rosterShowCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return r.with(ctx, p, func(c *api.Client) error {
		got, err := c.Roster(ctx, r.Days)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, t := range got.Now {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.T("collector.roster.now"), p.T("roster.line."+t.Line), cmp.Or(t.Person, p.T("collector.roster.nobody")), t.Phone)
		}
		for _, t := range got.Turns {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s – %s\t%s\n", p.T("roster.line."+t.Line), cmp.Or(t.Person, p.T("collector.roster.nobody")), t.Shift, stamp(t.From), stamp(t.To), t.Reason)
		}
		for _, x := range got.Watches {
			fmt.Fprintf(w, "%s\t%s\t%s – %s\t%s\n", x.Period, x.Person, stamp(x.From), stamp(x.To), stamp(x.SignedIn))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, g := range got.Gaps {
			fmt.Println(p.T("roster.gap", "line", p.T("roster.line."+g.Line), "from", stamp(g.From), "to", stamp(g.To)))
		}
		return nil
	})
}

// changed runs one change of the roster and prints its number.
func changed(ctx context.Context, p *i18n.Printer, w where, do func(*api.Client) (api.Change, error)) error {
	return w.with(ctx, p, func(c *api.Client) error {
		got, err := do(c)
		if err == nil {
			fmt.Println(p.T("collector.roster.recorded", "n", strconv.FormatUint(got.Seq, 10)))
		}
		return err
	})
}

type overrideCmd struct {
	where
	by
	Line   string    `help:"${line}" enum:"resident,second,manager" default:"resident"`
	For    string    `help:"${duty_person}" required:""`
	From   time.Time `help:"${from}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	To     time.Time `help:"${to}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	Reason string    `help:"${reason}" required:""`
}

func (o overrideCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return changed(ctx, p, o.where, func(c *api.Client) (api.Change, error) {
		return c.Override(ctx, api.Override{Act: api.Act{Person: o.person(), Reason: o.Reason}, Line: o.Line, For: o.For, From: o.From, To: o.To})
	})
}

type swapCmd struct {
	where
	by
	Line     string    `help:"${line}" enum:"resident,second,manager" default:"resident"`
	Give     string    `help:"${swap_give}" required:""`
	GiveFrom time.Time `help:"${from}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	GiveTo   time.Time `help:"${to}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	Take     string    `help:"${swap_take}" required:""`
	TakeFrom time.Time `help:"${from}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	TakeTo   time.Time `help:"${to}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	Asked    string    `help:"${swap_asked}" required:""`
	Agreed   string    `help:"${swap_agreed}" required:""`
	Reason   string    `help:"${reason}"`
}

func (s swapCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return changed(ctx, p, s.where, func(c *api.Client) (api.Change, error) {
		return c.Swap(ctx, api.Swap{
			Act: api.Act{Person: s.person(), Reason: s.Reason}, Line: s.Line, Asked: s.Asked, Agreed: s.Agreed,
			Give: roster.Stretch{Person: s.Give, From: s.GiveFrom, To: s.GiveTo}, Take: roster.Stretch{Person: s.Take, From: s.TakeFrom, To: s.TakeTo},
		})
	})
}

type signInCmd struct {
	where
	by
	Handover string `help:"${handover}"`
	Zero     bool   `help:"${zero}"`
}

func (s signInCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return changed(ctx, p, s.where, func(c *api.Client) (api.Change, error) {
		return c.SignIn(ctx, api.SignIn{Act: api.Act{Person: s.person()}, Handover: s.Handover, Zero: s.Zero})
	})
}

type withdrawCmd struct {
	where
	by
	Number uint64 `arg:"" help:"${change_number}"`
	Reason string `help:"${reason}" required:""`
}

func (w withdrawCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return changed(ctx, p, w.where, func(c *api.Client) (api.Change, error) {
		return c.Withdraw(ctx, w.Number, api.Act{Person: w.person(), Reason: w.Reason})
	})
}
