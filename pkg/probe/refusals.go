package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// refusals counts, for each account that several checks of this agent use, the refusals that none of them has made good since:
// whoever locks accounts counts them together, too.
var refusals = refusalCounts{of: map[string]map[string]int{}}

// maxRefusedAccounts bounds what is remembered; an account beyond it is guarded by each of its checks for itself.
const maxRefusedAccounts = 4096

type refusalCounts struct {
	mu sync.Mutex
	of map[string]map[string]int // by account and check
}

// add counts refusals that a check met with.
func (c *refusalCounts) add(account, name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[account] == nil && n > 0 && len(c.of) < maxRefusedAccounts {
		c.of[account] = map[string]int{}
	}
	if by := c.of[account]; by != nil && n > 0 {
		by[name] += n
	}
}

// recall counts what a check has met with before it was opened anew, unless it is counted.
func (c *refusalCounts) recall(account, name string, n int) {
	c.mu.Lock()
	missing := n - c.of[account][name]
	c.mu.Unlock()
	c.add(account, name, missing)
}

// drop forgets a check's, which a person has looked into.
func (c *refusalCounts) drop(account, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.of[account], name); len(c.of[account]) == 0 {
		delete(c.of, account)
	}
}

// total is the count of all its checks, and who has some.
func (c *refusalCounts) total(account string) (all int, by []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.of[account] {
		all += k
	}
	return all, slices.Sorted(maps.Keys(c.of[account]))
}

// forget is called after a login that was taken.
func (c *refusalCounts) forget(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, account)
}

// shared names the account by where it is and what opens it, which checks with one account have in common. It never leaves memory.
func (a *account) shared(secrets map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q\n", a.host)
	for _, v := range slices.Sorted(maps.Values(secrets)) {
		fmt.Fprintf(&b, "%q\n", v)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

func hostOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	return u.Host
}
