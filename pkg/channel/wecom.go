package channel

import "time"

// weComText is how many bytes a text may have.
const weComText = 2048

// newWeCom is 企业微信's group robot: no signature, the key in the address is the secret.
func newWeCom(b base, w wiring) (Channel, error) {
	return &robot{b, w, robotKind{
		site: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send", param: "key", code: "errcode", body: weComBody,
		refused: map[string]verdict{
			"45009": {CauseLimit, time.Minute, false},
			"45033": {CauseLimit, time.Minute, false},
			"93000": {CauseCredentials, 0, false}, // invalid webhook url
			"40058": {CauseContent, 0, true},
			"44004": {CauseContent, 0, true},
			"45002": {CauseContent, 0, true},
		},
	}}, nil
}

// weComBody is text, the one kind of message in which people can be named. They are named beside the text, so nothing in it
// can name anybody.
func weComBody(m spoken, _ signature) any {
	text := map[string]any{"content": cutBytes(m.Title+"\n"+m.Text, weComText)}
	var users, phones []string
	for _, p := range m.people {
		switch {
		case nameable(p.WeCom):
			users = append(users, p.WeCom)
		case p.Phone != "":
			phones = append(phones, national(p.Phone))
		}
	}
	for _, n := range m.phones {
		phones = append(phones, national(n))
	}
	if users != nil {
		text["mentioned_list"] = users
	}
	if phones != nil {
		text["mentioned_mobile_list"] = phones
	}
	return map[string]any{"msgtype": "text", "text": text}
}
