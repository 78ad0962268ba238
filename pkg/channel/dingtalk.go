package channel

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dingTalkText is well below what the robot takes.
const dingTalkText = 8 << 10

// newDingTalk is 钉钉's group robot.
func newDingTalk(b base, w wiring) (Channel, error) {
	return &robot{b, w, robotKind{
		site: "https://oapi.dingtalk.com/robot/send", param: "access_token", code: "errcode", body: dingTalkBody, buttons: true, inURL: true,
		sign: func(secret string, now time.Time) signature {
			ts := strconv.FormatInt(now.UnixMilli(), 10)
			return signature{ts, hmacSHA256(secret, ts+"\n"+secret)}
		},
		refused: map[string]verdict{
			"130101": {CauseLimit, 10 * time.Minute, false}, // more than 20 a minute: blocked for ten
			"410100": {CauseLimit, time.Minute, false},
			"310000": {CauseCredentials, 0, false}, // signature, keyword or source address
			"300001": {CauseCredentials, 0, false},
			"400101": {CauseCredentials, 0, false},
			"400102": {CauseCredentials, 0, false},
			"400013": {CauseCredentials, 0, false}, // the group is dissolved
			"400105": {CauseContent, 0, true},
			"40035":  {CauseContent, 0, true},
			"430101": {CauseContent, 0, true}, // link, text, picture, anything that its censor refuses
			"430102": {CauseContent, 0, true},
			"430103": {CauseContent, 0, true},
			"430104": {CauseContent, 0, true},
		},
	}}, nil
}

// dingTalkBody is Markdown; whom it names stands beside the text, and in it so that the name shows.
func dingTalkBody(m spoken, _ signature) any {
	title := plainMarkdown(m.Title)
	text := "### " + title + "\n\n" + strings.ReplaceAll(plainMarkdown(cutBytes(m.Text, dingTalkText)), "\n", "\n\n")
	if m.link != "" {
		text += "\n\n[" + m.button + "](" + markdownURL.Replace(m.link) + ")"
	}
	var users, phones, names []string
	for _, p := range m.people {
		switch {
		case nameable(p.DingTalk):
			users, names = append(users, p.DingTalk), append(names, "@"+p.DingTalk)
		case p.Phone != "":
			phones = append(phones, national(p.Phone))
		}
	}
	for _, n := range m.phones {
		phones = append(phones, national(n))
	}
	for _, n := range phones {
		names = append(names, "@"+n)
	}
	if names != nil {
		text += "\n\n" + strings.Join(names, " ")
	}
	at := map[string]any{"isAtAll": false, "atMobiles": slices.Concat([]string{}, phones), "atUserIds": slices.Concat([]string{}, users)}
	return map[string]any{"msgtype": "markdown", "markdown": map[string]string{"title": title, "text": text}, "at": at}
}

// plainMarkdown writes what Markdown would take for its own in full width, so that a text can neither name anybody nor
// show a link or picture that is not ours.
func plainMarkdown(s string) string {
	ls := strings.Split(s, "\n")
	for i, l := range ls {
		ls[i] = ruler.ReplaceAllStringFunc(l, func(m string) string {
			return strings.NewReplacer("#", "＃", "-", "－", "=", "＝", "+", "＋").Replace(m)
		})
	}
	return fullWidth.Replace(strings.Join(ls, "\n"))
}

var (
	ruler       = regexp.MustCompile(`^\s*(#+|[-=+]+(\s|$)|-{3,}|={3,})`)
	fullWidth   = strings.NewReplacer("*", "＊", "`", "｀", "[", "［", "]", "］", "<", "＜", ">", "＞", "|", "｜", "~~", "～～", "\\", "＼", "@", "＠", "![", "！［")
	markdownURL = strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "<", "%3C", ">", "%3E", "\\", "%5C")
)

// national is a Chinese number without the country's code, as the messengers know it; others stay whole.
func national(phone string) string {
	bare := strings.TrimPrefix(phone, "+")
	if len(bare) == 13 && strings.HasPrefix(bare, "861") {
		return bare[2:]
	}
	return phone
}
