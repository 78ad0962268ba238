package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"

	"github.com/alecthomas/kong"

	"xunjian/pkg/access"
	"xunjian/pkg/api"
	"xunjian/pkg/collector"
	"xunjian/pkg/deed"
	"xunjian/pkg/i18n"
)

type commands struct {
	Serve     serveCmd     `cmd:"" help:"${serve}"`
	Check     checkCmd     `cmd:"" help:"${check}"`
	Report    reportCmd    `cmd:"" help:"${report}"`
	Incident  incidentCmd  `cmd:"" help:"${incident}"`
	Roster    rosterCmd    `cmd:"" help:"${roster}"`
	Window    windowCmd    `cmd:"" help:"${window}"`
	Page      pageCmd      `cmd:"" help:"${page}"`
	Heartbeat heartbeatCmd `cmd:"" help:"${heartbeat}"`
	Token     tokenCmd     `cmd:"" help:"${token}"`
	Backup    backupCmd    `cmd:"" help:"${backup}"`
	Verify    verifyCmd    `cmd:"" help:"${verify}"`
	Restore   restoreCmd   `cmd:"" help:"${restore}"`
	Compact   compactCmd   `cmd:"" help:"${compact}"`
	Version   versionCmd   `cmd:"" help:"${version}"`
}

// helpKeys are the help texts, under collector.help in the catalogues.
var helpKeys = []string{
	"serve", "check", "check_rules", "rule_files", "report", "incident", "token", "version", "config", "month", "out",
	"list", "show", "open", "id", "state", "level", "service", "by", "note",
	"reason", "detail", "reporter", "reported_at", "limit", "version_seen",
	"roster", "roster_show", "roster_override", "roster_swap", "roster_sign_in", "roster_withdraw", "days", "line", "duty_person", "from", "to",
	"swap_give", "swap_take", "swap_asked", "swap_agreed", "handover", "zero", "change_number", "window", "window_list", "window_create", "window_cancel", "window_services", "window_hosts", "window_checks", "window_approval", "window_override", "page", "page_list", "page_test", "page_channel", "page_to",
	"heartbeat", "heartbeat_show", "heartbeat_send", "heartbeat_receiver",
	"token_create", "token_list", "token_revoke", "token_api", "token_agent", "ttl", "token_name", "role", "person", "replace",
	"backup", "backup_dir", "backup_rate", "verify", "verify_dir", "restore", "restore_dir", "restore_to", "compact",
}

// texts are the help texts in the reader's language.
func texts(p *i18n.Printer) kong.Vars {
	v := kong.Vars{}
	for _, k := range helpKeys {
		v[k] = p.T("collector.help." + k)
	}
	for _, d := range deed.Deeds {
		v["d_"+d.Name] = d.Title(p)
		for _, f := range d.Fields {
			v["f_"+f.Name] = f.Label(p)
		}
	}
	return v
}

// with gives a command the API: of the running collector, or over the files themselves when none runs.
func (w where) with(ctx context.Context, p *i18n.Printer, fn func(*api.Client) error) error {
	cfg, err := collector.LoadConfig(w.Config)
	if err != nil {
		return err
	}
	client, err := api.Connect(ctx, cfg.Data)
	if err == nil {
		client.Lang = p.Lang
		return fn(client)
	}
	if !errors.Is(err, api.ErrNotRunning) {
		return err
	}
	if _, err := os.Stat(cfg.Data); err != nil {
		return fmt.Errorf("%w: start it with `collector serve --config %s`", api.ErrNotRunning, w.Config)
	}
	handler, closeAll, err := collector.Offline(cfg)
	if err != nil {
		return err
	}
	local := access.Identity{Role: access.Admin, Via: "local"}
	err = fn(&api.Client{URL: "http://local", Lang: p.Lang, HTTP: &http.Client{Transport: api.Direct(handler, local)}})
	return errors.Join(err, closeAll())
}

// by is the person in whose name a command acts: every act bears a name.
type by struct {
	By string `help:"${by}"`
}

func (b by) person() string {
	if b.By != "" {
		return b.By
	}
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	if u.Name != "" && u.Uid != "0" {
		return u.Name
	}
	return u.Username
}
