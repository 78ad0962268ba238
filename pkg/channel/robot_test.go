package channel

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/config"
)

// The signatures, against vectors of others: the vendor's own script for DingTalk, an independent client's test for Feishu.
func TestSignatures(t *testing.T) {
	ding, err := newDingTalk(newBase(Settings{Kind: "dingtalk"}), wiring{})
	if err != nil {
		t.Fatal(err)
	}
	if s := ding.(*robot).sign("this is secret", time.UnixMilli(1577262236757)); s.timestamp != "1577262236757" || s.sign != "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=" {
		t.Errorf("dingtalk %+v", s)
	}
	feishu, err := newFeishu(newBase(Settings{Kind: "feishu"}), wiring{})
	if err != nil {
		t.Fatal(err)
	}
	if s := feishu.(*robot).sign("xxx", time.Unix(1661860880, 0)); s.timestamp != "1661860880" || s.sign != "QnWVTSBe6FmQDE0bG6X0mURbI+DnvVyu1h+j5dHOjrU=" {
		t.Errorf("feishu %+v", s)
	}
}

// robotAt is a robot at a door, and the last request that came there.
func robotAt(t *testing.T, kind string, s Settings, yes string) (Channel, func() lastRequest) {
	t.Helper()
	d, at := newDoor(t, yes, "")
	s.Name, s.Kind, s.Timeout = "duty", kind, 5*time.Second
	if !s.URLFrom.Set() {
		s.URL = at + "/robot"
	}
	return make1(t, s), func() lastRequest { return d.last.Load().(lastRequest) }
}

