package simulator_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/simulator"
)

// nginxConf is a gateway as sites build it: a key before each route, one upstream that lives, one that does not, stub_status.
const nginxConf = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen 127.0.0.1:%[2]d;
    default_type application/json;
    location /documents/ {
      if ($http_apikey = "") { return 401 '{"message":"No API key found in request"}'; }
      proxy_pass http://127.0.0.1:%[3]d/;
    }
    location /signature/ {
      proxy_pass http://127.0.0.1:%[4]d/;
    }
    location = /nginx_status { stub_status; }
  }
}
`

// startNginx runs Debian's nginx until the test ends.
func startNginx(t *testing.T, upstream int) (base string) {
	t.Helper()
	if os.Getenv("XUNJIAN_WITHOUT_PEERS") != "" {
		t.Skip("XUNJIAN_WITHOUT_PEERS is set")
	}
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is not installed: test/setup.sh installs it (or set XUNJIAN_WITHOUT_PEERS to do without)")
	}
	dir, port := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, dir, port, upstream, freePort(t))
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its workers could not enter the test's folder otherwise
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	for deadline := time.Now().Add(ample); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			c.Close()
			return fmt.Sprint("http://127.0.0.1:", port)
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx does not listen: %s", log)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestNginx points the shipped checks at a real nginx: a canary before a living upstream, a route that has lost its auth and its
// upstream, a route that is not there, and stub_status.
func TestNginx(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "true") }))
	t.Cleanup(backend.Close)
	base := startNginx(t, backend.Listener.Addr().(*net.TCPAddr).Port)
	t.Setenv("XUNJIAN_TEST_KEY", simulator.GatewayKey)
	s := start(t, simulator.Options{})
	specs := relocated(t, s, "gateway.yml", "https://gateway.example.org", base, "http://gateway.internal:8088", base)

	told{check.Fail, check.Partial, "signature", "", "上游不可达 upstream dead"}.look(t, "routes", round(t, newProber(t, specs["gateway-routes"])).First())
	told{outcome: check.OK}.look(t, "via", round(t, newProber(t, specs["documents-via-gateway"])).First())
	told{check.Fail, check.Down, "echo", "", "路由丢失 route lost"}.look(t, "deep", round(t, newProber(t, specs["gateway-deep"])).First())
	told{outcome: check.OK}.look(t, "stub_status", round(t, newProber(t, specs["gateway-nginx"])).First())

	backend.Close()
	a := round(t, newProber(t, specs["documents-via-gateway"])).First()
	told{check.Fail, check.Down, "health", "", "上游不可达 upstream dead"}.look(t, "via", a)
	if !strings.Contains(a.Reason, "502") {
		t.Errorf("a dead upstream is told as %q", a.Reason)
	}
}
