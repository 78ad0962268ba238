package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/simulator"
)

// faultOptions are the flags of the areas faults and quiet.
type faultOptions struct {
	only  string // doors whose faults are made, with commas; empty: all
	modes string // faults that are made, with commas; empty: all
	table string // file that gets the table
	rigs  int    // demos at a time
}

// doorsOrder is that of the contract, and then of what lies behind.
var doorsOrder = []string{simulator.CloudDoc, simulator.Signature, simulator.SMS, simulator.CMPP, simulator.SMPP, simulator.Gateway, simulator.OA}

// serviceOf is the service on which a door's faults are seen.
func serviceOf(door string) string {
	if door == simulator.CMPP || door == simulator.SMPP {
		return simulator.SMS
	}
	return door
}

// outcome is what became of one fault.
type outcome struct {
	door    string
	mode    simulator.Mode
	due     due
	found   []opened
	last    asked // of the check that says why nothing is opened
	after   time.Duration
	trouble string // empty: as it must be
}

const (
	// calm is how long all must be well: a transaction that began during the fault before may still be under way.
	calm = 17 * time.Second
	// patience is how long a fault may take to be told.
	patience = 150 * time.Second
	// lingering is how long is looked for more once all is told, and for anything where nothing may be.
	lingering = 12 * time.Second
	// shardMost is how many faults one rig makes one after the other.
	shardMost = 10
)

// shard is what one rig does.
type shard struct {
	door  string
	modes []simulator.Mode
}

// shards divides the work; what needs the daily control comes last in its shard.
func shards(o faultOptions) (out []shard) {
	chosen := func(list, name string) bool { return list == "" || slices.Contains(strings.Split(list, ","), name) }
	for _, door := range doorsOrder {
		if !chosen(o.only, door) {
			continue
		}
		modes := slices.DeleteFunc(slices.Sorted(maps.Keys(expected[door])), func(m simulator.Mode) bool { return !chosen(o.modes, string(m)) })
		slices.SortStableFunc(modes, func(a, b simulator.Mode) int { return late(expected[door][a]) - late(expected[door][b]) })
		n := (len(modes) + shardMost - 1) / shardMost
		for i := range n {
			s := shard{door: door}
			for k := i; k < len(modes); k += n { // dealt out, so that what takes long is not all in one
				s.modes = append(s.modes, modes[k])
			}
			out = append(out, s)
		}
	}
	return out
}

func late(d due) int {
	switch {
	case d.control:
		return 2
	case d.lasts:
		return 1
	}
	return 0
}

// faultsArea makes every fault that the simulator can make and looks what is opened, in several demos at a time.
func faultsArea(ctx context.Context, o options) ([]figure, error) {
	work := shards(o.faults)
	done, errs := make([][]outcome, len(work)), make([]error, len(work))
	room := make(chan struct{}, max(o.faults.rigs, 1))
	var all sync.WaitGroup
	for i, s := range work {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			if sleep(ctx, time.Duration(i%cap(room))*time.Second) != nil {
				return
			}
			done[i], errs[i] = o.make(ctx, s)
		})
	}
	all.Wait()
	made := slices.Concat(done...)
	slices.SortStableFunc(made, func(a, b outcome) int { return slices.Index(doorsOrder, a.door) - slices.Index(doorsOrder, b.door) })
	if o.faults.table != "" {
		errs = append(errs, os.WriteFile(o.faults.table, []byte(table(made)), 0o644))
	}
	missed := 0
	for _, x := range made {
		if x.trouble != "" {
			missed++
		}
	}
	return []figure{{"faults.made", "", "", float64(len(made)), 0}, {"faults.not_as_they_must", "", "", float64(missed), 0}}, errors.Join(errs...)
}

// make has one demo go through the faults of one door.
func (o options) make(ctx context.Context, s shard) (out []outcome, err error) {
	r, err := newFaultRig(ctx, o, true)
	for range 2 { // free ports are looked for before they are taken: another demo may be quicker
		if err != nil && ctx.Err() == nil {
			r, err = newFaultRig(ctx, o, true)
		}
	}
	if err != nil {
		return nil, err
	}
	defer r.end()
	for _, mode := range s.modes {
		got, err := r.try(ctx, s.door, mode)
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", s.door, mode, err)
		}
		fmt.Printf("# %-12s %-18s %6.1f s  %s%s\n", s.door, mode, got.after.Seconds(), got.said(), mark(" ✗ ", got.trouble))
		out = append(out, got)
	}
	return out, nil
}

func mark(sign, text string) string {
	if text == "" {
		return ""
	}
	return sign + text
}

