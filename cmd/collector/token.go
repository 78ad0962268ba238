package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"xunjian/pkg/access"
	"xunjian/pkg/api"
	"xunjian/pkg/i18n"
)

type tokenCmd struct {
	Create createTokenCmd `cmd:"" help:"${token_create}"`
	List   listTokenCmd   `cmd:"" help:"${token_list}"`
	Revoke revokeTokenCmd `cmd:"" help:"${token_revoke}"`
	API    apiTokenCmd    `cmd:"" name:"api" help:"${token_api}"`
}

type createTokenCmd struct {
	where
	by
	Agent string `help:"${token_agent}"`
	TTL   string `help:"${ttl}" default:"1h"`
}

// Run prints the token's text and nothing else, so that a script can keep it.
func (t createTokenCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return t.with(ctx, p, func(c *api.Client) error {
		got, err := c.CreateToken(ctx, api.TokenRequest{Agent: t.Agent, TTL: t.TTL, By: t.person()})
		if err == nil {
			fmt.Println(got.Text)
		}
		return err
	})
}

type listTokenCmd struct{ where }

func (t listTokenCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return t.with(ctx, p, func(c *api.Client) error {
		one, err := c.Tokens(ctx)
		if err != nil {
			return err
		}
		long, err := c.APITokens(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, k := range one.Tokens {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, cmp.Or(k.Agent, "*"), k.State, stamp(k.ExpiresAt), k.By)
		}
		for _, k := range long.Tokens {
			state := "valid"
			if !k.RevokedAt.IsZero() {
				state = "revoked"
			}
			fmt.Fprintf(w, "%s\t%s (%s)\t%s\t%s\t%s\n", k.ID, k.Name, k.Role, state, stamp(k.ExpiresAt), k.By)
		}
		return w.Flush()
	})
}

type revokeTokenCmd struct {
	where
	one
	by
}

// Run revokes a token of either kind.
func (t revokeTokenCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return t.with(ctx, p, func(c *api.Client) error {
		if _, err := c.RevokeToken(ctx, t.ID, t.person()); err == nil {
			return nil
		}
		_, err := c.RevokeAPIToken(ctx, t.ID, t.person())
		return err
	})
}

type apiTokenCmd struct {
	where
	by
	Name    string `help:"${token_name}" required:""`
	Role    string `help:"${role}" default:"viewer" enum:"viewer,engineer,lead,admin"`
	Person  string `help:"${person}"`
	TTL     string `help:"${ttl}"`
	Replace bool   `help:"${replace}"`
}

// Run prints the token's text and nothing else.
func (t apiTokenCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return t.with(ctx, p, func(c *api.Client) error {
		got, err := c.CreateAPIToken(ctx, api.APITokenRequest{
			Name: t.Name, Role: access.Role(t.Role), Person: t.Person, TTL: t.TTL, By: t.person(), Replace: t.Replace,
		})
		if err == nil {
			fmt.Println(got.Text)
		}
		return err
	})
}

type reportCmd struct {
	where
	Month string `help:"${month}" required:""`
	Out   string `help:"${out}" default:"." type:"path"`
}

// Run writes the month's record as docx and xlsx, and its figures as json.
func (r reportCmd) Run(ctx context.Context, p *i18n.Printer) error {
	return r.with(ctx, p, func(c *api.Client) error {
		if err := os.MkdirAll(r.Out, 0o755); err != nil {
			return err
		}
		for _, format := range []string{"docx", "xlsx", "json"} {
			b, err := c.MonthReport(ctx, r.Month, format)
			if err != nil {
				return err
			}
			file := filepath.Join(r.Out, "xunjian-"+r.Month+"."+format)
			if err := writeWhole(file, b); err != nil {
				return err
			}
			fmt.Println(file)
		}
		return nil
	})
}

// writeWhole puts a file in place whole or not at all.
func writeWhole(file string, b []byte) error {
	tmp := file + ".part"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
