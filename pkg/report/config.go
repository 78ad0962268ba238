package report

import (
	"fmt"
	"regexp"
	"time"
	"xunjian/pkg/contract"
)

// Config says whose contract the report is about and by which rules its figures are judged.
type Config struct {
	Project        string         `yaml:"project"`         // 项目名称
	ContractNo     string         `yaml:"contract_no"`     // 合同编号
	ServicePeriod  string         `yaml:"service_period"`  // 服务期, as it is to be printed
	Customer       string         `yaml:"customer"`        // 甲方
	Vendor         string         `yaml:"vendor"`          // 乙方
	Form           string         `yaml:"form"`            // the customer's own .docx; empty: the form that comes with the program
	Target         float64        `yaml:"target"`          // availability promised, as a share
	InspectTarget  float64        `yaml:"inspect_target"`  // inspections done of those planned
	Confirm        int            `yaml:"confirm"`         // failing results in a row that make an outage
	Hold           int            `yaml:"hold"`            // intervals for which a result stands when no other follows
	GapLimit       float64        `yaml:"gap_limit"`       // share of unknown time above which the verdict mentions it
	OfficeHours    contract.Hours `yaml:"office_hours"`    // of working days
	SummerHours    contract.Hours `yaml:"summer_hours"`    // from SummerFrom to SummerTo; empty: the same all year
	SummerFrom     string         `yaml:"summer_from"`     // "06-01"
	SummerTo       string         `yaml:"summer_to"`       // "09-30", inclusive
	CalendarFolder string         `yaml:"calendar_folder"` // holiday notices laid over those that come with the program
}

// DefaultConfig names nobody and judges by DOMAIN's defaults.
func DefaultConfig() Config {
	return Config{
		Project:       "省级一体化协同办公平台运维服务",
		Target:        0.999,
		InspectTarget: 0.99,
		Confirm:       3,
		Hold:          3,
		GapLimit:      0.01,
		OfficeHours:   contract.Hours{"08:00-12:00", "14:30-17:30"},
	}
}

// Validate finds values that would print nonsense.
func (c Config) Validate(fail func(path, format string, args ...any)) {
	for _, t := range []struct {
		path, text string
	}{
		{"project", c.Project},
		{"contract_no", c.ContractNo},
		{"service_period", c.ServicePeriod},
		{"customer", c.Customer},
		{"vendor", c.Vendor},
	} {
		if n := len([]rune(t.text)); n > maxName {
			fail(t.path, "%d characters: want at most %d", n, maxName)
		}
	}
	for _, s := range []struct {
		path string
		v    float64
	}{{"target", c.Target}, {"inspect_target", c.InspectTarget}, {"gap_limit", c.GapLimit}} {
		if !(s.v >= 0 && s.v <= 1) {
			fail(s.path, "%v: want a share between 0 and 1", s.v)
		}
	}
	if c.Confirm < 1 || c.Confirm > 100 {
		fail("confirm", "%d: want 1 to 100 results", c.Confirm)
	}
	if c.Hold < 1 || c.Hold > 100 {
		fail("hold", "%d: want 1 to 100 intervals", c.Hold)
	}
	c.validateHours(fail)
}

const maxName = 100

var monthDay = regexp.MustCompile(`^\d\d-\d\d$`)

func (c Config) validateHours(fail func(path, format string, args ...any)) {
	if len(c.OfficeHours) == 0 {
		fail("office_hours", "empty: want spans as in 08:00-12:00")
	}
	if err := c.OfficeHours.Validate(); err != nil {
		fail("office_hours", "%v", err)
	}
	if err := c.SummerHours.Validate(); err != nil {
		fail("summer_hours", "%v", err)
	}
	if len(c.SummerHours) == 0 {
		return
	}
	for _, d := range []struct{ path, day string }{{"summer_from", c.SummerFrom}, {"summer_to", c.SummerTo}} {
		if _, err := time.Parse(time.DateOnly, fmt.Sprintf("2000-%s", d.day)); err != nil || !monthDay.MatchString(d.day) {
			fail(d.path, "%q: want month and day as in 06-01", d.day)
		}
	}
	if c.SummerFrom > c.SummerTo {
		fail("summer_to", "%s is before %s", c.SummerTo, c.SummerFrom)
	}
}
