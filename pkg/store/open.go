package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// OpenBolt opens a bbolt file that is there. It locks it first, so that no other process writes meanwhile, and walks all
// of its pages before bbolt maps it: bbolt trusts what it maps, and panics on a torn page where nobody can catch it.
// It fails with ErrLocked or ErrCorrupt and leaves the file as it is.
func OpenBolt(path string, o bolt.Options) (*bolt.DB, error) {
	opened := false
	o.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		if opened { // bbolt opens files in the same way to copy itself
			return os.OpenFile(path, flag, mode)
		}
		opened = true
		return openChecked(path, flag&^os.O_CREATE, o.Timeout)
	}
	b, err := bolt.Open(path, 0o600, &o)
	if err != nil && !strings.Contains(err.Error(), path) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return b, err
}

// openChecked locks the file itself; bbolt's own lock of the same open file then succeeds at once.
func openChecked(path string, flag int, patience time.Duration) (*os.File, error) {
	file, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	writable := flag&os.O_RDWR != 0
	if err = lock(file, writable, patience); err == nil {
		err = checkFile(file)
	}
	if err == nil && writable {
		_ = os.Remove(path + compactSuffix) // of a compaction that was cut short; the lock is ours
		err = settle(file)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return file, nil
}

func lock(file *os.File, exclusive bool, patience time.Duration) error {
	const pause = 20 * time.Millisecond
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for waited := time.Duration(0); ; waited += pause {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		if waited >= patience {
			return ErrLocked
		}
		time.Sleep(pause)
	}
}

func checkFile(file *os.File) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return fmt.Errorf("file is empty: %w", ErrCorrupt)
	}
	if err := CheckPages(file, st.Size()); err != nil {
		return fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return nil
}

// settle writes both meta pages once more, as they are, and syncs. After a failed sync the kernel may show a meta page
// that is not on the disk and call it clean; going on from it, the next transactions would overwrite pages that the
// disk's own meta page still needs. Each meta lies within one sector, so that a power cut here tears none.
func settle(file *os.File) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	c := &pageCheck{f: file, size: st.Size()}
	if err := c.readMeta(); err != nil {
		return err
	}
	b := make([]byte, 2*c.meta.pageSize)
	if _, err := file.ReadAt(b, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		if noRoom(err) {
			return nil // nothing can be written at all, so nothing will be overwritten
		}
		return err
	}
	return syscall.Fdatasync(int(file.Fd()))
}

// View runs fn in a read transaction; what bbolt or the memory map throws at damage becomes ErrCorrupt.
func View(b *bolt.DB, fn func(*bolt.Tx) error) (err error) {
	defer catch(b.Path(), &err)()
	return b.View(fn)
}

// noteFile names the last good backup, beside what was backed up.
const noteFile = "backup.json"

// Note is what is known of the last good backup.
type Note struct {
	Path string    `json:"path"`
	At   time.Time `json:"at"`
}

// WriteNote leaves word of a good backup in a folder.
func WriteNote(dir string, n Note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note backup: %w", err)
	}
	return WriteWhole(filepath.Join(dir, noteFile), append(b, '\n'))
}

// ReadNote finds the word that was left; without one it is empty.
func ReadNote(dir string) (n Note) {
	b, err := os.ReadFile(filepath.Join(dir, noteFile))
	if err != nil || json.Unmarshal(b, &n) != nil {
		return Note{}
	}
	return n
}

// Remedy says what to do about a damaged file in a folder.
func Remedy(dir string) string {
	n := ReadNote(dir)
	if n.Path == "" {
		return "restore a backup (none is noted here); the file was left as it is"
	}
	return fmt.Sprintf("restore the last good backup, %s of %s (collector restore %s); the file was left as it is",
		n.Path, n.At.Format("2006-01-02 15:04:05 -0700"), n.Path)
}

// WriteWhole puts a small file in place whole and durable, or not at all.
func WriteWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
