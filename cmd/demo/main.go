// Command demo shows Xunjian on this machine: collector, agent and simulated services, until Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

var version = "dev"

// options are the command line; every default works on a fresh clone.
type options struct {
	Data  string        `default:".run" help:"folder for everything that the demo keeps"`
	Bin   string        `default:"bin" help:"folder of the built programs"`
	HTTP  int           `default:"9480" help:"preferred port of the console (a free one is taken when it is busy)"`
	GRPC  int           `default:"9481" help:"preferred port for agents"`
	Ready time.Duration `default:"2m" help:"how long everything may take to answer"`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("巡检演示：在本机启动采集端、代理和模拟服务 / Xunjian on this machine ("+version+")"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run starts everything in order and stops it in reverse.
func run(ctx context.Context, o options) error {
	d, err := newDemo(o)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.start(ctx); err != nil {
		return err
	}
	d.welcome()
	return d.wait(ctx)
}

// demo is the running set-up.
type demo struct {
	options
	ports ports
	phone *phone
	procs []*process // in the order of their start
	token string     // for the API, acting as the engineer
}

func newDemo(o options) (*demo, error) {
	for _, dir := range []*string{&o.Data, &o.Bin} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, err
		}
		*dir = abs
	}
	for _, sub := range []string{"", "log", "simulator"} {
		if err := os.MkdirAll(filepath.Join(o.Data, sub), 0o700); err != nil {
			return nil, err
		}
	}
	p, err := newPhone()
	if err != nil {
		return nil, err
	}
	return &demo{options: o, ports: choosePorts(o), phone: p}, nil
}

func (d *demo) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Ready)
	defer cancel()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"模拟服务 simulator", d.startSimulator},
		{"采集端 collector", d.startCollector},
		{"代理 agent", d.startAgent},
		{"首次巡检 first inspection", d.awaitServices},
	} {
		begin := time.Now()
		fmt.Printf("  %-28s", step.what)
		if err := step.do(ctx); err != nil {
			fmt.Println(" ✗")
			return fmt.Errorf("%s: %w%s", step.what, err, d.logTail())
		}
		fmt.Printf(" ✓ %.1fs\n", time.Since(begin).Seconds())
	}
	return d.writeEnv()
}

// wait blocks until Ctrl-C, or until a program ends that should not.
func (d *demo) wait(ctx context.Context) error {
	ended := make(chan *process, len(d.procs)) // one slot each: nobody blocks
	for _, p := range d.procs {
		go func() { <-p.done; ended <- p }()
	}
	select {
	case <-ctx.Done():
		fmt.Println("\n正在停止 … stopping")
		return nil
	case p := <-ended:
		return fmt.Errorf("%s ended by itself (log: %s): %w", p.name, p.log, errors.Join(p.err))
	}
}

// close stops the programs, the last started first, and takes demo.env away.
func (d *demo) close() {
	os.Remove(d.envFile())
	d.phone.close()
	for i := len(d.procs) - 1; i >= 0; i-- {
		d.procs[i].stop()
	}
}
