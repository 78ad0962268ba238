package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"xunjian/pkg/simulator"
)

// pageOptions are the flags of the area page.
type pageOptions struct {
	agents int    // that watch each service, of ours
	stages string // which paces
}

// The faults, and the blips: one bad request of each watcher, and then all is well.
var (
	pageFaults = []simulator.Mode{simulator.Refuse, simulator.Error500, simulator.TLSExpired, simulator.Hang, simulator.Slow}
	quickOnes  = pageFaults[:3]
	pageBlips  = []simulator.Mode{simulator.Error500, simulator.Reset, simulator.Slow}
)

// stage is one pace: who watches, what breaks when, and how long to wait for whom.
type stage struct {
	name     string
	watchers []string // ours first
	keys     string   // in each check of ours
	more     string   // of our configuration
	peers    peersOfPages
	services []string
	last     int           // number of the last service
	rounds   int           // faults of each service, one after the other
	blips    int           // of all services together
	spread   time.Duration // within which faults begin, at random
	between  time.Duration // from a blip of a service to its next
	blipFor  time.Duration // within which each watcher asks, and meets its blip
	paged    time.Duration // patience with pages
	linger   time.Duration // for a second page that should not come
	resolved time.Duration // patience with resolves
	calm     time.Duration // before the next fault of the service
}

// askers are those who ask a service by themselves: ours and the peers.
const askers = 2

// broken is one fault and what was told of it.
type broken struct {
	service        string
	mode           simulator.Mode
	at, ended, end time.Time // begun, mended, nothing more is awaited
}

func pageStages(share float64) []*stage {
	n := max(10, int(100*share)) / 5 * 5
	fast := max(5, int(20*share))
	names := make([]string, n+fast)
	for i := range names {
		names[i] = fmt.Sprintf("plain-%d", i+1)
	}
	blips := max(10, int(200*share))
	return []*stage{
		{
			name: "default", watchers: []string{oursDefault, promDefault}, peers: peersAtDefault, services: names[:n], last: n, rounds: 1, blips: blips,
			spread: 2 * time.Minute, between: 70 * time.Second, blipFor: 20 * time.Second,
			paged: 4 * time.Minute, linger: 30 * time.Second, resolved: 11 * time.Minute,
		}, {
			name: "fast", watchers: []string{oursFast, promDebounced, promImmediate}, keys: fastChecks, more: hurriedClocks, peers: peersAtOnce,
			services: names[n:], last: n + fast, rounds: 10, blips: blips,
			spread: 3 * time.Second, between: 10 * time.Second, blipFor: 3 * time.Second,
			paged: 30 * time.Second, linger: 3 * time.Second, resolved: 30 * time.Second, calm: 8 * time.Second,
		},
	}
}

