package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"xunjian/pkg/check"
	"xunjian/pkg/metric"
)

// heldPlan is the plan of the last run, so that an agent that starts while the collector is away goes on inspecting.
// A file that cannot be read is as good as none: the collector sends the plan anew.
func (a *Agent) heldPlan() (p check.Plan) {
	b, err := os.ReadFile(a.o.planFile())
	if err != nil || json.Unmarshal(b, &p) != nil {
		return check.Plan{}
	}
	return p
}

func (a *Agent) keepPlan(p check.Plan) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := writeFile(a.o.planFile(), b); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// machineID is a fingerprint of this machine, to tell a clone from a restart; empty where the system has none.
func machineID() string {
	b, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append([]byte("xunjian "), b...)) // the id itself stays on the machine
	return hex.EncodeToString(sum[:8])
}

// dropReasons are the reasons that uplink and spool count, all of them always sent so that the schema stays fixed.
var dropReasons = []string{"age", "damage", "disk", "memory", "refused", "size", "spool"}

// selfSamples is the agent's own health, sent with each reading of the host.
func (a *Agent) selfSamples() []metric.Sample {
	st := a.client.Stats()
	dropped := maps.Clone(st.Dropped)
	if dropped == nil {
		dropped = map[string]uint64{}
	}
	for reason, n := range st.Spool.Dropped {
		dropped[string(reason)] += n
	}
	out := []metric.Sample{
		{Series: metric.New("xunjian_agent_missed_ticks_total"), Value: float64(a.schedule.Missed())},
		{Series: metric.New("xunjian_agent_reconnects_total"), Value: float64(st.Reconnects)},
		{Series: metric.New("xunjian_agent_spool_bytes"), Value: float64(st.Spool.Bytes)},
	}
	for reason := range dropped {
		if !slices.Contains(dropReasons, reason) {
			dropped["refused"] += dropped[reason]
		}
	}
	for _, reason := range dropReasons {
		out = append(out, metric.Sample{Series: metric.New("xunjian_agent_dropped_total", "reason", reason), Value: float64(dropped[reason])})
	}
	return out
}
