package rule

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// discard counts what rules produce and keeps nothing.
type discard struct{ n prometheus.Counter }

func (d discard) AppenderV2(context.Context) storage.AppenderV2 { return d }

func (d discard) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64,
	_ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AppendV2Options,
) (storage.SeriesRef, error) {
	d.n.Inc()
	return ref, nil
}

func (discard) Commit() error   { return nil }
func (discard) Rollback() error { return nil }
