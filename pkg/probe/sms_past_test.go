package probe

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"xunjian/pkg/check"
)

// A restart spends no message twice, forgets no refusal and no missing report, and does not call an account our own that was
// seen to be others' too.
func TestRestartForgetsNothingOfAnAccount(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "topsecre")
	refused := func(b *pdu.BindRequest, say func(pdu.PDU)) {
		r := b.GetResponse().(*pdu.BindResp)
		r.CommandStatus = data.ESME_RINVPASWD
		say(r)
	}
	tests := map[string]struct {
		mode   string
		budget int
		before func(f *fakeSMSC) // what the centre does …
		asked  int               // … in so many attempts before the restart
		pause  time.Duration
		after  func(f *fakeSMSC) // what it does then
		want   func(t *testing.T, a check.Attempt, f *fakeSMSC)
	}{
		"messages": {check.SMSFull, 2, func(*fakeSMSC) {}, 2, time.Hour, func(*fakeSMSC) {}, func(t *testing.T, a check.Attempt, f *fakeSMSC) {
			wantAttempt(t, a, check.Unknown, check.ClassSetup, "budget of 2 messages")
			if len(f.numbers) != 2 {
				t.Errorf("%d messages", len(f.numbers))
			}
		}},
		"messages of yesterday": {check.SMSFull, 2, func(*fakeSMSC) {}, 2, 24 * time.Hour, func(*fakeSMSC) {}, func(t *testing.T, a check.Attempt, _ *fakeSMSC) {
			wantAttempt(t, a, check.OK, "", "")
		}},
		"refusals": {check.SMSQuick, 0, func(f *fakeSMSC) { f.bound = refused }, 2, time.Minute, func(f *fakeSMSC) {
			f.bound = func(*pdu.BindRequest, func(pdu.PDU)) { f.t.Error("the account is shown again") }
		}, func(t *testing.T, a check.Attempt, _ *fakeSMSC) {
			wantAttempt(t, a, check.Unknown, check.ClassAuth, "so that the account is not locked")
		}},
		"that it worked": {check.SMSQuick, 0, func(*fakeSMSC) {}, 1, time.Minute, func(f *fakeSMSC) { f.bound = refused }, func(t *testing.T, a check.Attempt, _ *fakeSMSC) {
			wantAttempt(t, a, check.Fail, check.ClassAuth, "ESME_RINVPASWD")
		}},
		"missing reports": {check.SMSFull, 40, func(f *fakeSMSC) {
			f.submitted = func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { taken(s, strconv.Itoa(n), say) }
		}, 2, time.Minute, func(*fakeSMSC) {}, func(t *testing.T, a check.Attempt, _ *fakeSMSC) {
			if wantAttempt(t, a, check.Fail, check.ClassTimeout, "no delivery report"); a.Trouble != check.Down {
				t.Errorf("the third missing report is %q", a.Trouble)
			}
		}},
		"reports of others": {check.SMSQuick, 0, func(f *fakeSMSC) {
			f.bound = func(b *pdu.BindRequest, say func(pdu.PDU)) {
				say(b.GetResponse())
				say(f.receipt("4711", "DELIVRD"))
			}
		}, 2, smsClaimTime, func(f *fakeSMSC) { f.bound = nil }, func(t *testing.T, a check.Attempt, _ *fakeSMSC) {
			for _, finding := range a.Findings {
				if finding.Name == "account" && finding.Level == "" {
					t.Error("the account is called our own")
				}
			}
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			state, spec := t.TempDir(), smsSpec(tc.mode)
			spec.Budget = tc.budget
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSMSC{t: t}
				o := Options{Dial: f.dial, State: state}
				p := newTestProber(t, spec, o)
				tc.before(f)
				for range tc.asked {
					p.attempt(t.Context(), true)
					time.Sleep(smsClaimTime)
				}
				p.Close()
				tc.after(f)
				time.Sleep(tc.pause)
				tc.want(t, newTestProber(t, spec, o).attempt(t.Context(), true), f)
				synctest.Wait()
			})
		})
	}
}

