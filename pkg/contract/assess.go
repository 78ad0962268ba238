package contract

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Assessment is the yearly assessment form (运维工作考核表): rows that add up to a hundred points, and what the sum is worth.
type Assessment struct {
	Rows        []Row      `yaml:"rows" json:"rows"`
	Deductions  Deductions `yaml:"deduct" json:"deduct"`
	RoundHalfUp bool       `yaml:"round_half_up" json:"round_half_up,omitempty"` // whole points decide the tier: 89.5 is 90
	Tiers       []Tier     `yaml:"tiers" json:"tiers"`                           // the best first; below the last the year is not accepted
}

// Row is a row of the form in the contract's words. Party A scores it.
type Row struct {
	ID     string `yaml:"id" json:"id"`                         // response, attendance, …
	No     string `yaml:"no" json:"no"`                         // 序号
	Name   string `yaml:"name" json:"name"`                     // 指标名称
	Points Points `yaml:"points" json:"points"`                 // 分值
	Each   Points `yaml:"each,omitempty" json:"each,omitempty"` // taken each time, down to nothing; 0: the contract has no formula
	Text   string `yaml:"text" json:"text"`                     // 考核内容及标准
}

// After is what is left of the row's points after some deductions of Each.
func (r Row) After(times int) Points { return max(r.Points-Points(times)*r.Each, 0) }

// ResponseRow is the row that is scored from the incidents (故障响应与解决时间).
const ResponseRow = "response"

// Tier says which part of the contract's sum is paid from a score on.
type Tier struct {
	From Points `yaml:"from" json:"from"` // inclusive
	Pay  int    `yaml:"pay" json:"pay"`   // in per cent
}

// Deductions are what a missed limit costs, and how the contract's open questions about it are answered (DOMAIN 4.4).
type Deductions struct {
	Urgent     Points      `yaml:"urgent" json:"urgent"`
	General    Points      `yaml:"general" json:"general"`
	Minor      Points      `yaml:"minor" json:"minor"`
	PerClock   bool        `yaml:"per_clock" json:"per_clock,omitempty"`     // response and recovery each cost; else an incident costs once
	FinalLevel bool        `yaml:"final_level" json:"final_level,omitempty"` // by the level at the end; else by the gravest whose own limit was missed
	MinorNever bool        `yaml:"minor_never" json:"minor_never,omitempty"` // a minor fault costs nothing even past an agreed time
	PerService bool        `yaml:"per_service" json:"per_service,omitempty"` // one cause costs once for each service that it hit
	Excluded   []Exclusion `yaml:"excluded" json:"excluded,omitempty"`       // what costs nothing if party A agrees
}

// Exclusion is why a missed limit may be nobody's fault here.
type Exclusion string

// The exclusions: 误报, 计划维护, 上级平台, 网络, 第三方.
const (
	FalseAlarm      Exclusion = "false_alarm"
	PlannedWork     Exclusion = "planned"
	UpstreamFault   Exclusion = "upstream"
	NetworkFault    Exclusion = "network"
	ThirdPartyFault Exclusion = "third_party"
)

// Exclusions lists all of them.
var Exclusions = []Exclusion{FalseAlarm, PlannedWork, UpstreamFault, NetworkFault, ThirdPartyFault}

// Case is an incident as far as its deduction depends on it.
type Case struct {
	ID       string
	Start    time.Time // of its clocks: it belongs to the year and month of this moment, whenever it ends
	Level    Level     // at the end
	Breaches []Breach
	Services int // that it hit; 0 is 1

	Exclusion Exclusion // empty: none
	Waived    string    // why party A takes no points although it could
	PartyA    string    // who of party A agreed to the exclusion or waived; nothing is spared without a name
}

// Deduction is what one incident with a missed limit costs.
type Deduction struct {
	Case      string    `json:"case"`
	Start     time.Time `json:"start"`
	Level     Level     `json:"level"` // by which it costs
	Breaches  []Breach  `json:"breaches"`
	Points    Points    `json:"points"` // 0 when it is spared
	Exclusion Exclusion `json:"exclusion,omitempty"`
	Waived    string    `json:"waived,omitempty"`
	PartyA    string    `json:"party_a,omitempty"`
}

