package query

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"xunjian/pkg/tsdb"
)

// TestConformance runs Prometheus' own test scripts, all files, over a real store, with the options of its own test engine.
func TestConformance(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	t.Run("pushed", func(t *testing.T) { promqltest.RunBuiltinTestsWithStorage(t, pusher{engine}, newScriptStorage) })
	t.Run("plain", func(t *testing.T) { promqltest.RunBuiltinTestsWithStorage(t, engine, newScriptStorage) })
}

// scriptStorage is a store of a script's own, as Prometheus' tests want it.
type scriptStorage struct {
	queryable
	*Appendable
	db     *tsdb.DB
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newScriptStorage opens a store for which the scripts' samples, which begin in 1970, are of today.
func newScriptStorage(t testing.TB) storage.Storage {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{
		Linger: -1, MaxAge: 100 * 365 * 24 * time.Hour, MaxAhead: 100 * 365 * 24 * time.Hour, MmapSize: 1 << 26,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptStorage{db: db, queryable: queryable{db: db, limits: limits{1 << 30, 1 << 40}}, Appendable: NewAppendable(AppendOptions{Store: db})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() {
		if err := db.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scriptStorage) Close() error {
	s.cancel()
	s.done.Wait()
	return s.db.Close()
}

func (*scriptStorage) StartTime() (int64, error) { return 0, nil }

func (*scriptStorage) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("no chunks here")
}

// Appender is the older form, which the scripts no longer use.
func (*scriptStorage) Appender(context.Context) storage.Appender { panic("not used") }
