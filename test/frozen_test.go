package test

import (
	"bytes"
	"flag"
	"os"
	"syscall"
	"testing"
	"time"
)

var frozen = flag.Bool("frozen", false, "stop collector and agent for 40 s each: minutes, on a machine with time to spare")

// TestFrozen stops each program for longer than an agent may be silent, as a hypervisor does with its guests: when it goes on
// nothing is taken for an outage, and nobody was paged but for the agent that truly was away.
func TestFrozen(t *testing.T) {
	if !*frozen {
		t.Skip("only when asked for: -args -frozen")
	}
	t.Parallel()
	r := newRigOn(t, t.TempDir(), shortVerify)
	b, err := os.ReadFile(r.config)
	if err == nil {
		b = bytes.Replace(b, []byte("fleet: {names: [127.0.0.1]}"), []byte("fleet: {names: [127.0.0.1], silence: 30s}"), 1)
		err = os.WriteFile(r.config, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.collector.stop(t)
	r.startCollector()
	r.startAgent()
	r.allBut(t, "")
	r.freeze(t, r.collector)
	if got, err := r.told(); err != nil || len(got) != 0 {
		t.Errorf("after the collector stood still: %v, %+v", err, got)
	}
	r.freeze(t, r.agent)
	got, err := r.told("AgentSilent", "AgentClockSkew")
	if err != nil || len(got) != 0 {
		t.Errorf("after the agent stood still: %v, %+v", err, got)
	}
	if all, err := r.told(); err != nil || len(all) == 0 {
		t.Errorf("the agent's silence was not told: %v", err)
	}
}

// freeze stops a program for 40 s and waits until all is seen again.
func (r *killRig) freeze(t *testing.T, p *proc) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(40 * time.Second)
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	r.allBut(t, "")
	time.Sleep(3 * time.Second)
}
