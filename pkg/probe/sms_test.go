package probe

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"xunjian/pkg/check"
)

// fakeSMSC is a message centre in memory, where five minutes pass at once.
type fakeSMSC struct {
	t *testing.T
	// submitted answers a message; say may be called at any later time. Nil: taken under a number and delivered after a second.
	submitted func(n int, s *pdu.SubmitSM, say func(pdu.PDU))
	bound     func(b *pdu.BindRequest, say func(pdu.PDU)) // nil: welcome

	mu       sync.Mutex
	numbers  []string // that messages were sent to
	beats    int
	acks     int
	sessions int
}

func (f *fakeSMSC) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go f.serve(there)
	return here, nil
}

func (f *fakeSMSC) serve(conn net.Conn) {
	defer conn.Close()
	out, gone := make(chan pdu.PDU, 100), make(chan struct{})
	defer close(gone)
	go func() {
		for {
			select {
			case p := <-out:
				b := pdu.NewBuffer(nil)
				p.Marshal(b)
				conn.Write(b.Bytes())
			case <-gone:
				return
			}
		}
	}()
	say := func(p pdu.PDU) { out <- p }
	f.mu.Lock()
	f.sessions++
	f.mu.Unlock()
	for {
		p, err := pdu.Parse(conn)
		if err != nil {
			return
		}
		f.hear(p, say)
	}
}

func (f *fakeSMSC) hear(p pdu.PDU, say func(pdu.PDU)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch p := p.(type) {
	case *pdu.BindRequest:
		if f.bound != nil {
			f.bound(p, say)
			return
		}
		say(p.GetResponse())
	case *pdu.EnquireLink:
		f.beats++
		say(p.GetResponse())
	case *pdu.DeliverSMResp:
		f.acks++
	case *pdu.SubmitSM:
		f.numbers = append(f.numbers, p.DestAddr.Address())
		if n := len(f.numbers); f.submitted != nil {
			f.submitted(n, p, say)
		} else {
			taken(p, strconv.Itoa(n), say)
			time.AfterFunc(time.Second, func() { say(f.receipt(strconv.Itoa(n), "DELIVRD")) })
		}
	case *pdu.Unbind:
		say(p.GetResponse())
	}
}

func taken(s *pdu.SubmitSM, id string, say func(pdu.PDU)) {
	r := s.GetResponse().(*pdu.SubmitSMResp)
	r.MessageID = id
	say(r)
}

func refusing(s *pdu.SubmitSM, status data.CommandStatusType, say func(pdu.PDU)) {
	r := s.GetResponse().(*pdu.SubmitSMResp)
	r.CommandStatus = status
	say(r)
}

func (f *fakeSMSC) receipt(id, stat string) pdu.PDU {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	if err := d.Message.SetMessageWithEncoding("id:"+id+" sub:001 dlvrd:001 submit date:2611240000 done date:2611240001 stat:"+stat+" err:000 text:", data.ASCII); err != nil {
		f.t.Error(err)
	}
	return d
}

func smsSpec(mode string) check.Spec {
	s := check.Spec{
		Name: "sms", Service: "sms", Kind: "smpp", Target: "192.0.2.1:2775", Every: time.Minute, Timeout: 10 * time.Second, Slow: 5 * time.Second, Again: new(0),
		Secrets: map[string]check.Ref{"password": {Env: "XUNJIAN_SMS"}},
		SMS:     &check.SMS{Account: check.SMSSeparate, User: "xunjian", Mode: mode},
	}
	if mode == check.SMSFull {
		s.Every, s.Timeout, s.Slow, s.Budget = 30*time.Minute, 11*time.Minute, 65*time.Second, 40
		s.SMS.Numbers = []string{"13800000000", "13900000000"}
	}
	return s
}

// pretend runs a test against a fake centre in a bubble of its own.
func pretend(t *testing.T, spec check.Spec, f *fakeSMSC, test func(t *testing.T, p *Prober)) {
	t.Setenv("XUNJIAN_SMS", "topsecret"[:8])
	synctest.Test(t, func(t *testing.T) {
		f.t = t
		p := newTestProber(t, spec, Options{Dial: f.dial})
		test(t, p)
		synctest.Wait()
	})
}

func stepNamed(a check.Attempt, name string) check.Step {
	if i := slices.IndexFunc(a.Steps, func(s check.Step) bool { return s.Name == name }); i >= 0 {
		return a.Steps[i]
	}
	return check.Step{}
}

