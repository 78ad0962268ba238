package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// checkWhole refuses a file that is shorter than its own newest meta page says, or that has no good meta page. bbolt
// maps the file into memory, where reading past its end would kill the program instead of returning an error; and in
// an empty file it would start anew.
func checkWhole(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	if st.Size() == 0 {
		return fmt.Errorf("open records %s: file is empty, %w; restore a backup, or remove the file to start anew", path, ErrCorrupt)
	}
	want, ok := newestMeta(f)
	switch {
	case !ok:
		return fmt.Errorf("open records %s: not a records file, or its head is damaged: %w; restore the last good backup", path, ErrCorrupt)
	case st.Size() < want:
		return fmt.Errorf("open records %s: %d bytes of %d are there: %w; restore the last good backup", path, st.Size(), want, ErrCorrupt)
	}
	return nil
}

// newestMeta is the length of the file by the newer of its two good meta pages. The second page's place depends on
// the page size of the machine that made the file.
func newestMeta(f io.ReaderAt) (length int64, ok bool) {
	const metaSize = 64
	var newest uint64
	for _, at := range []int64{0, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		var page [16 + metaSize]byte // bbolt's page header, then the meta
		if _, err := f.ReadAt(page[:], at); err != nil {
			continue
		}
		m := page[16:]
		h := fnv.New64a()
		h.Write(m[:56])
		pageSize, pages, tx := int64(binary.NativeEndian.Uint32(m[8:])), int64(binary.NativeEndian.Uint64(m[40:])), binary.NativeEndian.Uint64(m[48:])
		if binary.NativeEndian.Uint32(m) != 0xED0CDAED || binary.NativeEndian.Uint64(m[56:]) != h.Sum64() || at != 0 && at != pageSize {
			continue
		}
		if !ok || tx > newest {
			newest, length, ok = tx, pages*pageSize, true
		}
	}
	return length, ok
}
