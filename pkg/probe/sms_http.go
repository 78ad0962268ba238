package probe

import (
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// weigh has a message that went through an HTTP gateway weigh as one of a session does (DOMAIN 1.3, M4 and M5). A failure
// that its flow calls worse than partial, such as no answer at all, stays as it is, but counts too.
func (m *smsMemory) weigh(st check.FlowStep, bad *flow.Fault) {
	now := time.Now()
	switch {
	case bad != nil && bad.NotNow:
		f := m.flowControl(now, failed(check.ClassStatus, "%s", bad.Reason))
		bad.Outcome, bad.Trouble = f.outcome, f.trouble
		if f.outcome == check.Fail {
			bad.Class = f.class
		}
	case bad != nil && bad.Outcome != check.Fail:
		return // it could not be tried
	case st.Message == check.MessageSubmit && bad == nil:
		m.submitted()
	case st.Message == check.MessageSubmit:
		bad.Trouble = worse(bad.Trouble, m.submitFailed(now))
	case st.Message == check.MessageReport && bad == nil:
		m.reported(true)
	case st.Message == check.MessageReport:
		bad.Trouble = worse(bad.Trouble, m.reported(false))
	}
}

// worse is down when the failure has come to that.
func worse(said, weighed check.Trouble) check.Trouble {
	if weighed == check.Down {
		return weighed
	}
	return said
}
