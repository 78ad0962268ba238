package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xunjian/pkg/api"
	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// reading is one report of an agent; its value is its number.
func reading(seq uint64, base time.Time) (tsdb.Stream, metric.Report) {
	r := metric.Report{Agent: "host-1", Boot: 1, Seq: seq, Kind: metric.KindHost, Every: 15 * time.Second, At: base.Add(time.Duration(seq) * time.Second)}
	r.Samples = []metric.Sample{{Series: metric.New("reading"), Value: float64(seq)}}
	return tsdb.Stream{Agent: r.Agent, Kind: r.Kind, Every: r.Every}, r
}

// send stores readings and returns what became of them.
func (r *rig) send(base time.Time, from, to uint64) (out []tsdb.Outcome) {
	r.Helper()
	var wg sync.WaitGroup
	out = make([]tsdb.Outcome, to-from+1)
	for seq := from; seq <= to; seq++ {
		s, rep := reading(seq, base)
		wg.Add(1)
		if err := r.series.Append(context.Background(), s, rep, func(o tsdb.Outcome, err error) {
			if err != nil {
				r.Error(err)
			}
			out[seq-from] = o
			wg.Done()
		}); err != nil {
			r.Fatal(err)
		}
	}
	wg.Wait()
	return out
}

func (r *rig) readings() (out []int) {
	r.Helper()
	m, err := tsdb.NewMatcher(tsdb.Equal, tsdb.NameLabel, "reading")
	if err != nil {
		r.Fatal(err)
	}
	for s, err := range r.series.Select(context.Background(), 0, math.MaxInt64, m) {
		if err != nil {
			r.Fatal(err)
		}
		for _, v := range s.V {
			if v == v {
				out = append(out, int(v))
			}
		}
	}
	return out
}

// backedUp has the running collector make a backup, as the command line does.
func (r *rig) backedUp(dir string) string {
	r.Helper()
	client, err := api.Connect(r.Context(), r.o.Config.Data)
	if err != nil {
		r.Fatal(err)
	}
	defer client.HTTP.CloseIdleConnections()
	if _, err := client.StartBackup(r.Context(), api.BackupRequest{Dir: dir}); err != nil {
		r.Fatal(err)
	}
	var at api.Backup
	r.eventually("the backup", func() error {
		if at, err = client.Backup(r.Context()); err == nil && at.State != "done" && at.State != "failed" {
			err = fmt.Errorf("%+v", at)
		}
		return err
	})
	if at.State != "done" || at.Total == 0 || at.Bytes < at.Total {
		r.Fatalf("%+v", at)
	}
	return at.Path
}

