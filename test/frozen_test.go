package test

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestFrozen stops each program for longer than an agent may be silent, as a hypervisor does with its guests: when it goes on
// nothing is taken for an outage, and nobody was paged but for the agent that truly was away.
func TestFrozen(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, t.TempDir(), shortVerify)
	b, err := os.ReadFile(r.config)
	if err == nil {
		b = bytes.Replace(b, []byte("fleet: {names: [127.0.0.1]}"), []byte("fleet: {names: [127.0.0.1], silence: 15s}"), 1)
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

// freeze stops a program for 25 s and waits until all is seen again.
func (r *killRig) freeze(t *testing.T, p *proc) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(25 * time.Second)
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	r.allBut(t, "")
	time.Sleep(3 * time.Second)
}
