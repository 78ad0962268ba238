package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/contract"
	"xunjian/pkg/symptom"
)

// Grouping (R12). A service stands on the hosts and services that it needs; what fails with one of them is the same fault,
// whichever was noticed first. The deepest that fails is the cause: its incident counts and is told, the others are listed
// under it.

// GroupWithin is how far apart two faults may begin to be one. What lies behind something that is down belongs to it as
// long as that lasts.
const GroupWithin = 5 * time.Minute

// estate knows what stands on what: nodes are "service/<name>" and "host/<name>".
type estate struct {
	below map[string][]below  // of a service, the deepest first
	above map[string][]string // services that stand on a node, directly or not
}

// below is a node on which another stands, at the longest way to it.
type below struct {
	node  string
	depth int
}

func newEstate(services []check.Service) estate {
	e := estate{below: map[string][]below{}, above: map[string][]string{}}
	direct := map[string][]string{}
	for _, s := range services {
		n := serviceNode(s.Name)
		for _, on := range s.Needs {
			direct[n] = append(direct[n], serviceNode(on))
		}
		for _, h := range s.Hosts {
			direct[n] = append(direct[n], "host/"+h)
		}
	}
	for _, s := range services {
		n := serviceNode(s.Name)
		depth := map[string]int{}
		descend(direct, n, 0, depth)
		delete(depth, n)
		for on, d := range depth {
			e.below[n] = append(e.below[n], below{on, d})
			e.above[on] = append(e.above[on], n)
		}
		slices.SortFunc(e.below[n], func(a, b below) int { return cmp.Or(cmp.Compare(b.depth, a.depth), strings.Compare(a.node, b.node)) })
	}
	return e
}

// descend notes the longest way to each node. Configurations hold no circle; one that did would end at its length.
func descend(direct map[string][]string, n string, d int, depth map[string]int) {
	if was, ok := depth[n]; ok && was >= d || d > len(direct)+1 {
		return
	}
	depth[n] = d
	for _, on := range direct[n] {
		descend(direct, on, d+1, depth)
	}
}

func serviceNode(name string) string { return "service/" + name }

// node is the place of a fault.
func (r Record) node() string {
	if r.Service == "host" {
		host, _, _ := strings.Cut(r.Component, " ") // "web-1 /data"
		return "host/" + host
	}
	return serviceNode(r.Service)
}

// outages are the classes of a thing that hides whatever lies behind it.
var outages = []symptom.Class{symptom.Down, symptom.Unusable, symptom.Silent}

// causes are the classes that make what stands on them fail.
var causes = append([]symptom.Class{symptom.Wrong, symptom.Partial, symptom.Slow, symptom.Host}, outages...)

// failingSince is the desk's time at which the fault began, or came back.
func (r Record) failingSince() time.Time {
	since := r.FaultStart
	for _, s := range r.History.Steps {
		if s.Kind == contract.Failing && s.At.After(since) {
			since = s.At
		}
	}
	return r.desk(since)
}

// explains says whether a fault can be the cause of another below whose place it lies.
func explains(c, v Record) bool {
	if c.ID == v.ID || !c.Open() || !slices.Contains(causes, c.LastClass) || contract.General.Graver(c.Level) {
		return false
	}
	if c.node() == v.node() && (c.Key != serviceKey(c.Service) || v.Key == c.Key) {
		return false // of one service, what its checks say together explains what else is noticed there
	}
	from, since := c.failingSince(), v.failingSince()
	if good := c.desk(c.VerifyingSince); !good.IsZero() && since.After(good) {
		return false
	}
	apart := since.Sub(from)
	return apart.Abs() <= GroupWithin || apart > 0 && slices.Contains(outages, c.LastClass)
}

// relate lets incidents take notice of what has happened to others, until nothing more follows from it. Time passes for each
// that changes: what was due before a change would else not be looked for after it.
func (b *batch) relate() error {
	for again := true; again; {
		again = false
		for i := 0; i < len(b.order); i++ {
			w := b.order[i]
			if w.related == len(w.events) {
				continue
			}
			again = true
			for ; w.related < len(w.events); w.related++ {
				if err := b.notice(w, w.events[w.related]); err != nil {
					return err
				}
			}
			w.settle(w.now)
		}
	}
	return nil
}

