package check

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// SMS is how the short message platform is asked by the kinds smpp and cmpp (DOMAIN 1.3): M1 connect, M2 login, M3 keepalive,
// M4 submit, M5 delivery report, M6 balance, M7 terminate. The secret named password belongs to User.
type SMS struct {
	Account string        `yaml:"account" json:"account"`                     // separate or passive; there is no default
	Mode    string        `yaml:"mode,omitempty" json:"mode,omitempty"`       // quick (M1–M3, M6, M7), the default; full: a message is sent
	User    string        `yaml:"user,omitempty" json:"user,omitempty"`       // SMPP system_id; CMPP SP id (企业代码)
	Version string        `yaml:"version,omitempty" json:"version,omitempty"` // CMPP: 2.0, or 3.0, the default
	System  string        `yaml:"system_type,omitempty" json:"system_type,omitempty"`
	Bind    string        `yaml:"bind,omitempty" json:"bind,omitempty"`       // SMPP: transceiver, the default; or transmitter, which hears no reports
	Service string        `yaml:"service,omitempty" json:"service,omitempty"` // service_type, Service_Id (业务代码)
	From    string        `yaml:"from,omitempty" json:"from,omitempty"`       // source address, Src_Id (接入号)
	Numbers []string      `yaml:"numbers,omitempty" json:"numbers,omitempty"` // the only ones that a message is ever sent to
	Text    string        `yaml:"text,omitempty" json:"text,omitempty"`       // must hold {nonce}; at most 70 characters
	TLS     bool          `yaml:"tls,omitempty" json:"tls,omitempty"`         // the session runs over TLS, verified by the check's tls section
	HexIDs  bool          `yaml:"hex_ids,omitempty" json:"hex_ids,omitempty"` // SMPP: answers name a message in hex, reports in decimal
	Answer  time.Duration `yaml:"answer,omitempty" json:"answer,omitempty"`   // longest wait for an answer; default 10 s, at most the timeout
	Report  time.Duration `yaml:"report,omitempty" json:"report,omitempty"`   // longest wait for a delivery report; default 300 s
	Slow    SMSSlow       `yaml:"slow,omitempty" json:"slow,omitzero"`
	Balance *SMSBalance   `yaml:"balance,omitempty" json:"balance,omitempty"` // M6; needs HTTP
	Log     *SMSLog       `yaml:"log,omitempty" json:"log,omitempty"`         // of account passive
}

// SMSSlow are the steps' thresholds; above them the platform is slow.
type SMSSlow struct {
	Login  time.Duration `yaml:"login,omitempty" json:"login,omitempty"`   // default 1 s
	Submit time.Duration `yaml:"submit,omitempty" json:"submit,omitempty"` // default 2 s
	Report time.Duration `yaml:"report,omitempty" json:"report,omitempty"` // default 60 s
}

// SMSBalance asks how many messages are left. Header values may hold {{ secrets.name }}.
type SMSBalance struct {
	URL     string            `yaml:"url" json:"url"`
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	JSON    string            `yaml:"json" json:"json"`   // gjson path of the number
	Daily   float64           `yaml:"daily" json:"daily"` // messages used on a usual day
}

// SMSLog reads the platform's own send log: nothing is sent and no account is used.
type SMSLog struct {
	URL       string            `yaml:"url" json:"url"`
	Headers   map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Sent      string            `yaml:"sent" json:"sent"`                       // gjson path: messages sent lately
	Delivered string            `yaml:"delivered" json:"delivered"`             // gjson path: those of them with a good report
	Delay     string            `yaml:"delay,omitempty" json:"delay,omitempty"` // gjson path: seconds until the report
	Least     float64           `yaml:"least,omitempty" json:"least,omitempty"` // share delivered; default 0.9
	Enough    float64           `yaml:"enough,omitempty" json:"enough,omitempty"`
}

// The choices of SMS.
const (
	SMSSeparate    = "separate"
	SMSPassive     = "passive"
	SMSQuick       = "quick"
	SMSFull        = "full"
	SMSTransceiver = "transceiver"
	SMSTransmitter = "transmitter"
)

const (
	maxSMSNumbers = 4
	maxSMSUnits   = 70 // UTF-16 units of one message of 140 bytes
	maxSMSBudget  = 500
	nonceLength   = 16
)

