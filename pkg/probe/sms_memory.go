package probe

import (
	"sync"
	"time"

	"xunjian/pkg/check"
)

// How refusals weigh (DOMAIN 1.3). Checks of this kind are made minutes apart, so their meaning over time is kept here and
// not with the collector: it is what this account on this host has been through since the agent began to ask.
const (
	smsRefusedLong   = 15 * time.Minute // no message accepted for so long: nobody can send
	smsThrottledLong = 30 * time.Minute // flow control for so long is a fault of the platform
	smsLockGuard     = 2                // logins refused in a row before the account is left alone …
	smsQuiet         = 5 * time.Minute  // … for so long
	smsLastReports   = 6
	smsMissingMost   = 3 // of the last reports: half of them
	smsStrayMemory   = 24 * time.Hour
)

// smsMemory is what attempts know of those before them.
type smsMemory struct {
	mu        sync.Mutex
	worked    bool
	refusals  int
	quiet     time.Time // no login before
	standing  *smsFault // the last refusal, which stands until the next login
	refused   time.Time // since when no message is accepted
	throttled time.Time // since when there is nothing but flow control
	missing   []bool    // of the last reports
	sent      []time.Time
	turn      int // of the numbers
	stray     time.Time
}

// locked is the refusal that stands while the account is left alone.
func (m *smsMemory) locked(now time.Time) *smsFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.standing == nil || !now.Before(m.quiet) {
		return nil
	}
	f := *m.standing
	f.reason += "; not tried again before " + m.quiet.Format("15:04:05") + ", so that the account is not locked"
	return &f
}

// loginRefused weighs a refusal: credentials that never worked are a fault of the check, those that did a fault that others
// may share.
func (m *smsMemory) loginRefused(now time.Time, credentials bool, f *fault) *smsFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &smsFault{fault: *f, trouble: check.Partial}
	if !credentials {
		return out
	}
	if !m.worked {
		out.outcome, out.trouble = check.Unknown, ""
		out.reason += "; it has not worked since this agent began to ask: look at sms.user and the secret password"
	}
	if m.refusals++; m.refusals >= smsLockGuard {
		standing := *out
		m.quiet, m.standing = now.Add(smsQuiet), &standing
	}
	return out
}

func (m *smsMemory) loggedIn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.worked, m.refusals, m.standing = true, 0, nil
}

// flowControl is unknown first: the platform works, only not for us now.
func (m *smsMemory) flowControl(now time.Time, f *fault) *smsFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.throttled.IsZero() {
		m.throttled = now
	}
	out := &smsFault{fault: *f}
	out.outcome = check.Unknown
	if now.Sub(m.throttled) >= smsThrottledLong {
		out.outcome, out.trouble = check.Fail, check.Partial
	}
	return out
}

func (m *smsMemory) submitFailed(now time.Time) check.Trouble {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused.IsZero() {
		m.refused = now
	}
	if now.Sub(m.refused) >= smsRefusedLong {
		return check.Down
	}
	return check.Partial
}

func (m *smsMemory) submitted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused, m.throttled = time.Time{}, time.Time{}
}

// reported weighs a report that came or did not.
func (m *smsMemory) reported(good bool) check.Trouble {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missing = lastOf(append(m.missing, !good), smsLastReports)
	if good {
		return ""
	}
	n := 0
	for _, missed := range m.missing {
		if missed {
			n++
		}
	}
	if n >= smsMissingMost {
		return check.Down
	}
	return check.Partial
}

// number is the one whose turn it is.
func (m *smsMemory) number(of []string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return of[m.turn%len(of)]
}

// skip leaves a number that was not reached alone until it is its turn again.
func (m *smsMemory) skip() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn++
}

// spend takes one message off the budget of the last 24 hours, if there is one left.
func (m *smsMemory) spend(now time.Time, budget int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.sent) > 0 && now.Sub(m.sent[0]) >= 24*time.Hour {
		m.sent = m.sent[1:]
	}
	if len(m.sent) >= budget {
		return false
	}
	m.sent = append(m.sent, now)
	return true
}

// strayed says whether reports of others came in lately.
func (m *smsMemory) strayed(now time.Time, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > 0 {
		m.stray = now
	}
	return !m.stray.IsZero() && now.Sub(m.stray) < smsStrayMemory
}
