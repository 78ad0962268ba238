package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/disk"
	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// The files of a backup.
const (
	manifestFile   = "manifest.json"
	manifestFormat = 2 // 1 had nothing of quarantine and no files of the configuration but its own
	seriesFolder   = "series"
	configCopy     = "collector.yml"
	partial        = ".partial-" // before the name of a backup that is being made
	backupName     = "20060102T150405Z"
)

// authority are files that are copied when they are there.
var authority = []string{"ca.crt", "ca.key"}

// manifest says what a backup holds. It is written last.
type manifest struct {
	Format  int                `json:"format"`
	Version string             `json:"version"` // of the program that made it
	Store   string             `json:"store"`   // the id of the samples
	Series  int                `json:"series_format"`
	Records int                `json:"records_schema"`
	BeganAt time.Time          `json:"began_at"` // what was acknowledged before is in it
	EndedAt time.Time          `json:"ended_at"`
	Files   []store.CopiedFile `json:"files"`
	Missing []string           `json:"missing,omitempty"` // files that the configuration names and that were not there
}

// backup is one at work.
type backup struct {
	c    *Collector
	dir  string // the new folder's, while it is being made
	copy store.Copying
	m    manifest
}

// BackupOptions tunes a backup.
type BackupOptions struct {
	Dir  string // where a new folder is made
	Rate int64  // bytes a second, 0: no bound

	told func(state string, done, total int64)
}

// backUp copies all that is kept into a new folder, which has its name only when everything in it is on disk and has been
// opened and checked whole. While it runs, pages of the live files that are freed cannot be used again, so that they
// grow by what is written meanwhile; a copy under which the samples grow by a quarter (and 256 MiB) is given up.
func (c *Collector) backUp(ctx context.Context, o BackupOptions) (path string, err error) {
	if err := c.refuseInside(o.Dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", fmt.Errorf("back up: %w", err)
	}
	forgetPartial(o.Dir)
	began := time.Now().UTC()
	path = filepath.Join(o.Dir, began.Format(backupName))
	b := &backup{c: c}
	total, done := c.series.BackupSize()+c.records.Size(), int64(0)
	if s, err := disk.SpaceOf(o.Dir); err == nil && s.Free < total+total/20 {
		return "", fmt.Errorf("back up: %d MiB are needed, %s has %d MiB free", total>>20, o.Dir, s.Free>>20)
	}
	b.copy = store.Copying{Rate: o.Rate, Wrote: func(n int64) {
		done += n
		o.told("running", done, total)
	}}
	b.m = manifest{Format: manifestFormat, Version: c.o.Version, Store: c.series.ID(), Series: tsdb.Format, Records: store.Schema, BeganAt: began}
	if b.dir, err = os.MkdirTemp(o.Dir, partial+began.Format(backupName)+"-*"); err != nil {
		return "", fmt.Errorf("back up: %w", err)
	}
	if err = b.fill(ctx); err == nil {
		o.told("verifying", done, total)
		if _, err = VerifyBackup(b.dir, c.log); err == nil {
			err = errors.Join(os.Rename(b.dir, path), store.SyncDir(o.Dir))
		}
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("back up: %w", err), os.RemoveAll(b.dir))
	}
	note := store.Note{Path: path, At: began}
	return path, errors.Join(store.WriteNote(c.o.Config.Data, note), store.WriteNote(filepath.Join(c.o.Config.Data, seriesFolder), note))
}

// forgetPartial removes what backups left that were killed more than a day ago.
func forgetPartial(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, partial+"*"))
	for _, path := range left {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(path) // the next backup tries again
		}
	}
}

// refuseInside keeps backups out of the folder that they are to outlive.
func (c *Collector) refuseInside(dir string) error {
	data, err := filepath.Abs(c.o.Config.Data)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if rel, err := filepath.Rel(data, dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return &api.Invalid{Field: "dir", What: dir + " lies in the data folder: give another place, on another disk if there is one"}
	}
	return nil
}