var (
	numberForm = regexp.MustCompile(`^\+?[0-9]{5,20}$`)
	smsWord    = regexp.MustCompile(`^[!-~]*$`)
)

// accountTrap is what must be understood before a probe logs in.
const accountTrap = "want separate (an account that only the monitoring uses) or passive (nobody logs in: the platform's own send log is read). " +
	"Never the production account: a second login of it takes the platform's delivery reports away and may cut the production link"

// SMSDefaultText is sent unless the check has its own.
const SMSDefaultText = "【监测】短信通道巡检 {nonce}，请忽略。"

// SMSSteps are the steps under their names in DOMAIN 1.3, as people read them; a check makes those that its mode has.
var SMSSteps = []FlowStep{
	{Name: "connect", ZH: "M1 连接", EN: "M1 connect"},
	{Name: "login", ZH: "M2 登录", EN: "M2 login"},
	{Name: "keepalive", ZH: "M3 链路测试", EN: "M3 keepalive"},
	{Name: "submit", ZH: "M4 提交短信", EN: "M4 submit"},
	{Name: "report", ZH: "M5 状态报告", EN: "M5 delivery report"},
	{Name: "send-log", ZH: "发送记录", EN: "Send log"},
	{Name: "balance", ZH: "M6 余量", EN: "M6 balance"},
	{Name: "terminate", ZH: "M7 退出", EN: "M7 terminate"},
}

// WithDefaults fills what was left out.
func (m SMS) WithDefaults(timeout time.Duration) SMS {
	setText(&m.Mode, SMSQuick)
	setText(&m.Version, "3.0")
	setText(&m.Bind, SMSTransceiver)
	setText(&m.Text, SMSDefaultText)
	setTime(&m.Answer, min(10*time.Second, timeout))
	setTime(&m.Report, 300*time.Second)
	setTime(&m.Slow.Login, time.Second)
	setTime(&m.Slow.Submit, 2*time.Second)
	setTime(&m.Slow.Report, time.Minute)
	if m.Log != nil {
		l := *m.Log
		if l.Least == 0 {
			l.Least = 0.9
		}
		if l.Enough == 0 {
			l.Enough = 20
		}
		m.Log = &l
	}
	return m
}

