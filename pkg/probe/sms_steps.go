package probe

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/sms"
)

// smsBeat keeps a session alive that waits for a report; smsLook is how often the office is looked into meanwhile.
const (
	smsBeat = 30 * time.Second
	smsLook = 500 * time.Millisecond
)

// M2. No answer means that nobody can send; a refusal concerns this account only.
func (r *smsRun) login(*check.Step) *smsFault {
	if standing := r.memory.locked(time.Now()); standing != nil {
		return standing
	}
	p, err := r.wire.Ask(r.codec.Login, sms.LoggedIn, r.sms.Answer)
	if err != nil {
		r.broken = true
		return smsTrouble(r.blame("no login", err), check.Down)
	}
	if bad := r.refusal(p); bad != nil {
		bad.status = int(p.Status)
		return bad
	}
	r.loggedIn = true
	r.memory.loggedIn()
	return nil
}

// refusal is nil for a login that was taken.
func (r *smsRun) refusal(p sms.Packet) *smsFault {
	now := time.Now()
	switch {
	case p.Good():
		return nil
	case p.Cause == sms.Throttled:
		return r.memory.flowControl(now, failed(check.ClassStatus, "flow control: %s", p.Word))
	case p.Cause == sms.Busy:
		return smsTrouble(unable(check.ClassSetup, "the account is logged in elsewhere (%s): give each agent one of its own", p.Word), "")
	}
	return r.memory.loginRefused(now, p.Cause == sms.Credentials, failed(check.ClassAuth, "refused: %s", p.Word))
}

// M3.
func (r *smsRun) keepalive(*check.Step) *smsFault {
	p, err := r.wire.Ask(r.codec.Keepalive, sms.Alive, r.sms.Answer)
	if err != nil {
		r.broken = true
		return smsTrouble(r.blame("no round trip", err), check.Partial)
	}
	if !p.Good() {
		return smsTrouble(failed(check.ClassStatus, "refused: %s", p.Word), check.Partial)
	}
	return nil
}

// M4.
func (r *smsRun) submit(*check.Step) *smsFault { return r.send() }

// send sends a message to the number whose turn it is.
func (r *smsRun) send() *smsFault {
	number := r.memory.number(r.sms.Numbers)
	if err := r.memory.spend(time.Now(), r.budget); err != nil {
		return smsTrouble(unable(check.ClassSetup, "%v", err), "")
	}
	text := strings.ReplaceAll(r.sms.Text, check.Nonce, newNonce())
	p, err := r.wire.Ask(func(seq uint32) ([]byte, error) { return r.codec.Submit(seq, number, text) }, sms.Submitted, r.sms.Answer)
	now := time.Now()
	switch {
	case err != nil:
		f := r.blame("message to "+maskNumber(number)+" not taken", err)
		r.broken = f.class != check.ClassTimeout
		return smsTrouble(f, r.memory.submitFailed(now))
	case p.Cause == sms.Throttled:
		return r.memory.flowControl(now, failed(check.ClassStatus, "flow control: %s", p.Word))
	case !p.Good():
		bad := smsTrouble(failed(check.ClassStatus, "message to %s refused: %s", maskNumber(number), p.Word), r.memory.submitFailed(now))
		bad.status = int(p.Status)
		return bad
	case p.ID == "":
		return smsTrouble(failed(check.ClassContent, "message to %s taken without an id", maskNumber(number)), r.memory.submitFailed(now))
	}
	r.memory.submitted()
	r.memory.took(p.ID)
	r.id, r.number, r.at = p.ID, number, now
	return nil
}

// M5. A handset that is switched off is no fault of the platform, so the next number is tried before one that was not reached
// counts. A report that does not come at all is the platform's fault.
func (r *smsRun) report(s *check.Step) *smsFault {
	report, bad := r.await()
	if bad == nil && report.Stat != sms.Delivered {
		first := fmt.Sprintf("%s: %s", maskNumber(r.number), check.Clip(report.Stat, 16))
		r.memory.skip()
		if bad = r.send(); bad == nil {
			report, bad = r.await()
		}
		switch {
		case bad != nil:
			bad.reason = first + "; then " + bad.reason
		case report.Stat != sms.Delivered:
			bad = smsTrouble(failed(check.ClassContent, "not delivered: %s; %s: %s", first, maskNumber(r.number), check.Clip(report.Stat, 16)), check.Partial)
		}
	}
	switch {
	case bad == nil:
		s.Duration = max(report.At.Sub(r.at), time.Microsecond)
		r.memory.reported(true)
	case bad.outcome == check.Fail:
		bad.trouble = r.memory.reported(false)
		r.memory.skip()
	}
	return bad
}

