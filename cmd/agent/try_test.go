package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xunjian/pkg/agent"
	"xunjian/pkg/check"
	"xunjian/pkg/i18n"
	"xunjian/pkg/simulator"
)

// A shipped flow by hand: every step told, in both languages, and no secret among it.
func TestTry(t *testing.T) {
	s, err := simulator.New(simulator.Options{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	t.Setenv("XUNJIAN_OA_PASSWORD", simulator.OAPassword)
	shipped, err := os.ReadFile("../../configs/services/oa.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "oa.yml")
	text := strings.NewReplacer("https://oa.example.org", s.URL(simulator.OA), "#= tls:", "tls:").Replace(string(shipped))
	for name, content := range map[string][]byte{file: []byte(text), filepath.Join(dir, "ca.pem"): s.CA()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		lang, check string
		mode        simulator.Mode
		want        []string
	}{
		{"zh-CN", "oa-read", simulator.OK, []string{"登录 (login) 【关键】  正常", "→ POST https://", `"password": "***"`, "← 200", "首字节", "取得 session = ***", "清理", "结论： 正常"}},
		{"en", "oa-write", simulator.ApproveFails, []string{"approve it (approve) [critical]  FAILED", "流程节点不匹配", "Clean-up", "see that it is gone (gone)  ok", "Verdict: FAILED", "Means: the service is down", "Not made: read-back"}},
	} {
		if err := s.Break(simulator.OA, simulator.Fault{Mode: tc.mode}); err != nil {
			t.Fatal(err)
		}
		checks, err := agent.LoadChecks(file)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := agent.Pick(checks, tc.check)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		story := &story{w: &b, p: i18n.For(tc.lang), verbose: true}
		story.begin(spec.WithDefaults())
		a, err := agent.Try(t.Context(), agent.Config{State: dir}, spec, story.step)
		if err != nil {
			t.Fatal(err)
		}
		story.end(spec, a)
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", tc.check, want, &b)
			}
		}
		if strings.Contains(b.String(), simulator.OAPassword) || strings.Contains(b.String(), "agent.try.") {
			t.Errorf("a secret, or a text that is missing, in\n%s", &b)
		}
	}
}

func TestLoadChecksTellsEveryFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yml")
	text := "checks:\n  - {name: a, service: s, kind: flow, target: 'http://h', every: 5m, flow: {steps: [{name: A, request: {url: '/{{ x }}'}}, {name: b, request: {url: '/{{ f() }}'}}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := agent.LoadChecks(file)
	for _, want := range []string{file + ":2: checks[0].flow.steps[0].name", "nothing gives x a value", `no function "f"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no …%s…", err, want)
		}
	}
	if _, err := agent.Pick([]check.Spec{{Name: "a"}, {Name: "b"}}, ""); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("%v", err)
	}
}

// A flow is tried by naming its file or itself, with flags before and after, and form and meaning are told at once.
func TestCheckByHand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yml")
	text := "checks:\n  - name: a\n    service: s\n    kind: flow\n    target: http://h\n    every: 5m\n    secrets: {password: Jiance-2026}\n" +
		"    flow: {steps: [{name: A, request: {url: /}, expect: [{status: 200, regex: x}]}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{file}, {file, "--verbose"}, {"--verbose", file}, {"--flow", file}, {"a", "--flow", file}, {"--flow", file, "a", "--verbose"}} {
		err := command(t.Context(), i18n.For("en"), append([]string{"check"}, args...))
		for _, want := range []string{
			file + ":7: checks[0].secrets.password: ", file + ":8: checks[0].flow.steps[0].expect[0].status: ",
			`expect[0].regex: unknown key "regex"`, file + ":8: checks[0].flow.steps[0].name: ",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("check %q: %v: no …%s…", args, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "Jiance") {
			t.Errorf("check %q shows a secret: %v", args, err)
		}
	}
	if err := command(t.Context(), i18n.For("en"), []string{"check", file, "b", "c"}); err == nil || !strings.Contains(err.Error(), `unexpected argument "c"`) {
		t.Errorf("two checks: %v", err)
	}
}
