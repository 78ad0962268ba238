package tsdb

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"xunjian/pkg/metric"
)

// agent is what is known of one sender. Its fields belong to catalog.mu.
type agent struct {
	name    string
	dropped drops
	series  int
	columns int // series counted once for each schema that a stream uses
	seen    seen
	refused [outcomes]uint64
}

// entry is one series of one stream with its columns, one per schema that has it.
type entry struct {
	series  metric.Series // with the stream's labels
	stream  *stream
	order   int      // among the stream's entries
	columns []column // grows under catalog.mu: see catalog.now
}

type column struct {
	schema uint32
	at     int
}

// catalog is the index in memory: who sends what. It holds no samples.
type catalog struct {
	limits Limits

	mu       sync.RWMutex
	agents   map[string]*agent
	streams  map[string]*stream // by streamDef.key
	byID     map[uint32]*stream
	schemas  map[schemaHash]*schema
	schemaID map[uint32]*schema
	byName   map[string][]*entry // by metric name
	entries  int
	columns  int
	sparse   int // streams that are sparse
}

// schemaShare bounds the columns of all schemas in use by the series allowed, for a sender that
// brings the same series in ever new combinations.
const schemaShare = 40

func newCatalog(l Limits) *catalog {
	return &catalog{
		limits: l, agents: map[string]*agent{}, streams: map[string]*stream{}, byID: map[uint32]*stream{},
		schemas: map[schemaHash]*schema{}, schemaID: map[uint32]*schema{}, byName: map[string][]*entry{},
	}
}

// streamDef is what makes a stream: its lasting name.
type streamDef struct {
	Agent   string         `json:"agent"`
	Kind    string         `json:"kind"`
	EveryMS int64          `json:"every_ms"`
	Labels  []metric.Label `json:"labels,omitempty"`
	Sparse  bool           `json:"sparse,omitempty"`
}

func (d streamDef) key() string { return string(d.appendKey(nil)) }

// appendKey writes the parts with their lengths, so that no two streams have the same key.
func (d streamDef) appendKey(b []byte) []byte {
	part := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	part(d.Agent)
	part(d.Kind)
	b = binary.AppendVarint(b, d.EveryMS)
	for _, l := range d.Labels {
		part(l.Name)
		part(l.Value)
	}
	if d.Sparse {
		b = append(b, 0) // no label has an empty name
	}
	return b
}

// resolved is a report that has found its place.
type resolved struct {
	agent  *agent
	stream *stream
	schema *schema
	values []float64
	// dropped is how many series of the report were left out.
	dropped int
}

// drops counts what caps kept out of an agent's reports.
type drops struct {
	samples uint64
	last    int64 // ms of the newest report that lost any
}

// agent finds or makes the record of a sender.
func (c *catalog) agent(name string) (*agent, error) {
	c.mu.RLock()
	a := c.agents[name]
	c.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.agents) >= c.limits.Streams && c.agents[name] == nil {
		return nil, fmt.Errorf("agent %q is one too many: %w", name, ErrLimit)
	}
	return c.addAgent(name), nil
}

func (c *catalog) addAgent(name string) *agent {
	a := c.agents[name]
	if a == nil {
		a = &agent{name: strings.Clone(name)}
		c.agents[a.name] = a
	}
	return a
}

func (c *catalog) hasSeen(a *agent, boot, seq uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return a.seen.has(boot, seq)
}