// await hears the session, and what other sessions of the account hear, until the last word on the message has come.
func (r *smsRun) await() (sms.Report, *smsFault) {
	reports, done := r.office.await(r.id)
	defer done()
	until, beat := time.Now().Add(r.sms.Report), time.Now().Add(smsBeat)
	for {
		select {
		case report := <-reports:
			return report, nil
		default:
		}
		now := time.Now()
		if !now.Before(until) {
			return sms.Report{}, smsTrouble(failed(check.ClassTimeout, "no delivery report from %s within %v", maskNumber(r.number), r.sms.Report), check.Partial)
		}
		if err := r.hear(now, until, &beat); err != nil {
			r.broken = true
			return sms.Report{}, smsTrouble(r.blame("no delivery report from "+maskNumber(r.number), err), check.Partial)
		}
	}
}

// hear reads one packet, or none for a while.
func (r *smsRun) hear(now, until time.Time, beat *time.Time) error {
	if !now.Before(*beat) {
		*beat = now.Add(smsBeat)
		if _, err := r.wire.Send(r.codec.Keepalive); err != nil {
			return err
		}
	}
	look := now.Add(smsLook)
	if until.Before(look) {
		look = until
	}
	p, err := r.wire.Next(look)
	switch {
	case err != nil && isTimeout(err) && r.ctx.Err() == nil:
		return nil
	case err == nil && p.Act == sms.Ended:
		return sms.ErrEnded
	}
	return err
}

// M7. A session that is not ended cleanly may stay open on the platform, where their number is limited.
func (r *smsRun) terminate(*check.Step) *smsFault {
	p, err := r.wire.Ask(r.codec.Terminate, sms.Terminated, r.sms.Answer)
	var bad *smsFault
	switch {
	case err != nil:
		bad = smsTrouble(r.blame("not ended cleanly", err), check.Warning)
	case !p.Good():
		bad = smsTrouble(failed(check.ClassStatus, "not ended cleanly: %s", p.Word), check.Warning)
	}
	if bad == nil {
		r.found("terminate", "", "", 0)
	} else if bad.outcome == check.Fail {
		r.found("terminate", "minor", bad.reason, 0)
	}
	return bad
}

// M6 (levels of DOMAIN 1.3: by the days that are left).
func (r *smsRun) readBalance(*check.Step) *smsFault {
	b := r.sms.Balance
	n, bad := r.balance.numbers(r.ctx, r.sms.Answer, b.JSON)
	if bad != nil {
		if bad.outcome == check.Fail {
			r.found("balance", "minor", "cannot be read: "+bad.reason, 0)
		}
		return smsTrouble(bad, check.Warning)
	}
	r.attempt.Values = []float64{n[0]}
	level, days := "", n[0]/b.Daily
	switch {
	case n[0] <= 0:
		level = "urgent"
	case days < 1:
		level = "general"
	case days < 7:
		level = "minor"
	}
	r.found("balance", level, fmt.Sprintf("%.0f messages left, %.1f days of usual use", n[0], days), n[0])
	return nil
}

// readLog judges by the platform's own send log. A log that cannot be read says nothing of the messages.
func (r *smsRun) readLog(s *check.Step) *smsFault {
	l := r.sms.Log
	paths := []string{l.Sent, l.Delivered}
	if l.Delay != "" {
		paths = append(paths, l.Delay)
	}
	n, bad := r.log.numbers(r.ctx, r.sms.Answer, paths...)
	if bad != nil {
		return smsTrouble(unable(check.ClassSetup, "the send log cannot be read: %s", bad.reason), "")
	}
	switch share := n[1] / max(n[0], 1); {
	case n[0] < l.Enough:
	case share < 0.5:
		return smsTrouble(failed(check.ClassContent, "%.0f of %.0f messages delivered", n[1], n[0]), check.Down)
	case share < l.Least:
		return smsTrouble(failed(check.ClassContent, "%.0f of %.0f messages delivered, want %.0f %%", n[1], n[0], 100*l.Least), check.Partial)
	case len(n) > 2 && n[2] > r.sms.Slow.Report.Seconds():
		r.slow = fmt.Sprintf("%s: reports come after %.0f s, slow from %v", s.Name, n[2], r.sms.Slow.Report)
	}
	return nil
}

// countStrays warns when the account is not ours alone: the reports that came to us are lost to the others.
func (r *smsRun) countStrays() {
	now := time.Now()
	n := r.office.foreign(now)
	switch {
	case n > 0:
		r.found("account", "minor", fmt.Sprintf("%d delivery reports of messages that were not sent from here: others use this account, and lose them", n), float64(n))
	case !r.memory.strayed(now, 0):
		r.found("account", "", "", 0)
	}
	r.memory.strayed(now, n)
}

// blame turns what ended a wait into a fault.
func (r *smsRun) blame(doing string, err error) *fault {
	switch {
	case errors.Is(err, sms.ErrPacket), errors.Is(err, sms.ErrFlood), errors.Is(err, errTooMuch):
		return failed(check.ClassContent, "%s: %v", doing, err)
	case errors.Is(err, sms.ErrEnded):
		return failed(check.ClassReset, "%s: %v", doing, err)
	case isTimeout(err) && r.ctx.Err() == nil:
		return failed(check.ClassTimeout, "%s: no answer in time", doing)
	}
	return blame(r.ctx, doing, err, check.ClassReset)
}