// pageArea measures from a fault to the page at the receiver, beside Debian's Prometheus, blackbox_exporter and Alertmanager:
// the same faults of the same services in the same run. Two paces run at once, each with services of its own. At the shipped
// defaults of both, each of 100 services has one fault, which is kept until all have paged; at 1 s, each of 20 has ten in a row.
// Before that each pace has 200 blips, of which nobody should be told.
func pageArea(ctx context.Context, o options) ([]figure, error) {
	stages := slices.DeleteFunc(pageStages(o.share), func(s *stage) bool { return !slices.Contains(strings.Split(o.page.stages, ","), s.name) })
	services := 0
	for _, s := range stages {
		services = max(services, s.last)
	}
	r, err := newPageRig(o, services)
	if err != nil {
		return nil, err
	}
	defer r.close()
	for _, s := range stages {
		err := r.startOurs(ctx, s.watchers[0], s.keys, s.more, s.services, o.page.agents)
		if err == nil {
			err = r.startPeers(ctx, s.peers, s.services)
		}
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, r.logs())
		}
	}
	fmt.Printf("# %d agents of ours; load average %s\n", o.page.agents, loadAverage())
	if err := sleep(ctx, o.warm); err != nil {
		return nil, err
	}
	figures := make([][]figure, len(stages))
	var group errgroup.Group
	for i, s := range stages {
		group.Go(func() (err error) {
			figures[i], err = r.play(ctx, s)
			return err
		})
	}
	err = group.Wait()
	fmt.Printf("# load average at the end %s\n", loadAverage())
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, r.logs())
	}
	return slices.Concat(figures...), nil
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// play has the stage's blips and then its faults.
func (r *pageRig) play(ctx context.Context, s *stage) ([]figure, error) {
	begin := time.Now()
	if early, _ := r.hook.between(s.watchers[0], "", time.Time{}, begin); len(early) > 0 {
		return nil, fmt.Errorf("%s: %d pages of ours before anything was broken", s.name, len(early))
	}
	if err := r.blips(ctx, s); err != nil {
		return nil, err
	}
	blipped := time.Now()
	fmt.Printf("# %s: %d blips in %v\n", s.name, s.blips, blipped.Sub(begin).Round(time.Second))
	faults := make([][]*broken, len(s.services))
	var group errgroup.Group
	for i, service := range s.services {
		group.Go(func() error {
			for round := range s.rounds {
				f := &broken{service: service, mode: pageFaults[(i+round)%len(pageFaults)]}
				if err := r.fault(ctx, s, f); err != nil {
					return err
				}
				faults[i] = append(faults[i], f)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(faults...)
	fmt.Printf("# %s: %d faults in %v\n", s.name, len(all), time.Since(blipped).Round(time.Second))
	return r.figures(s, begin, blipped, all), nil
}

// blips spoils single requests, those of a service far enough apart that nobody may call them a fault together.
func (r *pageRig) blips(ctx context.Context, s *stage) error {
	before, err := r.spoilt(ctx, s)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for i, service := range s.services {
		group.Go(func() error {
			for n := i; n < s.blips; n += len(s.services) {
				if err := sleep(ctx, rand.N(s.between/4)); err != nil {
					return err
				}
				f := simulator.Fault{Mode: pageBlips[n%len(pageBlips)], Requests: 1, Each: true, ForMS: int(s.blipFor.Milliseconds())}
				if err := r.sim.Break(service, f); err != nil {
					return err
				}
				if err := sleep(ctx, s.between*3/4+rand.N(s.between/4)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	after, err := r.spoilt(ctx, s)
	if want := int64(s.blips * askers); err == nil && (after-before < want*95/100 || after-before > want) {
		err = fmt.Errorf("%s: %d requests were spoilt, want one of each watcher and blip: %d", s.name, after-before, want)
	}
	return err
}

// spoilt counts the requests that faults have changed.
func (r *pageRig) spoilt(ctx context.Context, s *stage) (n int64, err error) {
	var counts map[string]simulator.Count
	if err := getJSON(ctx, r.sim.URL(simulator.Control)+"/requests", &counts); err != nil {
		return 0, err
	}
	for _, name := range s.services {
		n += counts[name].Spoilt
	}
	return n, nil
}

// fault makes one fault, keeps it until everybody has paged, and waits until everybody says that it is over.
func (r *pageRig) fault(ctx context.Context, s *stage, f *broken) error {
	if err := sleep(ctx, rand.N(s.spread)); err != nil {
		return err
	}
	f.at = time.Now()
	if err := r.sim.Break(f.service, simulator.Fault{Mode: f.mode}); err != nil {
		return err
	}
	err := r.awaitAll(ctx, s, f, s.paged, false)
	if err == nil {
		err = sleep(ctx, s.linger)
	}
	if err == nil {
		err = r.answer(ctx, s.watchers[0], f)
	}
	if err != nil {
		return err
	}
	f.ended = time.Now()
	if err := r.sim.Break(f.service, simulator.Fault{Mode: simulator.OK}); err != nil {
		return err
	}
	if err := r.awaitAll(ctx, s, f, s.resolved, true); err != nil {
		return err
	}
	err = sleep(ctx, s.calm)
	f.end = time.Now()
	return err
}

// answer acknowledges our incident of a fault, as the resident does who was paged: one that nobody answers within its limit has
// one more page, which says so.
func (r *pageRig) answer(ctx context.Context, ours string, f *broken) error {
	pages, _ := r.hook.between(ours, f.service, f.at, time.Now())
	if len(pages) == 0 {
		return nil // missed
	}
	_, err := getAs(ctx, http.MethodPost, "http://"+r.webs[ours]+"/api/xunjian/v1/incidents/"+pages[0].incident+"/ack", residentToken, new(bytes.Buffer))
	return err
}

// awaitAll waits until each watcher has told of the fault, or of its end; whom patience does not bring to it has missed it.
func (r *pageRig) awaitAll(ctx context.Context, s *stage, f *broken, patience time.Duration, ended bool) error {
	for begin := time.Now(); time.Since(begin) < patience; {
		missing := slices.ContainsFunc(s.watchers, func(w string) bool {
			pages, resolves := r.hook.between(w, f.service, f.at, time.Now())
			if ended {
				pages = resolves
			}
			return len(pages) == 0
		})
		if !missing {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// tally is what one watcher told of a stage's faults.
type tally struct {
	took            map[simulator.Mode][]time.Duration // fault to first page
	back            []time.Duration                    // mended to first resolve
	pages, resolves int
	missed, notOnce int // faults without a page; with another number of pages or resolves than one
}

func (r *pageRig) tally(watcher string, faults []*broken) tally {
	t := tally{took: map[simulator.Mode][]time.Duration{}}
	for _, f := range faults {
		pages, resolves := r.hook.between(watcher, f.service, f.at, f.end)
		t.pages, t.resolves = t.pages+len(pages), t.resolves+len(resolves)
		if len(pages) != 1 || len(resolves) != 1 {
			t.notOnce++
			if strings.HasPrefix(watcher, "ours") {
				fmt.Printf("# %s: %s of %s at %s: %d pages, %d resolves\n", watcher, f.mode, f.service, f.at.Format(time.TimeOnly), len(pages), len(resolves))
			}
		}
		if len(pages) == 0 {
			t.missed++
			continue
		}
		t.took[f.mode] = append(t.took[f.mode], pages[0].at.Sub(f.at))
		if i := slices.IndexFunc(resolves, func(m message) bool { return m.at.After(f.ended) }); i >= 0 {
			t.back = append(t.back, resolves[i].at.Sub(f.ended))
		}
	}
	return t
}

// of are the times of some faults together.
func (t tally) of(modes ...simulator.Mode) (out []time.Duration) {
	for _, m := range modes {
		out = append(out, t.took[m]...)
	}
	return out
}

// percentile is by nearest rank, in seconds; 0 of nothing.
func percentile(all []time.Duration, p int) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)*p+99)/100-1].Seconds()
}

// pageLimits are the bars, in seconds.
var pageLimits = map[string]float64{"default_p50": 8, "default_p99": 15, "fast_p50": 1.2, "fast_p50_refuse": 1.2, "fast_p50_error500": 1.2, "fast_p50_tls-expired": 1.2, "fast_p99": 3}

// figures compares ours with each peer of the stage. The middle of the fast stage is that of the faults that answer at once.
func (r *pageRig) figures(s *stage, begin, blipped time.Time, faults []*broken) (out []figure) {
	ours := r.tally(s.watchers[0], faults)
	mostly := pageFaults
	if s.name == "fast" {
		mostly = quickOnes
	}
	add := func(what, unit, peer string, us, them float64) {
		out = append(out, figure{"page." + s.name + "_" + what, unit, peer, us, them})
	}
	times := func(peer string, theirs tally) {
		add("p50", "s", peer, percentile(ours.of(mostly...), 50), percentile(theirs.of(mostly...), 50))
		add("p50_all", "s", peer, percentile(ours.of(pageFaults...), 50), percentile(theirs.of(pageFaults...), 50))
		add("p99", "s", peer, percentile(ours.of(pageFaults...), 99), percentile(theirs.of(pageFaults...), 99))
		for _, m := range pageFaults {
			add("p50_"+string(m), "s", peer, percentile(ours.took[m], 50), percentile(theirs.took[m], 50))
			add("p90_"+string(m), "s", peer, percentile(ours.took[m], 90), percentile(theirs.took[m], 90))
		}
		add("resolve_p50", "s", peer, percentile(ours.back, 50), percentile(theirs.back, 50))
	}
	n := float64(len(faults))
	blips, _ := r.hook.between(s.watchers[0], "", begin, blipped)
	for _, peer := range s.watchers[1:] {
		theirs := r.tally(peer, faults)
		times(peer, theirs)
		add("pages_per_fault", "", peer, float64(ours.pages)/n, float64(theirs.pages)/n)
		add("resolves_per_fault", "", peer, float64(ours.resolves)/n, float64(theirs.resolves)/n)
		add("faults_missed", "", peer, float64(ours.missed), float64(theirs.missed))
		add("faults_not_told_once", "", peer, float64(ours.notOnce), float64(theirs.notOnce))
		wrong, _ := r.hook.between(peer, "", begin, blipped)
		add("blips", "", peer, float64(len(blips)), float64(len(wrong)))
	}
	add("faults", "", "", n, 0)
	for _, f := range slices.Clone(out) {
		if limit, ok := pageLimits[strings.TrimPrefix(f.what, "page.")]; ok && f.peer == s.watchers[1] {
			add(strings.TrimPrefix(f.what, "page."+s.name+"_"), f.unit, "limit", f.ours, limit)
		}
	}
	return out
}
