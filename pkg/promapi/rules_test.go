package promapi

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"xunjian/pkg/query"
	"xunjian/pkg/rule"
	"xunjian/pkg/symptom"
)

var ruleFiles = map[string]string{
	"a.yml": `
groups:
- name: one
  interval: 30s
  rules:
  - {record: 'job:up:sum', expr: vector(3), labels: {team: db}}
  - {alert: Waits, expr: vector(1) > 0, for: 10m, keep_firing_for: 5m, labels: {level: minor, team: db}, annotations: {summary: 'is {{ $value }}'}}
- name: two
  limit: 5
  rules:
  - {alert: Fires, expr: vector(1e6), labels: {level: general}}
  - {alert: Rests, expr: vector(1) < 0, labels: {level: general, team: web}}
`,
	"b.yml": `
groups:
- name: one
  rules:
  - {record: fails, expr: 'label_replace(vector(1), "a", "b", "", "") + on () group_left () (vector(1) or label_replace(vector(1), "a", "b", "", ""))'}
`,
}

// ruled is the API over rules at work, after two minutes.
func ruled(t *testing.T) http.Handler {
	t.Chdir(t.TempDir()) // so that the files' names, from which the groups' times follow, are always the same
	var files []string
	for name, text := range ruleFiles {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	e := engine(query.Config{})
	m, err := rule.New(rule.Options{
		Files: files, Queryable: e.Queryable(), Query: e.QueryFunc(), Registerer: prometheus.NewRegistry(),
		Sink: func(context.Context, []symptom.Symptom) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	return API(APIOptions{Engine: e, Rules: m.Groups, RuleFiles: m.Files, Interval: 15 * time.Second, Evaluation: 15 * time.Second})
}

func TestRules(t *testing.T) {
	file := map[string]string{}
	for _, name := range []string{"rules", "alerts"} {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		file[name] = dir + "/testdata/" + name + ".golden"
	}
	synctest.Test(t, func(t *testing.T) {
		h := ruled(t)
		for name, golden1 := range file {
			var whole any
			w := knock(t, h, "GET", Prefix+"/"+name, "")
			if err := json.Unmarshal(w.Body.Bytes(), &whole); err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(whole, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, golden1, string(text)+"\n")
		}
		if got := knock(t, h, "GET", Prefix+"/status/config", "").Body.String(); !strings.Contains(got, `rule_files:\n- \"a.yml\"\n- \"b.yml\"\n`) {
			t.Error(got)
		}
		all := []string{"a.yml one: job:up:sum Waits", "a.yml two: Fires Rests", "b.yml one: fails"}
		for q, want := range map[string][]string{
			"": all, "type=alert": {"a.yml one: Waits", all[1]}, "type=RECORD": {"a.yml one: job:up:sum", all[2]},
			"rule_name[]=Fires&rule_name[]=fails": {"a.yml two: Fires", all[2]}, "rule_group[]=one": {all[0], all[2]}, "file[]=a.yml&rule_group[]=one": {all[0]},
			"match[]={team=\"db\"}": {all[0]}, "match[]={team=\"web\"}&match[]={team=\"db\",level=\"minor\"}": {"a.yml one: Waits", "a.yml two: Rests"},
			"rule_name[]=nobody": nil,
		} {
			groups, _, body := listRules(t, h, q)
			if d := cmp.Diff(want, groups); d != "" {
				t.Errorf("%s (-want +got):\n%s", q, d)
			}
			if q == "" && !strings.Contains(body, `"lastError":"found duplicate series`) {
				t.Errorf("no error of a rule that fails: %s", body)
			}
		}
		if _, _, body := listRules(t, h, "exclude_alerts=true"); strings.Contains(body, "activeAt") {
			t.Errorf("alerts in %s", body)
		}
		var paged []string
		for token := ""; ; {
			groups, next, _ := listRules(t, h, "group_limit=2&group_next_token="+token)
			paged = append(paged, groups...)
			if token = next; token == "" {
				break
			}
		}
		if d := cmp.Diff(all, paged); d != "" {
			t.Errorf("page by page (-want +got):\n%s", d)
		}
		for _, q := range []string{"group_next_token=x", "group_limit=0", "group_limit=x", "group_limit=1&group_next_token=x", "exclude_alerts=maybe", "match[]=(", "match[]={}"} {
			if w := knock(t, h, "GET", Prefix+"/rules?"+q, ""); w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s", q, w.Code, w.Body)
			}
		}
	})
}

func listRules(t *testing.T, h http.Handler, q string) (groups []string, next, body string) {
	t.Helper()
	w := knock(t, h, "GET", Prefix+"/rules?"+strings.ReplaceAll(q, `"`, "%22"), "")
	var got struct {
		Data struct {
			GroupNextToken string
			Groups         []struct {
				Name, File string
				Rules      []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", q, w.Code, w.Body)
	}
	for _, g := range got.Data.Groups {
		text := g.File + " " + g.Name + ":"
		for _, r := range g.Rules {
			text += " " + r.Name
		}
		groups = append(groups, text)
	}
	return groups, got.Data.GroupNextToken, w.Body.String()
}
