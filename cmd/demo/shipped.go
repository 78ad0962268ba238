package main

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"

	"xunjian/configs"
)

// optional marks what a shipped file has for some only: whole checks, and the balance of a platform that tells it.
var optional = regexp.MustCompile(`(?m)^(  |      )#= `)

// shipped are the configurations of services that the demo takes as they come, but for addresses, files and paces: what breaks
// is to be seen within seconds.
var shipped = []struct {
	file    string
	whole   bool                   // with all that is optional
	replace func(d *demo) []string // pairs of what stands there and what is to
}{
	{"services/sms.yml", true, (*demo).messages},
	{"services/signature.yml", false, func(d *demo) []string {
		addr := fmt.Sprintf("127.0.0.1:%d", d.ports.services["signature"])
		return []string{
			"  - {name: signature, zh: 签章服务, en: Signature service, key: true}\n", "  []\n", // demo.yml has it
			"https://seal.example.org", "https://" + addr,
			"seal.example.org:443", addr,
			"#= tls: {ca_file: ca.pem}", fmt.Sprintf("tls: {ca_file: %q}", d.path("simulator", "ca.pem")),
			"#= ca_file: ca.pem", fmt.Sprintf("ca_file: %q", d.path("simulator", "ca.pem")),
			"seal-cert.pem", d.path("simulator", "seal-cert.pem"),
			"seal-ca.pem", d.path("simulator", "seal-ca.pem"),
			"every: 60s", "every: 10s",
			"timeout: 20s", "timeout: 8s",
			"every: 30m", "every: 300s",
			"timeout: 60s", "timeout: 15s",
			"every: 5m", "every: 15s",
			"budget: 60 ", "budget: 10000 ",
		}
	}},
	{"services/oa.yml", false, func(d *demo) []string {
		return []string{
			"target: https://oa.example.org\n", d.trusted(d.service("oa")),
			"{env: XUNJIAN_OA_PASSWORD}", "{file: oa.secret}",
			`    hours: {from: "08:00", to: "18:00", workdays: true}   # 工作时间 / office hours` + "\n", "",
			"every: 5m", "every: 15s", "timeout: 60s", "timeout: 10s", "slow: 15s", "slow: 4s",
			"every: 30m", "every: 60s", "timeout: 90s", "timeout: 30s", "slow: 30s", "slow: 10s",
			"budget: 40 ", "budget: 10000 ",
		}
	}},
	{"logins/cas.yml", false, func(d *demo) []string {
		return []string{
			"target: https://oa.example.org\n", d.trusted(d.service("oa")), "{env: XUNJIAN_OA_PASSWORD}", "{file: oa.secret}",
			"name: login-cas\n", "name: oa-sso\n", "every: 5m", "every: 15s", "timeout: 30s", "timeout: 7s",
		}
	}},
	{"services/documents.yml", false, func(d *demo) []string {
		addr := d.service("cloud-doc")
		return []string{
			"  - {name: cloud-doc, zh: 云文档服务, en: Cloud documents, key: true}\n", "  []\n", // demo.yml has it
			"target: https://docs.example.org\n", d.trusted(addr),
			"docs.example.org", addr, "oa.example.org", addr,
			"every: 60s", "every: 10s", "timeout: 30s", "timeout: 5s",
			"every: 5m", "every: 60s", "timeout: 2m", "timeout: 50s", // longer than the 30 s of a step that hangs
			"budget: 600 ", "budget: 10000 ",
		}
	}},
	{"services/gateway.yml", false, func(d *demo) []string {
		addr := d.service("gateway")
		admin := d.trusted(addr)
		return []string{
			"  - {name: gateway, zh: 网关服务, en: API gateway, key: true}\n", "  []\n", // demo.yml has it
			"target: https://gateway.example.org\n", d.trusted(addr),
			"target: gateway.example.org:443\n", "target: " + addr + "\n",
			"expiry: {minor: 720h, general: 168h, urgent: 0s}", fmt.Sprintf("ca_file: %q", d.path("simulator", "ca.pem")),
			"target: https://docs.example.org/healthcheck\n", strings.Replace(d.trusted(d.service("cloud-doc")), "\n", "/healthcheck\n", 1),
			// The simulator's gateway has the administrations of all products, beside its routes.
			"target: http://gateway.internal:8001\n", admin, "target: http://gateway.internal:9090\n", admin, "target: http://gateway.internal:8080\n", admin,
			"target: http://gateway.internal:8088\n", admin, "target: http://gateway.internal:8404\n", admin,
			"url: /status", "url: /admin/status", "url: /routes", "url: /admin/routes", "url: /upstreams", "url: /admin/upstreams", "url: /v1/", "url: /apisix/v1/",
			"    vantage: {site: office}         # 由带此标签的代理执行 / asked by agents with this label\n", "",
			"every: 60s", "every: 10s", "timeout: 10s", "timeout: 5s",
		}
	}},
}

