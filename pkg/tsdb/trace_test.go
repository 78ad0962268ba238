package tsdb

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tracedCalls is all that can change a file or name one.
const tracedCalls = "openat,close,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,ftruncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,link,linkat,copy_file_range,sendfile,splice"

// needStrace skips where programs cannot be traced.
func needStrace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("short")
	}
	if out, err := exec.Command("strace", "-f", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace a program here: %v: %s", err, out)
	}
}

// call is one finished system call of a trace.
type call struct {
	name, args  string
	result      int64
	began, done int // lines of the trace
}

// readTrace gives the calls of a trace in the order in which they ended. Other threads' lines may stand between the
// two halves of a call.
func readTrace(r io.Reader, fn func(call) error) error {
	type begun struct {
		text string
		line int
	}
	open := map[string]begun{}
	in := bufio.NewReaderSize(r, 1<<20)
	for line := 1; ; line++ {
		text, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // a last line without its end is no call that ended
		}
		if err != nil {
			return err
		}
		thread, text, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
		text, began := strings.TrimLeft(text, " "), line
		if first, ok := strings.CutSuffix(text, "<unfinished ...>"); ok {
			open[thread] = begun{strings.TrimRight(first, " "), line}
			continue
		}
		if _, second, ok := strings.Cut(text, " resumed>"); ok && strings.HasPrefix(text, "<... ") {
			began, text = open[thread].line, open[thread].text+second
		}
		c, ok := parseCall(text)
		if !ok {
			continue // an exit, a signal
		}
		c.began, c.done = began, line
		if err := fn(c); err != nil {
			return fmt.Errorf("line %d, %s: %w", line, c.name, err)
		}
	}
}

func parseCall(text string) (c call, ok bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndex(text, " = ")
	if open < 0 || end < open {
		return c, false
	}
	args, ok := strings.CutSuffix(strings.TrimRight(text[open+1:end], " "), ")")
	c.name, c.args = text[:open], args
	result, _, _ := strings.Cut(text[end+3:], " ")
	var err error
	c.result, err = strconv.ParseInt(result, 10, 64)
	return c, ok && err == nil
}

// text is the i-th string among the arguments.
func (c call) text(i int) ([]byte, error) {
	parts := strings.Split(c.args, `"`)
	if 2*i+2 >= len(parts) || strings.HasPrefix(parts[2*i+2], "...") {
		return nil, fmt.Errorf("no whole string %d in %.100s", i, c.args)
	}
	return hex.DecodeString(strings.ReplaceAll(parts[2*i+1], `\x`, ""))
}

// number is an argument counted from the front (0, 1, …) or from the back (-1, -2, …).
func (c call) number(i int) (int64, error) {
	parts := strings.Split(c.args, ", ")
	if i < 0 {
		i += len(parts)
	}
	return strconv.ParseInt(parts[i], 10, 64)
}

// disk is a directory as the operating system and the disk under it have it: of each file what is surely on the disk,
// and what was written since and may be there, in part or not.
type disk struct {
	dir   string
	fds   map[int64]*inode
	names map[string]*inode // as programs see them
	firm  map[string]*inode // as a power cut surely leaves them
	loose []naming          // since the directory's last fsync
}

type inode struct {
	isDir bool
	firm  []byte
	loose []change
}

// change is a write, or a new size where data is nil.
type change struct {
	at   int64
	data []byte
	line int
}

// naming gives a name to a file, or takes one away where file is nil.
type naming struct {
	name string
	file *inode
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, fds: map[int64]*inode{}, names: map[string]*inode{}, firm: map[string]*inode{}}
}

// apply takes in one call. What it does not know must not happen to a file of the directory.
func (d *disk) apply(c call) error {
	if c.result < 0 {
		return nil
	}
	switch c.name {
	case "openat":
		return d.open(c)
	case "rename", "renameat", "renameat2", "unlink", "unlinkat":
		return d.rename(c)
	}
	fd, err := c.number(0)
	if err != nil {
		return nil //nolint:nilerr // no descriptor: nothing of ours
	}
	f := d.fds[fd]
	if c.name == "close" {
		delete(d.fds, fd)
	}
	if f == nil {
		return nil
	}
	switch c.name {
	case "close":
	case "pwrite64":
		return f.write(c)
	case "ftruncate":
		size, err := c.number(1)
		f.loose = append(f.loose, change{at: size, line: c.began})
		return err
	case "fsync", "fdatasync":
		d.sync(f, c.began)
	default:
		return fmt.Errorf("this model of a disk does not know %s", c.name)
	}
	return nil
}

