package access

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"xunjian/pkg/i18n"
	"xunjian/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap is a cost at which tests may hash often.
var cheap = HashCost{Time: 1, Memory: 64, Threads: 1}

func open(t testing.TB, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "records.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newDirectory(t testing.TB) *Directory {
	t.Helper()
	d, err := New(open(t, t.TempDir()), Options{Hash: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The whole of authorisation, cell by cell.
func TestAllow(t *testing.T) {
	want := map[Role]string{ // read, handle, direct, manage
		Viewer: "1000", Engineer: "1100", Lead: "1110", Admin: "1111", "": "0000", "root": "0000",
	}
	for role, row := range want {
		for i, a := range []Action{Read, Handle, Direct, Manage} {
			err := Allow(Identity{Role: role}, a)
			if (err == nil) != (row[i] == '1') || err != nil && !errors.Is(err, ErrForbidden) {
				t.Errorf("%q %s: %v", role, a, err)
			}
		}
	}
	if len(want) != len(Roles)+2 || len(Actions) != 4 {
		t.Error("a role or action is not in this table")
	}
	if err := Allow(Identity{Role: Admin}, "anything else"); err == nil {
		t.Error("an unknown action is allowed")
	}
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"驻点", "Zhang San", "驻点人员（夜班）", strings.Repeat("长", 64)} {
		if err := CheckName("person", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", " ", "a\nb", "a\x00", "\xff", " a", "a ", strings.Repeat("长", 65)} {
		err := CheckName("person", s)
		var bad *BadInput
		if !errors.As(err, &bad) || bad.Field != "person" || strings.HasPrefix(bad.Text(i18n.For("zh-CN")), "access.") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseRole(t *testing.T) {
	for _, r := range Roles {
		if got, err := ParseRole(string(r)); got != r || err != nil {
			t.Errorf("%s: %s %v", r, got, err)
		}
	}
	if _, err := ParseRole("Admin"); !errors.Is(err, ErrBadInput) {
		t.Errorf("Admin: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	d, err := New(open(t, t.TempDir()), Options{Hash: cheap, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	for range guessesLogin + 1 {
		d.Login(t.Context(), "admin", "wrong", "")
	}
	want := `
# HELP xunjian_logins_total Attempts to sign in by outcome: ok, refused, locked, failed.
# TYPE xunjian_logins_total counter
xunjian_logins_total{outcome="locked"} 1
xunjian_logins_total{outcome="refused"} 5
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if faults, err := testutil.GatherAndLint(reg); err != nil || len(faults) > 0 {
		t.Errorf("lint: %v %v", faults, err)
	}
}

func TestDamagedPersonIsRefused(t *testing.T) {
	db := open(t, t.TempDir())
	wrong := store.NewTable[[]int]("access_people")
	if err := db.Update(func(tx *store.Tx) error { return wrong.Put(tx, "admin", []int{1}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := New(db, Options{Hash: cheap}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}
