package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"xunjian/pkg/config"
	"xunjian/pkg/i18n"
)

// robot is an instant messenger's group robot. All of them answer HTTP 200 when they refuse.
type robot struct {
	base
	wiring
	robotKind
}

// robotKind is what one messenger does its own way.
type robotKind struct {
	site    string // where robots are unless url says otherwise; the key comes behind it
	param   string // the key's name in the address; empty: it is the end of the path
	code    string // what the verdict is called in the answer: 0 is a yes
	body    func(m spoken, sign signature) any
	buttons bool // shows the link as one
	inURL   bool // timestamp and signature stand in the address, else in the body
	sign    func(secret string, now time.Time) signature
	refused map[string]verdict // by code
}

// verdict is what a code of refusal means.
type verdict struct {
	cause    Cause
	wait     time.Duration
	pageOnly bool
}

// signature proves that the message comes from who knows the secret; empty without one.
type signature struct{ timestamp, sign string }

// spoken is a message as robots say it.
type spoken struct {
	Words
	link   string
	people []Person
	phones []string // further ones, of the configuration
	button string   // what the link says
	zh     bool
}

var userID = regexp.MustCompile(`^[A-Za-z0-9_.-][A-Za-z0-9_.@-]{0,63}$`)

// nameable says whether a user id names one person: "all" names everybody.
func nameable(id string) bool { return userID.MatchString(id) && !strings.EqualFold(id, "all") }

func validateRobot(s Settings, fail config.Fail) {
	switch {
	case s.URLFrom.Set() && (s.URL != "" || s.Token.Set()):
		fail("url_from", "the address holds the key: give either url_from, or token with url where the robot is not the messenger's own")
	case s.URLFrom.Set():
	case !s.Token.Set():
		fail("token", "missing: the robot's key, as {file: wecom.key} or {env: WECOM_KEY}; or its whole address as url_from")
	case s.URL != "" && !httpURL(s.URL, "http", "https"):
		fail("url", "not a URL: write https://host/path, without the key")
	case strings.ContainsAny(s.URL, "?#"):
		fail("url", "holds a key, which does not belong into the configuration: give it as token, or the whole as url_from")
	}
	for i, n := range s.To {
		if !phone.MatchString(n) {
			fail(index("to", i), "%q is no telephone number: digits, with + before the code of a country", n)
		}
	}
}

// phone is a number as people write it into a configuration.
var phone = regexp.MustCompile(`^\+?[0-9]{5,20}$`)

// Send makes one try.
func (r *robot) Send(ctx context.Context, m Message) (Receipt, error) {
	now := time.Now()
	var sign signature
	var secret string
	if r.s.Secret.Set() {
		var err error
		if secret, err = r.s.Secret.Read(); err != nil {
			return Receipt{}, err
		}
		sign = r.sign(secret, now)
	}
	address, key, err := r.where(sign)
	if err != nil {
		return Receipt{}, err
	}
	language := r.s.Language
	if len(m.To) == 1 {
		language = r.language(m.To[0])
	}
	say := spoken{
		Words: r.words(m, language, r.buttons), link: oneLine(m.Link), people: m.To, phones: r.s.To, button: i18n.For(language).T("channel.ack.button"), zh: language != "en",
	}
	a, err := r.post(ctx, r.s.Timeout, request{url: address, key: m.Key}, r.body(say, sign))
	if err != nil {
		return Receipt{}, err
	}
	a.text = without(a.text, key, secret)
	return r.judge(a, secret != "")
}

// where is the robot's address, and the key in it.
func (r *robot) where(sign signature) (address, key string, err error) {
	address, err = r.s.address()
	if err != nil {
		return "", "", err
	}
	if address == "" {
		address = r.site
	}
	if r.s.Token.Set() {
		if key, err = r.s.Token.Read(); err != nil {
			return "", "", err
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", fmt.Errorf("the robot's address is no URL: %w", withoutURL(err))
	}
	q := u.Query()
	switch {
	case key == "":
	case r.param == "":
		u = u.JoinPath(key)
	default:
		q.Set(r.param, key)
	}
	if key == "" && r.param != "" {
		key = q.Get(r.param)
	}
	if r.inURL && sign.sign != "" {
		q.Set("timestamp", sign.timestamp)
		q.Set("sign", sign.sign)
	}
	u.RawQuery = q.Encode()
	return u.String(), key, nil
}

// judge wants the code 0. An answer without the code comes from something else, a login page for example.
func (r *robot) judge(a answer, signed bool) (Receipt, error) {
	if refusal := a.refused(); refusal != nil {
		return Receipt{}, refusal
	}
	var fields map[string]json.RawMessage
	var code json.Number
	if json.Unmarshal(a.body, &fields) != nil || json.Unmarshal(fields[r.code], &code) != nil || code == "" {
		return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseNoVerdict}
	}
	if code == "0" {
		return Receipt{Answer: a.text}, nil
	}
	v, known := r.refused[code.String()]
	if !known {
		v.cause = CauseReceiver
	}
	refusal := &Refusal{Status: a.status, Text: a.text, RetryAfter: v.wait, PageOnly: v.pageOnly, Cause: v.cause}
	if v.cause == CauseCredentials && signed {
		refusal.suspectClock(a)
	}
	return Receipt{}, refusal
}

// signatureHolds is how far off a clock may be before the messengers refuse its signatures.
const signatureHolds = time.Hour

// suspectClock blames the clock for a refused signature when the receiver's own says so, or the text does.
func (r *Refusal) suspectClock(a answer) {
	off, told := a.ahead()
	said := strings.ToLower(a.text)
	switch {
	case told && off.Abs() > signatureHolds-2*time.Minute:
		r.Cause, r.Off = CauseClock, off
	case strings.Contains(said, "invalid timestamp"), strings.Contains(said, "timestamp expire"), strings.Contains(said, "请求时间戳"):
		if r.Cause = CauseClock; told && off.Abs() > time.Minute {
			r.Off = off
		}
	}
}

func hmacSHA256(key, message string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
