// Package disk knows what a folder lies on: which file system, how much room is left, and a reserve for bad times.
package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Place is what a folder lies on.
type Place struct {
	Dir     string
	Type    string // ext4, xfs, nfs4, overlay, …
	Mount   string
	Device  string
	Options []string // of the mount and of the file system
}

// Fault is something about a place that endangers what is kept there.
type Fault struct {
	What  string
	Fatal bool // what is acknowledged may be lost; otherwise it is worth a warning
}

// Find tells what a folder lies on, or will lie on when it is made.
func Find(dir string) (Place, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Place{}, fmt.Errorf("find file system: %w", err)
	}
	defer f.Close()
	real, err := nearest(dir)
	if err != nil {
		return Place{}, fmt.Errorf("find file system: %w", err)
	}
	p, err := find(f, real)
	if err != nil {
		return p, fmt.Errorf("find file system of %s: %w", dir, err)
	}
	p.Dir = dir
	return p, nil
}

// nearest is the folder itself, without links, or the first of its parents that is there.
func nearest(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	for err == nil {
		real, e := filepath.EvalSymlinks(dir)
		if e == nil {
			return real, nil
		}
		if up := filepath.Dir(dir); errors.Is(e, fs.ErrNotExist) && up != dir {
			dir = up
			continue
		}
		err = e
	}
	return "", err
}

// find reads mountinfo: of the mounts above the path the longest, and of several at one point the last.
func find(mountinfo io.Reader, path string) (Place, error) {
	best := Place{}
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		own, super, ok := strings.Cut(lines.Text(), " - ")
		a, b := strings.Fields(own), strings.Fields(super)
		if !ok || len(a) < 6 || len(b) < 3 {
			continue
		}
		p := Place{Type: b[0], Mount: unescape(a[4]), Device: unescape(b[1]), Options: append(strings.Split(a[5], ","), strings.Split(b[2], ",")...)}
		if under(path, p.Mount) && len(p.Mount) >= len(best.Mount) {
			best = p
		}
	}
	if err := lines.Err(); err != nil {
		return best, err
	}
	if best.Type == "" {
		return best, errors.New("no mount holds it")
	}
	return best, nil
}

func under(path, mount string) bool {
	return path == mount || strings.HasPrefix(path, strings.TrimSuffix(mount, "/")+"/")
}

// unescape turns \040 and its like back.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// The file systems that locks, memory maps and syncs cannot be trusted on, and those that they can.
var (
	remote = []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "9p", "virtiofs", "vboxsf", "vmhgfs", "coda", "ncpfs"}
	local  = []string{"ext4", "ext3", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs"}
	memory = []string{"tmpfs", "ramfs"}
)

// Faults judges the place under a kernel, whose release is as uname gives it.
func (p Place) Faults(kernel string) (out []Fault) {
	add := func(fatal bool, format string, args ...any) {
		out = append(out, Fault{fmt.Sprintf(format, args...), fatal})
	}
	switch {
	case slices.Contains(remote, p.Type) || p.Type == "fuse" || p.Type == "fuseblk" || strings.HasPrefix(p.Type, "fuse."):
		add(true, "%s lies on %s (%s), where locks and syncs cannot be trusted", p.Dir, p.Type, p.Mount)
	case p.Type == "overlay":
		// The layers of a container. overlayfs hands every sync to the upper layer's own file system, which cannot be
		// seen from inside; a file is copied up as a whole when it is opened for writing, before it is mapped. So
		// nothing acknowledged is lost, and a warning is enough — but for volatile ones, where a sync does nothing.
		add(p.has("volatile") || p.has("fsync=volatile"), "%s lies in the layers of a container (overlay at %s), which go when the container is removed", p.Dir, p.Mount)
	case slices.Contains(memory, p.Type):
		add(false, "%s lies in memory (%s at %s): everything is gone after a restart of the machine", p.Dir, p.Type, p.Mount)
	case !slices.Contains(local, p.Type):
		add(false, "%s lies on %s (%s), which has not been tried", p.Dir, p.Type, p.Mount)
	}
	if p.has("nobarrier") || p.has("barrier=0") {
		add(true, "%s is mounted with nobarrier: a power cut destroys what was synced; mount it with barrier", p.Mount)
	}
	if p.Type == "ext4" && fastCommitBreaks(kernel) {
		switch on, err := fastCommit(p.Device); {
		case err != nil:
			add(false, "%s: kernel %s damages files on ext4 with fast_commit, and whether %s has it cannot be told: %v", p.Mount, kernel, p.Device, err)
		case on:
			add(true, "%s has ext4's fast_commit, which damages files under kernel %s: take the feature off (tune2fs -O ^fast_commit %s) or use 5.10.94, 5.15.27, 5.17 or newer", p.Mount, kernel, p.Device)
		}
	}
	return out
}

func (p Place) has(option string) bool { return slices.Contains(p.Options, option) }

// Kernel is the release of the running one.
func Kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// fastCommitBreaks: fast_commit came with 5.10; bbolt names the releases that mended it.
func fastCommitBreaks(kernel string) bool {
	var a, b, c int
	if n, _ := fmt.Sscanf(kernel, "%d.%d.%d", &a, &b, &c); n < 2 || a != 5 {
		return false
	}
	switch b {
	case 10:
		return c < 94
	case 15:
		return c < 27
	}
	return b > 10 && b < 17
}

// fastCommit reads the feature out of the file system's first block.
func fastCommit(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, 1024); err != nil {
		return false, err
	}
	const magic, compatible, fast = 0x38, 0x5c, 0x400
	if binary.LittleEndian.Uint16(b[magic:]) != 0xef53 {
		return false, errors.New("no ext4")
	}
	return binary.LittleEndian.Uint32(b[compatible:])&fast != 0, nil
}

// Space is the room of a file system in bytes, as those see it who are not root.
type Space struct{ Free, Size int64 }

// Share is the free part, from 0 to 1, as df reckons it: what only root may use counts as taken.
func (s Space) Share() float64 {
	if s.Size <= 0 {
		return 1
	}
	return float64(s.Free) / float64(s.Size)
}

// SpaceOf measures the file system of a folder.
func SpaceOf(dir string) (Space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("measure %s: %w", dir, err)
	}
	unit := st.Bsize
	return Space{Free: int64(st.Bavail) * unit, Size: int64(st.Blocks-st.Bfree+st.Bavail) * unit}, nil
}