func upTo(n int) (out []int) {
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

// TestBackupAndRestore: a copy made while the collector runs brings back what was acknowledged before it; what came later
// is a gap that agents may still fill, nothing is doubled, and what was in the way is kept.
func TestBackupAndRestore(t *testing.T) {
	r := newRig(t, plain("")).start()
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	r.send(base, 1, 500)
	r.round("balance", "sms", check.Fail)
	r.eventually("an incident", func() error {
		if len(r.incidents("open")) == 0 {
			return errors.New("none")
		}
		return nil
	})
	backup := r.backedUp(filepath.Join(t.TempDir(), "backups"))
	if n := store.ReadNote(r.o.Config.Data); n.Path != backup {
		t.Errorf("noted %+v", n)
	}
	before := r.incidents("open")[0]
	r.send(base, 501, 600)
	cfg := r.o.Config
	if _, err := Restore(t.Context(), cfg, backup, slog.Default()); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("restored under a running collector: %v", err)
	}
	r.stop()
	got, err := Restore(t.Context(), cfg, backup, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyData(got.Aside, slog.Default()); err != nil {
		t.Errorf("what was there is not whole at %s: %v", got.Aside, err)
	}
	r.start()
	if got := r.readings(); !slices.Equal(got, upTo(500)) {
		t.Errorf("%d readings after the restore", len(got))
	}
	if now := r.incidents("open"); len(now) != 1 || now[0].ID != before.ID {
		t.Errorf("incidents %+v", now)
	}
	// what the agent still holds it sends again: known reports are told apart, later ones are taken
	for i, o := range r.send(base, 450, 550) {
		if want := map[bool]tsdb.Outcome{true: tsdb.Duplicate, false: tsdb.Stored}[450+i <= 500]; o != want {
			t.Fatalf("report %d: %v", 450+i, o)
		}
	}
	if got := r.readings(); !slices.Equal(got, upTo(550)) {
		t.Errorf("%d readings in the end", len(got))
	}
}

// TestVerifyFindsEveryDamage flips a byte of each file of a backup, and takes each away.
func TestVerifyFindsEveryDamage(t *testing.T) {
	r := newRig(t, plain("")).start()
	r.send(time.Now().Add(-time.Hour), 1, 300)
	backup := r.backedUp(t.TempDir())
	r.stop()
	if _, err := VerifyBackup(backup, slog.Default()); err != nil {
		t.Fatal(err)
	}
	if !IsBackup(backup) || IsBackup(r.o.Config.Data) {
		t.Error("backups are not told from data folders")
	}
	m, err := readManifest(backup)
	if err != nil || len(m.Files) != 6 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, f := range m.Files {
		path := filepath.Join(backup, f.Name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]func() error{
			"flipped": func() error {
				b := slices.Clone(whole)
				b[len(b)/3] ^= 16
				return os.WriteFile(path, b, 0o600)
			},
			"cut":  func() error { return os.WriteFile(path, whole[:len(whole)-1], 0o600) },
			"gone": func() error { return os.Remove(path) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if _, err := VerifyBackup(backup, slog.Default()); err == nil || !strings.Contains(err.Error(), f.Name) {
				t.Errorf("%s %s: %v", f.Name, name, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := VerifyBackup(backup, slog.Default()); err != nil || v.Series.Series != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := VerifyData(r.o.Config.Data, slog.Default()); err != nil {
		t.Error(err)
	}
}

// TestFailedBackupLeavesNothing: one that is given up, and one into the data folder itself.
func TestFailedBackupLeavesNothing(t *testing.T) {
	r := newRig(t, plain("")).start()
	r.send(time.Now().Add(-time.Hour), 1, 300)
	dir := t.TempDir()
	killed := filepath.Join(dir, partial+"20200101T000000Z") // by a process that was killed long ago
	if err := errors.Join(os.Mkdir(killed, 0o700), os.Chtimes(killed, time.Time{}, time.Now().Add(-48*time.Hour))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.backUp(ctx, BackupOptions{Dir: dir, Rate: 1 << 20, told: func(string, int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up with %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if n := store.ReadNote(r.o.Config.Data); n.Path != "" {
		t.Errorf("noted %+v", n)
	}
	if _, err := r.backUp(t.Context(), BackupOptions{Dir: filepath.Join(r.o.Config.Data, "x")}); err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("into the data folder: %v", err)
	}
}

// TestOfflineBackup works on the files of a collector that does not run, and restores into a new place.
func TestOfflineBackup(t *testing.T) {
	r := newRig(t, plain("")).start()
	base := time.Now().Add(-time.Hour)
	r.send(base, 1, 300)
	r.stop()
	path, err := BackupOffline(t.Context(), r.o.Config, r.file, slog.Default(), BackupOptions{Dir: t.TempDir()}, func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	cfg := r.o.Config
	cfg.Data = filepath.Join(t.TempDir(), "elsewhere")
	got, err := Restore(t.Context(), cfg, path, slog.Default())
	if err != nil || got.Aside != "" {
		t.Fatalf("%q, %v", got.Aside, err)
	}
	o := r.options()
	o.Config.Data = cfg.Data
	r.startWith(o)
	if got := r.readings(); !slices.Equal(got, upTo(300)) {
		t.Errorf("%d readings", len(got))
	}
}

// TestRestoreCutShort: between taking away and putting in place no collector starts, and the same restore again ends it.
func TestRestoreCutShort(t *testing.T) {
	r := newRig(t, plain("")).start()
	base := time.Now().Add(-time.Hour)
	r.send(base, 1, 300)
	backup := r.backedUp(t.TempDir())
	r.stop()
	data := r.o.Config.Data
	for _, done := range []int{0, 1, 2} { // how much was moved aside when the machine stopped
		if err := os.WriteFile(filepath.Join(data, restoreMark), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(data, fmt.Sprint(".restore-", done)), 0o700); err != nil {
			t.Fatal(err)
		}
		aside := filepath.Join(data, fmt.Sprint("before-restore-", done))
		if err := os.Mkdir(aside, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range keptFiles[:done] {
			if err := os.Rename(filepath.Join(data, name), filepath.Join(aside, name)); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := New(r.options()); err == nil || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("started with %v", errors.Join(err, c.Close()))
		}
		time.Sleep(time.Second) // names are by the second
		if _, err := Restore(t.Context(), r.o.Config, backup, slog.Default()); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyData(data, slog.Default()); err != nil {
			t.Errorf("after %d: %v", done, err)
		}
		if left, _ := filepath.Glob(filepath.Join(data, ".restore-*")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
	r.start()
	if got := r.readings(); !slices.Equal(got, upTo(300)) {
		t.Errorf("%d readings", len(got))
	}
}
