// Command simulator plays the services under contract on loopback, and breaks them on demand.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"xunjian/pkg/simulator"
)

type flags struct {
	Folder    string `help:"Folder that gets ca.pem, the demo CA." default:"." type:"path"`
	Pages     string `help:"File that gets one line for each page received." default:"pages.jsonl" type:"path"`
	Control   int    `help:"Port for orders (0: any free one)." default:"9180"`
	Webhook   int    `help:"Port for pages." default:"9181"`
	CloudDoc  int    `help:"Port of cloud-doc." default:"9443"`
	Signature int    `help:"Port of signature." default:"9444"`
	SMS       int    `help:"Port of sms." name:"sms" default:"9445"`
	Gateway   int    `help:"Port of gateway." default:"9446"`
	OA        int    `help:"Port of oa, the office platform." name:"oa" default:"9449"`
	Plain     int    `help:"Further services, plain-1 and so on, that answer the same whatever is asked." default:"0"`
	Office    string `help:"Path of LibreOffice's soffice, which then converts cloud-doc's documents; none: a fast stand-in does. Default: the one on the PATH."`
	SMPP      int    `help:"Port of the short message centre, SMPP." name:"smpp" default:"9447"`
	CMPP      int    `help:"Port of the short message centre, CMPP." name:"cmpp" default:"9448"`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Name("simulator"), kong.Description("Plays cloud-doc, signature, sms, gateway and oa on 127.0.0.1, and breaks them on demand."))
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(f, logger); err != nil {
		logger.Error("simulator stopped", "error", err)
		os.Exit(1)
	}
}

func run(f flags, logger *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := simulator.New(simulator.Options{
		Folder:  f.Folder,
		PageLog: f.Pages,
		Ports: map[string]int{
			simulator.Control: f.Control, simulator.Webhook: f.Webhook,
			simulator.CloudDoc: f.CloudDoc, simulator.Signature: f.Signature, simulator.SMS: f.SMS, simulator.Gateway: f.Gateway,
			simulator.SMPP: f.SMPP, simulator.CMPP: f.CMPP,
			simulator.OA: f.OA,
		},
		Plain:  f.Plain,
		Office: office(f.Office),
		Logger: logger,
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func office(flag string) string {
	switch flag {
	case "none":
		return ""
	case "":
		path, _ := exec.LookPath("soffice") // not there: the stand-in
		return path
	}
	return flag
}