// messages has every way to send one asked: both protocols, the send log, and the platforms over HTTP.
func (d *demo) messages() []string {
	web := d.service("sms")
	over := d.trusted(web)
	by := func(protocol string) string {
		return fmt.Sprintf("target: %s\n    tls: {ca_file: %q}\n", d.service(protocol), d.path("simulator", "ca.pem"))
	}
	return []string{
		"  - {name: sms, zh: 短信服务, en: SMS service, key: true}\n", "  []\n", // demo.yml has it
		"target: cmpp.example.org:7890\n", by("cmpp"), "target: smsc.example.org:2775\n", by("smpp"),
		"target: https://mas.example.org\n", over, "target: https://dysmsapi.aliyuncs.com\n", over, "target: https://sms.tencentcloudapi.com\n", over,
		"host: dysmsapi.aliyuncs.com", "host: " + web, "host: sms.tencentcloudapi.com", "host: " + web, "https://sms.example.org/", "https://" + web + "/",
		`        headers: {Authorization: "Bearer {{ secrets.token }}"}   # 取自 secrets / taken from secrets` + "\n", "",
		"every: 60s", "every: 10s", "timeout: 10s", "timeout: 4s", "slow: 3s", "slow: 1s", "answer: 5s", "answer: 3s",
		`    hours: {from: "08:00", to: "20:00", otherwise: 2h}` + "\n", "",
		"every: 30m", "every: 3m", "timeout: 11m", "timeout: 30s", "timeout: 6m", "timeout: 30s", "slow: 65s", "slow: 15s",
		"report: 300s", "report: 10s", "hex_ids: false", "report: 10s", "slow: 60s", "slow: 9s", "timeout: 300s", "timeout: 10s", "timeout: 280s", "timeout: 10s", "pause: 5s", "pause: 1s",
		"budget: 40", "budget: 500",
	}
}

// service is where one of the simulator's listens.
func (d *demo) service(name string) string {
	return fmt.Sprintf("127.0.0.1:%d", d.ports.services[name])
}

// trusted is a target and whom to trust there.
func (d *demo) trusted(addr string) string {
	return fmt.Sprintf("target: https://%s\n    tls: {ca_file: %q}\n", addr, d.path("simulator", "ca.pem"))
}

// writeShipped puts them where demo.yml includes them from.
func (d *demo) writeShipped() error {
	if err := os.MkdirAll(d.path("services"), 0o700); err != nil {
		return err
	}
	for _, s := range shipped {
		b, err := configs.Services.ReadFile(s.file)
		if err != nil {
			return err
		}
		if s.whole {
			b = optional.ReplaceAll(b, []byte("$1"))
		}
		if err := writeAtomic(d.path("services", path.Base(s.file)), strings.NewReplacer(s.replace(d)...).Replace(string(b))); err != nil {
			return err
		}
	}
	return nil
}
