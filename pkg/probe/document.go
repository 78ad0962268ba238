package probe

import (
	"fmt"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// upgradeTold is how long a change of version is told of.
const upgradeTold = 24 * time.Hour

// versionWatch tells of a service that answers as another version than before: an upgrade that somebody should know of.
type versionWatch struct {
	mu      sync.Mutex
	last    string
	before  string
	changed time.Time
}

// newDocument is the asker of kinds wopi, onlyoffice and wps, which are flows that package check writes.
func newDocument(spec check.Spec, env Env) (Asker, error) {
	spec.Flow = spec.OwnFlow()
	f, err := newFlowAsker(spec, env)
	if err != nil {
		return nil, err
	}
	w := &versionWatch{}
	f.after = func(r *flow.Run) {
		if v := r.Vars["version"]; v != "" {
			r.Note(w.look(v, time.Now()))
		}
	}
	return f.asker(), nil
}

func documentSteps(spec check.Spec) []string { return flow.StepNames(spec.OwnFlow()) }

func (w *versionWatch) look(version string, now time.Time) check.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != "" && version != w.last {
		w.before, w.changed = w.last, now
	}
	w.last = version
	f := check.Finding{Name: "version", Reason: "version " + version}
	if !w.changed.IsZero() && now.Sub(w.changed) < upgradeTold {
		f.Level = "minor"
		f.Reason = fmt.Sprintf("version changed at %s: %s, before %s", w.changed.UTC().Format(time.RFC3339), version, w.before)
	}
	return f
}
