package uplink

import (
	"maps"
	"sync"
)

// counts is a set of counters by name. Beyond a number of names all others are counted together, so that no peer can make it grow.
type counts struct {
	mu   sync.Mutex
	by   map[string]uint64
	most int
}

// others is the name under which counts puts what it has no room for.
const others = "other"

func newCounts(most int) *counts { return &counts{by: make(map[string]uint64), most: most} }

func (c *counts) add(name string) { c.addN(name, 1) }

func (c *counts) addN(name string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.by[name]; !ok && len(c.by) >= c.most {
		name = others
	}
	c.by[name] += n
}

func (c *counts) snapshot() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}
