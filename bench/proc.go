package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xunjian/bench/load"
)

// child is a measured process.
type child struct {
	*exec.Cmd
	name string
}

// spawn starts a program that dies with the bench; its output goes to a file in dir.
func spawn(dir, program string, args ...string) (*child, error) {
	c := &child{exec.Command(program, args...), filepath.Base(program)}
	out, err := os.Create(filepath.Join(dir, c.name+".log"))
	if err != nil {
		return nil, err
	}
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return c, nil
}

func (c *child) stop() {
	_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
	done := make(chan struct{})
	go func() { _ = c.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = c.Process.Kill()
		<-done
	}
}

// usage is what a process has used so far, or holds now.
type usage struct {
	cpu time.Duration // on a core, from the scheduler's own account, all threads
	pss int64         // bytes
}

func (c *child) usage() (u usage, err error) {
	all, err := load.UsageOf(c.Process.Pid)
	if err != nil {
		return u, fmt.Errorf("%s: %w", c.name, err)
	}
	u.cpu = all.CPU
	u.pss, err = pss(c.Process.Pid)
	return u, err
}

func pss(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no Pss for process %d", pid)
}
