package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one program that the demo started; its output goes to a log file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once done is closed
}

// spawn starts bin/name in a process group of its own, so that Ctrl-C reaches the demo alone and it stops the others
// in order; should the demo be killed, the kernel ends them.
func (d *demo) spawn(name string, args ...string) error {
	p := &process{name: name, log: filepath.Join(d.Data, "log", name+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(filepath.Join(d.Bin, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		out.Close()
		return fmt.Errorf("start %s: %w (make build first)", name, err)
	}
	d.procs = append(d.procs, p)
	go func() {
		p.err = p.cmd.Wait()
		out.Close()
		close(p.done)
	}()
	return nil
}

// stop asks the program to end, and insists after 15 s.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// call runs a short command to its end and returns what it printed.
func (d *demo) call(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.Bin, name), args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// await asks until it answers, the context ends, or the last started program does.
func (d *demo) await(ctx context.Context, ask func() error) error {
	last := d.procs[len(d.procs)-1]
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if last.ended() {
			return fmt.Errorf("%s ended: %w", last.name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// logTail is the end of the log of the program that was started last, for the error message.
func (d *demo) logTail() string {
	if len(d.procs) == 0 {
		return ""
	}
	p := d.procs[len(d.procs)-1]
	b, err := os.ReadFile(p.log)
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// ports are those of this run, all on loopback.
type ports struct {
	http, grpc, control, webhook int
	services                     map[string]int
}

var services = []string{"cloud-doc", "signature", "sms", "gateway"}

// doors are what the simulator plays besides the services themselves.
var doors = []string{"smpp", "cmpp", "oa"}

// choosePorts takes the preferred ports where they are free, so that a second run finds its series again.
func choosePorts(o options) ports {
	taken := map[int]bool{}
	above := func(n int) int {
		if o.HTTP == 0 {
			return 0 // any
		}
		return o.HTTP + n
	}
	p := ports{http: freePort(o.HTTP, taken), grpc: freePort(o.GRPC, taken), control: freePort(above(10), taken), webhook: freePort(above(15), taken), services: map[string]int{}}
	for i, s := range services {
		p.services[s] = freePort(above(11+i), taken)
	}
	for i, s := range doors {
		p.services[s] = freePort(above(21+i), taken)
	}
	return p
}

// freePort is the wanted one, or another that outgoing connections do not take before it is listened on: Linux takes theirs
// from 32768 on.
func freePort(want int, taken map[int]bool) int {
	for try := range 16 {
		port := want
		if try > 0 || want == 0 {
			port = 20_000 + rand.N(12_000)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		got := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if !taken[got] {
			taken[got] = true
			return got
		}
	}
	return want
}
