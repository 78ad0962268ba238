package collector

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/disk"
	"xunjian/pkg/i18n"
	"xunjian/pkg/symptom"
)

// ruleDisk is the name of our own disk's alarm in symptoms.
const ruleDisk = "CollectorDiskFull"

// validatePlace refuses file systems that lose what was acknowledged.
func (c *Config) validatePlace(fail config.Fail) {
	if c.Data == "" {
		return
	}
	place, err := disk.Find(c.path(c.Data))
	if err != nil {
		return // opening the folder says more
	}
	for _, f := range place.Faults(disk.Kernel()) {
		if f.Fatal && !c.Storage.AnyFilesystem {
			fail("data", "%s; give a folder on a local disk, or say storage.any_filesystem: true to go on at your own risk", f.What)
		}
	}
}

// openDisk sees what the data folder lies on, and takes or gives up the reserve before anything is written.
func (c *Collector) openDisk() (err error) {
	if err := os.MkdirAll(c.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if err := refuseUnfinished(c.cfg.Data); err != nil {
		return err
	}
	if place, err := disk.Find(c.cfg.Data); err != nil {
		c.log.Warn("what the data folder lies on cannot be told", "error", err)
	} else {
		for _, f := range place.Faults(disk.Kernel()) {
			level := slog.LevelWarn
			if f.Fatal {
				level = slog.LevelError // only said: any_filesystem is on, or Validate would have refused
			}
			c.log.Log(context.Background(), level, "data folder", "fault", f.What)
		}
	}
	c.disk, err = disk.New(disk.Options{
		Dir: c.cfg.Data, Reserve: int64(c.cfg.Storage.ReserveMiB) << 20, Tell: c.tellDisk, Measure: c.o.Measure, Registerer: c.registry, Logger: c.log,
	})
	return err
}

// tellDisk makes a symptom of our own disk's room.
func (c *Collector) tellDisk(level contract.Level, s disk.Space) {
	now := c.clock.Now().UTC()
	found := symptom.Symptom{
		Source: symptom.FromFleet, Service: "host", Component: "collector", Class: symptom.Warning, Rule: ruleDisk,
		Level: level, Firing: level != "", Since: now, At: now,
	}
	key := "collector.disk_low"
	if !found.Firing {
		key, found.Level = "collector.disk_ended", contract.Minor
	}
	found.Detail = i18n.For(c.o.Config.Language).T(key, "dir", c.o.Config.Data,
		"percent", strconv.FormatFloat(100*s.Share(), 'f', 1, 64), "free", strconv.FormatFloat(float64(s.Free)/(1<<30), 'f', 1, 64))
	found.Evidence = []symptom.Evidence{{At: now, Text: found.Detail}}
	c.teller.tell(context.Background(), []symptom.Symptom{found})
}

// ruleDamage is the name of the alarm for samples that were found damaged while the collector ran.
const ruleDamage = "CollectorDataDamaged"

// tellDamage makes a symptom of damaged samples. Only a restored backup ends it, so a person does.
func (c *Collector) tellDamage(err error) {
	now := c.clock.Now().UTC()
	text := i18n.For(c.o.Config.Language).T("collector.damaged", "error", err.Error())
	c.teller.tell(context.Background(), []symptom.Symptom{{
		Source: symptom.FromFleet, Service: "host", Component: "collector", Class: symptom.Warning, Rule: ruleDamage, Level: contract.General,
		Firing: true, Since: now, At: now, Detail: text, Evidence: []symptom.Evidence{{At: now, Text: text}},
	}})
}

// toldOfDisk is the level that is still open from an earlier run.
func toldOfDisk(open []symptom.Symptom) contract.Level {
	for _, s := range open {
		if s.Rule == ruleDisk && s.Firing {
			return s.Level
		}
	}
	return ""
}
