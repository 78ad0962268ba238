package tsdb

import (
	"fmt"
	"math"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// builtDays is a store with merged days of many hosts, three series each, put there without the journal.
func builtDays(b *testing.B, hosts, days int) (db *DB, from, to int64) {
	b.Helper()
	rec := loadRecording(b)
	db, _ = running(b, b.TempDir(), Options{Linger: -1, MaxAge: 1e5 * time.Hour})
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(-time.Duration(days) * 24 * time.Hour)
	first := dayOf(start.UnixMilli()) + 1
	for h := range hosts {
		r := report(1, 1, start.Add(15*time.Second), 1, 2, 3)
		r.Agent, r.Kind = fmt.Sprint("web", h), metric.KindHost
		wantOutcomes(b, appendAll(b, db, r), Stored)
	}
	stamps, rows := make([]int64, 5760), make([]float64, 3*5760)
	var enc blockEncoder
	for d := range days {
		day := first + uint32(d)
		for i := range stamps {
			stamps[i] = dayEnd(day-1) + int64(i+1)*15_000
		}
		err := db.ddb.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.Bucket(bucketDay).CreateBucketIfNotExists(key32(day))
			if err != nil {
				return err
			}
			bucket.FillPercent = 1
			for _, s := range db.catalog.byID {
				for i := range stamps {
					copy(rows[3*i:], rec.rows[(i+37*int(s.id)+911*d)%len(rec.rows)][:3])
				}
				for id := range s.used {
					s.extend(id, useRange{stamps[0], stamps[len(stamps)-1]})
					if err := bucket.Put(key32(s.id), enc.encode(dayKey(bucketDay, day, s.id, 0), id, stamps, rows)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return db, dayEnd(first - 1), dayEnd(first - 1 + uint32(days))
}

// BenchmarkSelectDays reads merged days of a hundred hosts.
func BenchmarkSelectDays(b *testing.B) {
	db, from, to := builtDays(b, 100, 30)
	for name, c := range map[string]struct {
		from     int64
		matchers []Matcher
	}{
		"1 host, 1 day":      {to - dayMS, []Matcher{matcher(b, Equal, NameLabel, "a"), matcher(b, Equal, "instance", "web7")}},
		"100 hosts, 7 days":  {to - 7*dayMS, []Matcher{matcher(b, Equal, NameLabel, "a")}},
		"100 hosts, 30 days": {from, []Matcher{matcher(b, Equal, NameLabel, "a")}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				for s, err := range db.Select(b.Context(), c.from, to, c.matchers...) {
					if err != nil || math.IsNaN(s.V[0]) {
						b.Fatal(err)
					}
					n += len(s.T)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
			b.ReportMetric(float64(n), "samples")
		})
	}
}