func setText(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

func setTime(to *time.Duration, value time.Duration) {
	if *to == 0 {
		*to = value
	}
}

// smsCap is how long a protocol's fields may be.
type smsCap struct {
	user, userLeast, service, from int
}

var smsCaps = map[string]smsCap{
	"smpp": {user: 15, userLeast: 1, service: 5, from: 20},
	"cmpp": {user: 6, userLeast: 6, service: 10, from: 21},
}

func (s Spec) validateSMS(fail func(path, format string, args ...any)) {
	s.validateAddress(fail)
	if s.SMS == nil {
		fail("sms", "a check of kind %s needs this section", s.Kind)
		return
	}
	m := s.SMS.WithDefaults(s.Timeout)
	if m.Account != SMSSeparate && m.Account != SMSPassive {
		fail("sms.account", "%q: %s", m.Account, accountTrap)
		return
	}
	m.validateTimes(fail, s)
	if m.Balance != nil {
		m.Balance.validate(fail)
	}
	if m.Account == SMSPassive {
		m.validatePassive(fail)
		return
	}
	if m.Log != nil {
		fail("sms.log", "goes with account passive")
	}
	m.validateLogin(fail, s)
	if m.Mode == SMSFull {
		m.validateFull(fail, s)
	}
}

func (m SMS) validateTimes(fail func(path, format string, args ...any), s Spec) {
	if m.Answer <= 0 || m.Answer > s.Timeout {
		fail("sms.answer", "%v: want more than 0 and at most the timeout (%v)", m.Answer, s.Timeout)
	}
	for _, t := range [...]struct {
		path  string
		value time.Duration
	}{{"login", m.Slow.Login}, {"submit", m.Slow.Submit}, {"report", m.Slow.Report}} {
		if t.value <= 0 {
			fail("sms.slow."+t.path, "%v: want more than 0", t.value)
		}
	}
}

func (m SMS) validateLogin(fail func(path, format string, args ...any), s Spec) {
	limit := smsCaps[s.Kind]
	for _, f := range [...]struct {
		path, value string
		least, most int
	}{
		{"user", m.User, limit.userLeast, limit.user},
		{"service", m.Service, 0, limit.service},
		{"from", m.From, 0, limit.from},
		{"system_type", m.System, 0, 12},
	} {
		if len(f.value) < f.least || len(f.value) > f.most || !smsWord.MatchString(f.value) {
			fail("sms."+f.path, "%q: want %d to %d plain characters", f.value, f.least, f.most)
		}
	}
	if m.Mode != SMSQuick && m.Mode != SMSFull {
		fail("sms.mode", "%q: want quick or full", m.Mode)
	}
	if m.Version != "2.0" && m.Version != "3.0" {
		fail("sms.version", "%q: want 2.0 or 3.0", m.Version)
	}
	if m.Bind != SMSTransceiver && m.Bind != SMSTransmitter {
		fail("sms.bind", "%q: want transceiver or transmitter", m.Bind)
	}
	if _, ok := s.Secrets["password"]; !ok {
		fail("secrets.password", "missing: the password of sms.user, as env or file on the agent's host")
	}
}

func (m SMS) validateFull(fail func(path, format string, args ...any), s Spec) {
	if n := len(m.Numbers); n < 2 || n > maxSMSNumbers {
		fail("sms.numbers", "%d numbers: want 2 to %d test numbers on different carriers, for one alone may be switched off", n, maxSMSNumbers)
	}
	for i, n := range m.Numbers {
		if !numberForm.MatchString(n) || slices.Contains(m.Numbers[:i], n) {
			fail(fmt.Sprintf("sms.numbers[%d]", i), "want a telephone number of 5 to 20 digits, each once")
		}
	}
	sent := strings.ReplaceAll(m.Text, Nonce, strings.Repeat("0", nonceLength))
	if n := len(utf16.Encode([]rune(sent))); sent == m.Text || n > maxSMSUnits {
		fail("sms.text", "%d characters: want %s in it, and at most %d in all (the nonce has %d)", n, Nonce, maxSMSUnits, nonceLength)
	}
	if m.Bind == SMSTransmitter {
		fail("sms.bind", "transmitter hears no delivery reports: want transceiver in mode full")
	}
	if least := m.Report + m.Answer; m.Report <= 0 || s.Timeout < least {
		fail("timeout", "%v: want at least sms.report + sms.answer (%v), so that a report may come", s.Timeout, least)
	}
	if s.Budget < 1 || s.Budget > maxSMSBudget {
		fail("budget", "%d: want 1 to %d messages a day in mode full, for each costs money", s.Budget, maxSMSBudget)
	}
}

func (m SMS) validatePassive(fail func(path, format string, args ...any)) {
	if m.Mode == SMSFull || len(m.Numbers) > 0 || m.User != "" {
		fail("sms.account", "passive logs in nowhere and sends nothing: leave out mode, user and numbers")
	}
	if m.Log == nil {
		fail("sms.log", "missing: with account passive the platform's own send log is what is judged")
		return
	}
	l := m.Log
	validateQuery(fail, "sms.log", l.URL, l.Headers, l.Sent, l.Delivered)
	if l.Least <= 0 || l.Least > 1 {
		fail("sms.log.least", "%v: want a share between 0 and 1", l.Least)
	}
	if l.Enough < 1 {
		fail("sms.log.enough", "%v: want 1 or more messages", l.Enough)
	}
}

func (b SMSBalance) validate(fail func(path, format string, args ...any)) {
	validateQuery(fail, "sms.balance", b.URL, b.Headers, b.JSON)
	if b.Daily <= 0 {
		fail("sms.balance.daily", "%v: want the messages used on a usual day, from which the days left are told", b.Daily)
	}
}

func validateQuery(fail func(path, format string, args ...any), path, target string, headers map[string]string, paths ...string) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(target) > maxTarget {
		fail(path+".url", "want a URL with http or https")
	}
	HTTP{Method: "GET", Headers: headers}.validate(func(at, format string, args ...any) {
		fail(path+strings.TrimPrefix(at, "http"), format, args...)
	})
	if slices.Contains(paths, "") {
		fail(path, "missing paths into the JSON answer")
	}
}
