package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"xunjian/pkg/paper"
)

// errUnconverted is what a converter says of a document that it cannot read.
var errUnconverted = errors.New("the document cannot be converted")

// otherDocument comes back in place of the right one.
var otherDocument = paper.Docx("another document")

// officeTimeout is how long LibreOffice may take; the first start of a profile takes the longest.
const officeTimeout = 2 * time.Minute

// converter makes PDFs: with LibreOffice, one document at a time, or with a stand-in that knows paragraphs and no more.
type converter struct {
	office string // path of soffice; empty for the stand-in
	turn   chan struct{}

	mu      sync.Mutex
	profile string // LibreOffice's own folder, made when it is first needed
	closed  bool
}

func newConverter(office string) *converter {
	return &converter{office: office, turn: make(chan struct{}, 1)}
}

func (c *converter) convert(ctx context.Context, document []byte) ([]byte, error) {
	if c.office == "" {
		lines, err := docxLines(document)
		if err != nil {
			return nil, err
		}
		return writePDF(lines), nil
	}
	ctx, cancel := context.WithTimeout(ctx, officeTimeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.withOffice(ctx, document)
}

// withOffice runs one LibreOffice, in a folder that is gone afterwards.
func (c *converter) withOffice(ctx context.Context, document []byte) ([]byte, error) {
	profile, err := c.home()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(profile, "job-")
	if err != nil {
		return nil, fmt.Errorf("make folder for a conversion: %w", err)
	}
	defer os.RemoveAll(dir)
	in := filepath.Join(dir, "in.docx")
	if err := os.WriteFile(in, document, 0o600); err != nil {
		return nil, fmt.Errorf("write document: %w", err)
	}
	// The filter is named: left to itself, LibreOffice takes what it cannot read for plain text, and prints that.
	cmd := exec.CommandContext(ctx, c.office, "--headless", "--norestore", "-env:UserInstallation=file://"+filepath.Join(profile, "profile"),
		"--infilter=MS Word 2007 XML", "--convert-to", "pdf", "--outdir", dir, in)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // soffice is a script that starts others
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, failed := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	pdf, missing := os.ReadFile(filepath.Join(dir, "in.pdf"))
	if missing != nil { // LibreOffice ends with 0 whatever happened
		return nil, errors.Join(errUnconverted, failed, errors.New(string(bytes.TrimSpace(out))))
	}
	return pdf, nil
}

func (c *converter) home() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return "", errors.New("the simulator has ended")
	}
	if c.profile != "" {
		return c.profile, nil
	}
	dir, err := os.MkdirTemp("", "xunjian-office-")
	if err != nil {
		return "", fmt.Errorf("make folder for LibreOffice: %w", err)
	}
	c.profile = dir
	return dir, nil
}

// close waits for a conversion under way; its request has ended, and so will it.
func (c *converter) close() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.profile == "" {
		return nil
	}
	return os.RemoveAll(c.profile)
}
