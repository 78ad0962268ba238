package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Of three agents one is ended by SIGTERM and stays so, one is started again, and one is killed: the first is a minor gap that
// names the signal, the second nothing, the third what silence always was. All three call from one address, so nobody can
// tell whether their host lives.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	web, uplink := freeAddr(t), freeAddr(t)
	config := filepath.Join(dir, "collector.yml")
	text := fmt.Sprintf("data: data\nlanguage: en\nhttp: {listen: '%s'}\nuplink: {listen: '%s'}\nfleet: {names: [127.0.0.1], silence: 15s, restart_grace: 20s}\n", web, uplink)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "collector", "serve", "--config", config)
	url := "http://" + web
	eventually(t, "collector is ready", func() error { return call("GET", url+"/-/ready", "", nil, nil) })
	token := mustRun(t, "collector", "token", "api", "--config", config, "--name", "test", "--role", "engineer", "--person", "tester")
	args := map[string][]string{}
	agents := map[string]*proc{}
	for _, name := range []string{"stopped", "restarted", "killed"} {
		one := mustRun(t, "collector", "token", "create", "--config", config, "--agent", name, "--by", "test")
		args[name] = []string{"run", "--collector", uplink, "--name", name, "--token", one, "--state", filepath.Join(dir, name)}
		agents[name] = start(t, t.TempDir(), "agent", args[name]...)
	}
	states := func() (map[string]string, error) {
		var got struct {
			Agents []struct{ Name, State string }
		}
		err := call("GET", url+"/api/xunjian/v1/agents", token, nil, &got)
		out := map[string]string{}
		for _, a := range got.Agents {
			out[a.Name] = a.State
		}
		return out, err
	}
	await := func(what string, want map[string]string) {
		t.Helper()
		eventually(t, what, func() error {
			got, err := states()
			for name, state := range want {
				if err == nil && got[name] != state {
					err = fmt.Errorf("%v, want %v", got, want)
				}
			}
			return err
		})
	}
	await("agents", map[string]string{"stopped": "heard", "restarted": "heard", "killed": "heard"})
	agents["killed"].kill()
	begin := time.Now()
	agents["stopped"].stop(t)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the end of an agent took %v", took)
	}
	agents["restarted"].stop(t)
	await("goodbyes", map[string]string{"stopped": "stopped", "restarted": "stopped", "killed": "heard"})
	start(t, t.TempDir(), "agent", args["restarted"]...)
	var found []struct{ Level, Component, Detail string }
	eventually(t, "both silences", func() error {
		var got struct {
			Incidents []struct{ Level, Component, Detail string }
		}
		err := call("GET", url+"/api/xunjian/v1/incidents?state=all", token, nil, &got)
		if found = got.Incidents; err == nil && len(found) < 2 {
			err = fmt.Errorf("so far %+v", found)
		}
		return err
	})
	await("the end", map[string]string{"stopped": "stopped", "restarted": "heard", "killed": "silent"})
	for _, i := range found {
		switch {
		case i.Component == "killed" && i.Level == "general" && strings.Contains(i.Detail, "has not been heard"):
		case i.Component == "stopped" && i.Level == "minor" && strings.Contains(i.Detail, "stopped on purpose at") && strings.Contains(i.Detail, "SIGTERM"):
		default:
			t.Errorf("told %+v", i)
		}
	}
	if len(found) != 2 {
		t.Errorf("%d incidents: %+v", len(found), found)
	}
}
