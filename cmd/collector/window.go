package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
	"xunjian/pkg/incident"
)

type windowCmd struct {
	List   windowListCmd   `cmd:"" help:"${window_list}"`
	Create windowCreateCmd `cmd:"" help:"${window_create}"`
	Cancel windowCancelCmd `cmd:"" help:"${window_cancel}"`
}

type windowListCmd struct{ where }

// Run prints the planned windows by their beginning.
func (l windowListCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return l.with(ctx, p, func(c *api.Client) error {
		got, err := c.Windows(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, x := range got.Windows {
			printWindow(w, p, x)
		}
		return w.Flush()
	})
}

func printWindow(w *tabwriter.Writer, p *i18n.Printer, x incident.Window) {
	scope := strings.Join(append(append(append([]string{}, x.Services...), x.Hosts...), x.Checks...), " ")
	state := ""
	if !x.CancelledAt.IsZero() {
		state = p.T("collector.window.cancelled", "person", x.CancelledBy, "at", stamp(x.CancelledAt))
	}
	fmt.Fprintf(w, "%s\t%s – %s\t%s\t%s\t%s\t%s\n", x.ID, stamp(x.From), stamp(x.To), cmp.Or(scope, p.T("collector.window.everything")), x.Reason, cmp.Or(x.PartyA, "-"), state)
}

func tellWindow(p *i18n.Printer, x incident.Window) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	printWindow(w, p, x)
	return w.Flush()
}

type windowCreateCmd struct {
	where
	by
	Services []string  `help:"${window_services}"`
	Hosts    []string  `help:"${window_hosts}"`
	Checks   []string  `help:"${window_checks}"`
	From     time.Time `help:"${from}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	To       time.Time `help:"${to}" required:"" format:"2006-01-02T15:04:05Z07:00"`
	Reason   string    `help:"${reason}"`
	PartyA   string    `help:"${f_party_a}"`
	Approval string    `help:"${window_approval}"`
	Override string    `help:"${window_override}"`
}

func (v windowCreateCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return v.with(ctx, p, func(c *api.Client) error {
		x, err := c.Plan(ctx, api.Planning{
			Act: api.Act{Person: v.person(), Reason: v.Reason}, Services: v.Services, Hosts: v.Hosts, Checks: v.Checks, From: v.From, To: v.To,
			PartyA: v.PartyA, Approval: v.Approval, Override: v.Override,
		})
		if err != nil {
			return err
		}
		return tellWindow(p, x)
	})
}

type windowCancelCmd struct {
	where
	one
	by
	Reason string `help:"${reason}"`
}

func (v windowCancelCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return v.with(ctx, p, func(c *api.Client) error {
		x, err := c.CancelWindow(ctx, v.ID, api.Act{Person: v.person(), Reason: v.Reason})
		if err != nil {
			return err
		}
		return tellWindow(p, x)
	})
}