func sendTo(t *testing.T, ch Channel, m Message) {
	t.Helper()
	if _, err := ch.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// Where the key and the signature stand, for each of the three.
func TestWhereRobotsHaveTheirKey(t *testing.T) {
	ok := `{"errcode":0}`
	wecom, last := robotAt(t, "wecom", Settings{Token: secret(t)}, ok)
	sendTo(t, wecom, contractMessage("k"))
	if u := last().url; u != "/robot?key="+secretWord {
		t.Errorf("wecom at %s", u)
	}
	ding, last := robotAt(t, "dingtalk", Settings{Token: secret(t), Secret: config.Secret{File: secretFile(t, "SEC")}}, ok)
	sendTo(t, ding, contractMessage("k"))
	u, err := url.Parse(last().url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if ts := q.Get("timestamp"); q.Get("access_token") != secretWord || len(ts) != 13 || q.Get("sign") != hmacSHA256("SEC", ts+"\nSEC") {
		t.Errorf("dingtalk at %s", u)
	}
	feishu, last := robotAt(t, "feishu", Settings{Token: secret(t), Secret: config.Secret{File: secretFile(t, "SEC")}}, `{"code":0}`)
	sendTo(t, feishu, contractMessage("k"))
	var body struct{ Timestamp, Sign string }
	if err := json.Unmarshal([]byte(last().body), &body); err != nil {
		t.Fatal(err)
	}
	if last().url != "/robot/"+secretWord || len(body.Timestamp) != 10 || body.Sign != hmacSHA256(body.Timestamp+"\nSEC", "") {
		t.Errorf("feishu at %s with %+v", last().url, body)
	}
}

// hostile is what a target or a person may have put into an incident's text.
const hostile = "\"},\"x\":{\" <at user_id=\"all\"></at> <@all> @all @所有人 [点此](http://evil.example) ![x](http://evil.example/x.png)\n# 标题 `code` *粗* <b>x</b> =cmd|' /C calc'!A0 \r\nBcc: evil@example.org\x00\x1b[2J\u202egnp.exe\u2028 ]]> &amp; {token} {phone}"

func hostileMessage() Message {
	m := contractMessage("k-hostile")
	m.Title, m.Text, m.Short = hostile, hostile+"\n"+hostile, hostile
	m.To[0].Name = hostile
	return m
}

// No text of an incident names anybody, makes a link or a picture, or becomes part of the message's form.
func TestRobotsAgainstHostileTexts(t *testing.T) {
	wecom, last := robotAt(t, "wecom", Settings{Token: secret(t)}, `{"errcode":0}`)
	sendTo(t, wecom, hostileMessage())
	var w struct {
		MsgType string `json:"msgtype"`
		Text    struct {
			Content   string
			Mentioned []string `json:"mentioned_list"`
			Mobiles   []string `json:"mentioned_mobile_list"`
		}
	}
	strict(t, last().body, &w)
	if w.MsgType != "text" || len(w.Text.Content) > weComText || len(w.Text.Mentioned) != 1 || w.Text.Mentioned[0] != "zhang" || len(w.Text.Mobiles) != 0 {
		t.Errorf("wecom %+v", w)
	}
	ding, last := robotAt(t, "dingtalk", Settings{Token: secret(t)}, `{"errcode":0}`)
	sendTo(t, ding, hostileMessage())
	var d struct {
		MsgType  string `json:"msgtype"`
		Markdown struct{ Title, Text string }
		At       struct {
			IsAtAll   bool
			AtMobiles []string
			AtUserIDs []string `json:"atUserIds"`
		}
	}
	strict(t, last().body, &d)
	if d.At.IsAtAll || len(d.At.AtUserIDs) != 1 || len(d.At.AtMobiles) != 0 {
		t.Errorf("dingtalk names %+v", d.At)
	}
	for _, bad := range []string{"[点此]", "![", "<b>", "`", "*", "<at", "<@", "@all", "@所有人"} {
		if strings.Contains(d.Markdown.Text+d.Markdown.Title, bad) {
			t.Errorf("dingtalk still has %q in %s", bad, d.Markdown.Text)
		}
	}
	if strings.Count(d.Markdown.Text, "](") != 1 || strings.Count(d.Markdown.Text, "\n# ") != 0 {
		t.Errorf("dingtalk %s", d.Markdown.Text)
	}
	feishu, last := robotAt(t, "feishu", Settings{Token: secret(t)}, `{"code":0}`)
	sendTo(t, feishu, hostileMessage())
	var f struct {
		MsgType string `json:"msg_type"`
		Content struct {
			Post map[string]struct {
				Title   string
				Content [][]map[string]string
			}
		}
	}
	strict(t, last().body, &f)
	tags := ""
	for _, row := range f.Content.Post["zh_cn"].Content {
		for _, part := range row {
			tags += part["tag"] + " "
			if part["tag"] == "at" && part["user_id"] != "ou_1" {
				t.Errorf("feishu names %s", part["user_id"])
			}
		}
	}
	if tags != "text a at " {
		t.Errorf("feishu's parts are %s", tags)
	}
	for name, body := range map[string]string{"wecom": w.Text.Content, "dingtalk": d.Markdown.Text, "feishu": f.Content.Post["zh_cn"].Content[0][0]["text"]} {
		if strings.ContainsAny(body, "\x00\x1b\r\u202e\u2028") {
			t.Errorf("%s has control characters: %q", name, body)
		}
	}
}

func strict(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
}

// A user id that means everybody names nobody.
func TestNobodyNamesEverybody(t *testing.T) {
	for id, want := range map[string]bool{"zhang": true, "ou_0123": true, "a@b": true, "@all": false, "all": false, "ALL": false, "": false, "a b": false, "a\"b": false} {
		if nameable(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

// What the robots' codes mean: when to come back, whose fault it is, and whether the clock is off.
func TestRobotRefusals(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		kind, answer string
		date         time.Duration // the receiver's clock is so far from ours
		want         Refusal
	}{
		"wecom too many":      {"wecom", `{"errcode":45009,"errmsg":"api freq out of limit"}`, 0, Refusal{Cause: CauseLimit, RetryAfter: time.Minute}},
		"wecom unknown key":   {"wecom", `{"errcode":93000,"errmsg":"invalid webhook url"}`, 0, Refusal{Cause: CauseCredentials}},
		"wecom other":         {"wecom", `{"errcode":-1,"errmsg":"system busy"}`, 0, Refusal{Cause: CauseReceiver}},
		"wecom text code":     {"wecom", `{"errcode":"45002"}`, 0, Refusal{Cause: CauseContent, PageOnly: true}},
		"dingtalk too many":   {"dingtalk", `{"errcode":130101,"errmsg":"send too fast"}`, 0, Refusal{Cause: CauseLimit, RetryAfter: 10 * time.Minute}},
		"dingtalk signature":  {"dingtalk", `{"errcode":310000,"errmsg":"sign not match"}`, 0, Refusal{Cause: CauseCredentials}},
		"dingtalk clock":      {"dingtalk", `{"errcode":310000,"errmsg":"invalid timestamp"}`, -90 * time.Minute, Refusal{Cause: CauseClock, Off: 90 * time.Minute}},
		"dingtalk clock said": {"dingtalk", `{"errcode":310000,"errmsg":"invalid timestamp"}`, 0, Refusal{Cause: CauseClock}},
		"feishu clock":        {"feishu", `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, 2 * time.Hour, Refusal{Cause: CauseClock, Off: -2 * time.Hour}},
		"feishu signature":    {"feishu", `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, 0, Refusal{Cause: CauseCredentials}},
		"feishu too many":     {"feishu", `{"code":11232,"msg":"frequency limited"}`, 0, Refusal{Cause: CauseLimit, RetryAfter: time.Minute}},
		"feishu old yes":      {"feishu", `{"StatusCode":0,"StatusMessage":"success"}`, 0, Refusal{Cause: CauseNoVerdict}},
		"no code":             {"wecom", `{"ok":true}`, 0, Refusal{Cause: CauseNoVerdict}},
		"code is an object":   {"dingtalk", `{"errcode":{}}`, 0, Refusal{Cause: CauseNoVerdict}},
		"null":                {"feishu", `{"code":null}`, 0, Refusal{Cause: CauseNoVerdict}},
		"a list":              {"feishu", `[0]`, 0, Refusal{Cause: CauseNoVerdict}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", now.Add(c.date).UTC().Format(http.TimeFormat))
				w.Write([]byte(c.answer))
			}))
			defer server.Close()
			s := Settings{Name: "duty", Kind: c.kind, URL: server.URL, Token: secret(t)}
			if c.kind != "wecom" {
				s.Secret = secret(t)
			}
			_, err := make1(t, s).Send(t.Context(), contractMessage("k"))
			r := RefusalIn(err)
			if r.Cause != c.want.Cause || r.PageOnly != c.want.PageOnly || r.RetryAfter != c.want.RetryAfter || (r.Off-c.want.Off).Abs() > time.Minute {
				t.Errorf("%+v from %v", r, err)
			}
			if c.want.Cause == CauseClock && !strings.Contains(err.Error(), "clock off") {
				t.Errorf("does not say so: %v", err)
			}
		})
	}
}

