package collector

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"xunjian/pkg/api"
)

// A test page goes to each receiver and its answers come back over the API, a refusal as well.
func TestTestPage(t *testing.T) {
	fine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("收到")) }))
	defer fine.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such robot", http.StatusNotFound) }))
	defer broken.Close()
	r := newRig(t, plain("pages: {webhooks: [{name: fine, url: '"+fine.URL+"'}, {name: broken, url: '"+broken.URL+"'}]}\n")).start()
	c := api.Client{URL: "http://" + r.doors.http.Addr().String(), Token: r.ControlToken(), HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	got, err := c.TestPage(t.Context(), api.Test{Act: api.Act{Person: "张工"}})
	if err != nil || len(got.Tests) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	if x := got.Tests[0]; !x.OK || x.Answer != "收到" || x.Channel != "fine" {
		t.Errorf("%+v", x)
	}
	if x := got.Tests[1]; x.OK || !strings.Contains(x.Error, "404") {
		b, _ := json.Marshal(x)
		t.Errorf("%s", b)
	}
	if _, err := c.TestPage(t.Context(), api.Test{Act: api.Act{Person: "张工"}, Channel: "nobody"}); err == nil {
		t.Error("a channel that is not there was tested")
	}
	if got, err := c.Undelivered(t.Context()); err != nil || len(got.Undelivered) != 0 {
		t.Errorf("a test page is kept as undelivered: %+v %v", got, err)
	}
}
