package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// controlFile is in the data folder while a collector runs.
const controlFile = "control.json"

// ErrNotRunning says that no collector runs on this data folder.
var ErrNotRunning = errors.New("no collector is running here")

// Control is how the command line finds the running collector and shows that it may read the data folder.
type Control struct {
	URL    string `json:"url"`
	Token  string `json:"token"`
	CAFile string `json:"ca_file,omitempty"`     // PEM to trust; empty: the system's
	Name   string `json:"server_name,omitempty"` // that the certificate must have; default: the host of URL
	PID    int    `json:"pid"`
}

// NewControl draws the token that Options.Control makes good.
func NewControl(url, caFile string) *Control {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return &Control{URL: url, Token: "xjc." + hex.EncodeToString(b), CAFile: caFile, PID: os.Getpid()}
}

// Is says whether a token is this one.
func (c *Control) Is(token string) bool { return c.Token != "" && sameSecret(token, c.Token) }

// Write puts the file in place, whole and readable by its owner only.
func (c *Control) Write(dir string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write %s: %w", controlFile, err)
	}
	f, err := os.CreateTemp(dir, "."+controlFile+"-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", controlFile, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", controlFile, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, controlFile)); err != nil {
		return fmt.Errorf("write %s: %w", controlFile, err)
	}
	return nil
}

// Remove takes the file away, unless it belongs to a collector that started later.
func (c *Control) Remove(dir string) error {
	now, err := readControl(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.Token != c.Token {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, controlFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", controlFile, err)
	}
	return nil
}

func readControl(dir string) (Control, error) {
	b, err := os.ReadFile(filepath.Join(dir, controlFile))
	if err != nil {
		return Control{}, fmt.Errorf("read %s: %w", controlFile, err)
	}
	var c Control
	if err := json.Unmarshal(b, &c); err != nil {
		return Control{}, fmt.Errorf("read %s: %w", controlFile, err)
	}
	return c, nil
}

// LoadControl reads the file of a collector whose process lives. It fails with ErrNotRunning when there is none, or only
// one that was left behind.
func LoadControl(dir string) (Control, error) {
	c, err := readControl(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	case err != nil:
		return c, err
	case c.PID < 1 || errors.Is(syscall.Kill(c.PID, 0), syscall.ESRCH):
		return c, fmt.Errorf("%s was left behind by process %d: %w", filepath.Join(dir, controlFile), c.PID, ErrNotRunning)
	}
	return c, nil
}

// Client speaks to the collector that the file names.
func (c Control) Client() (*Client, error) {
	t := &http.Transport{Proxy: nil, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second}
	t.TLSClientConfig = &tls.Config{ServerName: c.Name, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA: %s holds no certificate", c.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &Client{URL: c.URL, Token: c.Token, HTTP: &http.Client{Transport: t, Timeout: 2 * time.Minute}}, nil
}

// Connect finds the collector that runs on a data folder. ErrNotRunning is certain: the process is gone, or nobody listens,
// or somebody else does; any other error means that one may well run and does not answer.
func Connect(ctx context.Context, dir string) (*Client, error) {
	c, err := LoadControl(dir)
	if err != nil {
		return nil, err
	}
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = client.Status(ctx)
	var refused *Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nobody listens at %s: %w", c.URL, ErrNotRunning)
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return nil, fmt.Errorf("another collector listens at %s: %w", c.URL, ErrNotRunning)
	case err != nil:
		return nil, fmt.Errorf("ask the collector of process %d: %w", c.PID, err)
	}
	return client, nil
}
