package tsdb

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	reports    *prometheus.CounterVec
	samples    prometheus.Counter
	commits    prometheus.Histogram
	flushes    prometheus.Histogram
	blocks     prometheus.Counter
	blockBytes prometheus.Counter
	encode     prometheus.Counter
	cut        prometheus.Counter
	failed     prometheus.Gauge
	merges     prometheus.Counter
	mergeTime  prometheus.Counter
	dropped    prometheus.Counter

	droppedSamples prometheus.Counter
	noSpace        prometheus.Counter
	scrubbed       prometheus.Counter
	damaged        prometheus.Gauge
}

var ioBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

func newMetrics(reg prometheus.Registerer, stats func() Stats) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		reports:    f.NewCounterVec(prometheus.CounterOpts{Name: "xunjian_tsdb_reports_total", Help: "Reports that were done with, by outcome."}, []string{"outcome"}),
		samples:    f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_samples_total", Help: "Values stored, those that stand for absence included."}),
		commits:    f.NewHistogram(prometheus.HistogramOpts{Name: "xunjian_tsdb_commit_duration_seconds", Help: "Time of a journal commit with its fsync.", Buckets: ioBuckets}),
		flushes:    f.NewHistogram(prometheus.HistogramOpts{Name: "xunjian_tsdb_flush_duration_seconds", Help: "Time of a transaction that moves sealed blocks to data.db.", Buckets: ioBuckets}),
		blocks:     f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_blocks_total", Help: "Blocks sealed."}),
		blockBytes: f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_block_bytes_total", Help: "Bytes of the blocks sealed."}),
		encode:     f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_encode_seconds_total", Help: "Time spent encoding blocks."}),
		cut:        f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_journal_buckets_cut_total", Help: "Journal buckets dropped because all of them is in blocks."}),
		failed:     f.NewGauge(prometheus.GaugeOpts{Name: "xunjian_tsdb_failed", Help: "1 after a failed write: nothing is acknowledged until the store is opened anew."}),
		noSpace:    f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_reports_without_room_total", Help: "Reports refused for now because the disk had no room; they are sent again."}),
	}
	m.droppedSamples = f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_dropped_samples_total", Help: "Samples left out of reports that had more series than the caps allow, or series that are none."})
	m.scrubbed = f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_scrubbed_bytes_total", Help: "Bytes of old blocks whose checksums were verified while the store ran."})
	m.damaged = f.NewGauge(prometheus.GaugeOpts{Name: "xunjian_tsdb_damaged_values", Help: "Damaged blocks found while the store ran; reads of them fail."})
	m.merges = f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_merged_blocks_total", Help: "Blocks of a stream's whole day written."})
	m.mergeTime = f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_merge_seconds_total", Help: "Time spent merging days."})
	m.dropped = f.NewCounter(prometheus.CounterOpts{Name: "xunjian_tsdb_dropped_buckets_total", Help: "Days of samples or aggregates that retention dropped."})
	for o := Stored; o < outcomes; o++ {
		m.reports.WithLabelValues(o.String())
	}
	for name, g := range map[string]struct {
		help string
		get  func(Stats) float64
	}{
		"xunjian_tsdb_streams":         {"Streams known.", func(s Stats) float64 { return float64(s.Streams) }},
		"xunjian_tsdb_series":          {"Series known.", func(s Stats) float64 { return float64(s.Series) }},
		"xunjian_tsdb_series_limit":    {"Series that may be known: storage.max_series. What is new beyond it is left out.", func(s Stats) float64 { return float64(s.MaxSeries) }},
		"xunjian_tsdb_head_rows":       {"Rows in memory that are in no block yet.", func(s Stats) float64 { return float64(s.HeadRows) }},
		"xunjian_tsdb_unflushed_bytes": {"Bytes of blocks that wait for their transaction.", func(s Stats) float64 { return float64(s.UnflushedBytes) }},
		"xunjian_tsdb_journal_bytes":   {"Size of journal.db.", func(s Stats) float64 { return float64(s.JournalBytes) }},
		"xunjian_tsdb_data_bytes":      {"Size of data.db.", func(s Stats) float64 { return float64(s.DataBytes) }},
		"xunjian_tsdb_no_space":        {"1 while the disk has no room, so that no report is taken.", func(s Stats) float64 { return map[bool]float64{true: 1}[s.NoSpace] }},
	} {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, func() float64 { return g.get(stats()) })
	}
	for file, get := range map[string]func(Stats) int64{
		journalFile: func(s Stats) int64 { return s.JournalWritten },
		dataFile:    func(s Stats) int64 { return s.DataWritten },
	} {
		f.NewCounterFunc(prometheus.CounterOpts{
			Name: "xunjian_tsdb_written_bytes_total", Help: "Bytes of pages written to a file of the store.", ConstLabels: prometheus.Labels{"file": file},
		}, func() float64 { return float64(get(stats())) })
	}
	return m
}

func (m *metrics) outcome(o Outcome) { m.reports.WithLabelValues(o.String()).Inc() }

func (m *metrics) merged(s MergeStats) {
	m.merges.Add(float64(s.Days))
	m.mergeTime.Add(s.MergeTime.Seconds())
	m.dropped.Add(float64(len(s.Drops)))
}