func TestMessageIsSubmittedAndItsReportMatched(t *testing.T) {
	f := &fakeSMSC{}
	pretend(t, smsSpec(check.SMSFull), f, func(t *testing.T, p *Prober) {
		a := p.attempt(t.Context(), true)
		wantAttempt(t, a, check.OK, "", "")
		if got := stepNamed(a, "report").Duration; got != time.Second {
			t.Errorf("report after %v, want the second that it took", got)
		}
		if f.acks != 1 || !slices.Equal(f.numbers, []string{"13800000000"}) {
			t.Errorf("%d acknowledgements, messages to %v", f.acks, f.numbers)
		}
	})
}

// Reports come early, in part, twice, for others, under other spellings, or late from an earlier attempt.
func TestReportsAreMatchedByTheMessage(t *testing.T) {
	tests := map[string]struct {
		submitted func(f *fakeSMSC) func(n int, s *pdu.SubmitSM, say func(pdu.PDU))
		hex       bool
		outcome   check.Outcome
	}{
		"before the answer": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { say(f.receipt("7", "DELIVRD")); taken(s, "7", say) }
		}, false, check.OK},
		"under way first": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) {
				taken(s, "7", say)
				say(f.receipt("7", "ENROUTE"))
				say(f.receipt("7", "ACCEPTD"))
				say(f.receipt("7", "DELIVRD"))
				say(f.receipt("7", "DELIVRD"))
			}
		}, false, check.OK},
		"leading zeros and case": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) {
				taken(s, "00AB7", say)
				say(f.receipt("ab7", "DELIVRD"))
			}
		}, false, check.OK},
		"hex in the answer": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { taken(s, "1F", say); say(f.receipt("31", "DELIVRD")) }
		}, true, check.OK},
		"by the parameter": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) {
				taken(s, "7", say)
				d := f.receipt("000", "DELIVRD")
				d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: []byte("7\x00")})
				say(d)
			}
		}, false, check.OK},
		"only for others": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { taken(s, "7", say); say(f.receipt("77", "DELIVRD")) }
		}, false, check.Fail},
		"a text that looks like one": {func(f *fakeSMSC) func(int, *pdu.SubmitSM, func(pdu.PDU)) {
			return func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) {
				taken(s, "7", say)
				d := f.receipt("7", "DELIVRD").(*pdu.DeliverSM)
				d.EsmClass = 0 // somebody's message, not a report
				say(d)
			}
		}, false, check.Fail},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeSMSC{}
			f.submitted = tc.submitted(f)
			spec := smsSpec(check.SMSFull)
			spec.SMS.HexIDs = tc.hex
			pretend(t, spec, f, func(t *testing.T, p *Prober) {
				if a := p.attempt(t.Context(), true); a.Outcome != tc.outcome {
					t.Errorf("%s: %s", a.Outcome, a.Reason)
				}
			})
		})
	}
}

// A report that does not come within 300 s is missing; meanwhile the session is kept alive. The next attempt begins with the
// other number, and does not take the late report for its own. Half of six missing is no longer partial.
func TestMissingReports(t *testing.T) {
	f := &fakeSMSC{}
	f.submitted = func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) {
		taken(s, strconv.Itoa(n), say)
		if n > 1 {
			say(f.receipt(strconv.Itoa(n-1), "DELIVRD")) // late
		}
	}
	pretend(t, smsSpec(check.SMSFull), f, func(t *testing.T, p *Prober) {
		for i, want := range []check.Trouble{check.Partial, check.Partial, check.Down, check.Down} {
			start := time.Now()
			a := p.attempt(t.Context(), true)
			wantAttempt(t, a, check.Fail, check.ClassTimeout, "no delivery report from 13")
			if took := time.Since(start); a.Trouble != want || took != 300*time.Second {
				t.Errorf("attempt %d: %q after %v, want %q after 300 s", i, a.Trouble, took, want)
			}
		}
		if f.beats < 4*9 {
			t.Errorf("%d keepalives in four times 300 s", f.beats)
		}
		if want := []string{"13800000000", "13900000000", "13800000000", "13900000000"}; !slices.Equal(f.numbers, want) {
			t.Errorf("messages to %v, want %v", f.numbers, want)
		}
		f.submitted = nil
		wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
	})
}

