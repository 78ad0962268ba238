package tsdb

import (
	"syscall"
	"testing"
	"unsafe"
)

// TestAdviceBeginsAtAPage: madvise refuses an address within a page, of whatever size the machine's are.
func TestAdviceBeginsAtAPage(t *testing.T) {
	const largest = 64 << 10
	m, err := syscall.Mmap(-1, 0, 4*largest, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(m) }()
	start := int(-uintptr(unsafe.Pointer(&m[0])) % largest)
	for _, page := range []int{4 << 10, 16 << 10, largest} {
		for _, at := range []int{start, start + 1, start + 4<<10, start + 20<<10, start + largest + 5} {
			b := m[at : at+largest]
			got := fromPage(b, page)
			first := uintptr(unsafe.Pointer(&got[0]))
			if first%uintptr(page) != 0 || len(got) != at-start-(at-start)/page*page+len(b) || &got[len(got)-1] != &b[len(b)-1] {
				t.Errorf("pages of %d, %d on: %d bytes from %#x", page, at-start, len(got), first)
			}
		}
	}
	if err := syscall.Madvise(fromPage(m[start+5:], pageSize), syscall.MADV_WILLNEED); err != nil {
		t.Errorf("the kernel refuses the advice: %v", err)
	}
}
