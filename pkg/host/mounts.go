package host

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"xunjian/pkg/metric"
)

// The defaults of node_exporter: what is not storage, or is seen through another mount already.
var (
	pointsExcluded = regexp.MustCompile(`^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`)
	typesExcluded  = regexp.MustCompile(`^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$`)
)

// mountLine is one line of mountinfo.
type mountLine struct {
	device, point, fstype string
	readonly              bool
}

// mount is a filesystem that is read.
type mount struct {
	mountLine
	gate   chan struct{} // holds one token while somebody asks this mount, or another of the same server
	series []metric.Series
}

// mountTable is the list of mounts, made anew only when the kernel's text changes.
// It reads mountinfo itself: gopsutil drops the superblock's options, which alone show that the kernel made a broken
// filesystem read-only, and resolves device names to other ones than node_exporter's.
type mountTable struct {
	proc string
	buf  []byte
	seed maphash.Seed
	sum  uint64

	mounts  []*mount
	gates   map[string]chan struct{}
	dropped int
	bad     error // lines that could not be read
}

func (t *mountTable) read() error {
	var err error
	t.buf, err = readFile(filepath.Join(t.proc, "1/mountinfo"), t.buf)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) { // hidepid
		t.buf, err = readFile(filepath.Join(t.proc, "self/mountinfo"), t.buf)
	}
	if err != nil {
		return err
	}
	if sum := maphash.Bytes(t.seed, t.buf); sum != t.sum || t.mounts == nil {
		t.parse()
		t.sum = sum
	}
	return nil
}

func (t *mountTable) parse() {
	type key struct{ device, point, fstype string }
	seen, gates := map[key]bool{}, map[string]chan struct{}{}
	t.mounts, t.dropped, t.bad = []*mount{}, 0, nil
	for line := range bytes.Lines(t.buf) {
		m, err := parseMount(string(line))
		if err != nil {
			t.bad = err
			continue
		}
		k := key{m.device, m.point, m.fstype}
		if seen[k] || typesExcluded.MatchString(m.fstype) || pointsExcluded.MatchString(m.point) {
			continue
		}
		seen[k] = true
		if len(t.mounts) >= maxDevices || len(m.device) > maxLabel || len(m.point) > maxLabel {
			t.dropped += len(filesystemNames)
			continue
		}
		t.mounts = append(t.mounts, &mount{m, t.gate(gates, m.fate()), m.series()})
	}
	for name, gate := range t.gates { // a gate that somebody is stuck in must be found again when its mount comes back
		if len(gate) > 0 {
			gates[name] = gate
		}
	}
	t.gates = gates
}

func (t *mountTable) gate(gates map[string]chan struct{}, name string) chan struct{} {
	if gates[name] == nil {
		gates[name] = t.gates[name]
	}
	if gates[name] == nil {
		gates[name] = make(chan struct{}, 1)
	}
	return gates[name]
}

// stuck counts the calls that have not come back.
func (t *mountTable) stuck() (n int) {
	for _, gate := range t.gates {
		n += len(gate)
	}
	return n
}

var errMount = errors.New("malformed line in mountinfo")

// parseMount reads "36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
func parseMount(line string) (mountLine, error) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 6 || len(right) < 1 {
		return mountLine{}, fmt.Errorf("%w: %.80q", errMount, line)
	}
	right = append(right, "", "") // a mount may have an empty source
	m := mountLine{fstype: label(right[0]), device: label(unescape(right[1])), point: unescape(left[4])}
	options := append(strings.Split(left[5], ","), strings.Split(right[2], ",")...)
	m.readonly = slices.Contains(options, "ro") || slices.Contains(options, "emergency_ro")
	return m, nil
}

// unescape undoes the kernel's octal escapes of white space and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1], '3') && octal(s[i+2], '7') && octal(s[i+3], '7') {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c, most byte) bool { return '0' <= c && c <= most }

// label makes a text fit for a label's value.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// remote says that the mount's answer depends on something that can go away without taking the machine with it.
func (m mountLine) remote() bool {
	return strings.Contains(m.device, ":") || strings.HasPrefix(m.device, "//") || strings.HasPrefix(m.fstype, "fuse")
}

// fate names what the mount lives and dies with: its server, or itself.
func (m mountLine) fate() string {
	if share, ok := strings.CutPrefix(m.device, "//"); ok { // //server/share
		server, _, _ := strings.Cut(share, "/")
		return "server " + server
	}
	if i := strings.Index(m.device, ":/"); i > 0 { // server:/path
		return "server " + m.device[:i]
	}
	return m.point
}

func (m mountLine) series() []metric.Series {
	labels := metric.New("", "device", m.device, "fstype", m.fstype, "mountpoint", label(m.point)).Labels
	out := make([]metric.Series, 0, len(filesystemNames))
	for _, name := range filesystemNames {
		out = append(out, metric.Series{Name: name, Labels: labels})
	}
	return out
}
