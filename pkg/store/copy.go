package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Copying writes the files of a backup, throttled and synced. It is not for concurrent use.
type Copying struct {
	Rate  int64         // bytes a second, 0: no bound
	Wrote func(n int64) // learns of every piece; may be nil
	Check func() error  // asked now and then, its error ends the copy; may be nil
	begin time.Time
	total int64
}

// CopiedFile is what was written under a name.
type CopiedFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// syncEvery keeps the kernel from gathering so much of a copy that one sync of it holds up everybody else's.
const syncEvery = 8 << 20

// File writes a new file from what write gives, synced. It is durable once its folder is synced, too.
func (c *Copying) File(ctx context.Context, path string, write func(io.Writer) error) (out CopiedFile, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return out, fmt.Errorf("copy: %w", err)
	}
	w := &copyWriter{c: c, ctx: ctx, f: f, sum: sha256.New()}
	if err = errors.Join(write(w), ctx.Err(), f.Sync(), f.Close()); err != nil { // bbolt makes text of what Write says
		return out, fmt.Errorf("copy to %s: %w", path, err)
	}
	return CopiedFile{Size: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil))}, nil
}

type copyWriter struct {
	c              *Copying
	ctx            context.Context
	f              *os.File
	sum            hash.Hash
	size, unsynced int64
}

func (w *copyWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.f.Write(b)
	w.sum.Write(b[:n])
	w.size += int64(n)
	if err != nil {
		return n, err
	}
	if w.unsynced += int64(n); w.unsynced >= syncEvery {
		w.unsynced = 0
		if err := w.f.Sync(); err != nil {
			return n, err
		}
		if w.c.Check != nil {
			if err := w.c.Check(); err != nil {
				return n, err
			}
		}
	}
	return n, w.c.pace(w.ctx, int64(n))
}

// pace waits when the copy is ahead of its rate.
func (c *Copying) pace(ctx context.Context, n int64) error {
	if c.begin.IsZero() {
		c.begin = time.Now()
	}
	c.total += n
	if c.Wrote != nil {
		c.Wrote(n)
	}
	if c.Rate <= 0 {
		return nil
	}
	ahead := time.Duration(float64(c.total)/float64(c.Rate)*float64(time.Second)) - time.Since(c.begin)
	if ahead < 5*time.Millisecond {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(ahead):
		return nil
	}
}

// Snapshot copies a bbolt file as it is at this moment, whatever is written meanwhile.
func (c *Copying) Snapshot(ctx context.Context, path string, tx *bolt.Tx) (CopiedFile, error) {
	return c.File(ctx, path, func(w io.Writer) error {
		_, err := tx.WriteTo(w)
		return err
	})
}

// Backup copies the records as they are at one moment.
func (db *DB) Backup(ctx context.Context, path string, c *Copying) (out CopiedFile, err error) {
	err = db.bolt.View(func(tx *bolt.Tx) error {
		out, err = c.Snapshot(ctx, path, tx)
		return err
	})
	return out, err
}

// Size is the length of the file as a backup copies it.
func (db *DB) Size() (n int64) {
	_ = db.bolt.View(func(tx *bolt.Tx) error { n = tx.Size(); return nil })
	return n
}

// Verify checks a records file that nobody has open, pages and every record, and changes nothing.
func Verify(path string) error {
	db, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		return err
	}
	return db.Close()
}
