package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	good := func(line string, want mountLine) {
		t.Helper()
		got, err := parseMount(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(mountLine{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	good("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n", mountLine{"/dev/root", "/mnt2", "ext3", false})
	good("36 35 98:0 / / rw - ext4 /dev/sda ro", mountLine{"/dev/sda", "/", "ext4", true})
	good("36 35 98:0 / / ro shared:1 master:2 propagate_from:3 - ext4 /dev/sda rw", mountLine{"/dev/sda", "/", "ext4", true})
	good("36 35 98:0 / / rw - ext4 /dev/sda rw,emergency_ro", mountLine{"/dev/sda", "/", "ext4", true})
	good("36 35 98:0 / / rw,ronly,nro - ext4 /dev/sda rw,errors=ro", mountLine{"/dev/sda", "/", "ext4", false})
	good(`36 35 0:9 / /a\040b\011c\012d\134e\1 rw - fuse.sshfs me@host:\040x rw`, mountLine{"me@host: x", "/a b\tc\nd\\e\\1", "fuse.sshfs", false})
	good("36 35 0:9 / /数据 rw - cifs //服务器/共享 rw", mountLine{"//服务器/共享", "/数据", "cifs", false})
	good("36 35 0:9 / /x rw - tmpfs  rw", mountLine{"rw", "/x", "tmpfs", false}) // an empty source: one field less

	for _, bad := range []string{"", "\n", " - ", "1 2 3 - ext4 /dev/sda rw", "36 35 98:0 / / rw ext4 /dev/sda rw", "36 35 98:0 / / rw - "} {
		if got, err := parseMount(bad); !errors.Is(err, errMount) {
			t.Errorf("%q gives %+v, %v", bad, got, err)
		}
	}
}

func TestFate(t *testing.T) {
	for device, want := range map[string]string{
		"10.0.0.5:/export/a":    "server 10.0.0.5",
		"[fe80::1]:/export/a":   "server [fe80::1]",
		"//nas/share":           "server nas",
		"a,b,c:/":               "server a,b,c",
		"/dev/sda1":             "/point",
		"tmpfs":                 "/point",
		"me@host:dir":           "/point",
		"/dev/disk/by-path/x:y": "/point",
	} {
		if got := (mountLine{device: device, point: "/point"}).fate(); got != want {
			t.Errorf("fate of %s is %q, want %q", device, got, want)
		}
	}
}

// TestMountTableFollowsTheText sees a mount come and go, also when only the fallback file can be read.
func TestMountTableFollowsTheText(t *testing.T) {
	dir := tree(t, "two")
	line := func(point string) string { return "27 1 8:1 / " + point + " rw - ext4 /dev/sda1 rw\n" }
	r := newReader(Options{Proc: dir}, sound)
	for _, step := range []struct{ file, text, want string }{
		{"1/mountinfo", line("/"), "/"},
		{"1/mountinfo", line("/") + line("/b"), "/ /b"},
		{"1/mountinfo", line("/b") + line("/"), "/b /"},
		{"1/mountinfo", "", ""},
		{"self/mountinfo", line("/self"), "/self"},
	} {
		if strings.HasPrefix(step.file, "self") {
			if err := os.Remove(filepath.Join(dir, "1/mountinfo")); err != nil {
				t.Fatal(err)
			}
		}
		write(t, dir, step.file, step.text)
		samples := read(r)
		if got, _ := sizes(samples); strings.Join(got, " ") != step.want || success(samples, "filesystem") != 1 {
			t.Errorf("%s %q gives %q", step.file, step.text, got)
		}
	}
}

func TestHostileMounts(t *testing.T) {
	dir := tree(t, "two")
	long := strings.Repeat("x", maxLabel+1)
	write(t, dir, "1/mountinfo", "1 1 8:1 / /bad\xff\xfename rw - ext4 /dev/s\xc3da rw\n2 1 8:1 / /"+long+" rw - ext4 /dev/sda rw\n3 1 8:1 / /ok rw - ext4 "+long+" rw\n")
	var asked []string
	samples := read(newReader(Options{Proc: dir}, func(path string) (usage, error) { asked = append(asked, path); return sound(path) }))
	if diff := cmp.Diff([]string{"/bad\xff\xfename"}, asked); diff != "" {
		t.Errorf("the kernel is not asked by its own name (-want +got):\n%s", diff)
	}
	got := only(samples, "node_filesystem_size")
	if len(got) != 1 || got[0].Series.Get("mountpoint") != "/bad\uFFFDname" || got[0].Series.Get("device") != "/dev/s\uFFFDda" {
		t.Errorf("labels: %v", got)
	}
	if n := dropped(samples, "filesystem"); n != float64(2*len(filesystemNames)) {
		t.Errorf("%v series dropped", n)
	}
}

func TestStatfs(t *testing.T) {
	var st unix.Statfs_t
	if err := unix.Statfs("/proc", &st); err != nil {
		t.Fatal(err)
	}
	if u, err := statfs(t.TempDir()); err != nil || u.size <= 0 || u.free < u.avail || u.size < u.free || u.readonly {
		t.Errorf("temporary folder: %+v, %v", u, err)
	}
	if _, err := statfs(filepath.Join(t.TempDir(), "none")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no such folder: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 4095, 4096, 8192, 100_000} {
		text := strings.Repeat("0123456789", size/10+1)[:size]
		write(t, dir, "f", text)
		got, err := readFile(filepath.Join(dir, "f"), make([]byte, 3))
		if err != nil || string(got) != text {
			t.Errorf("%d bytes come back as %d, %v", size, len(got), err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "f"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if got, err := readFile(filepath.Join(dir, "f"), nil); !errors.Is(err, errLong) || len(got) != 0 {
		t.Errorf("%d bytes of a file that is too long: %v", len(got), err)
	}
	if _, err := readFile(dir, nil); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzParseMount(f *testing.F) {
	text, err := os.ReadFile("testdata/two/proc/1/mountinfo")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f.Add(line)
	}
	f.Add(`1 2 3 4 \777\400\1 6 - 8`)
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMount(line)
		if err != nil {
			return
		}
		for _, s := range m.series() {
			for _, l := range s.Labels {
				if !utf8.ValidString(l.Value) {
					t.Errorf("%q: label %q", line, l.Value)
				}
			}
		}
		if m.fate() == "" && m.point != "" {
			t.Errorf("%q has no fate", line)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\040b`)
	f.Fuzz(func(t *testing.T, s string) {
		// What the kernel escapes comes back as it was.
		escaped := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace(s)
		if got := unescape(escaped); got != s {
			t.Errorf("%q escaped as %q comes back as %q", s, escaped, got)
		}
		unescape(s)
	})
}