// What one session of the account hears, the other one of this host waits for.
func TestReportComesToTheOtherCheck(t *testing.T) {
	f := &fakeSMSC{submitted: func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { taken(s, "7", say) }}
	f.bound = func(b *pdu.BindRequest, say func(pdu.PDU)) {
		say(b.GetResponse())
		if f.sessions == 2 { // that of the quick check
			say(f.receipt("7", "DELIVRD"))
		}
	}
	pretend(t, smsSpec(check.SMSFull), f, func(t *testing.T, p *Prober) {
		quick := newTestProber(t, smsSpec(check.SMSQuick), Options{Dial: f.dial})
		time.AfterFunc(20*time.Second, func() { wantAttempt(t, quick.attempt(t.Context(), true), check.OK, "", "") })
		a := p.attempt(t.Context(), true)
		wantAttempt(t, a, check.OK, "", "")
		if took := stepNamed(a, "report").Duration; took != 20*time.Second {
			t.Errorf("report after %v", took)
		}
	})
}

func TestRefusedMessagesWeighMoreWithTime(t *testing.T) {
	tests := map[string]struct {
		status  data.CommandStatusType
		after   time.Duration
		outcome check.Outcome
		trouble check.Trouble
	}{
		"refused":              {data.ESME_RSUBMITFAIL, 0, check.Fail, check.Partial},
		"refused for 14 min":   {data.ESME_RSUBMITFAIL, 14 * time.Minute, check.Fail, check.Partial},
		"refused for 15 min":   {data.ESME_RSUBMITFAIL, 15 * time.Minute, check.Fail, check.Down},
		"throttled":            {data.ESME_RTHROTTLED, 0, check.Unknown, ""},
		"throttled for 29 min": {data.ESME_RTHROTTLED, 29 * time.Minute, check.Unknown, ""},
		"throttled for 30 min": {data.ESME_RTHROTTLED, 30 * time.Minute, check.Fail, check.Partial},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeSMSC{submitted: func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { refusing(s, tc.status, say) }}
			pretend(t, smsSpec(check.SMSFull), f, func(t *testing.T, p *Prober) {
				p.attempt(t.Context(), true)
				time.Sleep(tc.after)
				a := p.attempt(t.Context(), true)
				if a.Outcome != tc.outcome || a.Trouble != tc.trouble || a.Class != check.ClassStatus {
					t.Errorf("%s %q %q: %s", a.Outcome, a.Class, a.Trouble, a.Reason)
				}
			})
		})
	}
}

func TestBudgetOfMessages(t *testing.T) {
	f := &fakeSMSC{}
	spec := smsSpec(check.SMSFull)
	spec.Budget = 2
	pretend(t, spec, f, func(t *testing.T, p *Prober) {
		for range 2 {
			wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
		}
		wantAttempt(t, p.attempt(t.Context(), true), check.Unknown, check.ClassSetup, "budget of 2 messages")
		time.Sleep(24 * time.Hour)
		wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
		if len(f.numbers) != 3 {
			t.Errorf("%d messages", len(f.numbers))
		}
	})
}

func TestForeignReportsTellOfAnAccountThatOthersUse(t *testing.T) {
	f := &fakeSMSC{}
	f.bound = func(b *pdu.BindRequest, say func(pdu.PDU)) {
		say(b.GetResponse())
		if f.sessions == 1 {
			say(f.receipt("4711", "DELIVRD"))
			say(f.receipt("4712", "UNDELIV"))
		}
	}
	level := func(a check.Attempt) string {
		for _, finding := range a.Findings {
			if finding.Name == "account" {
				return finding.Level
			}
		}
		return "none"
	}
	pretend(t, smsSpec(check.SMSQuick), f, func(t *testing.T, p *Prober) {
		for i, want := range []string{"", "minor", "none"} {
			a := p.attempt(t.Context(), true)
			wantAttempt(t, a, check.OK, "", "")
			if got := level(a); got != want {
				t.Errorf("attempt %d: %q, want %q", i, got, want)
			}
			time.Sleep(smsClaimTime)
		}
		if f.acks != 2 {
			t.Errorf("%d acknowledgements", f.acks)
		}
		time.Sleep(smsStrayMemory)
		if got := level(p.attempt(t.Context(), true)); got != "" {
			t.Errorf("a day later: %q", got)
		}
	})
}

