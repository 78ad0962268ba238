// Command collector receives what agents send, judges it, keeps incidents and writes the monthly record.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	_ "time/tzdata" // the contract's time zone must not depend on the host

	"xunjian/pkg/i18n"
)

var version = "dev"

func main() {
	words := i18n.For(os.Getenv("LANG"))
	var c commands
	k := kong.Parse(&c, kong.Name("collector"), kong.Description(words.T("collector.about")), texts(words), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(slog.New(slog.NewTextHandler(os.Stderr, nil)), words)
	err := k.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}
