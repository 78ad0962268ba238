// Command bench measures Xunjian side by side with its peers, in one run, and prints one line for each figure:
//
//	bench AREA.WHAT ours=VALUEUNIT PEER=VALUEUNIT ratio=R
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// areas lists what can be measured; each returns its figures.
var areas = map[string]func(ctx context.Context, o options) ([]figure, error){
	"agent":        agentArea,
	"faults":       faultsArea,
	"quiet":        quietArea,
	"page":         pageArea,
	"probe":        probeArea,
	"tsdb-ingest":  ingestArea,
	"tsdb-scale":   scaleArea,
	"tsdb-mixed":   mixedArea,
	"tsdb-query":   queryArea,
	"tsdb-restart": restartArea,
	"tsdb-size":    sizeArea,
	"tsdb-wave":    waveArea,
	"tsdb-year":    yearArea,
}

// groups are areas that are measured one after the other under one name.
var groups = map[string][]string{
	"tsdb": {"tsdb-size", "tsdb-ingest", "tsdb-query", "tsdb-scale", "tsdb-restart", "tsdb-mixed", "tsdb-wave", "tsdb-year"},
}

type options struct {
	bin    string        // folder of the built programs
	warm   time.Duration // before anything is counted
	window time.Duration // while it is counted
	share  float64       // of the full data, for a quick run
	scale  scaleOptions
	year   yearOptions
	faults faultOptions
	page   pageOptions
}

// figure is one comparison; the peer "limit" is what we have set ourselves.
type figure struct {
	what, unit, peer string
	ours, theirs     float64
}

func (f figure) String() string {
	if f.peer == "" {
		return fmt.Sprintf("bench %s ours=%.4g%s", f.what, f.ours, f.unit)
	}
	if f.theirs == 0 { // there is no ratio to nothing
		return fmt.Sprintf("bench %s ours=%.4g%s %s=0%s", f.what, f.ours, f.unit, f.peer, f.unit)
	}
	return fmt.Sprintf("bench %s ours=%.4g%s %s=%.4g%s ratio=%.3f", f.what, f.ours, f.unit, f.peer, f.theirs, f.unit, f.ours/f.theirs)
}

func main() {
	var o options
	area := flag.String("area", "agent", "what to measure, several with commas: "+known())
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built programs")
	flag.DurationVar(&o.warm, "warm", 45*time.Second, "warm-up before anything is counted")
	flag.DurationVar(&o.window, "for", 150*time.Second, "how long is counted")
	flag.IntVar(&o.scale.agents, "agents", 1000, "tsdb-scale: simulated agents")
	flag.DurationVar(&o.scale.every, "every", 15*time.Second, "tsdb-scale: between an agent's reports; 0 is full speed")
	flag.IntVar(&o.scale.inflight, "inflight", 8, "tsdb-scale: at full speed, an agent's reports that wait for their acknowledgement")
	flag.IntVar(&o.scale.before, "before", 0, "tsdb-scale: reports that each agent sends first, as fast as it can, to fill the collector's heads")
	flag.Float64Var(&o.scale.fill, "fill", 0, "tsdb-scale: of those, reports of all agents a second; 0 is as fast as they can")
	flag.StringVar(&o.scale.config, "config", "", "tsdb-scale: further lines of the collector's configuration")
	flag.StringVar(&o.scale.keep, "dir", "", "tsdb-scale: empty folder to work in, which is kept; default: a temporary one")
	flag.IntVar(&o.year.hosts, "hosts", 100, "tsdb-year: hosts")
	flag.IntVar(&o.year.days, "days", 395, "tsdb-year: days written")
	flag.IntVar(&o.year.retain, "retain", 365, "tsdb-year: days kept")
	flag.IntVar(&o.year.retainAggregates, "retain-aggregates", 0, "tsdb-year: days of which aggregates are kept; 0 is the store's default, five years")
	flag.StringVar(&o.faults.only, "only", "", "faults: these services only, and smpp and cmpp, with commas")
	flag.StringVar(&o.faults.modes, "modes", "", "faults: these faults only, with commas")
	flag.IntVar(&o.faults.rigs, "rigs", 4, "faults: demos at a time, each with the faults of one service")
	flag.StringVar(&o.faults.table, "table", "", "faults: file that gets the table")
	flag.IntVar(&o.page.agents, "watch", 1, "page: agents of ours that watch each service")
	flag.StringVar(&o.page.stages, "paces", "default,fast", "page: paces that are measured")
	flag.Float64Var(&o.share, "scale", 1, "share of the full data that the tsdb areas work on, or of the faults of page, for a quick run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *area, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) String() string {
	return fmt.Sprintf("warm-up %v, then %v, scale %.3g", o.warm, o.window, o.share)
}

func known() string {
	return strings.Join(slices.Sorted(maps.Keys(areas)), ", ") + "; " + strings.Join(slices.Sorted(maps.Keys(groups)), ", ") + " for all of theirs"
}

// expand puts the members of groups in their place.
func expand(names string) (out []string) {
	for name := range strings.SplitSeq(names, ",") {
		if members := groups[name]; members != nil {
			out = append(out, members...)
		} else {
			out = append(out, name)
		}
	}
	return out
}

func run(ctx context.Context, names string, o options) error {
	for _, name := range expand(names) {
		measure := areas[name]
		if measure == nil {
			return fmt.Errorf("no area %q: there are %s", name, known())
		}
		fmt.Printf("# %s: %s\n", name, o)
		figures, err := measure(ctx, o)
		if err != nil {
			return fmt.Errorf("measure %s: %w", name, err)
		}
		for _, f := range figures {
			fmt.Println(f)
		}
	}
	return nil
}