func (b *backup) fill(ctx context.Context) error {
	series := filepath.Join(b.dir, seriesFolder)
	if err := os.MkdirAll(series, 0o700); err != nil {
		return err
	}
	// Records first: what a report changed in them is then in the samples, too.
	f, err := b.c.records.Backup(ctx, filepath.Join(b.dir, "records.db"), &b.copy)
	if err != nil {
		return err
	}
	b.add("records.db", f)
	files, err := b.c.series.Backup(ctx, series, &b.copy)
	if err != nil {
		return err
	}
	for _, f := range files {
		b.add(seriesFolder+"/"+f.Name, f)
	}
	for _, name := range authority {
		if err := b.plain(ctx, name, filepath.Join(b.c.o.Config.Data, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if b.c.o.File != "" {
		if err := b.plain(ctx, configCopy, b.c.o.File); err != nil {
			return err
		}
		if err := b.configuration(ctx); err != nil {
			return err
		}
	}
	if err := b.quarantine(ctx); err != nil {
		return err
	}
	b.m.EndedAt = time.Now().UTC()
	raw, err := json.MarshalIndent(b.m, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(syncFolders(b.dir, b.m.Files), store.WriteWhole(filepath.Join(b.dir, manifestFile), append(raw, '\n')))
}

func (b *backup) add(name string, f store.CopiedFile) {
	f.Name = name
	b.m.Files = append(b.m.Files, f)
}

// plain copies a small file that nobody writes.
func (b *backup) plain(ctx context.Context, name, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	to := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := b.copy.File(ctx, to, func(w io.Writer) error {
		_, err := io.Copy(struct{ io.Writer }{w}, src)
		return err
	})
	if err == nil {
		b.add(name, f)
	}
	return err
}

// backups runs the backups that the command line asks the running collector for, one at a time.
type backups struct {
	c *Collector

	mu     sync.Mutex
	state  api.Backup
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start begins a backup.
func (b *backups) Start(q api.BackupRequest) (api.Backup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		return b.state, &api.Invalid{Field: "dir", What: "another backup is under way"}
	}
	if err := b.c.refuseInside(q.Dir); err != nil {
		return b.state, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.state = api.Backup{State: "running", BeganAt: time.Now().UTC()}
	b.wg.Go(func() { b.run(ctx, q) })
	return b.state, nil
}

func (b *backups) run(ctx context.Context, q api.BackupRequest) {
	path, err := b.c.backUp(ctx, BackupOptions{Dir: q.Dir, Rate: q.Rate, told: func(state string, done, total int64) {
		b.mu.Lock()
		b.state.State, b.state.Bytes, b.state.Total = state, done, total
		b.mu.Unlock()
	}})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancel()
	b.cancel = nil
	b.state.EndedAt = time.Now().UTC()
	if b.state.State, b.state.Path = "done", path; err != nil {
		b.state.State, b.state.Error = "failed", err.Error()
		b.c.log.Error("backup failed", "error", err)
		return
	}
	b.c.log.Info("backup made", "path", path, "bytes", b.state.Bytes)
}

// State is how far it is.
func (b *backups) State() api.Backup {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.State == "" {
		return api.Backup{State: "none"}
	}
	return b.state
}

// Cancel gives up what is under way.
func (b *backups) Cancel() api.Backup {
	b.mu.Lock()
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Unlock()
	return b.State()
}

// wait ends what is under way before the stores are closed.
func (b *backups) wait(ctx context.Context) error {
	<-ctx.Done()
	b.Cancel()
	b.wg.Wait()
	return nil
}

// BackupOffline makes a backup of a data folder on which no collector runs.
func BackupOffline(ctx context.Context, cfg Config, file string, log *slog.Logger, o BackupOptions, told func(state string, done, total int64)) (path string, err error) {
	c := newCollector(Options{Config: cfg, File: file, Logger: log})
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, step := range []func() error{c.openDisk, c.openStores} {
		if err := step(); err != nil {
			return "", err
		}
	}
	o.told = told
	return c.backUp(ctx, o)
}
