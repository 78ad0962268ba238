package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"xunjian/pkg/access"
	"xunjian/pkg/heartbeat"
)

// Who may handle incidents may have a heartbeat sent, in a name; everybody with a token sees how it does.
func TestHeartbeat(t *testing.T) {
	var beats int
	watch := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats++ }))
	defer watch.Close()
	hearts := heartbeat.New(heartbeat.Options{
		Healthy:   func() error { return nil },
		Receivers: []heartbeat.Receiver{{Name: "watch", URL: watch.URL}, {Name: "gone", URL: "http://127.0.0.1:1/key-geheim"}},
	})
	r := newRig(t, func(o *Options) { o.Hearts = hearts })
	show := func(want ...string) {
		t.Helper()
		got, err := r.client(access.Viewer).Heartbeat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range got.Receivers {
			if i >= len(want) || h.Receiver+" "+h.State != want[i] || h.Every != 60 || h.Kind != heartbeat.HTTP {
				t.Errorf("receiver %d: %+v, want %q", i, h, want)
			}
			if strings.Contains(h.Error, "geheim") {
				t.Errorf("the address is shown: %s", h.Error)
			}
		}
	}
	show("watch waiting", "gone waiting")
	got, err := r.client(access.Engineer).Beat(t.Context(), Beat{Receiver: "watch"})
	if err != nil || len(got.Receivers) != 1 || got.Receivers[0].State != "taken" || beats != 1 {
		t.Fatalf("one: %+v %v, %d beats", got, err, beats)
	}
	if _, err := r.client(access.Engineer).Beat(t.Context(), Beat{}); err != nil {
		t.Fatal(err)
	}
	show("watch taken", "gone refused")
	const path = Prefix + "/heartbeat/send"
	r.refusal(http.StatusForbidden, "forbidden", "POST", path, r.tokens[access.Viewer], `{}`)
	r.refusal(http.StatusUnprocessableEntity, "invalid", "POST", path, r.tokens[access.Engineer], `{"receiver":"nobody"}`)
	r.refusal(http.StatusForbidden, "other_person", "POST", path, r.tokens[access.Engineer], `{"person":"somebody else"}`)
	if beats != 2 {
		t.Errorf("%d beats, want 2", beats)
	}
}
