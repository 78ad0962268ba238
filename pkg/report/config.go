package report

import (
	"fmt"
	"strings"
	"time"

	"xunjian/pkg/contract"
)

// Config says whose contract the report is about and by which rules its figures are judged.
type Config struct {
	Project       string    `yaml:"project"`        // 项目名称
	ContractNo    string    `yaml:"contract_no"`    // 合同编号
	ServicePeriod string    `yaml:"service_period"` // 服务期, as it is to be printed
	Customer      string    `yaml:"customer"`       // 甲方
	Vendor        string    `yaml:"vendor"`         // 乙方
	Form          string    `yaml:"form"`           // the customer's own .docx; empty: the form that comes with the program
	Target        float64   `yaml:"target"`         // availability promised, as a share
	InspectTarget float64   `yaml:"inspect_target"` // inspections done of those planned
	Confirm       int       `yaml:"confirm"`        // failing results in a row that make an outage
	Hold          int       `yaml:"hold"`           // intervals for which a result stands when no other follows
	GapLimit      float64   `yaml:"gap_limit"`      // share of unknown time above which the verdict mentions it
	Planned       []Planned `yaml:"planned"`        // planned windows, in no figure but their own

	// The contract's.
	Office     contract.Office     `yaml:"-"`
	Period     contract.Period     `yaml:"-"`
	Assessment contract.Assessment `yaml:"-"`
}

// Planned is a planned window (计划维护): agreed beforehand, it counts neither as up nor as down.
type Planned struct {
	Services []string  `yaml:"services"` // empty: all
	From     time.Time `yaml:"from"`
	To       time.Time `yaml:"to"`
	Reason   string    `yaml:"reason"`
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
		Office:        contract.Office{Hours: contract.Hours{"08:00-12:00", "14:30-17:30"}},
		Assessment: contract.Assessment{
			Rows:       []contract.Row{{ID: contract.ResponseRow, No: "4", Name: "故障响应与解决时间", Points: 1000}},
			Deductions: contract.Deductions{Urgent: 100, General: 50, Minor: 20, Excluded: contract.Exclusions},
		},
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
	for i, p := range c.Planned {
		at := fmt.Sprintf("planned[%d]", i)
		switch {
		case p.From.IsZero() || !p.From.Before(p.To):
			fail(at, "want from and to, one after the other, as 2026-11-28T22:00:00+08:00")
		case p.To.Sub(p.From) > maxPlanned:
			fail(at+".to", "%v after its beginning: want at most %v", p.To.Sub(p.From), maxPlanned)
		}
		if strings.TrimSpace(p.Reason) == "" {
			fail(at+".reason", "missing: a planned window has a reason that can be shown")
		}
	}
}

// maxPlanned keeps a slip of the pen from hiding a month.
const maxPlanned = 7 * 24 * time.Hour

const maxName = 100
