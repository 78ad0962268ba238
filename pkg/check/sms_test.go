package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func smsSpec(kind string, change func(*Spec)) Spec {
	s := Spec{
		Name: "sms", Service: "sms", Kind: kind, Target: "192.0.2.1:7890", Every: 30 * time.Minute, Timeout: 11 * time.Minute, Slow: time.Minute, Budget: 40,
		Secrets: map[string]Ref{"password": {File: "sms.secret"}},
		SMS:     &SMS{Account: SMSSeparate, Mode: SMSFull, User: "901234", From: "10690000", Numbers: []string{"13800000000", "13900000000"}},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func TestSMSSection(t *testing.T) {
	passive := func(s *Spec) {
		s.SMS = &SMS{Account: SMSPassive, Log: &SMSLog{URL: "https://sms.example.org/log", Sent: "sent", Delivered: "ok"}}
	}
	tests := map[string]struct {
		kind   string
		change func(*Spec)
		want   string // part of the only fault; empty: none
	}{
		"full by CMPP":         {"cmpp", nil, ""},
		"full by SMPP":         {"smpp", nil, ""},
		"passive":              {"cmpp", passive, ""},
		"no section":           {"cmpp", func(s *Spec) { s.SMS = nil }, "sms: a check of kind cmpp needs this section"},
		"no account":           {"cmpp", func(s *Spec) { s.SMS.Account = "" }, "sms.account: \"\": want separate"},
		"the trap":             {"smpp", func(s *Spec) { s.SMS.Account = "production" }, "takes the platform's delivery reports away and may cut the production link"},
		"one number":           {"cmpp", func(s *Spec) { s.SMS.Numbers = s.SMS.Numbers[:1] }, "sms.numbers: 1 numbers: want 2 to 4 test numbers on different carriers"},
		"the same number":      {"cmpp", func(s *Spec) { s.SMS.Numbers[1] = s.SMS.Numbers[0] }, "sms.numbers[1]"},
		"no number":            {"cmpp", func(s *Spec) { s.SMS.Numbers[0] = "the mayor" }, "sms.numbers[0]"},
		"no nonce":             {"cmpp", func(s *Spec) { s.SMS.Text = "【监测】" }, "want {nonce} in it"},
		"long text":            {"cmpp", func(s *Spec) { s.SMS.Text = strings.Repeat("长", 55) + "{nonce}" }, "sms.text: 71 characters"},
		"70 characters":        {"cmpp", func(s *Spec) { s.SMS.Text = strings.Repeat("长", 54) + "{nonce}" }, ""},
		"no budget":            {"cmpp", func(s *Spec) { s.Budget = 0 }, "budget: 0: want 1 to 500 messages a day"},
		"no time for a report": {"cmpp", func(s *Spec) { s.Timeout, s.Slow = 5*time.Minute, time.Minute }, "timeout: 5m0s: want at least sms.report + sms.answer (5m10s)"},
		"no password":          {"cmpp", func(s *Spec) { s.Secrets = nil }, "secrets.password: missing"},
		"SP id of five":        {"cmpp", func(s *Spec) { s.SMS.User = "90123" }, "sms.user: \"90123\": want 6 to 6"},
		"long system id":       {"smpp", func(s *Spec) { s.SMS.User = strings.Repeat("x", 16) }, "sms.user"},
		"spaces":               {"smpp", func(s *Spec) { s.SMS.From = "10 690" }, "sms.from"},
		"version":              {"cmpp", func(s *Spec) { s.SMS.Version = "4.0" }, "sms.version: \"4.0\": want 2.0 or 3.0"},
		"mode":                 {"cmpp", func(s *Spec) { s.SMS.Mode = "half" }, "sms.mode"},
		"deaf":                 {"smpp", func(s *Spec) { s.SMS.Bind = SMSTransmitter }, "transmitter hears no delivery reports"},
		"quick and deaf":       {"smpp", func(s *Spec) { s.SMS.Bind, s.SMS.Mode = SMSTransmitter, SMSQuick }, ""},
		"answer over timeout":  {"cmpp", func(s *Spec) { s.SMS.Answer, s.SMS.Mode = time.Hour, SMSQuick }, "sms.answer: 1h0m0s"},
		"threshold below 0":    {"cmpp", func(s *Spec) { s.SMS.Slow.Login = -1 }, "sms.slow.login"},
		"log of one's own":     {"cmpp", func(s *Spec) { s.SMS.Log = &SMSLog{} }, "sms.log: goes with account passive"},
		"passive but sending": {"cmpp", func(s *Spec) {
			passive(s)
			s.SMS.Numbers = []string{"13800000000"}
		}, "passive logs in nowhere and sends nothing"},
		"passive without a log": {"cmpp", func(s *Spec) { s.SMS = &SMS{Account: SMSPassive} }, "sms.log: missing"},
		"log without paths":     {"cmpp", func(s *Spec) { passive(s); s.SMS.Log.Sent = "" }, "missing paths into the JSON answer"},
		"log without a URL":     {"cmpp", func(s *Spec) { passive(s); s.SMS.Log.URL = "sms.example.org" }, "sms.log.url"},
		"share over 1":          {"cmpp", func(s *Spec) { passive(s); s.SMS.Log.Least = 90 }, "sms.log.least: 90"},
		"balance without use":   {"cmpp", func(s *Spec) { s.SMS.Balance = &SMSBalance{URL: "https://sms.example.org", JSON: "left"} }, "sms.balance.daily"},
		"balance header": {"cmpp", func(s *Spec) {
			s.SMS.Balance = &SMSBalance{URL: "https://sms.example.org", JSON: "left", Daily: 1, Headers: map[string]string{"A": "b\r\nc"}}
		}, "sms.balance.headers.A"},
		"target": {"cmpp", func(s *Spec) { s.Target = "cmpp.example.org" }, "target"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var faults []string
			smsSpec(tc.kind, tc.change).Validate(func(path, format string, args ...any) {
				faults = append(faults, path+": "+fmt.Sprintf(format, args...))
			})
			if tc.want == "" && len(faults) > 0 || tc.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tc.want)) {
				t.Errorf("%q, want …%s…", faults, tc.want)
			}
			if slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, "13800000000") || strings.Contains(f, "mayor") }) {
				t.Errorf("a number in %q", faults)
			}
		})
	}
}
