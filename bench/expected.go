package main

import "xunjian/pkg/simulator"

// told is an incident that has to be opened for a fault: regular expressions on its class and level, and on what it says.
type told struct{ class, level, says string }

// due is what has to come of a fault, by DOMAIN 1.1 to 1.4 and 2.
type due struct {
	told []told
	// Where nothing may be opened: a check that was asked since, its outcome then, and what it says.
	check, outcome, says string
	control              bool   // it shows in the daily negative control only
	lasts                bool   // what is opened stays for a day, or until the next control: nobody waits for its end
	delay                int    // milliseconds of an answer, of slow
	later                string // what comes of it when it lasts, which tests show with a clock of their own
}

func opens(class, level, says string) due { return due{told: []told{{class, level, says}}} }

// stays is a fault at which nothing may be opened.
func stays(check, outcome, says string) due { return due{check: check, outcome: outcome, says: says} }

func (d due) and(class, level, says string) due {
	d.told = append(d.told, told{class, level, says})
	return d
}

func (d due) lasting() due          { d.lasts = true; return d }
func (d due) then(later string) due { d.later = later; return d }
func (d due) slowly(ms int) due     { d.delay = ms; return d }
func (d due) shownByControl() due   { d.control, d.lasts = true, true; return d }

// outage is what faults that every service can have come to at a key service.
func outage() map[simulator.Mode]due {
	return map[simulator.Mode]due{
		simulator.Refuse:        opens("down", "urgent", "无法连接"),
		simulator.Hang:          opens("down|unusable", "urgent", "超时"),
		simulator.Slow:          opens("slow", "general", "用时").slowly(1500),
		simulator.Error500:      opens("down", "urgent", "500"),
		simulator.Reset:         opens("down", "urgent", "中断"),
		simulator.Wrong:         opens("down|wrong", "urgent", "内容不符"),
		simulator.Flap:          opens("down|partial", "urgent|general", "500"),
		simulator.LoginPage:     opens("down", "urgent", "登录页"),
		simulator.LoginRedirect: opens("down", "urgent", "登录页"),
		simulator.TLSExpired:    opens("down", "urgent", "证书"),
	}
}

// with adds to the general faults those of one service's own, or says otherwise of some.
func with(own map[simulator.Mode]due) map[simulator.Mode]due {
	all := outage()
	for mode, d := range own {
		all[mode] = d
	}
	return all
}

