package collector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/channel"
	"xunjian/pkg/check"
)

const oneRule = "groups: [{name: g, rules: [{record: a, expr: 'vector(1)'}]}]\n"

// put writes a file with its folders.
func put(t testing.TB, path string, text []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBackupHoldsWhatIsInForce: rules, included services, certificates and quarantined messages are in a backup; what
// belongs into the data folder comes back with a restore, what is the site's stays and is told when it differs.
func TestBackupHoldsWhatIsInForce(t *testing.T) {
	away := t.TempDir()
	far := put(t, filepath.Join(away, "more", "rules.yml"), []byte(strings.ReplaceAll(oneRule, "name: g", "name: far")))
	r := newRig(t, plain("rules: {files: [rules/*.yml, "+far+"]}\ninclude: [services/*.yml]\n"))
	put(t, filepath.Join(r.dir, "rules", "own.yml"), []byte(oneRule))
	put(t, filepath.Join(r.dir, "rules", "own_test.yml"), []byte("of promtool's"))
	put(t, filepath.Join(r.dir, "services", "oa.yml"), []byte("services: [{name: oa}]\n"))
	r.start()
	poison := []byte("{}\nnobody understands this")
	sum := sha256.Sum256(poison)
	name := hex.EncodeToString(sum[:])
	put(t, filepath.Join(r.o.Config.Data, "quarantine", name), poison)
	put(t, filepath.Join(r.o.Config.Data, "quarantine", "new"), []byte("half of one"))
	r.send(time.Now().Add(-time.Hour), 1, 10)
	backup := r.backedUp(t.TempDir())
	r.stop()

	m, err := readManifest(backup)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	want := []string{
		"ca.crt", "ca.key", "collector.yml", "config/rules/own.yml", "config/services/oa.yml", "elsewhere" + far,
		"quarantine/" + name, "records.db", "series/data.db", "series/journal.db",
	}
	if !slices.Equal(names, want) || len(m.Missing) > 0 {
		t.Errorf("the backup holds\n%v, want\n%v; missing %v", names, want, m.Missing)
	}

	// the folder is lost, and one rule file was changed, the other removed
	data := r.o.Config.Data
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(r.dir, "rules", "own.yml"), []byte(oneRule+"# changed\n"))
	if err := os.Remove(far); err != nil {
		t.Fatal(err)
	}
	got, err := Restore(t.Context(), r.o.Config, backup, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(data, "quarantine", name)); err != nil || !bytes.Equal(b, poison) {
		t.Errorf("quarantined message after the restore: %q, %v", b, err)
	}
	for _, x := range []string{"config", "elsewhere", "collector.yml"} {
		if _, err := os.Stat(filepath.Join(data, x)); err == nil {
			t.Errorf("%s lies in the data folder", x)
		}
	}
	changed := []Changed{
		{filepath.Join(r.dir, "rules", "own.yml"), filepath.Join(backup, "config/rules/own.yml"), false},
		{far, filepath.Join(backup, "elsewhere", far), true},
	}
	slices.SortFunc(got.Changed, func(a, b Changed) int { return strings.Compare(a.Backup, b.Backup) })
	if !slices.Equal(got.Changed, changed) {
		t.Errorf("told %+v, want %+v", got.Changed, changed)
	}
	if b, err := os.ReadFile(filepath.Join(r.dir, "rules", "own.yml")); err != nil || !strings.Contains(string(b), "# changed") {
		t.Errorf("the rules in use were touched: %s %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(backup, "elsewhere", far)); err != nil || !strings.Contains(string(b), "name: far") {
		t.Errorf("the rules of elsewhere in the backup: %s %v", b, err)
	}
}

// TestNamedLeavesSecretsOut: every kind of file that a configuration names, and none of those that hold secrets.
func TestNamedLeavesSecretsOut(t *testing.T) {
	dir := folder(t, map[string]string{
		"collector.yml": "", "rules/a.yml": oneRule, "site.crt": "x", "site.key": "x", "form.docx": "x", "days/2027.json": "x", "contract.yaml": "x", "days/notes.txt": "x",
		"ca.pem": "x", "hook.pem": "x", "hook.token": "x", "modules.yml": "x", "services/x.yml": "x", "services/x.pem": "x",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	c := DefaultConfig()
	c.file, c.dir = at("collector.yml"), dir
	c.Rules.Files = []string{at("rules")}
	c.HTTP.CertFile, c.HTTP.KeyFile = "site.crt", "site.key"
	c.Report.Form, c.Contract.CalendarFolder, c.ContractFile = "form.docx", "days", "contract.yaml"
	c.Modules = []string{"modules.yml"}
	c.Pages.Webhooks = append(c.Pages.Webhooks, webhookOf(at("hook.pem"), at("hook.token")))
	theirs := check.Spec{Name: "x"}
	theirs.TLS.CAFile = "x.pem"
	own := check.Spec{Name: "own"}
	own.TLS.CAFile = "ca.pem"
	c.included = []included{{file: at("services/x.yml"), Checks: []check.Spec{theirs}}}
	c.Checks = []check.Spec{own, theirs} // as merge leaves them
	var got []string
	for _, path := range c.named() {
		name, err := c.inBackup(path)
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := c.inPlace(name); !ok || back != path {
			t.Errorf("%s is %s in a backup, which belongs to %s", path, name, back)
		}
		got = append(got, strings.TrimPrefix(name, "config/"))
	}
	want := []string{"ca.pem", "contract.yaml", "days/2027.json", "form.docx", "hook.pem", "modules.yml", "rules/a.yml", "services/x.pem", "services/x.yml", "site.crt"}
	if !slices.Equal(got, want) {
		t.Errorf("named %v, want %v", got, want)
	}
}

func webhookOf(ca, token string) channel.Webhook {
	return channel.Webhook{Name: "w", CAFile: ca, TokenFile: token}
}
