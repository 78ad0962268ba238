package channel

import (
	"strconv"
	"time"
)

const feishuText = 8 << 10

// newFeishu is 飞书's group robot.
func newFeishu(b base, w wiring) (Channel, error) {
	return &robot{b, w, robotKind{
		site: "https://open.feishu.cn/open-apis/bot/v2/hook", code: "code", body: feishuBody, buttons: true,
		// The key is what others take for the message, and the message is empty.
		sign: func(secret string, now time.Time) signature {
			ts := strconv.FormatInt(now.Unix(), 10)
			return signature{ts, hmacSHA256(ts+"\n"+secret, "")}
		},
		refused: map[string]verdict{
			"11232": {CauseLimit, time.Minute, false},
			"11233": {CauseLimit, time.Minute, false},
			"9499":  {CauseLimit, time.Minute, false},
			"19001": {CauseCredentials, 0, false}, // no such robot
			"19021": {CauseCredentials, 0, false}, // signature, or a timestamp that is off by an hour
			"19022": {CauseCredentials, 0, false}, // source address
			"19024": {CauseContent, 0, false},     // its keyword is missing: so it is in every message
			"19002": {CauseContent, 0, true},
			"10002": {CauseContent, 0, true},
		},
	}}, nil
}

// feishuBody is rich text made of parts, so that a text is never taken for a link or for somebody's name.
func feishuBody(m spoken, sign signature) any {
	type part map[string]string
	rows := [][]part{{{"tag": "text", "text": cutBytes(m.Text, feishuText)}}}
	language := "zh_cn"
	if !m.zh {
		language = "en_us"
	}
	if m.link != "" {
		rows = append(rows, []part{{"tag": "a", "text": m.button, "href": m.link}})
	}
	var names []part
	for _, p := range m.people {
		if nameable(p.Feishu) {
			names = append(names, part{"tag": "at", "user_id": p.Feishu})
		}
	}
	if names != nil {
		rows = append(rows, names)
	}
	body := map[string]any{"msg_type": "post", "content": map[string]any{"post": map[string]any{language: map[string]any{"title": m.Title, "content": rows}}}}
	if sign.sign != "" {
		body["timestamp"], body["sign"] = sign.timestamp, sign.sign
	}
	return body
}