func (d *disk) open(c call) error {
	raw, err := c.text(0)
	if err != nil {
		return err
	}
	path := string(raw)
	if path == d.dir {
		d.fds[c.result] = &inode{isDir: true}
		return nil
	}
	if filepath.Dir(path) != d.dir {
		return nil
	}
	if d.names[path] == nil {
		d.call(path, &inode{})
	}
	if strings.Contains(c.args, "O_TRUNC") {
		d.names[path].loose = append(d.names[path].loose, change{line: c.began})
	}
	d.fds[c.result] = d.names[path]
	return nil
}

func (d *disk) rename(c call) error {
	var paths []string
	for i := range strings.Count(c.args, `"`) / 2 {
		raw, err := c.text(i)
		if err != nil {
			return err
		}
		paths = append(paths, string(raw))
	}
	if filepath.Dir(paths[0]) != d.dir {
		return nil
	}
	file := d.names[paths[0]]
	d.call(paths[0], nil)
	if len(paths) > 1 {
		// one step for the directory: the old name goes in the moment that the new one comes
		d.loose = append(d.loose[:len(d.loose)-1], naming{paths[1], file}, naming{paths[0], nil})
		d.names[paths[1]] = file
	}
	return nil
}

func (d *disk) call(name string, f *inode) {
	d.loose = append(d.loose, naming{name, f})
	if d.names[name] = f; f == nil {
		delete(d.names, name)
	}
}

func (f *inode) write(c call) error {
	data, err := c.text(0)
	if err != nil {
		return err
	}
	at, err := c.number(-1)
	if err != nil {
		return err
	}
	if int64(len(data)) < c.result {
		return fmt.Errorf("%d of %d bytes are in the trace", len(data), c.result)
	}
	f.loose = append(f.loose, change{at, data[:c.result], c.began})
	return nil
}

// sync makes firm what was done before a line.
func (d *disk) sync(f *inode, line int) {
	if f.isDir {
		for _, n := range d.loose {
			setName(d.firm, n)
		}
		d.loose = nil
		return
	}
	var left []change
	for _, c := range f.loose {
		if c.line < line {
			f.firm = c.whole(f.firm)
		} else {
			left = append(left, c)
		}
	}
	f.loose = left
}

func setName(names map[string]*inode, n naming) {
	if names[n.name] = n.file; n.file == nil {
		delete(names, n.name)
	}
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func (c change) whole(b []byte) []byte {
	if c.data == nil {
		return resize(b, c.at)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[c.at:], c.data)
	return b
}

const sector = 512

// torn lets some sectors of a write reach the disk.
func (c change) torn(b []byte, rnd *rand.Rand) []byte {
	if c.data == nil {
		if rnd.IntN(2) == 0 {
			return b
		}
		return c.whole(b)
	}
	for off := int64(0); off < int64(len(c.data)); off += sector {
		if rnd.IntN(2) == 0 {
			b = change{at: c.at + off, data: c.data[off:min(off+sector, int64(len(c.data)))]}.whole(b)
		}
	}
	return b
}

// image is the file after a power cut: all that is firm, and of the rest nothing, a beginning, or sectors at random.
func (f *inode) image(rnd *rand.Rand) []byte {
	b := append(make([]byte, 0, len(f.firm)+1<<16), f.firm...)
	if len(f.loose) == 0 {
		return b
	}
	switch rnd.IntN(3) {
	case 1:
		n := rnd.IntN(len(f.loose))
		for _, c := range f.loose[:n] {
			b = c.whole(b)
		}
		b = f.loose[n].torn(b, rnd)
	case 2:
		for _, c := range f.loose {
			b = c.torn(b, rnd)
		}
	}
	return b
}

// cut writes what a power cut now would leave into a directory. Names may lag, but not out of their order.
func (d *disk) cut(to string, rnd *rand.Rand) error {
	names := map[string]*inode{}
	for path, f := range d.firm {
		names[path] = f
	}
	for _, n := range d.loose[:rnd.IntN(len(d.loose)+1)] {
		setName(names, n)
	}
	for path, f := range names {
		if err := writeSparse(filepath.Join(to, filepath.Base(path)), f.image(rnd)); err != nil {
			return err
		}
	}
	return nil
}

// writeSparse leaves the zeros at the end out of the file's blocks.
func writeSparse(path string, b []byte) error {
	end, page := len(b), make([]byte, 4096)
	for end >= len(page) && bytes.Equal(b[end-len(page):end], page) {
		end -= len(page)
	}
	if err := os.WriteFile(path, b[:end], 0o600); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(b)))
}
