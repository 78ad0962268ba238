package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

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
// it cannot keep anything; and that nothing is left of it when all is well again.
func (d *desk) hearts() {
	d.t.Helper()
	d.heart("", "ok,ok")
	d.watch.does.Store("refuses")
	d.heart("#s-notices", "down,ok")
	d.pictures("heart-refused")
	d.watch.does.Store("hangs")
	d.b.open(d.url + "/channels")
	d.b.await("that it hangs", `document.querySelector("#s-hearts li.down").innerText.includes("没有答复")`)
	d.watch.does.Store("takes")
	d.heart("", "ok,ok")

	if _, err := exec.LookPath("strace"); err != nil {
		d.t.Log("no strace here, which answers in the kernel's place: no heartbeat was withheld")
		return
	}
	writable := disktest.RefuseWrites(d.t, d.process.Pid, syscall.ENOSPC)
	d.heart("#ill", "down,down")
	d.pictures("heart-withheld")
	writable()
	d.heart("", "ok,ok")
}

// heart waits until the two receivers of the channels' page are in these states, and the board says so where it should.
func (d *desk) heart(banner, states string) {
	d.t.Helper()
	d.b.open(d.url + "/channels?lang=zh-CN")
	d.b.await("the receivers "+states, fmt.Sprintf(`Array.from(document.querySelectorAll("#s-hearts li"), e => e.className).join() === %q`, states))
	d.b.open(d.url + "/")
	if banner == "" {
		d.b.await("a board without warnings of hearts", `!!document.querySelector("#now") && !document.querySelector("#ill") && !document.querySelector("#s-notices")?.innerText.includes("心跳")`)
	} else {
		d.b.await("the warning", fmt.Sprintf(`!!document.querySelector(%q)?.innerText.includes("watchtower")`, banner))
	}
}

// pictures shows the board and the channels' page in both languages.
func (d *desk) pictures(name string) {
	d.t.Helper()
	for _, page := range []string{"/", "/channels"} {
		for _, language := range []string{"en", "zh-CN"} {
			d.b.open(d.url + page + "?lang=" + language)
			d.b.await(language, fmt.Sprintf(`document.documentElement.lang === %q`, language))
			d.looks(name + strings.ReplaceAll(page, "/", "-") + "-" + language)
		}
	}
}
