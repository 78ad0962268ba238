// Command agent inspects one server and the services that the collector assigns to it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"xunjian/pkg/i18n"
)

var version = "dev"

func main() {
	words := i18n.For(os.Getenv("LANG"))
	var c commands
	k := kong.Parse(&c, kong.Name("agent"), kong.Description(words.T("agent.about")), texts(words), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
