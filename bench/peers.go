package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peer is a running Prometheus or VictoriaMetrics with a folder of its own.
type peer struct {
	*child
	dir, url string
	write    string // path of remote write
	query    string // added to each query
}

// newPeer starts a program on a free port of loopback and waits until it answers.
func newPeer(ctx context.Context, dir, program, ready string, args func(data, addr string) []string) (*peer, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w (make setup installs the peers as root)", err)
	}
	p := &peer{dir: filepath.Join(dir, filepath.Base(program))}
	data := filepath.Join(p.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p.url = "http://" + addr
	if p.child, err = spawn(p.dir, path, args(data, addr)...); err != nil {
		return nil, err
	}
	if err := await(ctx, func() error { return answers(ctx, p.url+ready) }); err != nil {
		p.stop()
		text, _ := os.ReadFile(filepath.Join(p.dir, p.name+".log")) // only to say more
		return nil, fmt.Errorf("start %s: %w\n%s", program, err, text)
	}
	return p, nil
}

func startPrometheus(ctx context.Context, dir string) (*peer, error) {
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		return nil, err
	}
	p, err := newPeer(ctx, dir, "prometheus", "/-/ready", func(data, addr string) []string {
		return []string{
			"--config.file=" + config, "--storage.tsdb.path=" + data, "--web.listen-address=" + addr, "--web.enable-remote-write-receiver",
			"--web.enable-admin-api", "--storage.tsdb.retention.time=800d", "--query.max-samples=200000000", "--log.level=warn",
		}
	})
	if err == nil {
		p.write = "/api/v1/write"
	}
	return p, err
}

func startVictoria(ctx context.Context, dir string) (*peer, error) {
	p, err := newPeer(ctx, dir, "victoria-metrics", "/health", func(data, addr string) []string {
		return []string{"-storageDataPath=" + data, "-httpListenAddr=" + addr, "-retentionPeriod=3y", "-search.maxUniqueTimeseries=1000000", "-loggerLevel=WARN"}
	})
	if err == nil {
		p.write, p.query = "/api/v1/write", "nocache=1"
	}
	return p, err
}

func answers(ctx context.Context, page string) error {
	_, err := get(ctx, http.MethodGet, page)
	return err
}

// sizes are the bytes that a store has on disk.
type sizes struct {
	whole   float64 // with index and all else that belongs to the samples
	samples float64 // values and stamps alone
}

// prometheusSizes writes everything into blocks and weighs them.
func prometheusSizes(ctx context.Context, p *peer) (z sizes, err error) {
	body, err := get(ctx, http.MethodPost, p.url+"/api/v1/admin/tsdb/snapshot")
	if err != nil {
		return z, err
	}
	name, _, ok := strings.Cut(after(string(body), `"name":"`), `"`)
	if !ok || name == "" {
		return z, fmt.Errorf("snapshot of Prometheus: %s", body)
	}
	dir := filepath.Join(p.dir, "data", "snapshots", name)
	defer os.RemoveAll(dir)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		z.whole += float64(info.Size())
		if filepath.Base(filepath.Dir(path)) == "chunks" {
			z.samples += float64(info.Size())
		}
		return nil
	})
	return z, err
}

func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	return rest
}

// victoriaSizes makes it write and merge everything, and weighs its data with and without the index.
func victoriaSizes(ctx context.Context, p *peer) (z sizes, err error) {
	for _, page := range []string{"/internal/force_flush", "/internal/force_merge"} {
		if _, err := get(ctx, http.MethodGet, p.url+page); err != nil {
			return z, err
		}
	}
	last := -1.0
	for range 600 { // merges run in the background
		if err := sleep(ctx, time.Second); err != nil {
			return z, err
		}
		busy, err := victoriaMerges(ctx, p)
		if err != nil {
			return z, err
		}
		data, err := du(filepath.Join(p.dir, "data", "data"))
		if err != nil {
			return z, err
		}
		if busy == 0 && data == last {
			index, err := du(filepath.Join(p.dir, "data", "indexdb"))
			return sizes{whole: data + index, samples: data}, err
		}
		last = data
	}
	return z, errors.New("VictoriaMetrics still merges after ten minutes")
}

// victoriaMerges counts the merges under way.
func victoriaMerges(ctx context.Context, p *peer) (n int, err error) {
	body, err := get(ctx, http.MethodGet, p.url+"/metrics")
	if err != nil {
		return 0, err
	}
	for s := bufio.NewScanner(strings.NewReader(string(body))); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		if strings.HasPrefix(name, "vm_active_merges{") || strings.HasPrefix(name, "vm_active_force_merges") {
			v, err := strconv.Atoi(value)
			if err != nil {
				return 0, fmt.Errorf("read VictoriaMetrics' metrics: %w", err)
			}
			n += v
		}
	}
	return n, nil
}

// du is the size of all files below a folder; files that vanish meanwhile do not count.
func du(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += float64(info.Size())
		}
		return err
	})
	return n, err
}