// notice does to other incidents what follows from one event.
func (b *batch) notice(w *draft, e Event) error {
	switch e.Kind {
	case EventOpened, EventReopened, EventRefused, EventSeen, EventEscalated, EventSplit:
		if e.Kind == EventReopened && len(w.rec.Children) > 0 {
			if err := b.gather(w); err != nil {
				return err
			}
		}
		if w.rec.Open() {
			return b.place(w)
		}
		if w.rec.Failing() {
			return b.orphan(w, w.rec.Parent)
		}
	case EventRecovered, EventFalse:
		for _, id := range w.rec.Children {
			child, err := b.draft(id)
			if err == nil {
				err = b.orphan(child, w.rec.ID)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// place finds the cause of a fault that stands by itself, or else what it is the cause of.
func (b *batch) place(w *draft) error {
	if w.rec.Alone {
		return nil
	}
	cause, err := b.causeOf(w, "")
	if err != nil {
		return err
	}
	if cause != nil {
		return b.join(w, cause, Event{})
	}
	for _, v := range b.at(append([]string{w.rec.node()}, b.d.estate.above[w.rec.node()]...)...) {
		child, err := b.draft(v)
		if err != nil {
			return err
		}
		if child.rec.Open() && !child.rec.Alone && explains(w.rec, child.rec) {
			if err := b.join(child, w, Event{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// causeOf is the deepest failing cause of a fault, of several the first; nil when there is none but the one excepted.
func (b *batch) causeOf(w *draft, but string) (best *draft, err error) {
	n, depth := w.rec.node(), 0
	for _, on := range append(slices.Clone(b.d.estate.below[n]), below{n, 0}) {
		if best != nil && on.depth < depth {
			break
		}
		for _, id := range b.at(on.node) {
			c, err := b.draft(id)
			if err != nil {
				return nil, err
			}
			if id == but || c.rec.Parent != "" || !explains(c.rec, w.rec) {
				continue
			}
			if best == nil || cmp.Or(c.rec.failingSince().Compare(best.rec.failingSince()), strings.Compare(id, best.rec.ID)) < 0 {
				best, depth = c, on.depth
			}
		}
	}
	return best, nil
}

// at are the incidents that fail at some places, stored or in this batch, in the order of their numbers.
func (b *batch) at(nodes ...string) (ids []string) {
	for _, n := range nodes {
		for id := range b.d.failing[n] {
			ids = append(ids, id)
		}
		ids = append(ids, b.places[n]...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// join lists an incident under another; by says who does it. What was listed under it goes along.
func (b *batch) join(child, parent *draft, by Event) error {
	c := child.rec
	family := []*draft{child}
	for _, id := range c.Children {
		w, err := b.draft(id)
		if err != nil {
			return err
		}
		if w != parent {
			family = append(family, w)
		}
	}
	for _, w := range family {
		if w != child {
			child.add(Event{Kind: EventLeft, Other: w.rec.ID})
		}
		carried := w.rec.carried(parent.rec)
		e := by
		e.Kind, e.Other = EventMerged, parent.rec.ID
		w.add(e)
		e.Kind, e.Other, e.Carried = EventJoined, w.rec.ID, &carried
		parent.add(e)
		if parent.rec.Open() {
			parent.raise(w.rec.Level, parent.rec.own(w.rec.failingSince()), w.rec.ID+" "+w.rec.Detail)
		}
	}
	parent.settle(parent.now)
	return nil
}

// carried is what another record may take over, in that one's time.
func (r Record) carried(to Record) Carried {
	in := func(t time.Time) time.Time { return to.own(r.desk(t)) }
	return Carried{DetectedAt: in(r.History.Detected), ReportedAt: in(r.History.Reported), AckAt: in(r.AckAt), AckBy: r.AckBy, AckVia: r.AckVia}
}

// orphan sees what becomes of a fault whose parent may be over. One that nobody watches is over with it; one that is good
// by now goes on being verified; the others find another cause, or stand by themselves when they are not good in time.
func (b *batch) orphan(w *draft, parent string) error {
	p, err := b.draft(parent)
	if err != nil || !w.rec.Failing() || w.rec.Parent != parent || p.rec.Failing() {
		return err
	}
	if !w.rec.Linked {
		w.recovered(Event{Of: w.rec.own(later(p.rec.desk(p.rec.RecoveredAt), w.rec.failingSince()))})
		return nil
	}
	if w.rec.VerifyingSince.IsZero() {
		other, err := b.causeOf(w, parent)
		if err != nil {
			return err
		}
		if other != nil {
			p.add(Event{Kind: EventLeft, Other: w.rec.ID})
			return b.join(w, other, Event{})
		}
	}
	if w.rec.LeaveBy.IsZero() {
		until := later(w.now, w.rec.own(p.rec.desk(p.rec.RecoveredAt)).Add(max(w.rec.Terms.VerifyTime(w.rec.Level), b.d.patience(w.rec.Service))))
		w.add(Event{Kind: EventOrphaned, Other: parent, Until: until})
	}
	w.settle(w.now)
	return nil
}

// gather takes those back who have not left yet: the parent fails again.
func (b *batch) gather(w *draft) error {
	for _, id := range w.rec.Children {
		child, err := b.draft(id)
		if err != nil {
			return err
		}
		if child.rec.Parent == w.rec.ID && !child.rec.LeaveBy.IsZero() {
			child.add(Event{Kind: EventMerged, Other: w.rec.ID})
		}
	}
	return nil
}

// leave makes an incident stand by itself; e says when and who says so.
func (w *draft) leave(e Event) {
	e.Kind, e.Other = EventSplit, w.rec.Parent
	p, err := w.b.draft(w.rec.Parent)
	if err == nil {
		carried := p.rec.carried(w.rec)
		e.Carried = &carried
	}
	w.add(e)
	if err == nil {
		p.add(Event{Kind: EventLeft, Other: w.rec.ID, Person: e.Person, Via: e.Via})
	}
}
