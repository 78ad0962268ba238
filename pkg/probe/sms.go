package probe

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
	"xunjian/pkg/sms"
)

// The steps of DOMAIN 1.3, M1 to M7, and the one of account passive.
const (
	smsConnect   = "connect"
	smsLogin     = "login"
	smsKeepalive = "keepalive"
	smsSubmit    = "submit"
	smsReported  = "report"
	smsBalance   = "balance"
	smsTerminate = "terminate"
	smsSendLog   = "send-log"
)

// smsAsker asks a short message platform. Attempts of one check follow one another; those of two checks of one account may not.
type smsAsker struct {
	dialer
	sms     check.SMS
	budget  int
	codec   sms.Codec // nil for account passive
	wrong   sms.Codec // the same with a wrong password
	account string
	office  *smsOffice
	memory  smsMemory
	balance *smsQuery // nil for none
	log     *smsQuery // nil but for account passive
	secrets secrets
}

func newSMPP(spec check.Spec, env Env) (Asker, error) { return newSMS(spec, env, sms.NewSMPP) }

func newCMPP(spec check.Spec, env Env) (Asker, error) { return newSMS(spec, env, sms.NewCMPP) }

func smsAccount(m check.SMS, password string) sms.Account {
	return sms.Account{
		User: m.User, Password: password, From: m.From, Service: m.Service, System: m.System, Transmitter: m.Bind == check.SMSTransmitter, HexIDs: m.HexIDs, Version: m.Version,
	}
}

func newSMS(spec check.Spec, env Env, codec func(sms.Account) (sms.Codec, error)) (Asker, error) {
	host, port, err := net.SplitHostPort(spec.Target)
	if err != nil || host == "" || spec.SMS == nil {
		return nil, fmt.Errorf("target %s: not host:port, or no section sms", maskTarget(spec.Target))
	}
	m := spec.SMS.WithDefaults(spec.Timeout)
	a := &smsAsker{sms: m, budget: spec.Budget}
	if a.dialer, err = newDialer(spec, env, host, port); err != nil {
		return nil, err
	}
	if a.tls, err = tlsConfig(spec, host); err != nil {
		return nil, err
	}
	if m.Account == check.SMSSeparate {
		password, err := secretOf(spec, env, "password")
		if err != nil {
			return nil, err
		}
		a.secrets.add(password)
		if a.codec, err = codec(smsAccount(m, password)); err != nil {
			return nil, err
		}
		if a.wrong, err = codec(smsAccount(m, newNonce()[:8])); err != nil { // as long as SMPP has room for
			return nil, err
		}
	} else if a.log, err = newSMSQuery(spec, env, m.Log.URL, m.Log.Headers); err != nil {
		return nil, fmt.Errorf("sms.log: %w", err)
	}
	if m.Balance != nil {
		if a.balance, err = newSMSQuery(spec, env, m.Balance.URL, m.Balance.Headers); err != nil {
			return nil, fmt.Errorf("sms.balance: %w", err)
		}
	}
	a.account = strings.Join([]string{spec.Kind, spec.Target, m.User}, " ")
	a.office = enterSMSOffice(a.account)
	a.memory.recall(env.State, spec.Name, a.account)
	a.office.know(a.memory.Own)
	if a.wrong == nil {
		return a, nil
	}
	return controlledSMS{a}, nil
}

// controlledSMS logs in, and so can show that not everybody may.
type controlledSMS struct{ *smsAsker }

// Control logs in with a wrong password, which must be refused (DOMAIN 1.0 rule 3). It is made once a day and after a login that
// was taken, so that it is the only refusal between two good logins and locks no account.
func (a controlledSMS) Control(ctx context.Context) check.Attempt {
	r := &smsRun{smsAsker: a.smsAsker, ctx: ctx}
	r.step(smsLogin, 0, r.wrongLogin)
	return r.graded()
}

