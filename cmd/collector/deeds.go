package main

import (
	"context"
	"reflect"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
)

// deedCmd is what every act on an incident may carry.
type deedCmd struct {
	where
	one
	by
	Note    string `help:"${note}" aliases:"reason"`
	Version int    `help:"${version_seen}"`
}

// do sends the fields of a command that have a name in the API and are given, and prints the incident after it.
func (d deedCmd) do(ctx context.Context, p *i18n.Printer, name string, cmd any) error {
	fields := api.Deed{}
	v := reflect.ValueOf(cmd)
	for i := range v.NumField() {
		key, value := v.Type().Field(i).Tag.Get("json"), v.Field(i)
		if key == "" || value.IsZero() {
			continue
		}
		fields[key] = value.Interface()
	}
	return d.with(ctx, p, func(c *api.Client) error {
		i, err := c.Do(ctx, d.ID, name, api.Act{Person: d.person(), Note: d.Note, Version: d.Version}, fields)
		if err == nil {
			show(p, i, false)
		}
		return err
	})
}

// deedCmds are the acts, in the order of an incident's life.
type deedCmds struct {
	Ack        ackCmd        `cmd:"" help:"${d_ack}"`
	Diagnose   diagnoseCmd   `cmd:"" help:"${d_diagnose}"`
	Arrive     arriveCmd     `cmd:"" help:"${d_arrive}"`
	Propose    proposeCmd    `cmd:"" help:"${d_propose}"`
	Decide     decideCmd     `cmd:"" help:"${d_decide}"`
	Handle     handleCmd     `cmd:"" help:"${d_handle}"`
	Workaround workaroundCmd `cmd:"" help:"${d_workaround}"`
	Pause      pauseCmd      `cmd:"" help:"${d_pause}"`
	Resume     resumeCmd     `cmd:"" help:"${d_resume}"`
	Extend     extendCmd     `cmd:"" help:"${d_extend}"`
	Resolve    resolveCmd    `cmd:"" help:"${d_resolve}"`
	Confirm    confirmCmd    `cmd:"" help:"${d_confirm}"`
	Refuse     refuseCmd     `cmd:"" help:"${d_refuse}"`
	Archive    archiveCmd    `cmd:"" help:"${d_archive}" aliases:"close"`
	Reopen     reopenCmd     `cmd:"" help:"${d_reopen}"`
	Note       noteCmd       `cmd:"" help:"${d_note}"`
	Report     reportedCmd   `cmd:"" help:"${d_report}"`
	Impact     impactCmd     `cmd:"" help:"${d_impact}"`
	Level      levelCmd      `cmd:"" help:"${d_level}"`
	Merge      mergeCmd      `cmd:"" help:"${d_merge}"`
	Split      splitCmd      `cmd:"" help:"${d_split}"`
	Doubt      doubtCmd      `cmd:"" help:"${d_doubt}"`
	Dismiss    dismissCmd    `cmd:"" help:"${d_dismiss}"`
	Uphold     upholdCmd     `cmd:"" help:"${d_uphold}"`
	Excuse     excuseCmd     `cmd:"" help:"${d_excuse}"`
}

