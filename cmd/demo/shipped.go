package main

import (
	"fmt"
	"os"
	"strings"

	"xunjian/configs"
)

// shipped are the configurations of services that the demo takes as they come, but for addresses, files and paces: what breaks
// is to be seen within seconds.
var shipped = []struct {
	file    string
	replace func(d *demo) []string // pairs of what stands there and what is to
}{
	{"signature.yml", func(d *demo) []string {
		addr := fmt.Sprintf("127.0.0.1:%d", d.ports.services["signature"])
		return []string{
			"  - {name: signature, zh: 签章服务, en: Signature service, key: true}\n", "  []\n", // demo.yml has it
			"https://seal.example.org", "https://" + addr,
			"seal.example.org:443", addr,
			"#= tls: {ca_file: ca.pem}", fmt.Sprintf("tls: {ca_file: %q}", d.path("simulator", "ca.pem")),
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
}

// writeShipped puts them where demo.yml includes them from.
func (d *demo) writeShipped() error {
	if err := os.MkdirAll(d.path("services"), 0o700); err != nil {
		return err
	}
	for _, s := range shipped {
		b, err := configs.Services.ReadFile("services/" + s.file)
		if err != nil {
			return err
		}
		if err := writeAtomic(d.path("services", s.file), strings.NewReplacer(s.replace(d)...).Replace(string(b))); err != nil {
			return err
		}
	}
	return nil
}
