package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// bbolt trusts the pages of a file that it opens: a torn one makes it panic, partly in a goroutine of its
// own where nothing can catch it. pageCheck walks the same tree first and believes nothing.

// The parts of bbolt's file format, little-endian on every machine that we build for.
const (
	pageHeader  = 16
	elementSize = 16
	bucketSize  = 16

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10

	leafIsBucket = 0x01
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	noFreelist   = 1<<64 - 1
	maxDepth     = 64
)

type pageMeta struct {
	pageSize       int64
	root, freelist uint64
	pages          uint64 // all pages lie below
	tx             uint64
}

type pageCheck struct {
	f     io.ReaderAt
	size  int64
	meta  pageMeta
	metas int
	used  []uint64 // bit set of pages met
	ahead func(off, n int64)
}

// CheckPages walks every bucket of a bbolt file and returns the first fault found. It reads the structure only: what the
// values hold is for their owners to check.
func CheckPages(f io.ReaderAt, size int64) error {
	c := &pageCheck{f: f, size: size, ahead: aheadOf(f)}
	if err := c.readMeta(); err != nil {
		return err
	}
	if int64(c.meta.pages) > c.size/c.meta.pageSize {
		return fmt.Errorf("%d bytes hold fewer than %d pages of %d: the file was cut", c.size, c.meta.pages, c.meta.pageSize)
	}
	c.used = make([]uint64, c.meta.pages/64+1)
	if err := c.tree(c.meta.root, nil, nil, 0); err != nil {
		return err
	}
	if c.meta.freelist == noFreelist {
		return nil
	}
	return c.freelist()
}

// Used is how many bytes of a bbolt file its pages take; what follows is room to grow.
func Used(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	c := &pageCheck{f: f, size: st.Size()}
	if err := c.readMeta(); err != nil {
		return 0, err
	}
	return int64(c.meta.pages) * c.meta.pageSize, nil
}

// readMeta takes the newer of the two meta pages.
func (c *pageCheck) readMeta() error {
	for pos := int64(0); pos <= 1<<16 && pos < c.size; pos = max(1024, pos*2) {
		b := make([]byte, pageHeader+64)
		if _, err := c.f.ReadAt(b, pos); err != nil {
			continue
		}
		m, ok := parseMeta(b[pageHeader:])
		if !ok || pos != 0 && pos != m.pageSize {
			continue
		}
		if c.metas++; c.metas == 1 || m.tx > c.meta.tx {
			c.meta = m
		}
	}
	// Each lies within one sector of its page, so a crash tears none: bbolt would go on with the other one and
	// lose the last commit in silence.
	if c.metas < 2 {
		return fmt.Errorf("%d of 2 meta pages are whole, so the last commit may be lost", c.metas)
	}
	return nil
}

func parseMeta(b []byte) (m pageMeta, ok bool) {
	le := binary.LittleEndian
	h := fnv.New64a()
	h.Write(b[:56])
	m = pageMeta{pageSize: int64(le.Uint32(b[8:])), root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), tx: le.Uint64(b[48:])}
	sane := m.pageSize >= 1024 && m.pageSize <= 1<<16 && m.pageSize&(m.pageSize-1) == 0 && m.pages < 1<<40
	return m, sane && le.Uint32(b) == boltMagic && le.Uint32(b[4:]) == boltVersion && le.Uint64(b[56:]) == h.Sum64()
}

// page is a page whose elements are known to lie within it.
type page struct {
	c        *pageCheck
	id       uint64
	flags    uint16
	count    int
	span     int64  // with its overflow pages
	head     []byte // the first page; inline pages are whole
	at       int64  // in the file; negative for inline pages
	elements []byte
}

func (c *pageCheck) open(id uint64) (*page, error) {
	if id < 2 || id >= c.meta.pages {
		return nil, fmt.Errorf("page %d of %d", id, c.meta.pages)
	}
	p := &page{c: c, id: id, at: int64(id) * c.meta.pageSize, head: make([]byte, c.meta.pageSize)}
	if _, err := c.f.ReadAt(p.head, p.at); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if got := binary.LittleEndian.Uint64(p.head); got != id {
		return nil, fmt.Errorf("page %d says it is page %d", id, got)
	}
	overflow := uint64(binary.LittleEndian.Uint32(p.head[12:]))
	if id+overflow >= c.meta.pages {
		return nil, fmt.Errorf("page %d runs %d pages over, past the end", id, overflow)
	}
	p.span = int64(overflow+1) * c.meta.pageSize
	for i := id; i <= id+overflow; i++ {
		if c.used[i/64]>>(i%64)&1 == 1 {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		c.used[i/64] |= 1 << (i % 64)
	}
	return p, p.readElements()
}

func (p *page) readElements() error {
	p.flags = binary.LittleEndian.Uint16(p.head[8:])
	p.count = int(binary.LittleEndian.Uint16(p.head[10:]))
	if p.flags != pageBranch && p.flags != pageLeaf {
		return fmt.Errorf("page %d is of kind %#x", p.id, p.flags)
	}
	var err error
	p.elements, err = p.bytes(pageHeader, int64(p.count)*elementSize)
	return err
}

// bytes reads n bytes at an offset within the page.
func (p *page) bytes(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n > p.span {
		return nil, fmt.Errorf("page %d: bytes %d to %d of %d", p.id, off, off+n, p.span)
	}
	if off+n <= int64(len(p.head)) {
		return p.head[off : off+n], nil
	}
	b := make([]byte, n)
	if _, err := p.c.f.ReadAt(b, p.at+off); err != nil {
		return nil, fmt.Errorf("page %d: %w", p.id, err)
	}
	return b, nil
}

// tree walks the pages of one bucket, whose keys must lie in [low, high); nil is no bound.
func (c *pageCheck) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d lies %d levels deep", id, depth)
	}
	p, err := c.open(id)
	if err != nil {
		return err
	}
	if p.flags == pageLeaf {
		return c.leaf(p, low, high, depth)
	}
	return c.branch(p, low, high, depth)
}