func (r *smsRun) wrongLogin(*check.Step) *smsFault {
	l, bad := r.open(r.ctx, startWatch())
	if bad != nil {
		return smsTrouble(unable(check.ClassSetup, "the control cannot be made: %s", bad.reason), "")
	}
	defer l.raw.Close()
	defer l.endWith(r.ctx)()
	r.speak(l, r.wrong)
	p, err := r.wire.Ask(r.wrong.Login, sms.LoggedIn, r.sms.Answer)
	switch {
	case err != nil && r.ctx.Err() != nil:
		return smsTrouble(unable(check.ClassSetup, "the control cannot be made: no answer in time"), "")
	case err != nil || !p.Good() && p.Cause != sms.Throttled && p.Cause != sms.Busy:
		return nil // refused, or hung up on
	case !p.Good():
		return smsTrouble(unable(check.ClassSetup, "the control cannot be made: %s", p.Word), "")
	}
	_, _ = r.wire.Ask(r.wrong.Terminate, sms.Terminated, r.sms.Answer) // it should never have begun
	return smsTrouble(failed(check.ClassAuth, "a wrong password is taken"), check.Wrong)
}

// Close hands the account's office back.
func (a *smsAsker) Close() error {
	leaveSMSOffice(a.account)
	return nil
}

// smsSteps are those that the check makes when nothing fails.
func smsSteps(spec check.Spec) []string {
	if spec.SMS == nil {
		return nil
	}
	names := []string{smsConnect}
	switch {
	case spec.SMS.Account == check.SMSPassive:
		names = append(names, smsSendLog)
	case spec.SMS.Mode == check.SMSFull:
		names = append(names, smsLogin, smsKeepalive, smsSubmit, smsReported)
	default:
		names = append(names, smsLogin, smsKeepalive)
	}
	if spec.SMS.Balance != nil {
		names = append(names, smsBalance)
	}
	if spec.SMS.Account != check.SMSPassive {
		names = append(names, smsTerminate)
	}
	return names
}

func smsSeries(spec check.Spec) []metric.Series {
	if spec.SMS == nil || spec.SMS.Balance == nil {
		return nil
	}
	return []metric.Series{metric.New("xunjian_sms_balance")}
}

// smsFault is a fault and what it means for the service.
type smsFault struct {
	fault
	trouble check.Trouble
	status  int
}

func smsTrouble(f *fault, t check.Trouble) *smsFault {
	if f == nil {
		return nil
	}
	out := &smsFault{fault: *f}
	if f.outcome == check.Fail {
		out.trouble = t
	}
	return out
}

// smsRun is one attempt.
type smsRun struct {
	*smsAsker
	ctx      context.Context
	wire     *sms.Wire
	heard    *link // below it
	loggedIn bool
	broken   bool // nothing more can be said over the connection
	id       string
	number   string
	at       time.Time // when the platform took the message
	verdict  *smsFault
	slow     string
	attempt  check.Attempt
}

// Ask always makes a session of its own: opening and closing it is what is being tried.
func (a *smsAsker) Ask(ctx context.Context, _ bool) check.Attempt {
	r := &smsRun{smsAsker: a, ctx: ctx}
	r.make()
	return r.graded()
}

func (r *smsRun) make() {
	watch := startWatch()
	var l *link
	if r.step(smsConnect, 0, func(*check.Step) (bad *smsFault) {
		var f *fault
		l, f = r.open(r.ctx, watch)
		return smsTrouble(f, check.Down)
	}) {
		defer l.raw.Close()
		defer l.endWith(r.ctx)()
		if r.codec != nil {
			r.session(l)
		}
	}
	r.attempt.Phases = watch.phases
	l.tell(&r.attempt, r.expiry)
	if r.log != nil && r.verdict == nil {
		r.step(smsSendLog, 0, r.readLog)
	}
	r.aside(smsBalance, r.balance != nil, r.readBalance)
	if r.codec != nil {
		r.aside(smsTerminate, r.loggedIn && !r.broken, r.terminate)
		r.countStrays()
	}
	if r.wire != nil {
		r.attempt.Bytes = sms.MaxHeard - max(r.heard.meter.left, 0)
	}
}

