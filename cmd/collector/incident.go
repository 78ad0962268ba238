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

type incidentCmd struct {
	List listCmd `cmd:"" help:"${list}"`
	Show showCmd `cmd:"" help:"${show}"`
	Open openCmd `cmd:"" help:"${open}"`
	deedCmds
}

// one names an incident.
type one struct {
	ID string `arg:"" help:"${id}"`
}

type listCmd struct {
	where
	State   string `help:"${state}" default:"unclosed" enum:"open,failing,unclosed,closed,all"`
	Level   string `help:"${level}"`
	Service string `help:"${service}"`
	Month   string `help:"${month}"`
	Limit   int    `help:"${limit}" default:"100"`
}

// Run prints a table, the newest first.
func (l listCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return l.with(ctx, p, func(c *api.Client) error {
		got, err := c.Incidents(ctx, api.IncidentFilter{State: l.State, Level: l.Level, Service: l.Service, Month: l.Month, Limit: l.Limit})
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, i := range got.Incidents {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, p.T("common.level."+string(i.Level)), p.T("incident.state."+string(i.State)), stamp(i.FaultStart), i.Title, cmp.Or(i.AckBy, "-"))
		}
		return w.Flush()
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

type showCmd struct {
	where
	one
}

func (s showCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return s.with(ctx, p, func(c *api.Client) error {
		i, err := c.Incident(ctx, s.ID)
		if err == nil {
			show(p, i, true)
		}
		return err
	})
}

// show prints an incident for people; whole adds evidence and events.
func show(p *i18n.Printer, i api.Incident, whole bool) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(w, "%s\t%s\n", p.T("collector.field."+key), value)
		}
	}
	fmt.Fprintf(w, "%s\t%s\n", i.ID, i.Title)
	line("level", p.T("common.level."+string(i.Level)))
	line("state", p.T("incident.state."+string(i.State)))
	line("detail", i.Detail)
	line("fault_start", stamp(i.FaultStart))
	line("detected_at", stamp(i.DetectedAt))
	line("reported_at", stamp(i.ReportedAt))
	line("response_due", stamp(i.ResponseDue))
	if i.AckBy != "" {
		line("acked", i.AckBy+" "+stamp(i.AckAt))
	}
	line("recovery_due", stamp(i.RecoveryDue))
	if i.Verification != nil {
		line("verification", i.Verification.Tell(p, time.Local))
	}
	line("recovered_at", stamp(i.RecoveredAt))
	line("cause", i.Cause)
	line("handling", i.Handling)
	if i.ClosedBy != "" {
		line("closed", i.ClosedBy+" "+stamp(i.ClosedAt))
	}
	w.Flush()
	if !whole {
		return
	}
	for _, e := range i.Events {
		text := e.Text
		if e.Symptom != nil {
			text = cmp.Or(text, e.Symptom.Detail)
		}
		if e.Run != nil {
			text = incident.TellRun(*e.Run, p)
		}
		if e.Recount != nil {
			text = strings.Join(e.Recount.Tell(p, time.Local), "; ")
		}
		fmt.Printf("  %s  %s  %s %s\n", stamp(e.At), p.T("incident.event."+string(e.Kind)), e.Person, text)
	}
}

// act runs one deed and prints the incident after it.
func act(ctx context.Context, p *i18n.Printer, w where, do func(*api.Client) (api.Incident, error)) error {
	return w.with(ctx, p, func(c *api.Client) error {
		i, err := do(c)
		if err == nil {
			show(p, i, false)
		}
		return err
	})
}

type openCmd struct {
	where
	by
	Service    string    `help:"${service}" required:""`
	Level      string    `help:"${level}" required:"" enum:"urgent,general,minor"`
	Detail     string    `help:"${detail}" required:""`
	Reporter   string    `help:"${reporter}"`
	ReportedAt time.Time `help:"${reported_at}" format:"2006-01-02T15:04:05Z07:00"`
	Note       string    `help:"${note}"`
	Separate   bool      `hidden:""`
}

func (o openCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return act(ctx, p, o.where, func(c *api.Client) (api.Incident, error) {
		return c.Open(ctx, api.Opening{
			Act: api.Act{Person: o.person(), Note: o.Note}, Service: o.Service, Level: o.Level, Detail: o.Detail,
			Reporter: o.Reporter, ReportedAt: o.ReportedAt, Separate: o.Separate,
		})
	})
}