func (c *pageCheck) branch(p *page, low, high []byte, depth int) error {
	if p.count == 0 {
		return fmt.Errorf("page %d: a branch without children", p.id)
	}
	keys := make([][]byte, p.count)
	for i := range keys {
		e := p.elements[i*elementSize:]
		var err error
		if keys[i], err = p.key(i, binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:])); err != nil {
			return err
		}
	}
	if err := p.order(keys, low, high); err != nil {
		return err
	}
	c.fetch(p)
	for i, k := range keys {
		end := high
		if i+1 < len(keys) {
			end = keys[i+1]
		}
		if err := c.tree(binary.LittleEndian.Uint64(p.elements[i*elementSize+8:]), k, end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fetch asks the kernel for the first pages of a branch's children, all at once: a disk that has not been read serves many
// requests in the time of one. Children that follow one another are asked for together. It is only advice.
func (c *pageCheck) fetch(p *page) {
	if c.ahead == nil {
		return
	}
	children := make([]uint64, p.count)
	for i := range children {
		children[i] = binary.LittleEndian.Uint64(p.elements[i*elementSize+8:])
	}
	slices.Sort(children)
	for i := 0; i < len(children); {
		n := 1
		for i+n < len(children) && children[i+n]-children[i] < uint64(2*n) { // a page too many costs less than a request
			n++
		}
		first, last := children[i], children[i+n-1]
		if last < c.meta.pages {
			c.ahead(int64(first)*c.meta.pageSize, int64(last-first+1)*c.meta.pageSize)
		}
		i += n
	}
}

func (c *pageCheck) leaf(p *page, low, high []byte, depth int) error {
	keys := make([][]byte, p.count)
	for i := range keys {
		e := p.elements[i*elementSize:]
		pos, ksize, vsize := binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		var err error
		if keys[i], err = p.key(i, pos, ksize); err != nil {
			return err
		}
		value := pageHeader + int64(i)*elementSize + int64(pos) + int64(ksize)
		if value+int64(vsize) > p.span {
			return fmt.Errorf("page %d: value %d runs over", p.id, i)
		}
		if binary.LittleEndian.Uint32(e)&leafIsBucket != 0 {
			if err := c.bucket(p, value, int64(vsize), depth); err != nil {
				return err
			}
		}
	}
	return p.order(keys, low, high)
}

// bucket walks a bucket named in a leaf: a tree of its own, or a page within the value.
func (c *pageCheck) bucket(p *page, at, n int64, depth int) error {
	v, err := p.bytes(at, n)
	if err != nil {
		return err
	}
	if n < bucketSize {
		return fmt.Errorf("page %d: bucket of %d bytes", p.id, n)
	}
	if root := binary.LittleEndian.Uint64(v); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	if n < bucketSize+pageHeader {
		return fmt.Errorf("page %d: inline bucket of %d bytes", p.id, n)
	}
	in := &page{c: c, id: p.id, at: -1, head: v[bucketSize:], span: n - bucketSize}
	if err := in.readElements(); err != nil {
		return err
	}
	if in.flags != pageLeaf {
		return fmt.Errorf("page %d: inline branch", p.id)
	}
	for i := range in.count {
		if binary.LittleEndian.Uint32(in.elements[i*elementSize:])&leafIsBucket != 0 {
			return fmt.Errorf("page %d: bucket in an inline bucket", p.id)
		}
	}
	return c.leaf(in, nil, nil, depth)
}

func (p *page) key(i int, pos, n uint32) ([]byte, error) {
	if n == 0 {
		return nil, nil // bbolt's first branch key may be empty
	}
	return p.bytes(pageHeader+int64(i)*elementSize+int64(pos), int64(n))
}

func (p *page) order(keys [][]byte, low, high []byte) error {
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 || i == 0 && bytes.Compare(k, low) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
			return fmt.Errorf("page %d: key %d is out of order", p.id, i)
		}
	}
	return nil
}

// freelist checks the stored list of free pages.
func (c *pageCheck) freelist() error {
	id := c.meta.freelist
	if id < 2 || id >= c.meta.pages {
		return fmt.Errorf("free list at page %d of %d", id, c.meta.pages)
	}
	b := make([]byte, c.meta.pageSize)
	if _, err := c.f.ReadAt(b, int64(id)*c.meta.pageSize); err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	count, overflow := uint64(binary.LittleEndian.Uint16(b[10:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	if binary.LittleEndian.Uint64(b) != id || binary.LittleEndian.Uint16(b[8:]) != pageFreelist || id+overflow >= c.meta.pages {
		return fmt.Errorf("free list at page %d is none", id)
	}
	body := make([]byte, int64(overflow+1)*c.meta.pageSize-pageHeader)
	if _, err := c.f.ReadAt(body, int64(id)*c.meta.pageSize+pageHeader); err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	if count == 0xffff {
		count, body = binary.LittleEndian.Uint64(body), body[8:]
	}
	if count > uint64(len(body)/8) {
		return fmt.Errorf("free list of %d pages runs over", count)
	}
	for i := id; i <= id+overflow; i++ {
		if err := c.take(i); err != nil {
			return err
		}
	}
	for i := range count {
		if err := c.take(binary.LittleEndian.Uint64(body[8*i:])); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageCheck) take(id uint64) error {
	if id < 2 || id >= c.meta.pages || c.used[id/64]>>(id%64)&1 == 1 {
		return fmt.Errorf("page %d cannot be free", id)
	}
	c.used[id/64] |= 1 << (id % 64)
	return nil
}