// The acts with their fields. A field's json tag is its name in the API; the command is refused by the collector, which
// knows what goes with what, in the reader's language.
type (
	ackCmd      struct{ deedCmd }
	diagnoseCmd struct{ deedCmd }
	arriveCmd   struct {
		deedCmd
		At time.Time `help:"${f_at}" format:"2006-01-02T15:04:05Z07:00" json:"at"`
	}
	proposeCmd struct {
		deedCmd
		Measure  string `help:"${f_measure}" json:"measure"`
		Risk     string `help:"${f_risk}" json:"risk"`
		Rollback string `help:"${f_rollback}" json:"rollback"`
	}
	decideCmd struct {
		deedCmd
		Consent string `help:"${f_consent}" required:"" enum:"yes,no" json:"consent"`
		PartyA  string `help:"${f_party_a}" json:"party_a"`
	}
	handleCmd struct {
		deedCmd
		Action    string `help:"${f_action}" json:"action"`
		Emergency string `help:"${f_emergency}" json:"emergency"`
	}
	workaroundCmd struct {
		deedCmd
		Measure  string `help:"${f_measure}" json:"measure"`
		FollowUp string `help:"${f_follow_up}" json:"follow_up"`
		PartyA   string `help:"${f_party_a}" json:"party_a"`
	}
	pauseCmd struct {
		deedCmd
		Why string `help:"${f_why}" required:"" enum:"third_party,upstream" json:"why"`
	}
	resumeCmd struct {
		deedCmd
		Why string `help:"${f_why}" required:"" enum:"third_party,upstream" json:"why"`
	}
	extendCmd struct {
		deedCmd
		Until    time.Time `help:"${f_until}" required:"" format:"2006-01-02T15:04:05Z07:00" json:"until"`
		Approver string    `help:"${f_approver}" json:"approver"`
	}
	resolveCmd struct {
		deedCmd
		Cause      string `help:"${f_cause}" json:"cause"`
		Category   string `help:"${f_category}" enum:"software,configuration,hardware,network,upstream,third_party,operation,security,unclear,not_reproduced," default:"" json:"category"`
		Handling   string `help:"${f_handling}" json:"handling"`
		Prevention string `help:"${f_prevention}" json:"prevention"`
		Declare    bool   `help:"${f_declare}" json:"declare"`
	}
	archiveCmd struct {
		deedCmd
		Cause      string `help:"${f_cause}" json:"cause"`
		Category   string `help:"${f_category}" enum:"software,configuration,hardware,network,upstream,third_party,operation,security,unclear,not_reproduced," default:"" json:"category"`
		Handling   string `help:"${f_handling}" json:"handling"`
		Prevention string `help:"${f_prevention}" json:"prevention"`
		PartyA     string `help:"${f_party_a}" json:"party_a"`
	}
	confirmCmd struct {
		deedCmd
		PartyA string `help:"${f_party_a}" json:"party_a"`
	}
	refuseCmd struct {
		deedCmd
		PartyA string `help:"${f_party_a}" json:"party_a"`
	}
	reopenCmd   struct{ deedCmd }
	noteCmd     struct{ deedCmd }
	reportedCmd struct {
		deedCmd
		Reporter   string    `help:"${f_reporter}" json:"reporter"`
		ReportedAt time.Time `help:"${f_reported_at}" format:"2006-01-02T15:04:05Z07:00" json:"reported_at"`
		PartyA     string    `help:"${f_party_a}" json:"party_a"`
	}
	impactCmd struct {
		deedCmd
		Departments string `help:"${f_departments}" json:"departments"`
		People      int    `help:"${f_people}" json:"people"`
		Functions   string `help:"${f_functions}" json:"functions"`
	}
	levelCmd struct {
		deedCmd
		Level          string `help:"${f_level}" required:"" enum:"urgent,general,minor" json:"level"`
		PartyA         string `help:"${f_party_a}" json:"party_a"`
		AgreedResponse string `help:"${f_agreed_response}" json:"agreed_response"`
		AgreedRecovery string `help:"${f_agreed_recovery}" json:"agreed_recovery"`
	}
	mergeCmd struct {
		deedCmd
		Into string `help:"${f_into}" json:"into"`
	}
	splitCmd struct{ deedCmd }
	doubtCmd struct {
		deedCmd
		PartyA string `help:"${f_party_a}" json:"party_a"`
	}
	dismissCmd struct {
		deedCmd
		PartyA string `help:"${f_party_a}" json:"party_a"`
	}
	upholdCmd struct{ deedCmd }
	excuseCmd struct {
		deedCmd
		Why    string `help:"${f_why}" required:"" enum:"false_alarm,planned,upstream,network,third_party,waived" json:"why"`
		PartyA string `help:"${f_party_a}" json:"party_a"`
	}
)

func (c ackCmd) Run(x context.Context, p *i18n.Printer) error      { return c.do(x, p, "ack", c) }
func (c diagnoseCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "diagnose", c) }

func (c arriveCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "arrive", c) }

func (c proposeCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "propose", c) }

func (c decideCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "decide", c) }

func (c handleCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "handle", c) }

func (c workaroundCmd) Run(x context.Context, p *i18n.Printer) error {
	return c.do(x, p, "workaround", c)
}
func (c pauseCmd) Run(x context.Context, p *i18n.Printer) error  { return c.do(x, p, "pause", c) }
func (c resumeCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "resume", c) }

func (c extendCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "extend", c) }

func (c resolveCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "resolve", c) }

func (c archiveCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "archive", c) }

func (c confirmCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "confirm", c) }

func (c refuseCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "refuse", c) }

func (c reopenCmd) Run(x context.Context, p *i18n.Printer) error   { return c.do(x, p, "reopen", c) }
func (c noteCmd) Run(x context.Context, p *i18n.Printer) error     { return c.do(x, p, "note", c) }
func (c reportedCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "report", c) }

func (c impactCmd) Run(x context.Context, p *i18n.Printer) error  { return c.do(x, p, "impact", c) }
func (c levelCmd) Run(x context.Context, p *i18n.Printer) error   { return c.do(x, p, "level", c) }
func (c mergeCmd) Run(x context.Context, p *i18n.Printer) error   { return c.do(x, p, "merge", c) }
func (c splitCmd) Run(x context.Context, p *i18n.Printer) error   { return c.do(x, p, "split", c) }
func (c doubtCmd) Run(x context.Context, p *i18n.Printer) error   { return c.do(x, p, "doubt", c) }
func (c dismissCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "dismiss", c) }

func (c upholdCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "uphold", c) }

func (c excuseCmd) Run(x context.Context, p *i18n.Printer) error { return c.do(x, p, "excuse", c) }
