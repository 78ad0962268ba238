package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xunjian/pkg/disk/disktest"
)

// watch is a receiver of heartbeats that can be made to refuse them, or to hang.
type watch struct {
	*httptest.Server
	does atomic.Value // of string
}

func newWatch(t *testing.T) *watch {
	w := &watch{}
	w.does.Store("takes")
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch w.does.Load() {
		case "refuses":
			http.Error(out, "check was deleted", http.StatusNotFound)
		case "hangs":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// hearts sees what a person is told while a receiver refuses the heartbeat or hangs, and while the collector withholds it because
// it cannot keep anything; and that all of it goes from an open page when all is well again.
func (d *desk) hearts() {
	d.t.Helper()
	d.heart("taken,taken", "")
	d.watch.does.Store("refuses")
	d.heart("refused,taken", "#s-notices")
	d.pictures("heart-refused", "/", "/channels")
	d.watch.does.Store("takes")
	d.heart("taken,taken", "")
	d.watch.does.Store("hangs")
	d.heart("refused,taken", "#s-notices")
	d.b.await("that it hangs", `document.querySelector("#s-notices").innerText.includes("没有答复")`)
	d.watch.does.Store("takes")

	if _, err := exec.LookPath("strace"); err != nil {
		d.t.Log("no strace here, which answers in the kernel's place: no heartbeat was withheld")
		return
	}
	writable := disktest.RefuseWrites(d.t, d.process.Pid, syscall.ENOSPC)
	d.heart("withheld,withheld", "#ill")
	d.pictures("heart-withheld", "/", "/channels")
	d.b.open(d.url + "/")
	d.b.await("the banner", `!!document.querySelector("#ill")`)
	writable()
	d.await("taken,taken")
	js[any](d.b, `htmx.trigger(document.body, "changed")`) // as the page does every ten seconds
	d.b.await("the banner to go", `!!document.querySelector("#now") && !document.querySelector("#ill")`)
	d.heart("taken,taken", "")
}

// heart waits until the two hearts are in these states, and sees that the page of channels and the board say so; banner is
// where the board does.
func (d *desk) heart(states, banner string) {
	d.t.Helper()
	d.await(states)
	classes := strings.NewReplacer("taken", "ok", "refused", "down", "withheld", "down").Replace(states)
	d.b.open(d.url + "/channels?lang=zh-CN")
	d.b.await("the receivers "+classes, fmt.Sprintf(`Array.from(document.querySelectorAll("#s-hearts li"), e => e.className).join() === %q`, classes))
	d.b.open(d.url + "/")
	if banner == "" {
		d.b.await("a board without warnings of hearts", `!!document.querySelector("#now") && !document.querySelector("#ill") && !document.querySelector("#s-notices")?.innerText.includes("心跳")`)
	} else {
		d.b.await("the warning", fmt.Sprintf(`!!document.querySelector(%q)?.innerText.includes("watchtower")`, banner))
	}
}

// await waits until the two hearts are in these states.
func (d *desk) await(states string) {
	d.t.Helper()
	var got []string
	for begin := time.Now(); strings.Join(got, ",") != states; time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			d.t.Fatalf("hearts are %v, want %s", got, states)
		}
		got = d.states()
	}
}

// states is how the two hearts do, as the API says.
func (d *desk) states() (out []string) {
	d.t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.url+"/api/xunjian/v1/heartbeat", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Receivers []struct{ State string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		d.t.Fatal(err)
	}
	for _, r := range list.Receivers {
		out = append(out, r.State)
	}
	return out
}

// pictures looks at pages in both languages.
func (d *desk) pictures(name string, pages ...string) {
	d.t.Helper()
	for _, page := range pages {
		for _, language := range []string{"en", "zh-CN"} {
			d.b.open(d.url + page + "?lang=" + language)
			d.b.await(language, fmt.Sprintf(`document.documentElement.lang === %q`, language))
			d.looks(name + strings.ReplaceAll(page, "/", "-") + "-" + language)
		}
	}
}
