package collector

import (
	"errors"
	"io/fs"
	"maps"
	"os"

	"xunjian/configs"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/contract"
)

// shippedContract is the one that comes with the program; were it damaged, Validate would refuse what is left.
func shippedContract() contract.Contract {
	c, err := config.Parse("contract.yaml", configs.Contract, contract.Contract{})
	if err != nil {
		return contract.Contract{}
	}
	return c
}

// readContract lays the file that the configuration names over the contract that comes with the program. What is wrong in
// it is kept as faults of that file.
func (c *Config) readContract(named string) {
	c.Contract = shippedContract()
	if named == "" {
		return
	}
	read, err := config.Load(c.path(named), c.Contract)
	if errors.Is(err, fs.ErrNotExist) {
		return // validateFiles says so
	}
	if err != nil {
		c.unread = config.FaultsIn(c.path(named), err)
		return
	}
	c.Contract = read
}

// contracted gives the report what the contract says.
func (c *Config) contracted() {
	c.Report.Office, c.Report.Period, c.Report.Assessment = c.Contract.Office, c.Contract.Period, c.Contract.Assessment
}

// calendar is the one that comes with the program with the operator's notices laid over it.
func (c *Config) calendar() (*contract.Calendar, error) {
	var over []fs.FS
	if c.Contract.CalendarFolder != "" {
		over = append(over, os.DirFS(c.path(c.Contract.CalendarFolder)))
	}
	return contract.LoadCalendar(c.location(), over...)
}

// graded gives a check's outages the level that the contract gives those of its service, unless the check has its own.
func (c *Config) graded(s check.Spec) check.Spec {
	level, ok := c.Contract.Outage[s.Service]
	if !ok {
		return s
	}
	s.Levels = maps.Clone(s.Levels)
	if s.Levels == nil {
		s.Levels = map[check.Trouble]string{}
	}
	for _, trouble := range []check.Trouble{check.Down, check.Wrong, check.Unusable} {
		if _, own := s.Levels[trouble]; !own {
			s.Levels[trouble] = string(level)
		}
	}
	return s
}
