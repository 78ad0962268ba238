package channel

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
)

// What a receiver does with a message. Protocols that have no like of one do what comes nearest.
const (
	accepts   = "accepts"
	refuses   = "refuses"   // says no in the way of its protocol: robots and gateways within a 200
	hangs     = "hangs"     // takes the connection and says nothing more
	dribbles  = "dribbles"  // begins its answer and does not end it
	closes    = "closes"    // closes the connection instead of an answer
	nonsense  = "nonsense"  // answers what is none
	busy      = "busy"      // 429 with Retry-After; flow control
	redirects = "redirects" // to a login page; a login that is refused
	huge      = "huge"      // answers without end
	off       = "off"       // nobody listens
)

var behaviours = []string{refuses, hangs, dribbles, closes, nonsense, busy, redirects, huge, off}

// side is the other side of a kind: it takes messages, and behaves as it is told.
type side struct {
	settings Settings
	become   func(behaviour string)
	taken    func() int // messages that it has said yes to
	written  func() int // bytes of the last answer that went out
	alsoYes  []string   // behaviours that the kind's protocol cannot tell from a yes
	repeats  bool       // a message that is sent again under the same key goes out again, for the receiver to drop
	wait     Refusal    // of busy
}

// sides have one entry for each kind: a kind without one fails TestContract.
var sides = map[string]func(t *testing.T) *side{
	"webhook":      webhookSide,
	"alertmanager": alertmanagerSide,
	"email":        mailSide,
	"wecom":        robotSide("errcode", `{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url"}`),
	"dingtalk":     robotSide("errcode", `{"errcode":0,"errmsg":"ok"}`, `{"errcode":310000,"errmsg":"keywords not in content"}`),
	"feishu":       robotSide("code", `{"code":0,"msg":"success","data":{}}`, `{"code":19024,"msg":"Key Words Not Found"}`),
	"sms":          gatewaySide,
	"voice":        gatewaySide,
	"cmpp":         centreSide,
	"smpp":         centreSide,
}

const tryFor = 400 * time.Millisecond

func contractMessage(key string) Message {
	m := sample()
	m.Key, m.Short, m.Link, m.Code = key, "【紧急】签章服务 中断 INC-20261123-0007", "https://ops.example.org/a/x1", "1234"
	m.To = []Person{{Name: "张工", Phone: "13800000000", Email: "zhang@example.org", WeCom: "zhang", DingTalk: "zhang01", Feishu: "ou_1"}}
	return m
}

func make1(t *testing.T, s Settings) Channel {
	t.Helper()
	c := Config{List: []Settings{s}}
	c.Validate(func(path, format string, args ...any) { t.Errorf("%s: "+format, append([]any{path}, args...)...) })
	if t.Failed() {
		t.FailNow()
	}
	channels, err := c.Channels()
	if err != nil {
		t.Fatal(err)
	}
	return channels[0]
}

// Every kind keeps what channels promise: one bounded try, an error on everything but the receiver's own yes, and no
// second message to somebody who has said yes.
func TestContract(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(kind, func(t *testing.T) {
			if sides[kind] == nil {
				t.Fatal("no side for this kind: give it one, or nobody knows whether it keeps what channels promise")
			}
			t.Parallel()
			keepsContract(t, kind)
		})
	}
	for kind := range sides {
		if _, ok := kinds[kind]; !ok {
			t.Errorf("a side for %s, which is no kind", kind)
		}
	}
}

func keepsContract(t *testing.T, kind string) {
	other := sides[kind](t)
	s := other.settings
	s.Name, s.Kind, s.Timeout = "duty", kind, 5*time.Second
	ch := make1(t, s)
	if ch.Name() != "duty" {
		t.Errorf("named %q", ch.Name())
	}
	yes := func(key string, want int) {
		t.Helper()
		receipt, err := ch.Send(t.Context(), contractMessage(key))
		if err != nil || other.taken() != want {
			t.Fatalf("accepts: %v, %d taken, want %d", err, other.taken(), want)
		}
		if len(receipt.Answer) > 200 || strings.Contains(receipt.Answer, secretWord) {
			t.Errorf("receipt %q", receipt.Answer)
		}
	}
	other.become(accepts)
	yes("k1", 1)
	want := 1
	if other.repeats {
		want = 2
	}
	yes("k1", want) // again under the same key, as after a crash
	s.Timeout = tryFor
	hasty := make1(t, s)
	for _, how := range behaviours {
		other.become(how)
		start := time.Now()
		_, err := hasty.Send(t.Context(), contractMessage("k-"+how))
		took := time.Since(start)
		switch {
		case took > tryFor+5*time.Second:
			t.Errorf("%s: took %v", how, took)
		case slices.Contains(other.alsoYes, how):
			if err != nil {
				t.Errorf("%s: %v", how, err)
			}
		case err == nil:
			t.Errorf("%s: taken for a yes", how)
		default:
			refusal(t, how, err, other)
		}
		if how == huge && other.written() > 16<<20 {
			t.Errorf("%d bytes of an answer without end were taken", other.written())
		}
	}
	other.become(accepts)
	before := other.taken()
	yes("k-"+refuses, before+1) // the same channel, as if nothing had been
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ch.Send(ctx, contractMessage("k9")); err == nil {
		t.Error("sent although the context had ended")
	}
}

const secretWord = "geheim-1"

func refusal(t *testing.T, how string, err error, other *side) {
	t.Helper()
	text := err.Error()
	if len(text) > 600 || strings.ContainsAny(text, "\r\n\x00") || strings.Contains(text, secretWord) {
		t.Errorf("%s: the error reads %q", how, text)
	}
	r := RefusalIn(err)
	switch how {
	case refuses, redirects:
		if r == (Refusal{}) {
			t.Errorf("%s: no refusal but %v", how, err)
		}
	case busy:
		if r.Cause != CauseLimit || r.RetryAfter != other.wait.RetryAfter {
			t.Errorf("busy: %+v", r)
		}
	case off:
		if Unsure(err) {
			t.Errorf("off: may have been taken? %v", err)
		}
	case hangs, dribbles:
		if r.PageOnly {
			t.Errorf("%s: taken for the message's fault: %v", how, err)
		}
	}
}

// A kind is told what it has to do by nothing but its settings, and each has settings that it refuses.
func TestEmptySettingsAreRefused(t *testing.T) {
	for kind := range kinds {
		var faults []string
		Config{List: []Settings{{Name: "x", Kind: kind}}}.Validate(func(path, format string, args ...any) { faults = append(faults, path) })
		if len(faults) == 0 {
			t.Errorf("%s needs nothing at all", kind)
		}
		for _, f := range faults {
			if !strings.HasPrefix(f, "channels[0].") {
				t.Errorf("%s: fault at %s", kind, f)
			}
		}
	}
}

func secret(t *testing.T) config.Secret {
	t.Helper()
	return config.Secret{File: secretFile(t, secretWord)}
}
