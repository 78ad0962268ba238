package tsdb

import (
	"os"
	"syscall"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// pageSize is the machine's: arm64 and loong64 kernels may have 16 or 64 KiB, and advice must begin at a page.
var pageSize = os.Getpagesize()

// readAhead asks the kernel for a stream's blocks of the coming days, all at once. bbolt maps its file without
// read-ahead, so a cold scan would wait for the disk page by page. It is only advice: failure costs time.
func readAhead(tx *bolt.Tx, bucket []byte, s *stream, day, end uint32) {
	if day+1 >= end {
		return
	}
	days := tx.Bucket(bucket)
	for n := 0; n < daysAtOnce && day <= end; n, day = n+1, day+1 {
		if b := days.Bucket(key32(day)); b != nil {
			willNeed(b.Get(key32(s.id)))
		}
	}
}

// willNeed advises on mapped bytes, from the start of their first page.
func willNeed(b []byte) {
	if len(b) >= pageSize {
		_ = syscall.Madvise(fromPage(b, pageSize), syscall.MADV_WILLNEED)
	}
}

// fromPage is mapped bytes together with those before them on their first page.
func fromPage(b []byte, page int) []byte {
	off := int(uintptr(unsafe.Pointer(&b[0])) % uintptr(page))
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&b[0]), -off)), off+len(b))
}
