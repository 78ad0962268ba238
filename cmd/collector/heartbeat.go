package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
)

type heartbeatCmd struct {
	Show heartbeatShowCmd `cmd:"" default:"withargs" help:"${heartbeat_show}"`
	Send heartbeatSendCmd `cmd:"" help:"${heartbeat_send}"`
}

type heartbeatShowCmd struct{ where }

// Run prints how the heartbeat of each receiver does.
func (h heartbeatShowCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return h.with(ctx, p, func(c *api.Client) error {
		got, err := c.Heartbeat(ctx)
		if err != nil {
			return err
		}
		_, err = tellHearts(p, got)
		return err
	})
}

type heartbeatSendCmd struct {
	where
	by
	Receiver string `arg:"" optional:"" help:"${heartbeat_receiver}"`
}

var errBeat = errors.New("not every receiver took the heartbeat")

// Run beats once, prints what each receiver answered, and fails if one did not take it.
func (h heartbeatSendCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return h.with(ctx, p, func(c *api.Client) error {
		got, err := c.Beat(ctx, api.Beat{Act: api.Act{Person: h.person()}, Receiver: h.Receiver})
		if err != nil {
			return err
		}
		taken, err := tellHearts(p, got)
		if err == nil && !taken {
			err = errBeat
		}
		return err
	})
}

// tellHearts prints a line for each receiver and says whether all took their last beat.
func tellHearts(p *i18n.Printer, got api.HeartList) (taken bool, err error) {
	taken = true
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, r := range got.Receivers {
		taken = taken && r.State == "taken"
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Receiver, r.Kind, p.T("collector.heart."+r.State), stamp(r.Taken), cmp.Or(r.Error, "-"))
	}
	if len(got.Receivers) == 0 {
		fmt.Println(p.T("collector.heart.none"))
	}
	return taken, w.Flush()
}