func TestRefusedLogins(t *testing.T) {
	refuse := func(status data.CommandStatusType) func(b *pdu.BindRequest, say func(pdu.PDU)) {
		return func(b *pdu.BindRequest, say func(pdu.PDU)) {
			r := b.GetResponse().(*pdu.BindResp)
			r.CommandStatus = status
			say(r)
		}
	}
	tests := map[string]struct {
		status  data.CommandStatusType
		worked  bool
		outcome check.Outcome
		trouble check.Trouble
		reason  string
	}{
		"wrong password from the start": {data.ESME_RINVPASWD, false, check.Unknown, "", "0x0E ESME_RINVPASWD; it has not worked"},
		"wrong password from now on":    {data.ESME_RINVPASWD, true, check.Fail, check.Partial, "0x0E ESME_RINVPASWD"},
		"system error":                  {data.ESME_RSYSERR, false, check.Fail, check.Partial, "0x08 ESME_RSYSERR"},
		"logged in elsewhere":           {data.ESME_RALYBND, false, check.Unknown, "", "give each agent one of its own"},
		"flow control":                  {data.ESME_RTHROTTLED, true, check.Unknown, "", "flow control"},
		"a status nobody knows":         {0x0400, true, check.Fail, check.Partial, "refused: 0x400"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeSMSC{}
			pretend(t, smsSpec(check.SMSQuick), f, func(t *testing.T, p *Prober) {
				if tc.worked {
					wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
				}
				f.bound = refuse(tc.status)
				a := p.attempt(t.Context(), true)
				if a.Outcome != tc.outcome || a.Trouble != tc.trouble || !strings.Contains(a.Reason, tc.reason) {
					t.Errorf("%s %q: %s", a.Outcome, a.Trouble, a.Reason)
				}
			})
		})
	}
}

func TestAccountIsLeftAloneAfterTwoRefusals(t *testing.T) {
	logins := 0
	f := &fakeSMSC{bound: func(b *pdu.BindRequest, say func(pdu.PDU)) {
		logins++
		r := b.GetResponse().(*pdu.BindResp)
		r.CommandStatus = data.ESME_RINVPASWD
		say(r)
	}}
	pretend(t, smsSpec(check.SMSQuick), f, func(t *testing.T, p *Prober) {
		for range 10 { // minutes
			p.attempt(t.Context(), true)
			time.Sleep(time.Minute)
		}
		if logins > 4 {
			t.Errorf("%d logins in ten minutes", logins)
		}
	})
}

// Each step that a check makes has a name that people can read.
func TestStepsHaveTitles(t *testing.T) {
	var titled []string
	for _, s := range check.SMSSteps {
		titled = append(titled, s.Name)
	}
	passive := smsSpec(check.SMSQuick)
	passive.SMS.Account, passive.SMS.Balance = check.SMSPassive, &check.SMSBalance{}
	for _, spec := range []check.Spec{smsSpec(check.SMSQuick), smsSpec(check.SMSFull), passive} {
		for _, name := range smsSteps(spec) {
			if !slices.Contains(titled, name) {
				t.Errorf("no title for %s", name)
			}
		}
	}
}

func TestMaskedNumbers(t *testing.T) {
	for n, want := range map[string]string{
		"13800000000": "138****0000", "8613800000000": "138****0000", "+8613912345678": "139****5678", "1234567": "***", "059187654321": "059****4321",
	} {
		if got := maskNumber(n); got != want {
			t.Errorf("%s: %s, want %s", n, got, want)
		}
	}
	r := &smsRun{smsAsker: &smsAsker{secrets: secrets{"pa55word"}, sms: check.SMS{Numbers: []string{"059187654321"}}}}
	if got, want := r.clean("pa55word refused for 8613800000000, 13912345678 and 059187654321 of 901234, 4294967295"), "*** refused for 138****0000, 139****5678 and 059****4321 of 901234, 4294967295"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSMSChecksThatCannotBe(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "longer than eight")
	if _, err := New(smsSpec(check.SMSQuick), Options{}); err == nil || !strings.Contains(err.Error(), "SMPP has room for 8") {
		t.Error(err)
	}
	spec := smsSpec(check.SMSQuick)
	spec.Secrets = map[string]check.Ref{"password": {Env: "XUNJIAN_NOT_THERE"}}
	if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), "XUNJIAN_NOT_THERE is not set") {
		t.Error(err)
	}
	spec.SMS.Balance = &check.SMSBalance{URL: "http://192.0.2.1/", JSON: "n", Daily: 1, Headers: map[string]string{"X": "{{ secrets.other }}"}}
	spec.Secrets["password"] = check.Ref{Env: "XUNJIAN_SMS"}
	spec.Kind, spec.SMS.User = "cmpp", "901234"
	if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), "no secret other") {
		t.Error(fmt.Errorf("balance: %w", err))
	}
}