// try makes one fault, waits for what must come of it, ends it and waits until all is well.
func (r *faultRig) try(ctx context.Context, door string, mode simulator.Mode) (outcome, error) {
	out := outcome{door: door, mode: mode, due: expected[door][mode]}
	if out.due.control {
		if err := r.ripe(ctx); err != nil {
			return out, err
		}
	}
	before, err := r.troubles(ctx, "all")
	if err != nil {
		return out, err
	}
	if err := r.fault(ctx, door, mode, out.due.delay); err != nil {
		return out, err
	}
	if out.due.control { // not before: a control that is made in between would find all well, and the next comes a day later
		if err := r.control(ctx); err != nil {
			return out, err
		}
	}
	if err := r.watch(ctx, &out, before); err != nil {
		return out, err
	}
	for _, f := range out.found {
		r.lasts[f.ID] = out.due.lasts
	}
	if err := r.fault(ctx, door, simulator.OK, 0); err != nil {
		return out, err
	}
	if err := r.unlock(ctx); err != nil {
		return out, err
	}
	// After two refusals an account of the short message centre is left alone for five minutes.
	if err := r.settled(ctx, 7*time.Minute, ""); err != nil {
		out.trouble += " does not recover: " + err.Error()
	}
	return out, nil
}

// watch looks until all that must come is there, and then a while for what must not.
func (r *faultRig) watch(ctx context.Context, out *outcome, before []opened) error {
	begin := time.Now()
	end := begin.Add(patience)
	for time.Now().Before(end) {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		now, err := r.troubles(ctx, "all")
		if err != nil {
			return err
		}
		out.found = slices.DeleteFunc(now, func(n opened) bool { // an incident may be opened again: its trouble had begun before
			return r.lasts[n.ID] || n.over() && slices.ContainsFunc(before, func(b opened) bool { return b.ID == n.ID })
		})
		if out.due.check != "" {
			if out.last, err = r.round(ctx, out.due.check); err != nil {
				return err
			}
		}
		if out.trouble = out.missing(begin); out.trouble == "" && out.after == 0 {
			out.after = time.Since(begin)
			end = time.Now().Add(lingering)
		}
		if out.trouble == "" {
			out.trouble = out.excess()
		}
	}
	if out.after == 0 {
		out.after = time.Since(begin)
	}
	return nil
}

// missing is what must have come and has not.
func (x *outcome) missing(begin time.Time) string {
	for _, want := range x.due.told {
		if !slices.ContainsFunc(x.found, func(f opened) bool {
			return f.Service == serviceOf(x.door) && matches(want.class, f.Class) && matches(want.level, f.Level) && regexp.MustCompile(want.says).MatchString(f.Detail)
		}) {
			return fmt.Sprintf("want %s, %s: %s", want.class, want.level, want.says)
		}
	}
	if x.due.check != "" && (x.last.At.Before(begin) || x.last.Outcome != x.due.outcome || !regexp.MustCompile(x.due.says).MatchString(x.last.Reason)) {
		return fmt.Sprintf("want nothing opened and %s %s: %s", x.due.check, x.due.outcome, x.due.says)
	}
	return ""
}

func matches(pattern, word string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(word)
}

// levels are the contract's, the mildest first.
var levels = []string{"minor", "general", "urgent"}

// excess is what came and must not have: of other services, or graver than all that must.
func (x *outcome) excess() string {
	most := -1
	for _, f := range x.found {
		if f.Service != serviceOf(x.door) {
			return "opened on " + f.Service
		}
		most = max(most, slices.Index(levels, f.Level))
	}
	if most >= 0 && !slices.ContainsFunc(x.due.told, func(t told) bool { return matches(t.level, levels[most]) }) {
		return "opened as " + levels[most]
	}
	return ""
}

// said is what was said, in one line.
func (x *outcome) said() string {
	var out []string
	for _, f := range x.found {
		out = append(out, fmt.Sprintf("%s/%s %s", f.Class, f.Level, f.Detail))
	}
	if x.due.check != "" {
		out = append(out, x.last.Check+" "+x.last.Outcome+" "+x.last.Reason)
	}
	return strings.Join(out, " ┃ ")
}

// table is what people read: a row for each fault.
func table(all []outcome) string {
	var b strings.Builder
	b.WriteString("| 服务 service | 故障 fault | 探测结论 what the probe said | 类别 class | 级别 level | 秒 s | |\n|---|---|---|---|---|---|---|\n")
	for _, x := range all {
		var said, classes, levels []string
		for _, f := range x.found {
			classes, levels, said = append(classes, f.Class), append(levels, f.Level), append(said, cell(f.Component+": "+f.Detail))
		}
		if x.due.check != "" {
			classes, levels, said = append(classes, x.last.Outcome), append(levels, "—"), append(said, cell(x.last.Check+": "+x.last.Reason))
		}
		verdict := "✓"
		if x.trouble != "" {
			verdict = "✗ " + cell(x.trouble)
		} else if x.due.later != "" {
			verdict += " " + x.due.later
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %.1f | %s |\n", x.door, x.mode,
			strings.Join(said, "<br>"), strings.Join(classes, "<br>"), strings.Join(levels, "<br>"), x.after.Seconds(), verdict)
	}
	return b.String()
}

// cell is a text for one cell of the table: this run's own numbers in it say nothing to anybody else.
func cell(text string) string {
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "…")
	text = strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
	if r := []rune(text); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return text
}
