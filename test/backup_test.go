package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackupByCommand: the commands work on a running collector and on a stopped one, and say what they did.
func TestBackupByCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "collector.yml")
	console := freeAddr(t)
	if err := os.WriteFile(file, fmt.Appendf(nil, "http: {listen: '%s'}\nuplink: {listen: '%s'}\nlanguage: en\n"+
		"services: [{name: sms, zh: 短信服务}]\nchecks: [{name: sms, service: sms, kind: tcp, target: '127.0.0.1:1'}]\n", console, freeAddr(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LANG", "en_US.UTF-8")
	begin := func() *proc {
		p := start(t, dir, "collector", "serve", "--config", file)
		eventually(t, "ready", func() error { return call("GET", "http://"+console+"/-/ready", "", nil, nil) })
		eventually(t, "control file", func() error { _, err := os.Stat(filepath.Join(dir, "data", "control.json")); return err })
		return p
	}
	p := begin()
	mustRun(t, "collector", "incident", "open", "--config", file, "--service", "sms", "--level", "general", "--detail", "phoned in", "--by", "duty")

	// a second process is refused at once, and told why
	for _, args := range [][]string{{"verify", "--config", file}, {"serve", "--config", file}} {
		if out, err := run(t, "collector", args...); err == nil || !strings.Contains(out, "another process holds") {
			t.Errorf("%s beside a running collector: %v %s", args[0], err, out)
		}
	}

	hot := lastLine(mustRun(t, "collector", "backup", filepath.Join(dir, "backups"), "--config", file, "--rate", "0"))
	if out := mustRun(t, "collector", "verify", hot); !strings.Contains(out, "records.db") || !strings.Contains(out, "series/data.db") || strings.Contains(out, "DAMAGED") {
		t.Errorf("verify: %s", out)
	}
	if out, err := run(t, "collector", "restore", hot, "--config", file); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("restore under a running collector: %v %s", err, out)
	}
	if out, err := run(t, "collector", "compact", "--config", file); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("compact under a running collector: %v %s", err, out)
	}
	p.stop(t)

	mustRun(t, "collector", "verify", "--config", file)
	cold := lastLine(mustRun(t, "collector", "backup", filepath.Join(dir, "cold"), "--config", file))
	mustRun(t, "collector", "verify", cold)
	if out := mustRun(t, "collector", "compact", "--config", file); !strings.Contains(out, "data.db") {
		t.Errorf("compact: %s", out)
	}
	mustRun(t, "collector", "verify", "--config", file)

	// a damaged store is refused with the way out, which works
	data := filepath.Join(dir, "data", "series", "data.db")
	if err := os.WriteFile(data, []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "collector", "serve", "--config", file)
	if err == nil || !strings.Contains(out, data) || !strings.Contains(out, "collector restore "+cold) {
		t.Errorf("damaged: %v %s", err, out)
	}
	if out, err := run(t, "collector", "verify", "--config", file); err == nil || !strings.Contains(out, "DAMAGED") {
		t.Errorf("verify of a damaged store: %v %s", err, out)
	}
	out = mustRun(t, "collector", "restore", cold, "--config", file)
	if !strings.Contains(out, "before-restore-") {
		t.Errorf("restore: %s", out)
	}
	p = begin()
	if out := mustRun(t, "collector", "incident", "list", "--config", file); !strings.Contains(out, "INC-") {
		t.Errorf("incidents after the restore: %q", out)
	}
	p.stop(t)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// TestKilledBackup kills the collector in the middle of a backup: nothing is left that looks like one.
func TestKilledBackup(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "collector.yml")
	console := freeAddr(t)
	if err := os.WriteFile(file, fmt.Appendf(nil, "http: {listen: '%s'}\nuplink: {listen: '%s'}\nlanguage: en\nservices: [{name: sms, zh: 短信服务}]\n", console, freeAddr(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, "collector", "serve", "--config", file)
	eventually(t, "control file", func() error { _, err := os.Stat(filepath.Join(dir, "data", "control.json")); return err })
	backups := filepath.Join(dir, "backups")
	ended := make(chan error, 1)
	go func() {
		_, err := run(t, "collector", "backup", backups, "--config", file, "--rate", "2KB/s")
		ended <- err
	}()
	partial := func() (found []string) {
		found, _ = filepath.Glob(filepath.Join(backups, ".partial-*"))
		return found
	}
	eventually(t, "a backup under way", func() error {
		if len(partial()) == 0 {
			return fmt.Errorf("none in %s", backups)
		}
		return nil
	})
	p.kill()
	if err := <-ended; err == nil {
		t.Error("the command thinks that all went well")
	}
	left, err := os.ReadDir(backups)
	if err != nil || len(left) != 1 || len(partial()) != 1 {
		t.Fatalf("left %v, %v", left, err)
	}
	for _, args := range [][]string{{"verify", partial()[0]}, {"restore", partial()[0], "--config", file}} {
		if out, err := run(t, "collector", args...); err == nil {
			t.Errorf("%s of a part: %s", args[0], out)
		}
	}
	mustRun(t, "collector", "verify", "--config", file)
	mustRun(t, "collector", "verify", lastLine(mustRun(t, "collector", "backup", backups, "--config", file, "--rate", "0")))
}
