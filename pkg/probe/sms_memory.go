package probe

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"xunjian/pkg/check"
)

// How refusals weigh (DOMAIN 1.3). Checks of this kind are made minutes apart, so their meaning over time is kept here and
// not with the collector: it is what this account on this host has been through since the agent began to ask.
// It is kept on disk too, so that a restart spends no message twice and forgets no refusal.
const (
	smsRefusedLong   = 15 * time.Minute // no message accepted for so long: nobody can send
	smsThrottledLong = 30 * time.Minute // flow control for so long is a fault of the platform
	smsLockGuard     = 2                // logins refused in a row before the account is left alone …
	smsQuiet         = 5 * time.Minute  // … for so long
	smsLastReports   = 6
	smsLastOwn       = 16
	smsMissingMost   = 3 // of the last reports: half of them
	smsStrayMemory   = 24 * time.Hour
)

// smsMemory is what attempts know of those before them.
type smsMemory struct {
	file string // empty: nothing is kept

	mu sync.Mutex
	smsPast
}

// smsPast is what is kept. Whatever is of another account, platform or protocol is not ours, but for the messages that were sent.
type smsPast struct {
	Account   string       `json:"account"`
	Worked    bool         `json:"worked,omitempty"`
	Refusals  int          `json:"refusals,omitempty"`
	Quiet     time.Time    `json:"quiet,omitzero"`     // no login before
	Standing  *smsStanding `json:"standing,omitempty"` // the last refusal, which stands until the next login
	Refused   time.Time    `json:"refused,omitzero"`   // since when no message is accepted
	Throttled time.Time    `json:"throttled,omitzero"` // since when there is nothing but flow control
	Missing   []bool       `json:"missing,omitempty"`  // of the last reports
	Sent      []time.Time  `json:"sent,omitempty"`     // messages of the last 24 hours
	Turn      int          `json:"turn,omitempty"`     // of the numbers
	Stray     time.Time    `json:"stray,omitzero"`
	Own       []string     `json:"own,omitempty"` // the last messages, whose reports may still come
}

// smsStanding is a refusal as it is kept.
type smsStanding struct {
	Outcome check.Outcome `json:"outcome"`
	Class   check.Class   `json:"class"`
	Trouble check.Trouble `json:"trouble,omitempty"`
	Reason  string        `json:"reason"`
}

// recall takes up what was kept under the state folder by a check of this name.
func (m *smsMemory) recall(state, name, account string) {
	m.Account = account
	if state == "" {
		return
	}
	m.file = filepath.Join(state, "sms", name+".json")
	var past smsPast
	if !recallState(m.file, &past) {
		return
	}
	if past.Account != account {
		past = smsPast{Account: account, Sent: past.Sent}
	}
	past.Missing, past.Own = lastOf(past.Missing, smsLastReports), lastOf(past.Own, smsLastOwn)
	m.smsPast = past
}

// keep is called with the lock held.
func (m *smsMemory) keep() error {
	if m.file == "" {
		return nil
	}
	return keepState(m.file, m.smsPast)
}

// keepAnyway keeps what this process knows even where the disk does not take it.
func (m *smsMemory) keepAnyway() { _ = m.keep() }

// locked is the refusal that stands while the account is left alone.
func (m *smsMemory) locked(now time.Time) *smsFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Standing == nil || !now.Before(m.Quiet) {
		return nil
	}
	return &smsFault{
		fault: fault{
			outcome: m.Standing.Outcome, class: m.Standing.Class,
			reason: m.Standing.Reason + "; not tried again before " + m.Quiet.Format("15:04:05") + ", so that the account is not locked",
		},
		trouble: m.Standing.Trouble,
	}
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
	if !m.Worked {
		out.outcome, out.trouble = check.Unknown, ""
		out.reason += "; it has not worked since this agent began to ask: look at sms.user and the secret password"
	}
	if m.Refusals++; m.Refusals >= smsLockGuard {
		m.Quiet = now.Add(smsQuiet)
		m.Standing = &smsStanding{out.outcome, out.class, out.trouble, out.reason}
	}
	m.keepAnyway()
	return out
}

func (m *smsMemory) loggedIn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Worked && m.Refusals == 0 && m.Standing == nil {
		return
	}
	m.Worked, m.Refusals, m.Standing = true, 0, nil
	m.keepAnyway()
}

// flowControl is unknown first: the platform works, only not for us now.
func (m *smsMemory) flowControl(now time.Time, f *fault) *smsFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Throttled.IsZero() {
		m.Throttled = now
		m.keepAnyway()
	}
	out := &smsFault{fault: *f}
	out.outcome = check.Unknown
	if now.Sub(m.Throttled) >= smsThrottledLong {
		out.outcome, out.trouble = check.Fail, check.Partial
	}
	return out
}

func (m *smsMemory) submitFailed(now time.Time) check.Trouble {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Refused.IsZero() {
		m.Refused = now
		m.keepAnyway()
	}
	if now.Sub(m.Refused) >= smsRefusedLong {
		return check.Down
	}
	return check.Partial
}

func (m *smsMemory) submitted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Refused.IsZero() && m.Throttled.IsZero() {
		return
	}
	m.Refused, m.Throttled = time.Time{}, time.Time{}
	m.keepAnyway()
}

// took notes a message of ours, so that its report is not taken for others' after a restart.
func (m *smsMemory) took(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Own = lastOf(append(m.Own, id), smsLastOwn)
	m.keepAnyway()
}

// reported weighs a report that came or did not.
func (m *smsMemory) reported(good bool) check.Trouble {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Missing = lastOf(append(m.Missing, !good), smsLastReports)
	m.keepAnyway()
	if good {
		return ""
	}
	n := 0
	for _, missed := range m.Missing {
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
	return of[m.Turn%len(of)]
}

// skip leaves a number that was not reached alone until it is its turn again.
func (m *smsMemory) skip() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Turn++
	m.keepAnyway()
}

// spend takes one message off the budget of the last 24 hours. Where that cannot be kept nothing is spent: a disk that is full
// must not send message after message.
func (m *smsMemory) spend(now time.Time, budget int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.Sent) > 0 && now.Sub(m.Sent[0]) >= 24*time.Hour {
		m.Sent = m.Sent[1:]
	}
	if len(m.Sent) >= budget {
		return fmt.Errorf("the budget of %d messages in 24 hours is spent", budget)
	}
	m.Sent = append(m.Sent, now.UTC().Truncate(time.Millisecond))
	if err := m.keep(); err != nil {
		m.Sent = m.Sent[:len(m.Sent)-1]
		return fmt.Errorf("no message is sent, for the budget cannot be kept: %w", err)
	}
	return nil
}

// strayed says whether reports of others came in lately.
func (m *smsMemory) strayed(now time.Time, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > 0 {
		m.Stray = now
		m.keepAnyway()
	}
	return !m.Stray.IsZero() && now.Sub(m.Stray) < smsStrayMemory
}
