package ses_test

import (
	"bytes"
	"crypto/ecdsa"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/ses"
)

// userID is how OpenSSL is told of the usual user id, without which it uses none.
const userID = "distid:1234567812345678"

// openssl is a folder in which OpenSSL works.
type openssl struct{ dir string }

func newOpenSSL(t *testing.T) openssl {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	out, err := exec.Command("openssl", "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "OpenSSL 3") {
		t.Fatalf("no OpenSSL 3 here: %s %v (test/setup.sh installs it, or set XUNJIAN_WITHOUT_PEERS to do without)", out, err)
	}
	return openssl{t.TempDir()}
}

// try runs it in the folder and says whether it was content.
func (o openssl) try(args ...string) (string, error) {
	cmd := exec.Command("openssl", args...)
	cmd.Dir = o.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (o openssl) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := o.try(args...)
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (o openssl) write(t *testing.T, name string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(o.dir, name), b, 0o600))
}

func (o openssl) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(o.dir, name))
	must(t, err)
	return b
}

// What OpenSSL signs with a certificate of its own CA verifies here, and nothing else does.
func TestOpenSSLSigns(t *testing.T) {
	o := newOpenSSL(t)
	for _, name := range []string{"ca", "leaf"} {
		o.run(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-pkeyopt", "ec_param_enc:named_curve", "-out", name+".key")
	}
	o.write(t, "leaf.ext", []byte("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation\n"))
	o.run(t, "req", "-x509", "-new", "-key", "ca.key", "-sm3", "-sigopt", userID, "-days", "3650", "-subj", "/C=CN/CN=root", "-out", "ca.pem")
	o.run(t, "req", "-new", "-key", "leaf.key", "-sm3", "-sigopt", userID, "-subj", "/C=CN/CN=signer", "-out", "leaf.csr")
	o.run(t, "x509", "-req", "-in", "leaf.csr", "-vfyopt", userID, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-sm3", "-sigopt", userID,
		"-days", "365", "-extfile", "leaf.ext", "-out", "leaf.pem")
	data := []byte("一段原文 5f3c9a")
	o.write(t, "data", data)
	o.run(t, "dgst", "-sm3", "-sigopt", userID, "-sign", "leaf.key", "-out", "sig", "data")

	leaf, err := ses.ParseCertificate(o.read(t, "leaf.pem"))
	must(t, err)
	roots, err := ses.Roots(o.read(t, "ca.pem"))
	must(t, err)
	if err := ses.Chain(leaf, roots, nil, time.Now()); err != nil {
		t.Error(err)
	}
	signature := o.read(t, "sig")
	if !ses.VerifySM2(publicKey(t, leaf), data, signature) {
		t.Error("OpenSSL's signature does not verify")
	}
	if ses.VerifySM2(publicKey(t, leaf), append(bytes.Clone(data), '!'), signature) {
		t.Error("of other data it verifies")
	}
	signature[len(signature)-1] ^= 1
	if ses.VerifySM2(publicKey(t, leaf), data, signature) {
		t.Error("a changed signature verifies")
	}
}

func publicKey(t *testing.T, c *smx509.Certificate) *ecdsa.PublicKey {
	t.Helper()
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("key %T", c.PublicKey)
	}
	return key
}

// OpenSSL takes our certificates, our CRL and our signatures, and refuses what was tampered with.
func TestOpenSSLVerifies(t *testing.T) {
	o := newOpenSSL(t)
	now := time.Now()
	ca, err := ses.NewAuthority("root", now.Add(-day), now.Add(3650*day))
	must(t, err)
	signer, err := ca.Issue("signer", ses.Signer, now.Add(-day), now.Add(365*day), "")
	must(t, err)
	signature, err := signer.Sign([]byte("data"))
	must(t, err)
	crl, err := ca.Revoke(now.Add(-time.Minute), signer.Cert)
	must(t, err)
	for name, b := range map[string][]byte{"ca.pem": ca.PEM(), "leaf.pem": signer.PEM(), "data": []byte("data"), "other": []byte("Data"), "sig": signature, "crl": crl} {
		o.write(t, name, b)
	}
	o.run(t, "verify", "-vfyopt", userID, "-CAfile", "ca.pem", "leaf.pem")
	o.write(t, "leaf.pub", []byte(o.run(t, "x509", "-in", "leaf.pem", "-noout", "-pubkey")))
	o.run(t, "dgst", "-sm3", "-sigopt", userID, "-verify", "leaf.pub", "-signature", "sig", "data")
	if out, err := o.try("dgst", "-sm3", "-sigopt", userID, "-verify", "leaf.pub", "-signature", "sig", "other"); err == nil {
		t.Errorf("other data verify: %s", out)
	}
	serial := strings.TrimPrefix(strings.TrimSpace(o.run(t, "x509", "-in", "leaf.pem", "-noout", "-serial")), "serial=")
	if list := o.run(t, "crl", "-inform", "der", "-in", "crl", "-noout", "-text"); !strings.Contains(list, strings.TrimLeft(serial, "0")) {
		t.Errorf("the list lacks %s:\n%s", serial, list)
	}
}

var elementForm = regexp.MustCompile(`(?m)^ *(\d+):d=1 +hl=(\d) +l= *(\d+)`)

// OpenSSL, taking our seal's signature apart by itself, finds that it verifies.
func TestOpenSSLVerifiesSeal(t *testing.T) {
	o := newOpenSSL(t)
	office := newOffice(t, ses.GBT2020)
	der, err := ses.MakeSignature(office.seal, office.signer, []byte("list"), noon, "p")
	must(t, err)
	o.write(t, "signature.der", der)
	parts := elementForm.FindAllStringSubmatch(o.run(t, "asn1parse", "-inform", "der", "-in", "signature.der"), -1)
	if len(parts) != 4 {
		t.Fatalf("%d elements, want 4", len(parts))
	}
	at := func(i int) string { return parts[i][1] }
	o.run(t, "asn1parse", "-inform", "der", "-in", "signature.der", "-offset", at(0), "-length", span(t, parts[0]), "-out", "tbs", "-noout")
	o.run(t, "asn1parse", "-inform", "der", "-in", "signature.der", "-strparse", at(1), "-out", "cert.der", "-noout")
	o.run(t, "asn1parse", "-inform", "der", "-in", "signature.der", "-strparse", at(3), "-out", "sig", "-noout")
	o.write(t, "pub", []byte(o.run(t, "x509", "-inform", "der", "-in", "cert.der", "-noout", "-pubkey")))
	o.run(t, "dgst", "-sm3", "-sigopt", userID, "-verify", "pub", "-signature", "sig", "tbs")
	tbs := o.read(t, "tbs")
	tbs[len(tbs)-1] ^= 1
	o.write(t, "tbs", tbs)
	if out, err := o.try("dgst", "-sm3", "-sigopt", userID, "-verify", "pub", "-signature", "sig", "tbs"); err == nil {
		t.Errorf("a tampered one verifies: %s", out)
	}
}

// span is the length of an element with its header.
func span(t *testing.T, m []string) string {
	t.Helper()
	head, err := strconv.Atoi(m[2])
	must(t, err)
	body, err := strconv.Atoi(m[3])
	must(t, err)
	return strconv.Itoa(head + body)
}