// Deduct lists what the incidents that began in [from, to) cost, by their start; those that are spared are listed with 0.
// Left is what remains of the row's points, never below 0.
func (a Assessment) Deduct(cases []Case, from, to time.Time) (list []Deduction, left Points) {
	for _, c := range cases {
		if c.Start.Before(from) || !c.Start.Before(to) {
			continue
		}
		if d, ok := a.Deductions.of(c); ok {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(x, y Deduction) int {
		return cmp.Or(x.Start.Compare(y.Start), cmp.Compare(x.Case, y.Case))
	})
	if row, ok := a.Row(ResponseRow); ok {
		left = row.Points
	}
	for _, d := range list {
		left = max(left-d.Points, 0)
	}
	return list, left
}

// of is what one incident costs; false: no limit was missed that could cost anything.
func (o Deductions) of(c Case) (Deduction, bool) {
	missed := slices.DeleteFunc(slices.Clone(c.Breaches), func(b Breach) bool { return b.Level == Minor && o.MinorNever })
	if len(missed) == 0 {
		return Deduction{}, false
	}
	d := Deduction{Case: c.ID, Start: c.Start, Level: o.level(c, missed), Breaches: missed, Exclusion: c.Exclusion, Waived: c.Waived, PartyA: c.PartyA}
	if c.PartyA != "" && (c.Waived != "" || slices.Contains(o.Excluded, c.Exclusion)) {
		return d, true
	}
	d.Points = o.points(d.Level)
	if o.PerClock {
		d.Points = 0
		for _, clock := range []ClockName{Response, Recovery} {
			if of := slices.DeleteFunc(slices.Clone(missed), func(b Breach) bool { return b.Clock != clock }); len(of) > 0 {
				d.Points += o.points(o.level(c, of))
			}
		}
	}
	if o.PerService {
		d.Points *= Points(max(c.Services, 1))
	}
	return d, true
}

// level is the one by which missed limits cost.
func (o Deductions) level(c Case, missed []Breach) (level Level) {
	if o.FinalLevel {
		return c.Level
	}
	for _, b := range missed {
		if b.Level.Graver(level) {
			level = b.Level
		}
	}
	return level
}

func (o Deductions) points(l Level) Points {
	switch l {
	case Urgent:
		return o.Urgent
	case General:
		return o.General
	case Minor:
		if !o.MinorNever {
			return o.Minor
		}
	}
	return 0
}

// Row finds a row by its id.
func (a Assessment) Row(id string) (Row, bool) {
	i := slices.IndexFunc(a.Rows, func(r Row) bool { return r.ID == id })
	if i < 0 {
		return Row{}, false
	}
	return a.Rows[i], true
}

// Result is what a year's scores come to.
type Result struct {
	Total    Points   `json:"total"`
	Missing  []string `json:"missing,omitempty"` // rows without a score: until there are none, the rest is an estimate (预估)
	Accepted bool     `json:"accepted"`
	Tier     Tier     `json:"tier"` // zero when it is not accepted
}

// Score adds up the scores of rows; a row that has none counts with what it is given in the form.
func (a Assessment) Score(given map[string]Points) (Result, error) {
	var r Result
	for id := range given {
		if _, ok := a.Row(id); !ok {
			return Result{}, fmt.Errorf("score: the form has no row %q", id)
		}
	}
	for _, row := range a.Rows {
		p, ok := given[row.ID]
		switch {
		case !ok:
			p = row.Points
			r.Missing = append(r.Missing, row.ID)
		case p < 0 || p > row.Points:
			return Result{}, fmt.Errorf("score: %s points for row %s (%s): want 0 to %s", p, row.No, row.Name, row.Points)
		}
		r.Total += p
	}
	r.Tier, r.Accepted = a.tier(r.Total)
	return r, nil
}

// tier finds what a total is worth. Tiers are half-open, and nothing is rounded unless the contract says so: 89.6 is below 90.
func (a Assessment) tier(total Points) (Tier, bool) {
	if a.RoundHalfUp {
		total = (total + 50) / 100 * 100
	}
	for _, t := range a.Tiers {
		if total >= t.From {
			return t, true
		}
	}
	return Tier{}, false
}

// Payment says how the contract's sum is paid.
type Payment struct {
	Price   Fen  `yaml:"price" json:"price"`               // 合同总金额; 0: not told
	Advance int  `yaml:"advance" json:"advance"`           // 预付款, in per cent
	Within  int  `yaml:"within" json:"within"`             // working days in which each payment is due
	Penalty int  `yaml:"penalty" json:"penalty"`           // 违约金 of a year that is not accepted, in per cent
	OfRest  bool `yaml:"of_rest" json:"of_rest,omitempty"` // the tier is of what is left after the advance, not of the whole
}

// Settlement is what is still to be paid at the end of the year. It is an estimate: 以最终签订的政府采购合同约定为准.
type Settlement struct {
	Advance Fen  `json:"advance"` // paid already
	Final   Fen  `json:"final"`   // by party A
	Penalty Fen  `json:"penalty"` // by the vendor
	Reclaim bool `json:"reclaim"` // whether the advance goes back is for the signed contract to say
	Tier    int  `json:"tier"`    // in per cent, 0 when it is not accepted
	Of      Fen  `json:"of"`      // what the tier is a share of
}

// Settle works out the final payment in whole fen.
func (p Payment) Settle(r Result) Settlement {
	s := Settlement{Advance: p.Price.percent(p.Advance), Of: p.Price}
	if !r.Accepted {
		s.Penalty, s.Reclaim = p.Price.percent(p.Penalty), s.Advance > 0
		return s
	}
	s.Tier = r.Tier.Pay
	if p.OfRest {
		s.Of = p.Price - s.Advance
		s.Final = s.Of.percent(r.Tier.Pay)
		return s
	}
	s.Final = max(p.Price.percent(r.Tier.Pay)-s.Advance, 0)
	return s
}
