package collector

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const moduleFile = "modules:\n  web:\n    prober: http\n    timeout: 3s\n    http:\n      valid_status_codes: [401]\n      tls_config: {ca_file: ca.pem}\n  bad:\n    prober: http\n    http:\n      proxy_url: http://p\n"

func TestModulesOfBlackboxExporter(t *testing.T) {
	for name, tc := range map[string]struct{ main, included, fault string }{
		"in the configuration": {"checks: [{name: a-1, service: a, module: web, target: h.example}]\nmodules: [probes/blackbox.yml]\n", "", ""},
		"in an included file":  {"modules: [probes/blackbox.yml]\ninclude: [more.yml]\n", "checks: [{name: a-1, service: a, module: web, target: h.example}]\n", ""},
		"cannot be honoured":   {"checks: [{name: a-1, service: a, module: bad, target: h.example}]\nmodules: [probes/blackbox.yml]\n", "", "blackbox.yml:11: modules.bad.http.proxy_url: cannot be honoured"},
		"not there":            {"checks:\n  - {name: a-1, service: a, module: wep, target: h.example}\nmodules: [probes/blackbox.yml]\n", "", `collector.yml:4: checks[0].module: "wep" is not in the module files`},
		"said twice":           {"checks:\n  - {name: a-1, service: a, module: web, target: h.example, http: {status: [200]}}\nmodules: [probes/blackbox.yml]\n", "", "checks[0].http: the module web says this"},
		"no file":              {"modules: [none.yml]\n", "", "none.yml: read config: open"},
		"twice":                {"checks: [{name: a-1, service: a, module: web, target: h.example}]\nmodules: [probes/blackbox.yml, probes/blackbox.yml]\n", "", `module "web" is there twice`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{
				"collector.yml": "data: d\nservices: [{name: a}]\n" + tc.main, "more.yml": tc.included, "probes/blackbox.yml": moduleFile, "probes/ca.pem": testPEM,
			})
			file := filepath.Join(dir, "collector.yml")
			if tc.fault != "" {
				if err := Check(file); err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("%v, want %s", err, tc.fault)
				}
				return
			}
			if err := Check(file); err != nil {
				t.Fatal(err)
			}
			c, err := LoadConfig(file)
			if err != nil {
				t.Fatal(err)
			}
			s := c.Checks[0]
			if s.Kind != "http" || s.Target != "http://h.example" || s.Timeout != 3*time.Second || s.HTTP.Status[0] != 401 || s.HTTP.Redirects != 10 || s.TLS.CA != testPEM {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The checks of the network that come with the program can be used as they are.
func TestShippedNetworkChecks(t *testing.T) {
	path, err := filepath.Abs("../../configs/services/network.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{"collector.yml": "data: d\ninclude: ['" + path + "']\n"})
	c, err := LoadConfig(filepath.Join(dir, "collector.yml"))
	if err == nil {
		err = Check(filepath.Join(dir, "collector.yml"))
	}
	if err != nil || len(c.Checks) != 6 {
		t.Errorf("%d checks: %v", len(c.Checks), err)
	}
}

// testPEM is a CA that signs nothing.
var testPEM = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}()
