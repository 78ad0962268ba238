package probe

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// upgradeTold is how long a change of version is told of.
const upgradeTold = 24 * time.Hour

// versionWatch tells of a service that answers as another version than before: an upgrade that somebody should know of. An
// upgrade is often made together with a restart of this host, so what answered last is kept on disk.
type versionWatch struct {
	file string // empty: nothing is kept

	mu sync.Mutex
	versions
}

// versions are what is kept, of one target.
type versions struct {
	Target  string    `json:"target"`
	Last    string    `json:"last,omitempty"`
	Before  string    `json:"before,omitempty"`
	Changed time.Time `json:"changed,omitzero"`
}

// recall takes up what was kept under the state folder by a check of this name and target.
func (w *versionWatch) recall(state, name, target string) {
	w.Target = target
	if state == "" {
		return
	}
	w.file = filepath.Join(state, "versions", name+".json")
	var past versions
	if recallState(w.file, &past) && past.Target == target {
		w.versions = past
	}
}

// newDocument is the asker of kinds wopi, onlyoffice and wps, which are flows that package check writes.
func newDocument(spec check.Spec, env Env) (Asker, error) {
	spec.Flow = spec.OwnFlow()
	f, err := newFlowAsker(spec, env)
	if err != nil {
		return nil, err
	}
	w := &versionWatch{}
	w.recall(env.State, spec.Name, spec.Target)
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
	if w.Last != version {
		if w.Last != "" {
			w.Before, w.Changed = w.Last, now
		}
		w.Last = version
		if w.file != "" {
			_ = keepState(w.file, w.versions) // else it holds until the next start
		}
	}
	f := check.Finding{Name: "version", Reason: "version " + version}
	if !w.Changed.IsZero() && now.Sub(w.Changed) < upgradeTold {
		f.Level = "minor"
		f.Reason = fmt.Sprintf("version changed at %s: %s, before %s", w.Changed.UTC().Format(time.RFC3339), version, w.Before)
	}
	return f
}
