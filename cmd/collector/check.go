package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"xunjian/pkg/collector"
	"xunjian/pkg/i18n"
	"xunjian/pkg/rule"
)

type checkCmd struct {
	Config checkConfigCmd `cmd:"" name:"config" default:"withargs" help:"${check}"`
	Rules  checkRulesCmd  `cmd:"" help:"${check_rules}"`
}

type checkConfigCmd struct{ where }

// Run lists every fault of the configuration and its rule files.
func (c checkConfigCmd) Run(p *i18n.Printer) error {
	if err := collector.Check(c.Config); err != nil {
		return err
	}
	cfg, err := collector.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings(time.Now(), p) {
		fmt.Fprintln(os.Stderr, p.T("collector.warning", "what", w))
	}
	fmt.Println("ok")
	return nil
}

type checkRulesCmd struct {
	Files []string `arg:"" help:"${rule_files}"`
}

// Run lists every fault of rule files, and what is in those without.
func (c checkRulesCmd) Run(p *i18n.Printer) error {
	counts, err := rule.Examine(c.Files)
	for _, n := range counts {
		fmt.Println(p.T("collector.rules_counted", "file", n.File, "groups", strconv.Itoa(n.Groups), "alerts", strconv.Itoa(n.Alerts),
			"recordings", strconv.Itoa(n.Recordings)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return errors.New(p.T("collector.rules_faulty"))
	}
	return nil
}
