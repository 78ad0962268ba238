package probe

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// maxRefusals ends the asking: the next one may lock the account (DOMAIN 2).
const maxRefusals = 2

// accountFinding is what an account that is refused is recorded under.
const accountFinding = "account"

// account is what a check's credentials have met with. It is kept on disk, so that a restart of the agent forgets no refusal.
type account struct {
	file string // empty for none
	host string // of the target
	flow []byte
	wait time.Duration // after a refusal, so that a round that asks again does not use the next one up

	mu      sync.Mutex
	state   accountState
	saved   bool // the file holds the state
	counted bool // among the refusals of all checks with this account
}

type accountState struct {
	Check    string    `json:"check"`
	Worked   bool      `json:"worked"`           // the credentials were taken once
	Refusals int       `json:"refusals"`         // since then
	Since    time.Time `json:"since,omitzero"`   // of the last one
	Reason   string    `json:"reason,omitempty"` // of the last one
	Salt     []byte    `json:"salt,omitempty"`   // of the digest
	Digest   []byte    `json:"digest,omitempty"` // of the flow and the secrets that were refused
}

// AccountFolder is where a prober with this folder of state keeps what accounts have met with.
func AccountFolder(state string) string { return filepath.Join(state, "accounts") }

func openAccount(spec check.Spec, state string, flow []byte) *account {
	a := &account{flow: flow, host: hostOf(spec.Target), wait: spec.Every / 2, state: accountState{Check: spec.Name}}
	if state == "" {
		return a
	}
	a.file = filepath.Join(AccountFolder(state), spec.Name+".json")
	if held, err := readAccount(a.file); err == nil && held.Check == spec.Name {
		a.state, a.saved = held, true
	}
	return a
}

func readAccount(file string) (s accountState, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// locked is the attempt that is not made. A person unlocks by removing the file (agent unlock), or by other secrets or another flow.
func (a *account) locked(secrets map[string]string, now time.Time) (check.Attempt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Refusals > 0 && a.unlocked(secrets) {
		a.state.Refusals, a.state.Reason = 0, ""
		refusals.drop(a.shared(secrets), a.state.Check)
		a.save()
	}
	a.count(secrets, a.state.Refusals) // what an earlier process met with
	all, by := refusals.total(a.shared(secrets))
	if a.state.Refusals >= maxRefusals { // even if others have logged in since
		all, by = a.state.Refusals, []string{a.state.Check}
	}
	if all >= maxRefusals {
		out := setup(fmt.Errorf("not asked: the account was refused %d times; look into it, then run: agent unlock %s", all, strings.Join(by, " ")))
		if a.state.Refusals > 0 {
			out.Findings = []check.Finding{a.finding(all)}
		}
		return out, true
	}
	if a.state.Refusals == 0 {
		return check.Attempt{}, false
	}
	if since := now.Sub(a.state.Since); since >= 0 && since < a.wait {
		return setup(errors.New("not asked again before the next turn: the account was just refused")), true
	}
	return check.Attempt{}, false
}

// count adds once what was met with before the check was opened.
func (a *account) count(secrets map[string]string, before int) {
	if !a.counted {
		refusals.recall(a.shared(secrets), a.state.Check, before)
		a.counted = true
	}
}

// unlocked says whether a person has done something since the last refusal.
func (a *account) unlocked(secrets map[string]string) bool {
	if a.saved {
		if _, err := os.Stat(a.file); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return !bytes.Equal(a.state.Digest, a.digest(secrets))
}

// finding tells of so many refusals, by this check and others with its account.
func (a *account) finding(n int) check.Finding {
	return check.Finding{
		Name: accountFinding, Level: "general",
		Reason: fmt.Sprintf("probe account refused %d times, last on %s: %s; to go on: agent unlock %s",
			n, a.state.Since.Format(time.DateTime), a.state.Reason, a.state.Check),
	}
}

// learn takes note of what a run's login met with, and says what a refusal means: partial where the account worked before,
// unknown where it never did (DOMAIN 1.0 rule 6).
func (a *account) learn(r *flow.Run, secrets map[string]string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Refused:
		a.state.Refusals++
		a.state.Since, a.state.Reason = now, r.Reason
		a.state.Salt = make([]byte, 16)
		rand.Read(a.state.Salt) // never fails
		a.state.Digest = a.digest(secrets)
		a.save()
		r.Trouble = check.Partial
		if !a.state.Worked {
			r.Outcome, r.Class, r.Trouble = check.Unknown, check.ClassSetup, ""
		}
		a.count(secrets, a.state.Refusals-1)
		refusals.add(a.shared(secrets), a.state.Check, 1)
		all, _ := refusals.total(a.shared(secrets))
		if all = max(all, a.state.Refusals); all >= maxRefusals {
			r.Note(a.finding(all))
		}
	case r.LoggedIn:
		refusals.forget(a.shared(secrets))
		if !a.state.Worked || a.state.Refusals > 0 || a.file != "" && !a.saved {
			a.state = accountState{Check: a.state.Check, Worked: true}
			a.save()
		}
		r.Note(check.Finding{Name: accountFinding, Reason: "the probe account is taken"})
	}
}

// digest cannot be turned back into a password in reasonable time.
func (a *account) digest(secrets map[string]string) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		fmt.Fprintf(&b, "%q=%q\n", name, secrets[name])
	}
	b.Write(a.flow)
	sum, err := pbkdf2.Key(sha256.New, b.String(), a.state.Salt, 100_000, sha256.Size)
	if err != nil { // only for lengths out of bounds
		panic("digest of an account: " + err.Error())
	}
	return sum
}

// save keeps the state for the next start. Where it cannot, the state holds until then.
func (a *account) save() {
	if a.file != "" {
		a.saved = keepState(a.file, a.state) == nil
	}
}

// keepState writes what a restart must not forget, whole or not at all.
func keepState(file string, state any) error {
	b, err := json.MarshalIndent(state, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".tmp", file)
	}
	return err
}

// recallState reads what keepState wrote. It is false the first time, and when the file cannot be read: then all begins anew.
func recallState(file string, state any) bool {
	b, err := os.ReadFile(file)
	return err == nil && json.Unmarshal(b, state) == nil
}

// LockedAccounts are the checks under this folder of state whose account was refused, so that they, or others with it, may not ask.
func LockedAccounts(state string) ([]string, error) {
	files, err := os.ReadDir(AccountFolder(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, f := range files {
		s, err := readAccount(filepath.Join(AccountFolder(state), f.Name()))
		if err == nil && s.Refusals > 0 {
			out = append(out, s.Check+": "+s.Reason)
		}
	}
	return out, err
}
