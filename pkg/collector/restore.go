package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/incident"
	"xunjian/pkg/store"
)

// restoreMark lies in a data folder while a restore is between taking away what was there and putting the copy in its
// place: a collector that started then would begin with nothing.
const restoreMark = "restore-unfinished"

// keptFiles are what a backup holds of a data folder.
var keptFiles = append([]string{"records.db", seriesFolder, quarantineFolder}, authority...)

// Restored is what Restore did.
type Restored struct {
	Verified
	Aside   string    // where what was there is now, empty when nothing was
	Changed []Changed // files of the configuration, which a restore does not touch
}

// Restore puts a backup in the place of the data folder's stores. It refuses while a collector runs there, checks the
// backup whole before it touches anything, and overwrites nothing.
//
// What agents had acknowledged since the copy was made is gone: they do not send it again, and the time is a gap. What
// they still hold they send, and it is taken: the copy does not know it. Numbers of the journal stand in its own two
// files only, which are both of the copy, so that they may go on from there. Incidents and pages are known outside:
// see incident.MarkRestored.
func Restore(ctx context.Context, cfg Config, dir string, log *slog.Logger) (r Restored, err error) {
	data := cfg.Data
	if err := os.MkdirAll(data, 0o700); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	unlock, err := nobodyRuns(ctx, data)
	if err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if r.Verified, err = VerifyBackup(dir, log); err != nil {
		return r, err
	}
	stamp := time.Now().UTC().Format(backupName)
	fresh := filepath.Join(data, ".restore-"+stamp)
	if err := copyBackup(ctx, dir, fresh, cfg); err != nil {
		return r, errors.Join(fmt.Errorf("restore: %w", err), os.RemoveAll(fresh))
	}
	if r.Aside, err = swap(data, fresh, stamp); err != nil {
		return r, fmt.Errorf("restore: %w; run the same restore again", err)
	}
	m, err := readManifest(dir)
	r.Changed = cfg.changed(dir, m)
	return r, err
}

// nobodyRuns holds the locks of the stores that are there.
func nobodyRuns(ctx context.Context, data string) (unlock func() error, err error) {
	if _, err := api.Connect(ctx, data); !errors.Is(err, api.ErrNotRunning) {
		return nil, errors.Join(errors.New("a collector runs on "+data+": stop it first"), err)
	}
	var held []*os.File
	unlock = func() (err error) {
		for _, f := range held {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	for _, name := range []string{"records.db", "series/journal.db", "series/data.db"} {
		f, err := os.Open(filepath.Join(data, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, unlock())
		}
		held = append(held, f)
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w: stop the collector first", f.Name(), store.ErrLocked), unlock())
		}
	}
	return unlock, nil
}

// copyBackup makes a durable copy of a backup beside its later place, and marks its records.
func copyBackup(ctx context.Context, from, to string, cfg Config) error {
	m, err := readManifest(from)
	if err != nil {
		return err
	}
	var c store.Copying
	var copied []store.CopiedFile
	for _, f := range m.Files {
		if _, site := cfg.inPlace(f.Name); site {
			continue // those in use are not touched
		}
		name := filepath.FromSlash(f.Name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("manifest names %q: %w", f.Name, store.ErrCorrupt)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		src, err := os.Open(filepath.Join(from, name))
		if err != nil {
			return err
		}
		got, err := c.File(ctx, filepath.Join(to, name), func(w io.Writer) error {
			_, err := io.Copy(struct{ io.Writer }{w}, src)
			return err
		})
		if err = errors.Join(err, src.Close()); err != nil {
			return err
		}
		if got.SHA256 != f.SHA256 {
			return fmt.Errorf("%s changed while it was copied: %w", f.Name, store.ErrCorrupt)
		}
		copied = append(copied, f)
	}
	records, err := store.Open(filepath.Join(to, "records.db"), store.Options{})
	if err != nil {
		return err
	}
	err = incident.MarkRestored(records, time.Now(), m.BeganAt, cfg.location())
	note := store.Note{Path: from, At: m.BeganAt}
	return errors.Join(err, records.Close(), store.WriteNote(filepath.Join(to, seriesFolder), note), syncFolders(to, copied), store.SyncDir(to))
}

// swap moves what is there aside and the fresh files in. The mark keeps collectors away in between.
func swap(data, fresh, stamp string) (aside string, err error) {
	if err := store.WriteWhole(filepath.Join(data, restoreMark), []byte(stamp+"\n")); err != nil {
		return "", err
	}
	old := filepath.Join(data, "before-restore-"+stamp)
	for _, name := range keptFiles {
		if _, err := os.Lstat(filepath.Join(data, name)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if aside = old; os.MkdirAll(old, 0o700) != nil {
			return aside, fmt.Errorf("make %s", old)
		}
		if err := os.Rename(filepath.Join(data, name), filepath.Join(old, name)); err != nil {
			return aside, err
		}
	}
	for _, name := range keptFiles {
		err := os.Rename(filepath.Join(fresh, name), filepath.Join(data, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return aside, err
		}
	}
	if aside != "" {
		err = store.SyncDir(aside)
	}
	left, _ := filepath.Glob(filepath.Join(data, ".restore-*")) // also of those that were cut short
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err = errors.Join(err, store.SyncDir(data)); err != nil {
		return aside, err // the mark stays
	}
	return aside, errors.Join(os.Remove(filepath.Join(data, restoreMark)), store.SyncDir(data))
}

// refuseUnfinished keeps a collector from beginning anew over a restore that was cut short.
func refuseUnfinished(data string) error {
	if _, err := os.Stat(filepath.Join(data, restoreMark)); err == nil {
		return fmt.Errorf("a restore into %s was cut short: run `collector restore` again", data)
	}
	return nil
}
