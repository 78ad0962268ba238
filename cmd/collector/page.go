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

type pageCmd struct {
	List pageListCmd `cmd:"" help:"${page_list}"`
	Test pageTestCmd `cmd:"" help:"${page_test}"`
}

type pageListCmd struct{ where }

// Run prints the pages that are not delivered.
func (l pageListCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return l.with(ctx, p, func(c *api.Client) error {
		got, err := c.Undelivered(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, u := range got.Undelivered {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", u.Channel, u.Incident, stamp(u.At), u.Title, u.Tries, cmp.Or(u.Answer, "-"))
		}
		return w.Flush()
	})
}

type pageTestCmd struct {
	where
	by
	Channel string `arg:"" optional:"" help:"${page_channel}"`
	To      string `help:"${page_to}"`
}

var errTestPage = errors.New("not every receiver took the test page")

// Run prints what each receiver answered, and fails if one refused.
func (t pageTestCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return t.with(ctx, p, func(c *api.Client) error {
		got, err := c.TestPage(ctx, api.Test{Act: api.Act{Person: t.person()}, Channel: t.Channel, To: t.To})
		if err != nil {
			return err
		}
		failed := false
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, x := range got.Tests {
			word := p.T("collector.page.taken")
			if !x.OK {
				word, failed = p.T("collector.page.refused"), true
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%.1f s\t%s\n", x.Channel, x.Person, word, x.Seconds, cmp.Or(x.Error, x.Answer))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(got.Tests) == 0 {
			fmt.Println(p.T("collector.page.none"))
		}
		if failed {
			return errTestPage
		}
		return nil
	})
}
