package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xunjian/pkg/disk/disktest"
)

const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:30 / /srv/with\040blank rw - xfs /dev/sdb1 rw,nobarrier
31 27 0:31 / /srv rw - nfs4 10.0.0.1:/x rw,vers=4.2
32 31 0:32 / /srv/data rw - ext4 /dev/sdc rw,barrier=0
33 27 0:33 / /srv/data rw - fuse.sshfs host:/x rw
40 27 0:40 / /ct rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
41 27 0:41 / /ct2 rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,fsync=volatile
42 27 0:42 / /mem rw - tmpfs tmpfs rw
43 27 0:43 / /odd rw - reiserfs /dev/sdd rw
44 27 0:44 / /win rw - cifs //host/x rw
45 27 0:45 / /p9 rw - 9p hostshare rw
`

func TestWhatAFolderLiesOn(t *testing.T) {
	for path, want := range map[string]struct{ kind, mount, fatal, warning string }{
		"/home/x":           {"ext4", "/", "", ""},
		"/srv/with blank/x": {"xfs", "/srv/with blank", "nobarrier", ""},
		"/srv/with":         {"nfs4", "/srv", "nfs4", ""},
		"/srv/data/x":       {"fuse.sshfs", "/srv/data", "fuse.sshfs", ""}, // mounted over another one
		"/srv/database":     {"nfs4", "/srv", "nfs4", ""},
		"/ct/x":             {"overlay", "/ct", "", "container"},
		"/ct2/x":            {"overlay", "/ct2", "container", ""},
		"/mem":              {"tmpfs", "/mem", "", "memory"},
		"/odd/x":            {"reiserfs", "/odd", "", "not been tried"},
		"/win/x":            {"cifs", "/win", "cifs", ""},
		"/p9/x":             {"9p", "/p9", "9p", ""},
	} {
		p, err := find(strings.NewReader(mountinfo), path)
		if err != nil || p.Type != want.kind || p.Mount != want.mount {
			t.Errorf("%s lies on %+v, %v", path, p, err)
			continue
		}
		fatal, warning := "", ""
		for _, f := range p.Faults("6.1.0-13-amd64") {
			if f.Fatal {
				fatal += f.What
			} else {
				warning += f.What
			}
		}
		for _, c := range [][2]string{{fatal, want.fatal}, {warning, want.warning}} {
			if !strings.Contains(c[0], c[1]) || (c[0] == "") != (c[1] == "") {
				t.Errorf("%s: %q, want %q", path, c[0], c[1])
			}
		}
	}
	if _, err := find(strings.NewReader("nonsense\n"), "/"); err == nil {
		t.Error("found a mount in nonsense")
	}
}

func TestKernelsThatDamageFastCommit(t *testing.T) {
	for kernel, want := range map[string]bool{
		"5.4.0-1-amd64": false, "5.9.16": false, "5.10.0": true, "5.10.93-generic": true, "5.10.94": false, "5.10.226": false, "5.11.22": true,
		"5.15.26": true, "5.15.27": false, "5.16.1": true, "5.17.0": false, "6.1.0-13-amd64": false, "4.19.90": false, "": false, "x": false,
	} {
		if got := fastCommitBreaks(kernel); got != want {
			t.Errorf("%q: %v", kernel, got)
		}
	}
}

// A folder that is not there yet, and one behind a link, are judged by where they really lie.
func TestFindFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/proc", link); err != nil {
		t.Fatal(err)
	}
	if p, err := Find(filepath.Join(link, "self", "not", "there")); err != nil || p.Type != "proc" {
		t.Errorf("%+v, %v", p, err)
	}
	here, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Find(filepath.Join(dir, "a", "b")); err != nil || p.Mount != here.Mount {
		t.Errorf("%+v, %v, want the mount of %+v", p, err, here)
	}
}

// TestRealMounts asks the kernel itself.
func TestRealMounts(t *testing.T) {
	if !disktest.Apart(t) {
		return
	}
	fatal := func(dir, kernel, want string) {
		t.Helper()
		p, err := Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range p.Faults(kernel) {
			if f.Fatal {
				got += f.What
			}
		}
		if !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%+v under %s: %q, want %q", p, kernel, got, want)
		}
	}
	plain, _ := disktest.Ext4(t, 32, "")
	fatal(plain, Kernel(), "")
	fatal(plain, "5.10.1", "")
	loose, _ := disktest.Ext4(t, 32, "barrier=0")
	fatal(loose, Kernel(), "nobarrier")
	fast, image := disktest.Ext4(t, 32, "")
	disktest.Unmount(t, fast)
	if out, err := exec.Command("tune2fs", "-O", "fast_commit", image).CombinedOutput(); err != nil {
		t.Logf("tune2fs: %v: %s", err, out)
		return
	}
	fast = disktest.Mount(t, image, "")
	fatal(fast, "5.10.1", "fast_commit")
	fatal(fast, "5.10.94", "")
}