// What an attempt tells beside its verdict holds over a restart: an account that others use is not called our own before a day has
// passed, a report of ours that comes late is not taken for others', and a session that ends cleanly again says so.
func TestFindingsOverARestart(t *testing.T) {
	t.Setenv("XUNJIAN_SMS", "topsecre")
	says := func(id string) func(f *fakeSMSC) {
		return func(f *fakeSMSC) {
			f.bound = func(b *pdu.BindRequest, say func(pdu.PDU)) {
				say(b.GetResponse())
				if say(f.receipt(id, "DELIVRD")); f.sessions > 1 {
					f.bound = nil
				}
			}
		}
	}
	quiet := func(f *fakeSMSC) { f.bound = nil }
	for name, tc := range map[string]struct {
		mode          string
		before, after func(f *fakeSMSC)
		pause         time.Duration
		levels        [3]string // of the finding account: the last attempt before the restart, and two after it
	}{
		"others use the account": {check.SMSQuick, says("4711"), quiet, time.Minute, [3]string{"minor", "none", "none"}},
		"a day later":            {check.SMSQuick, says("4711"), quiet, smsStrayMemory, [3]string{"minor", "", ""}},
		"they use it again":      {check.SMSQuick, says("4711"), says("4712"), time.Minute, [3]string{"minor", "none", "minor"}},
		"our own report, late":   {check.SMSFull, quiet, says("2"), time.Minute, [3]string{"", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{State: t.TempDir()}
			synctest.Test(t, func(t *testing.T) {
				f := &fakeSMSC{t: t, submitted: func(n int, s *pdu.SubmitSM, say func(pdu.PDU)) { taken(s, strconv.Itoa(n), say) }} // and reports nothing
				o.Dial = f.dial
				p := newTestProber(t, smsSpec(tc.mode), o)
				attempt := func() string {
					a := p.attempt(t.Context(), true)
					time.Sleep(smsClaimTime)
					if i := slices.IndexFunc(a.Findings, func(f check.Finding) bool { return f.Name == "terminate" }); i < 0 || a.Findings[i].Level != "" {
						t.Errorf("the session's end: %+v", a.Findings)
					}
					if i := slices.IndexFunc(a.Findings, func(f check.Finding) bool { return f.Name == "account" }); i >= 0 {
						return a.Findings[i].Level
					}
					return "none"
				}
				tc.before(f)
				attempt()
				got := [3]string{attempt()}
				p.Close()
				tc.after(f)
				time.Sleep(tc.pause)
				p = newTestProber(t, smsSpec(tc.mode), o)
				got[1], got[2] = attempt(), attempt()
				if synctest.Wait(); got != tc.levels {
					t.Errorf("%q, want %q", got, tc.levels)
				}
			})
		})
	}
}

// The daily control logs in with a wrong password: whoever takes it lets everybody in. It counts as no refusal of the account.
func TestWrongPasswordMustBeRefused(t *testing.T) {
	const right = "topsecre"
	tests := map[string]struct {
		bound   func(b *pdu.BindRequest, say func(pdu.PDU))
		outcome check.Outcome
	}{
		"refused": {func(b *pdu.BindRequest, say func(pdu.PDU)) {
			r := b.GetResponse().(*pdu.BindResp)
			if b.Password != right {
				r.CommandStatus = data.ESME_RINVPASWD
			}
			say(r)
		}, check.OK},
		"taken": {nil, check.Fail},
		"flow control": {func(b *pdu.BindRequest, say func(pdu.PDU)) {
			r := b.GetResponse().(*pdu.BindResp)
			if b.Password != right {
				r.CommandStatus = data.ESME_RTHROTTLED
			}
			say(r)
		}, check.Unknown},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeSMSC{bound: tc.bound}
			pretend(t, smsSpec(check.SMSQuick), f, func(t *testing.T, p *Prober) {
				if !p.Controls() {
					t.Fatal("no control")
				}
				for range 3 {
					if r := p.Control(t.Context(), time.Now()); !r.Control || r.First().Outcome != tc.outcome {
						t.Errorf("%s: %s", r.First().Outcome, r.First().Reason)
					}
				}
				wantAttempt(t, p.attempt(t.Context(), true), check.OK, "", "")
			})
		})
	}
	passive := smsSpec(check.SMSQuick)
	passive.SMS.Account, passive.SMS.Log = check.SMSPassive, &check.SMSLog{URL: "http://192.0.2.1/", Sent: "sent", Delivered: "delivered"}
	if p := newTestProber(t, passive, Options{}); p.Controls() {
		t.Error("nobody logs in, and yet there is a control")
	}
}
