package collector

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"xunjian/pkg/store"
	"xunjian/pkg/tsdb"
)

// Compact makes the files of a data folder on which no collector runs anew, without their free room.
func Compact(ctx context.Context, cfg Config) (out []tsdb.Compacted, err error) {
	unlock, err := nobodyRuns(ctx, cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("compact: %w", err)
	}
	if err := errors.Join(unlock(), refuseUnfinished(cfg.Data)); err != nil {
		return nil, fmt.Errorf("compact: %w", err)
	}
	before, after, err := store.CompactRecords(recordsFile(cfg.Data))
	if err != nil {
		return nil, err
	}
	series, err := tsdb.Compact(filepath.Join(cfg.Data, seriesFolder))
	return append([]tsdb.Compacted{{Name: "records.db", Before: before, After: after}}, series...), err
}
