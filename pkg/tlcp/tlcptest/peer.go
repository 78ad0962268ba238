// Package tlcptest starts a TLCP server made with another library, for tests to shake hands with.
package tlcptest

import (
	"bufio"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"xunjian/pkg/ses"
)

// Start runs the peer until the test ends and returns its address. It skips the test where peers are not wanted.
func Start(t testing.TB, signing, encryption ses.Identity) string {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set: the peer's module may not install here")
	}
	dir := t.TempDir()
	cmd := exec.Command(build(t, dir), append(write(t, dir, "sign", signing), write(t, dir, "enc", encryption)...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // the peer ends with it
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the peer: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the peer tells no address: %v", err)
	}
	return strings.TrimSpace(line)
}

// build compiles the peer, which lies in a module of its own: no program of ours may link it.
func build(t testing.TB, dir string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	program := filepath.Join(dir, "gmtls")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "..", "test", "gmtls")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the peer: %v\n%s", err, out)
	}
	return program
}

func write(t testing.TB, dir, name string, id ses.Identity) []string {
	t.Helper()
	key, err := smx509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{".pem": id.PEM(), ".key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	for suffix, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")}
}
