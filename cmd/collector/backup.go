package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/collector"
	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

// rate is a number of bytes a second, written as 32MB/s.
type rate int64

// UnmarshalText reads it.
func (r *rate) UnmarshalText(b []byte) error {
	s := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(string(b))), "/S")
	unit := int64(1)
	for _, u := range []struct {
		name string
		n    int64
	}{{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"B", 1}} {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = n, u.n
			break
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n*float64(unit) > 1e15 {
		return fmt.Errorf("%q is no rate: write one as 32MB/s, or 0 for none", b)
	}
	*r = rate(n * float64(unit))
	return nil
}

type backupCmd struct {
	where
	Dir  string `arg:"" type:"path" help:"${backup_dir}"`
	Rate rate   `default:"32MB/s" help:"${backup_rate}"`
}

// Run has the running collector make the backup, or makes it itself when none runs. It prints the new folder's path.
func (b backupCmd) Run(ctx context.Context, log *slog.Logger, p *i18n.Printer) error {
	cfg, err := collector.LoadConfig(b.Config)
	if err != nil {
		return err
	}
	show := progress{p: p}
	defer show.end()
	client, err := api.Connect(ctx, cfg.Data)
	if errors.Is(err, api.ErrNotRunning) {
		if _, err := os.Stat(cfg.Data); err != nil {
			return err
		}
		path, err := collector.BackupOffline(ctx, cfg, b.Config, log, collector.BackupOptions{Dir: b.Dir, Rate: int64(b.Rate)}, show.step)
		return b.done(p, &show, path, err)
	}
	if err != nil {
		return err
	}
	client.Lang = p.Lang
	path, err := b.follow(ctx, client, &show)
	return b.done(p, &show, path, err)
}

func (b backupCmd) done(p *i18n.Printer, show *progress, path string, err error) error {
	show.end()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, p.T("collector.backup.done"))
	fmt.Println(path)
	return nil
}

// follow asks how far the collector is until it is done; when the person gives up, so does the collector.
func (b backupCmd) follow(ctx context.Context, client *api.Client, show *progress) (string, error) {
	at, err := client.StartBackup(ctx, api.BackupRequest{Dir: b.Dir, Rate: int64(b.Rate)})
	for err == nil {
		show.step(at.State, at.Bytes, at.Total)
		switch at.State {
		case "done":
			return at.Path, nil
		case "failed":
			return "", errors.New(at.Error)
		}
		select {
		case <-ctx.Done():
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			_, err = client.CancelBackup(stop)
			return "", errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
		at, err = client.Backup(ctx)
	}
	return "", err
}

// progress is one line on a terminal that is written over.
type progress struct {
	p    *i18n.Printer
	last time.Time
	open bool
}

func (s *progress) step(state string, done, total int64) {
	if time.Since(s.last) < 200*time.Millisecond && state == "running" {
		return
	}
	s.last, s.open = time.Now(), true
	percent := int64(0)
	if total > 0 {
		percent = min(100, 100*done/total)
	}
	fmt.Fprintf(os.Stderr, "\r%s %3d %%  %d / %d MiB ", s.p.T("collector.backup."+state), percent, done>>20, total>>20)
}

func (s *progress) end() {
	if s.open {
		fmt.Fprintln(os.Stderr)
	}
	s.open = false
}

type verifyCmd struct {
	where
	Dir string `arg:"" optional:"" type:"path" help:"${verify_dir}"`
}

// Run checks a backup, or the data folder of a collector that does not run, and prints a line for each file.
func (v verifyCmd) Run(log *slog.Logger, p *i18n.Printer) error {
	dir := v.Dir
	if dir == "" {
		cfg, err := collector.LoadConfig(v.Config)
		if err != nil {
			return err
		}
		dir = cfg.Data
	}
	check := collector.VerifyData
	if collector.IsBackup(dir) {
		check = collector.VerifyBackup
	}
	got, err := check(dir, log)
	lines(p, got)
	return err
}

// lines prints what became of each file.
func lines(p *i18n.Printer, got collector.Verified) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, f := range got.Files {
		verdict := p.T("collector.verify.good")
		switch {
		case errors.Is(f.Err, store.ErrLocked):
			verdict = p.T("collector.verify.busy")
		case f.Err != nil:
			verdict = p.T("collector.verify.bad") + ": " + f.Err.Error()
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", f.Name, f.Size, verdict)
	}
	w.Flush()
	if got.Series.Store != "" {
		fmt.Println(p.T("collector.verify.series", "series", strconv.Itoa(got.Series.Series), "streams", strconv.Itoa(got.Series.Streams), "newest", stamp(got.Series.Newest)))
	}
}

type restoreCmd struct {
	where
	Dir string `arg:"" type:"path" help:"${restore_dir}"`
	To  string `type:"path" help:"${restore_to}"`
}

// Run puts a backup into the data folder and says where what was there is now.
func (r restoreCmd) Run(ctx context.Context, log *slog.Logger, p *i18n.Printer) error {
	cfg, err := collector.LoadConfig(r.Config)
	if err != nil {
		return err
	}
	if r.To != "" {
		cfg.Data = r.To
	}
	got, err := collector.Restore(ctx, cfg, r.Dir, log)
	lines(p, got.Verified)
	if got.Aside != "" {
		fmt.Println(p.T("collector.restore.aside", "path", got.Aside))
	}
	if err != nil {
		return err
	}
	for _, c := range got.Changed {
		key := "collector.restore.changed"
		if c.Gone {
			key = "collector.restore.gone"
		}
		fmt.Println(p.T(key, "path", c.Path, "copy", c.Backup))
	}
	fmt.Println(p.T("collector.restore.done", "data", cfg.Data, "made", stamp(got.Made)))
	return nil
}

type compactCmd struct{ where }

// Run makes the files of a stopped collector anew and prints what they took before and after.
func (c compactCmd) Run(ctx context.Context) error {
	cfg, err := collector.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	got, err := collector.Compact(ctx, cfg)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, f := range got {
		fmt.Fprintf(w, "%s\t%d\t→ %d\n", f.Name, f.Before, f.After)
	}
	return errors.Join(err, w.Flush())
}
