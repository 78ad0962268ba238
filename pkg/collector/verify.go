package collector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// CheckedFile is what became of one file.
type CheckedFile struct {
	Name string
	Size int64
	Err  error // nil: whole
}

// Verified is what VerifyBackup or VerifyData found.
type Verified struct {
	Files  []CheckedFile
	Series tsdb.Verified
	Made   time.Time // a backup: when it began
}

func (v *Verified) add(name string, size int64, err error) {
	v.Files = append(v.Files, CheckedFile{name, size, err})
}

// Err joins the faults of all files.
func (v Verified) Err() (err error) {
	for _, f := range v.Files {
		if f.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", f.Name, f.Err))
		}
	}
	return err
}

// IsBackup says whether a folder looks like one.
func IsBackup(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, manifestFile))
	return err == nil
}

func readManifest(dir string) (m manifest, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return m, fmt.Errorf("not a whole backup: %w", err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("%s: %w", filepath.Join(dir, manifestFile), err)
	}
	if m.Format > manifestFormat {
		return m, fmt.Errorf("%s: format %d, this program knows up to %d: %w", dir, m.Format, manifestFormat, store.ErrNewer)
	}
	return m, nil
}

// VerifyBackup checks that every file is the one that was written, and then everything in the stores.
func VerifyBackup(dir string, log *slog.Logger) (v Verified, err error) {
	m, err := readManifest(dir)
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	v.Made = m.BeganAt
	there := map[string]bool{}
	for _, f := range m.Files {
		there[f.Name] = true
		v.add(f.Name, f.Size, sameFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f))
	}
	for _, name := range []string{"records.db", seriesFolder + "/journal.db", seriesFolder + "/data.db"} {
		if !there[name] {
			v.add(name, 0, errors.New("is not in the manifest"))
		}
	}
	if err := v.Err(); err != nil {
		return v, fmt.Errorf("verify %s: %w", dir, err)
	}
	if err := v.stores(dir, log); err != nil {
		return v, fmt.Errorf("verify %s: %w", dir, err)
	}
	if v.Series.Store != m.Store {
		return v, fmt.Errorf("verify %s: samples of store %s, the manifest says %s: %w", dir, v.Series.Store, m.Store, store.ErrCorrupt)
	}
	return v, nil
}

// VerifyData checks the data folder of a collector that does not run.
func VerifyData(dir string, log *slog.Logger) (v Verified, err error) {
	for _, name := range []string{"records.db", seriesFolder + "/journal.db", seriesFolder + "/data.db"} {
		st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			v.add(name, 0, err)
			continue
		}
		v.add(name, st.Size(), nil)
	}
	if err = v.Err(); err == nil {
		err = v.stores(dir, log)
	}
	if err != nil {
		return v, fmt.Errorf("verify %s: %w", dir, err)
	}
	return v, nil
}

// stores opens what is in the files; both of the samples stand or fall together.
func (v *Verified) stores(dir string, log *slog.Logger) (err error) {
	records := store.Verify(filepath.Join(dir, "records.db"))
	var samples error
	v.Series, samples = tsdb.Verify(filepath.Join(dir, seriesFolder), log)
	for i := range v.Files {
		switch f := &v.Files[i]; f.Name {
		case "records.db":
			f.Err = errors.Join(f.Err, records)
		case seriesFolder + "/data.db", seriesFolder + "/journal.db":
			f.Err = errors.Join(f.Err, samples)
		}
	}
	return errors.Join(records, samples)
}

// sameFile compares a file with what the manifest says of it.
func sameFile(path string, want store.CopiedFile) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	switch {
	case err != nil:
		return err
	case n != want.Size:
		return fmt.Errorf("%d bytes, the manifest says %d: %w", n, want.Size, store.ErrCorrupt)
	case hex.EncodeToString(sum.Sum(nil)) != want.SHA256:
		return fmt.Errorf("SHA-256 is not the manifest's: %w", store.ErrCorrupt)
	}
	return nil
}
