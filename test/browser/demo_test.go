package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demo is the whole product on free ports, with data of its own.
type demo struct {
	t        *testing.T
	url      string
	sim      string
	token    string
	password string
	stop     func()
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	bin, data := t.TempDir(), t.TempDir()
	for _, dir := range []string{"../../pkg", "../../cmd"} { // makes the test's cached result depend on the programs' sources
		if err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("build programs: %v\n%s", err, out)
	}
	var said bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "demo"), "--data", data, "--bin", bin, "--http", "0", "--grpc", "0")
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	d := &demo{t: t, stop: func() { cmd.Process.Signal(os.Interrupt); <-ended }}
	t.Cleanup(d.stop)
	env := map[string]string{}
	for begin := time.Now(); env["XUNJIAN_URL"] == ""; time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > 2*patience {
			t.Fatal("the demo does not become ready")
		}
		select {
		case <-ended:
			t.Fatalf("the demo ended: %s", said.String())
		default:
		}
		b, err := os.ReadFile(filepath.Join(data, "demo.env"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			env[k] = strings.Trim(v, "'")
		}
	}
	first, err := os.ReadFile(filepath.Join(data, "collector", "first-start.txt"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(first))
	d.url, d.sim, d.token, d.password = env["XUNJIAN_URL"], env["XUNJIAN_SIMULATOR_URL"], env["XUNJIAN_API_TOKEN"], words[len(words)-1]
	return d
}

func (d *demo) call(method, url string, body any) (answer struct{ ID string }) {
	d.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(b))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		d.t.Fatal(fmt.Errorf("%s %s: %s %s %w", method, url, resp.Status, text, err))
	}
	json.Unmarshal(text, &answer) // some answers are no incident
	return answer
}

func (d *demo) api(method, path string, body any) (answer struct{ ID string }) {
	d.t.Helper()
	return d.call(method, d.url+"/api/xunjian/v1"+path, body)
}
