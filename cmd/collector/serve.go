package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"xunjian/pkg/collector"
)

// where is the configuration, which every command needs.
type where struct {
	Config string `help:"${config}" default:"collector.yml" type:"path"`
}

type serveCmd struct{ where }

// Run works until it is told to stop. SIGHUP reads the configuration again.
func (s serveCmd) Run(ctx context.Context, log *slog.Logger) error {
	cfg, err := collector.LoadConfig(s.Config)
	if err != nil {
		return err
	}
	c, err := collector.New(collector.Options{Config: cfg, File: s.Config, Version: version, Logger: log})
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what opening took: the check of the files, the journal, a first password's hash
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan struct{})
	defer func() { <-ended }()
	var tuning sync.WaitGroup
	defer tuning.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tuning.Go(func() { thrifty(ctx) })
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				c.Reload()
			}
		}
	}()
	log.Info("collector runs", "console", c.URL(), "agents", c.AgentAddress(), "data", cfg.Data, "version", version)
	return errors.Join(c.Run(ctx), c.Close())
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("xunjian collector", version)
	return nil
}
