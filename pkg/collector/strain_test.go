package collector

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xunjian/pkg/i18n"
	"xunjian/pkg/metric"
	"xunjian/pkg/symptom"
	"xunjian/pkg/tsdb"
	"xunjian/pkg/uplink"
)

// An agent that sends more series than the store keeps is told once, and again when that has been over for a while; so is
// a message in quarantine.
func TestStrainBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := tsdb.Open(t.TempDir(), tsdb.Options{Limits: tsdb.Limits{ReportSeries: 3}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		go func() { _ = db.Run(t.Context()) }() // Close waits for it
		s := newStrain(db, i18n.For("en"))
		send := func(seq uint64, series int) {
			r := metric.Report{Boot: 1, Seq: seq, At: time.Now()}
			for i := range series {
				r.Samples = append(r.Samples, metric.Sample{Series: metric.New("m", "i", fmt.Sprint(i)), Value: 1})
			}
			if err := db.Append(t.Context(), tsdb.Stream{Agent: "srv-1", Kind: "host", Every: time.Minute}, r, nil); err != nil {
				t.Error(err)
			}
		}
		var told []symptom.Symptom
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				told = append(told, s.tick(time.Now())...)
			}
		}
		send(1, 3)
		pass(time.Minute)
		if len(told) != 0 {
			t.Fatalf("told of an agent within its limits: %+v", told)
		}
		for seq := range uint64(5) {
			send(2+seq, 5)
			pass(time.Minute)
		}
		if len(told) != 1 || !told[0].Firing || told[0].Rule != ruleCapped || told[0].Component != "srv-1" || told[0].Level != "minor" {
			t.Fatalf("told %+v", told)
		}
		s.poison(uplink.Poison{Agent: "srv-1", At: time.Now(), Reason: "panic", Sum: "abcd"})
		s.poison(uplink.Poison{Agent: "srv-1", At: time.Now(), Reason: "panic", Sum: "ef01"})
		pass(2 * time.Second)
		if len(told) != 2 || told[1].Rule != ruleQuarantine || !strings.Contains(told[1].Detail, "quarantine/abcd") {
			t.Fatalf("told %+v", told[1:])
		}
		fresh, err := tsdb.Open(t.TempDir(), tsdb.Options{}) // a process that starts with both incidents open has counted nothing yet
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		later := newStrain(fresh, i18n.For("en"))
		later.adopt(time.Now(), told)
		pass(strainEnds + time.Minute)
		if len(told) != 4 || told[2].Firing || told[3].Firing || told[2].Key() != told[0].Key() || told[3].Key() != told[1].Key() {
			t.Fatalf("told %+v", told[2:])
		}
		if ends := later.tick(time.Now()); len(ends) != 2 {
			t.Errorf("a later process ends %+v", ends)
		}
		pass(time.Hour)
		if len(told) != 4 {
			t.Errorf("told more: %+v", told[4:])
		}
	})
}

// When the series of all agents come near their limit, people are told which setting it is, before anything is lost, and
// again in the words about the agent whose series are left out.
func TestSeriesNearTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := tsdb.Open(t.TempDir(), tsdb.Options{Limits: tsdb.Limits{Series: 20}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		go func() { _ = db.Run(t.Context()) }() // Close waits for it
		s, seq := newStrain(db, i18n.For("en")), uint64(0)
		step := func(series int) (told []symptom.Symptom) {
			t.Helper()
			seq++
			r := metric.Report{Boot: 1, Seq: seq, At: time.Now()}
			for i := range series {
				r.Samples = append(r.Samples, metric.Sample{Series: metric.New("m", "i", fmt.Sprint(i)), Value: 1})
			}
			if err := db.Append(t.Context(), tsdb.Stream{Agent: "srv-1", Kind: "host", Every: time.Minute}, r, nil); err != nil {
				t.Error(err)
			}
			time.Sleep(strainLook)
			return s.tick(time.Now())
		}
		if told := step(17); len(told) != 0 {
			t.Errorf("told below nine tenths: %+v", told)
		}
		for _, c := range []struct {
			series int
			want   []string // rules, by key
			words  string
		}{
			{18, []string{ruleSeriesFull}, "18 series are kept, near the limit of 20 (storage.max_series)"},
			{20, nil, ""},
			{22, []string{ruleCapped}, "at their limit of 20 (storage.max_series), 2 samples or reports of agent srv-1 were left out"},
		} {
			told := step(c.series)
			if len(told) != len(c.want) || len(told) == 1 && (told[0].Rule != c.want[0] || !strings.Contains(told[0].Detail, c.words)) {
				t.Errorf("%d series: told %+v, want %v", c.series, told, c.want)
			}
		}
		c := &Collector{series: db}
		for lang, words := range map[string]string{"en": "raise storage.max_series", "zh-CN": "调大 storage.max_series"} {
			if held := c.heldSeries(i18n.For(lang)); held.Known != 20 || held.Limit != 20 || !strings.Contains(held.Note, words) {
				t.Errorf("status: %+v", held)
			}
		}
	})
}