// expected is what has to come of each fault at each of the simulator's doors.
var expected = map[string]map[simulator.Mode]due{
	simulator.CloudDoc: with(map[simulator.Mode]due{
		simulator.HealthFalse:     opens("down|wrong", "urgent", "false"),
		simulator.WrongFile:       opens("wrong", "urgent", "内容不符"),
		simulator.StaleResult:     opens("wrong", "urgent", "内容不符"),
		simulator.EditorError:     opens("down", "urgent", "open"),
		simulator.StorageAway:     opens("down", "urgent", "source|open"),
		simulator.ConvertError:    opens("partial", "general", "convert|task"),
		simulator.ConvertHang:     opens("partial", "general", "convert|task"),
		simulator.DeleteKept:      opens("warning", "minor", "清理"),
		simulator.LicenceNear:     opens("warning", "minor", "授权"),
		simulator.LicenceShort:    opens("warning", "general", "授权"),
		simulator.LicenceExpired:  opens("warning", "urgent", "授权"),
		simulator.Throttled:       stays("wps-health", "unknown", "not now"),
		simulator.Upgraded:        opens("warning", "minor", "版本").lasting(),
		simulator.CorruptAccepted: opens("warning", "minor", "探测自检").shownByControl(),
		simulator.TokenIgnored:    opens("warning", "minor", "探测自检").shownByControl(),
	}),
	simulator.Signature: with(map[simulator.Mode]due{
		simulator.Slow: opens("slow", "general", "用时").slowly(900), // eight requests in a row, within the demo's 8 s

		simulator.SignatureInvalid: opens("wrong", "urgent", "verify-here"),
		simulator.TamperAccepted:   opens("partial", "general", "refuse-there"),
		simulator.SealExpired:      opens("down", "urgent", "seal").and("warning", "urgent", "印章"),
		simulator.SealNearEnd:      opens("warning", "general", "印章"),
		simulator.CertChanged:      opens("warning", "minor", "换证").lasting(),
		simulator.CertRevoked:      opens("wrong", "urgent", "revoked"),
		simulator.CRLDown:          opens("warning", "minor", "revoked"),
		simulator.ClockSkew:        opens("down", "urgent", "account"),
		simulator.DocumentWrong:    opens("partial", "general", "verify-document"),
		simulator.DeleteFails:      opens("warning", "minor", "清理"),
		simulator.SignsForAll:      opens("warning", "minor", "探测自检").shownByControl(),
	}),
	simulator.SMS: with(map[simulator.Mode]due{
		simulator.Wrong:         opens("down|wrong", "urgent", "内容不符|404"),
		simulator.BalanceLow:    opens("warning", "minor", "余额"),
		simulator.BalanceZero:   opens("warning", "urgent", "余额"),
		simulator.LogFailing:    opens("down", "urgent", "send-log"),
		simulator.AnySignature:  opens("warning", "minor", "探测自检").shownByControl(),
		simulator.SubmitRefused: opens("partial", "general", "submit").then(refusedLong),
		simulator.Throttled:     stays("sms-mas", "unknown", "not now").then(throttledLong),
		simulator.ReportMissing: opens("partial", "general", "report").then(reportsMissing),
		simulator.Undeliverable: opens("partial", "general", "report"),
	}),
	simulator.SMPP: centre("sms-smpp-delivery"),
	simulator.CMPP: centre("sms-delivery"),
	simulator.Gateway: with(map[simulator.Mode]due{
		simulator.LoginPage:       opens("down", "urgent", "登录页|auth plugin gone"), // whichever check is the first
		simulator.RouteLost:       opens("down", "urgent", "documents"),
		simulator.UpstreamDead:    opens("down", "urgent", "502"),
		simulator.RateLimited:     stays("gateway-deep", "unknown", "429"),
		simulator.AuthGone:        opens("down", "urgent", "documents"),
		simulator.TargetUnhealthy: opens("partial", "general", "targets|servers"),
		simulator.CachedAnswer:    opens("wrong", "urgent", "nonce|echo"),
		simulator.GatewaySlow:     opens("partial", "general", "Latency"),
		simulator.AdminOpen:       opens("warning", "minor", "admin-open"),
	}),
	simulator.OA: with(map[simulator.Mode]due{
		simulator.LoginPage:     opens("down", "urgent", "login-page|登录页"),
		simulator.LoginRedirect: opens("down", "urgent", "login-page|登录页"),
		simulator.Slow:          opens("slow", "general", "用时").slowly(600), // eleven requests in a row, within the demo's 10 s
		simulator.OAException:   opens("down", "urgent", "系统异常"),
		simulator.LoginRefused:  opens("warning", "general", "探测账号被拒"),
		simulator.AccountLocked: opens("warning", "general", "探测账号被拒"),
		simulator.DraftStays:    opens("warning", "minor", "清理"),
		simulator.DeleteRefused: opens("warning", "minor", "清理"),
		simulator.TodoEmpty:     opens("down|wrong", "urgent", "todo"),
		simulator.TodoWrong:     opens("wrong", "urgent", "todo"),
		simulator.ApproveFails:  opens("down|wrong", "urgent", "approve"),
		simulator.DraftFails:    opens("down|wrong", "urgent", "draft"),
		simulator.FileWrong:     opens("wrong", "urgent", "attachment"),
		simulator.SearchEmpty:   opens("partial", "general", "archive"),
		simulator.SlowStep:      opens("slow", "general", "用时"),
		simulator.SSOFails:      opens("down", "urgent", "login"),
	}),
}

// What comes of refused messages, of flow control and of missing reports when they last, in sessions and over HTTP.
const (
	reportsMissing = "最近 6 次缺 3 次：中断，紧急 3 of the last 6: down, urgent"
	refusedLong    = "持续 15 分钟：中断，紧急 for 15 min: down, urgent"
	throttledLong  = "持续 30 分钟：部分故障，一般 for 30 min: partial, general"
)

// centre is the short message centre behind either protocol; full is the check that sends messages to it.
func centre(full string) map[simulator.Mode]due {
	return map[simulator.Mode]due{
		simulator.Refuse:         opens("down", "urgent", "connect"),
		simulator.Hang:           opens("down|unusable", "urgent", "login"),
		simulator.Slow:           opens("slow", "general", "用时").slowly(1200),
		simulator.Reset:          opens("down", "urgent", "login"),
		simulator.LoginRefused:   opens("partial", "general", "login"),
		simulator.AnyPassword:    opens("warning", "minor", "探测自检").shownByControl(),
		simulator.LoginSilent:    opens("down|unusable", "urgent", "login"),
		simulator.SubmitRefused:  opens("partial", "general", "submit").then(refusedLong),
		simulator.Throttled:      stays(full, "unknown", "submit").then(throttledLong),
		simulator.ReportMissing:  opens("partial", "general", "report").then(reportsMissing),
		simulator.ReportLate:     opens("partial", "general", "report").then(reportsMissing),
		simulator.ReportForeign:  opens("warning", "minor", "account|账号").lasting(),
		simulator.Undeliverable1: stays(full, "ok", ""),
		simulator.Undeliverable:  opens("partial", "general", "report").then(reportsMissing),
	}
}