// resolve finds stream and schema of a report, making them when they are new and within the limits. room is a slice that
// the values may take over.
func (c *catalog) resolve(a *agent, d streamDef, samples []metric.Sample, room []float64) (resolved, Outcome) {
	r := resolved{agent: a}
	var buf [256]byte
	key := d.appendKey(buf[:0])
	c.mu.RLock()
	r.stream = c.streams[string(key)]
	c.mu.RUnlock()
	if r.stream != nil {
		if l := r.stream.layout.Load(); l.fits(samples) {
			r.schema, r.values, r.dropped = l.schema, l.values(room, samples, d.Sparse), l.dropped
			return r, Stored
		}
	}
	l, all := newLayout(samples, c.limits)
	if len(all) == 0 && len(samples) > 0 || d.Sparse && len(all) < len(samples) || !validDef(d, c.limits.LabelBytes) {
		return r, BadSeries
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if refusal := c.admit(&r, d, string(key), l, all); refusal != Stored {
		return r, refusal
	}
	r.stream.layout.Store(r.schema.common(l))
	r.values, r.dropped = l.values(room, samples, d.Sparse), l.dropped
	return r, Stored
}

func validDef(d streamDef, maxBytes int) bool {
	return validSeries(metric.Series{Name: d.Kind, Labels: d.Labels}, maxBytes) && d.EveryMS >= 0
}

// admit makes what is missing, as far as the limits allow: series beyond them are left out. It makes nothing at all
// when no room is left for the stream, or for one more combination of series.
func (c *catalog) admit(r *resolved, d streamDef, key string, l *layout, all []kept) Outcome {
	r.stream = c.streams[key]
	if r.stream == nil && c.streamsLike(d) >= c.limits.Streams {
		return StreamLimit
	}
	share := c.share(d)
	// A sparse row is one sample, whose parts mean nothing alone: it fits or it does not.
	if all = c.fitting(r, share, all); len(all) == 0 && len(l.series) > 0 || d.Sparse && len(all) < len(l.series) {
		return SeriesLimit
	}
	sorted := l.assign(all)
	r.schema = c.schemas[hashSchema(sorted)]
	if r.schema != nil && r.stream != nil && r.stream.uses(r.schema.id) {
		l.schema = r.schema
		return Stored
	}
	if c.columns+len(sorted) > schemaShare*c.limits.Series || r.agent.columns+len(sorted) > schemaShare*share {
		return SeriesLimit
	}
	if r.schema == nil {
		r.schema = c.addSchema(c.nextSchema(), sorted)
	}
	if r.stream == nil {
		d.Agent, d.Kind = r.agent.name, strings.Clone(d.Kind)
		r.stream = c.addStream(c.nextStream(), d)
	}
	c.use(r.stream, r.schema)
	l.schema = r.schema
	return Stored
}

// share is how many series an agent may have. Rules bring all of theirs under one name, and have a bound of their own.
func (c *catalog) share(d streamDef) int {
	if d.Sparse {
		return c.limits.Series
	}
	return c.limits.AgentSeries
}

// streamsLike counts the streams that share a limit: series of rules do not keep agents out, nor the other way round.
func (c *catalog) streamsLike(d streamDef) int {
	if d.Sparse {
		return c.sparse
	}
	return len(c.streams) - c.sparse
}

// fitting leaves out new series for which there is no room.
func (c *catalog) fitting(r *resolved, share int, all []kept) []kept {
	room := min(c.limits.Series-c.entries, share-r.agent.series)
	return slices.DeleteFunc(all, func(k kept) bool {
		if r.stream != nil && r.stream.entries[k.text] != nil {
			return false
		}
		room--
		return room < 0
	})
}

func (c *catalog) nextSchema() uint32 { return nextID(c.schemaID) }
func (c *catalog) nextStream() uint32 { return nextID(c.byID) }

// nextID: ids run from 1 without holes, for nothing is ever taken out.
func nextID[V any](m map[uint32]V) uint32 {
	id := uint32(len(m) + 1)
	for {
		if _, taken := m[id]; !taken {
			return id
		}
		id++
	}
}

func (c *catalog) addSchema(id uint32, series []metric.Series) *schema {
	s := &schema{id: id, series: series, overflow: slices.IndexFunc(series, func(x metric.Series) bool { return x.Name == OverflowSeries })}
	for _, x := range series {
		s.texts = append(s.texts, shared(x.String()))
	}
	c.schemas[hashSchema(series)], c.schemaID[id] = s, s
	return s
}

func (c *catalog) addStream(id uint32, d streamDef) *stream {
	s := &stream{id: id, def: d, life: useRange{math.MaxInt64, math.MinInt64}, agent: c.addAgent(d.Agent), entries: map[string]*entry{}, columns: map[uint32][]*entry{}}
	c.streams[d.key()], c.byID[id] = s, s
	if d.Sparse {
		c.sparse++
	}
	return s
}

// use enters the series of a schema into the index of a stream, once.
func (c *catalog) use(st *stream, sc *schema) {
	if st.uses(sc.id) {
		return
	}
	st.schemas = append(st.schemas, sc.id)
	c.columns += len(sc.series)
	st.agent.columns += len(sc.series)
	columns := make([]*entry, len(sc.series))
	labels := map[string][]metric.Label{} // by how a series' own are written; many have none, or those of one device
	for i, s := range sc.series {
		text := sc.texts[i]
		e := st.entries[text]
		if e == nil {
			own := text[len(s.Name):]
			if _, ok := labels[own]; !ok {
				labels[own] = slices.Clip(withLabels(s, st.def.Labels).Labels)
			}
			e = &entry{series: metric.Series{Name: s.Name, Labels: labels[own]}, stream: st, order: len(st.entries)}
			st.entries[text] = e
			c.byName[s.Name] = append(c.byName[s.Name], e)
			if s.Name != OverflowSeries { // it takes no room from others
				c.entries++
				st.agent.series++
			}
		}
		e.columns = append(e.columns, column{sc.id, i})
		columns[i] = e
	}
	st.columns[sc.id] = columns
}

// uses belongs to catalog.mu.
func (s *stream) uses(schema uint32) bool { return slices.Contains(s.schemas, schema) }

// match finds the entries that pass all matchers.
func (c *catalog) match(ms []Matcher) []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []*entry
	take := func(list []*entry) {
		for _, e := range list {
			if matchAll(ms, e.series) {
				out = append(out, e)
			}
		}
	}
	for _, m := range ms {
		if m.Name == NameLabel && m.Type == Equal {
			take(c.byName[m.Value])
			return out
		}
	}
	for _, list := range c.byName {
		take(list)
	}
	return out
}

// entriesOf are the entries of a schema's columns in a stream; nil when the stream does not use it.
func (c *catalog) entriesOf(s *stream, schema uint32) []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return s.columns[schema]
}

// now copies entries as they are: an entry copied after a transaction began knows the columns of every block in it.
func (c *catalog) now(list []*entry) []entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]entry, len(list))
	for i, e := range list {
		out[i] = *e
	}
	return out
}

// inUse reports whether the entry's stream had a schema with it within a stretch of time.
func (c *catalog) inUse(e *entry, from, to int64) bool {
	e = &c.now([]*entry{e})[0]
	e.stream.mu.Lock()
	defer e.stream.mu.Unlock()
	for _, col := range e.columns {
		if u, ok := e.stream.used[col.schema]; ok && u.First <= to && u.Last >= from {
			return true
		}
	}
	return false
}

// at is the column of an entry in a schema, -1 when it has none.
func (e *entry) at(schema uint32) int {
	for i := len(e.columns) - 1; i >= 0; i-- { // the newest is wanted most
		if e.columns[i].schema == schema {
			return e.columns[i].at
		}
	}
	return -1
}

func (c *catalog) allStreams() []*stream {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*stream, 0, len(c.byID))
	for _, s := range c.byID {
		out = append(out, s)
	}
	return out
}
