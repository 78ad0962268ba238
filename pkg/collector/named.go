package collector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xunjian/pkg/rule"
	"xunjian/pkg/store"
)

// Where a backup has the files that the configuration names: those in its own folder, and those of anywhere else.
const (
	besideConfig     = "config"
	elsewhereFolder  = "elsewhere"
	quarantineFolder = "quarantine"
)

// named is every file that the configuration stands on, beside its own, in order. Secrets that are kept apart from it on
// purpose are not among them: the private key of the site's own certificate, and the tokens of receivers.
func (c *Config) named() []string {
	var files []string
	add := func(path ...string) {
		for _, p := range path {
			if p != "" {
				files = append(files, p)
			}
		}
	}
	add(rule.Named(c.Rules.Files)...)
	own := len(c.Checks)
	for _, f := range c.included {
		add(f.file)
		own -= len(f.Checks) // merge has put them behind our own
		for _, s := range f.Checks {
			for _, pem := range s.PEMFiles() {
				add(f.path(pem.Name))
			}
		}
	}
	for _, s := range c.Checks[:max(own, 0)] {
		for _, pem := range s.PEMFiles() {
			add(c.path(pem.Name))
		}
	}
	for _, h := range c.Heartbeat {
		add(h.CAFile)
	}
	for _, m := range c.Modules {
		add(c.path(m))
	}
	for _, file := range c.Pages.CAFiles() {
		add(file)
	}
	add(c.path(c.HTTP.CertFile), c.path(c.Report.Form), c.path(c.ContractFile))
	if folder := c.path(c.Contract.CalendarFolder); folder != "" {
		notices, _ := filepath.Glob(filepath.Join(folder, "*.json")) // the pattern is good
		add(notices...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// inBackup is the name under which a backup has a file of the configuration.
func (c *Config) inBackup(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
		return besideConfig + "/" + filepath.ToSlash(rel), nil
	}
	return elsewhereFolder + filepath.ToSlash(abs), nil
}

// inPlace is where a file of a backup belongs under this configuration; false for what belongs into the data folder.
func (c *Config) inPlace(name string) (path string, ok bool) {
	if name == configCopy {
		return c.file, true
	}
	if rel, ok := strings.CutPrefix(name, besideConfig+"/"); ok {
		return filepath.Join(c.dir, filepath.FromSlash(rel)), true
	}
	if abs, ok := strings.CutPrefix(name, elsewhereFolder+"/"); ok {
		return filepath.FromSlash("/" + abs), true
	}
	return "", false
}

// configuration copies what the configuration names, as it is on disk now. A file that has vanished since it was read
// does not keep the rest from being saved: the manifest names it.
func (b *backup) configuration(ctx context.Context) error {
	b.c.mu.Lock()
	cfg := b.c.cfg
	b.c.mu.Unlock()
	for _, path := range cfg.named() {
		name, err := cfg.inBackup(path)
		if err != nil {
			return err
		}
		err = b.plain(ctx, name, path)
		if errors.Is(err, os.ErrNotExist) {
			b.c.log.Warn("the configuration names a file that is gone, and the backup is without it", "file", path)
			b.m.Missing = append(b.m.Missing, path)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quarantine copies what was put aside; what makes room for newer messages meanwhile is not missed.
func (b *backup) quarantine(ctx context.Context) error {
	files, err := os.ReadDir(filepath.Join(b.c.o.Config.Data, quarantineFolder))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		if sum, err := hex.DecodeString(f.Name()); err != nil || len(sum) != sha256.Size {
			continue // one that is being written
		}
		err := b.plain(ctx, quarantineFolder+"/"+f.Name(), filepath.Join(b.c.o.Config.Data, quarantineFolder, f.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Changed is a file of the configuration that is not as it was when the backup was made.
type Changed struct {
	Path   string
	Backup string // the file in the backup
	Gone   bool   // there is none at Path
}

// changed compares the configuration's files with a backup's. A restore leaves them alone: they are the site's.
func (c *Config) changed(dir string, m manifest) (out []Changed) {
	for _, f := range m.Files {
		path, ok := c.inPlace(f.Name)
		if !ok || path == "" {
			continue
		}
		sum, err := sumOf(path)
		if err != nil || sum != f.SHA256 {
			out = append(out, Changed{Path: path, Backup: filepath.Join(dir, filepath.FromSlash(f.Name)), Gone: errors.Is(err, os.ErrNotExist)})
		}
	}
	return out
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// syncFolders makes the names of a backup's files durable, each folder's once.
func syncFolders(root string, files []store.CopiedFile) error {
	done := map[string]bool{}
	for _, f := range files {
		for dir := filepath.Dir(filepath.FromSlash(f.Name)); dir != "." && !done[dir]; dir = filepath.Dir(dir) {
			done[dir] = true
			if err := store.SyncDir(filepath.Join(root, dir)); err != nil {
				return err
			}
		}
	}
	return nil
}