// speak begins to speak over a connection, of which only so much is read.
func (r *smsRun) speak(l *link, codec sms.Codec) {
	r.heard, l.meter.left = l, sms.MaxHeard
	r.wire = sms.NewWire(r.ctx, l, &l.meter, codec, r.office.hand)
}

func (r *smsRun) session(l *link) {
	r.speak(l, r.codec)
	if !r.step(smsLogin, r.sms.Slow.Login, r.login) || !r.step(smsKeepalive, 0, r.keepalive) || r.sms.Mode != check.SMSFull {
		return
	}
	if r.step(smsSubmit, r.sms.Slow.Submit, r.submit) {
		r.step(smsReported, r.sms.Slow.Report, r.report)
	}
}

// step makes one step; the first that is not good is the attempt's verdict.
func (r *smsRun) step(name string, slow time.Duration, do func(*check.Step) *smsFault) bool {
	s, bad := r.timed(name, slow, do)
	if bad != nil {
		if r.verdict == nil {
			if !strings.HasPrefix(bad.reason, name+": ") {
				bad.reason = name + ": " + bad.reason
			}
			r.verdict = bad
		}
		return false
	}
	if s.Outcome == check.Slow && r.slow == "" {
		r.slow = name + ": " + s.Reason
	}
	return true
}

// aside makes a step that says nothing of whether messages are sent.
func (r *smsRun) aside(name string, wanted bool, do func(*check.Step) *smsFault) {
	if wanted && r.ctx.Err() == nil {
		r.timed(name, 0, do)
	}
}

func (r *smsRun) timed(name string, slow time.Duration, do func(*check.Step) *smsFault) (check.Step, *smsFault) {
	start := time.Now()
	s := check.Step{Name: name, Outcome: check.OK}
	bad := do(&s)
	s.Duration = cmp.Or(s.Duration, time.Since(start))
	switch {
	case bad != nil:
		bad.reason = r.clean(bad.reason)
		s.Outcome, s.Class, s.Reason, s.Status = bad.outcome, bad.class, clip(bad.reason), bad.status
	case slow > 0 && s.Duration > slow:
		s.Outcome, s.Reason = check.Slow, fmt.Sprintf("answered after %v, slow from %v", round(s.Duration), slow)
	}
	r.attempt.Steps = append(r.attempt.Steps, s)
	return s, bad
}

func (r *smsRun) graded() check.Attempt {
	a := r.attempt
	switch v := r.verdict; {
	case v != nil:
		a.Outcome, a.Class, a.Reason, a.Trouble = v.outcome, v.class, v.reason, v.trouble
	case r.slow != "":
		a.Outcome, a.Reason = check.Slow, r.slow
	default:
		a.Outcome = check.OK
	}
	return a
}

// found adds a finding; level "" says that all is well.
func (r *smsRun) found(name, level, reason string, value float64) {
	f := check.Finding{Name: name, Level: level, Value: value}
	if level != "" {
		f.Reason = clip(r.clean(reason))
	}
	r.attempt.Note(f)
}

// telephone is a mobile number of China, such as a platform may repeat.
var telephone = regexp.MustCompile(`\b(?:86)?1[3-9]\d{9}\b`)

// clean hides secrets, and the middle of telephone numbers: 138****0000.
func (r *smsRun) clean(reason string) string {
	for _, n := range r.sms.Numbers {
		reason = strings.ReplaceAll(reason, n, maskNumber(n))
	}
	return telephone.ReplaceAllStringFunc(r.secrets.hide(reason), maskNumber)
}

// maskNumber leaves three digits in front, after a country code of China, and the last four.
func maskNumber(n string) string {
	n = strings.TrimPrefix(n, "+")
	if len(n) == 13 {
		n = strings.TrimPrefix(n, "86")
	}
	if len(n) < 8 {
		return masked
	}
	return n[:3] + "****" + n[len(n)-4:]
}