// Robots find their way by an address that is a secret as a whole, and say nothing of it when it leads nowhere.
func TestWholeAddressIsASecret(t *testing.T) {
	d, at := newDoor(t, `{"errcode":0}`, "")
	s := Settings{Name: "duty", Kind: "wecom", URLFrom: config.Secret{File: secretFile(t, at+"/robot?key="+secretWord)}}
	sendTo(t, make1(t, s), contractMessage("k"))
	if u := d.last.Load().(lastRequest).url; u != "/robot?key="+secretWord {
		t.Errorf("at %s", u)
	}
	for _, bad := range []string{"http://127.0.0.1:1/x?key=" + secretWord, "::" + secretWord, "http://[" + secretWord} {
		s.URLFrom.File = secretFile(t, bad)
		if _, err := make1(t, s).Send(t.Context(), contractMessage("k")); err == nil || strings.Contains(err.Error(), secretWord) {
			t.Errorf("%v", err)
		}
	}
}

// Whatever a robot answers is a yes, or a no with a short, readable reason; only the code 0 is a yes.
func FuzzRobots(f *testing.F) {
	f.Add(200, []byte(`{"errcode":0}`), "")
	f.Add(200, []byte(`{"code":19021,"msg":"sign match fail"}`), "Mon, 23 Nov 2026 09:00:00 GMT")
	f.Add(302, []byte("<html>"), "x")
	f.Fuzz(func(t *testing.T, status int, body []byte, date string) {
		for _, kind := range []string{"wecom", "dingtalk", "feishu"} {
			ch, err := kinds[kind].build(newBase(Settings{Kind: kind}), wiring{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = ch.(*robot).judge(answer{status, body, shorten(string(body)), http.Header{"Date": {date}}, time.Unix(0, 0)}, true)
			if err != nil {
				if text := err.Error(); len(text) > 400 || strings.ContainsAny(text, "\r\n\x00") {
					t.Errorf("%q", text)
				}
				continue
			}
			var v map[string]json.RawMessage
			if status < 200 || status > 299 || json.Unmarshal(body, &v) != nil {
				t.Errorf("%d %q is a yes", status, body)
			}
		}
	})
}
