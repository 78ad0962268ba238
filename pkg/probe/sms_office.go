package probe

import (
	"slices"
	"sync"
	"time"

	"xunjian/pkg/sms"
)

// Caps on what an office remembers.
const (
	maxSMSOwn    = 256
	maxSMSStrays = 64
	// A report may come before the answer that names its message; older ones that nobody claimed are foreign.
	smsClaimTime = 5 * time.Second
)

// smsOffice is where all sessions of one account on this host hand in the delivery reports they hear: a platform gives a
// report to whichever session it likes, so that of a message sent by the full check may come to the quick one.
type smsOffice struct {
	mu      sync.Mutex
	awaited map[string]chan sms.Report
	own     []string     // messages of this host, the last ones
	strays  []sms.Report // of messages not known, or not known yet
	tenants int
}

var smsOffices = struct {
	sync.Mutex
	open map[string]*smsOffice
}{open: map[string]*smsOffice{}}

// enterSMSOffice is undone by leaveSMSOffice.
func enterSMSOffice(account string) *smsOffice {
	smsOffices.Lock()
	defer smsOffices.Unlock()
	o := smsOffices.open[account]
	if o == nil {
		o = &smsOffice{awaited: map[string]chan sms.Report{}}
		smsOffices.open[account] = o
	}
	o.tenants++
	return o
}

func leaveSMSOffice(account string) {
	smsOffices.Lock()
	defer smsOffices.Unlock()
	if o := smsOffices.open[account]; o != nil {
		if o.tenants--; o.tenants == 0 {
			delete(smsOffices.open, account)
		}
	}
}

// know names messages that an earlier process sent.
func (o *smsOffice) know(ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = lastOf(append(o.own, ids...), maxSMSOwn)
}

// hand gives a report to whoever waits for it. A late one of our own says nothing new.
func (o *smsOffice) hand(r sms.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch waiting := o.awaited[r.ID]; {
	case waiting != nil && r.Final():
		select {
		case waiting <- r:
		default: // told twice
		}
	case waiting == nil && !slices.Contains(o.own, r.ID):
		o.strays = lastOf(append(o.strays, r), maxSMSStrays)
	}
}

func lastOf[T any](s []T, n int) []T {
	if len(s) > n {
		return append(s[:0], s[len(s)-n:]...)
	}
	return s
}

// await names a message whose report is waited for; done ends that.
func (o *smsOffice) await(id string) (report <-chan sms.Report, done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := make(chan sms.Report, 1)
	o.awaited[id] = c
	o.own = lastOf(append(o.own, id), maxSMSOwn)
	o.strays = slices.DeleteFunc(o.strays, func(r sms.Report) bool {
		if r.ID == id && r.Final() && len(c) == 0 {
			c <- r
		}
		return r.ID == id
	})
	return c, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.awaited, id)
	}
}

// foreign takes out the reports of messages that nobody here has sent, and counts them.
func (o *smsOffice) foreign(now time.Time) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.strays = slices.DeleteFunc(o.strays, func(r sms.Report) bool {
		old := now.Sub(r.At) >= smsClaimTime
		if old {
			n++
		}
		return old
	})
	return n
}
