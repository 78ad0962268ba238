package channel

import (
	"maps"
	"slices"
)

// kinds are all ways of reaching people. One more costs a file and a line here; TestContract then wants to see it keep what
// channels promise.
var kinds = map[string]kind{
	"webhook":      {newHook, []string{"url", "url_from", "user", "token"}, needURL, 0},
	"alertmanager": {newAlertmanager, []string{"url", "user", "token"}, needURL, 0},
	"email":        {newEmail, []string{"server", "user", "token", "to", "mail"}, validateEmail, 30},
	"wecom":        {newWeCom, []string{"url", "url_from", "token", "to"}, validateRobot, 20},
	"dingtalk":     {newDingTalk, []string{"url", "url_from", "token", "secret", "to"}, validateRobot, 20},
	"feishu":       {newFeishu, []string{"url", "url_from", "token", "secret"}, validateRobot, 20},
	"sms":          {newGateway, []string{"url", "user", "token", "to", "gateway"}, validateGateway, 60},
	"voice":        {newGateway, []string{"url", "user", "token", "to", "gateway"}, validateGateway, 20},
	"cmpp":         {newCMPP, []string{"server", "user", "token", "to", "sms"}, validateCMPP, 60},
	"smpp":         {newSMPP, []string{"server", "user", "token", "to", "sms"}, validateSMPP, 60},
}

// Kinds are their names, in order.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }
