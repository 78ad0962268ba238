package simulator

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // WPS-2 is made of it
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// routeWPS answers as the WPS open platform and its private edition do.
func (d *docServer) routeWPS(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/developer/v1/license", d.wps(func(w http.ResponseWriter, r *http.Request) {
		wpsAnswer(w, map[string]any{"version": version(r), "expire_time": licenceEnd(r).Unix()})
	}))
	mux.HandleFunc("GET /api/developer/v1/office/files/{id}/preview/url", d.wps(func(w http.ResponseWriter, r *http.Request) {
		wpsAnswer(w, map[string]any{"url": "https://" + r.Host + "/office/preview/" + r.PathValue("id")})
	}))
	mux.HandleFunc("GET /office/preview/{id}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := d.document(r, r.PathValue("id")); !ok {
			notFound(w, r)
			return
		}
		editorPage(w, r, r.PathValue("id"))
	})
	mux.HandleFunc("POST /api/developer/v1/office/convert/to/pdf", d.wps(d.convertWPS))
	mux.HandleFunc("GET /api/developer/v1/tasks/{id}", d.wps(d.taskWPS))
}

func wpsAnswer(w http.ResponseWriter, data any) {
	writeJSON(w, http.StatusOK, map[string]any{"code": 0, "msg": "ok", "data": data})
}

// wps lets in who signs, and says 30002 to all when there are too many of them.
func (d *docServer) wps(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			writeJSON(w, http.StatusBadRequest, map[string]any{"code": 40000, "msg": "bad request"})
			return
		case modeOf(r) == Throttled:
			writeJSON(w, http.StatusOK, map[string]any{"code": 30002, "msg": "too many requests"})
			return
		case !wpsSigned(r, body) && modeOf(r) != TokenIgnored:
			writeJSON(w, http.StatusUnauthorized, map[string]any{"code": 10002, "msg": "signature does not match"})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h(w, r)
	}
}

// wpsSigned works the signature out from the vendor's description (WPS-2 of the open platform, WPS-4 of the private edition).
func wpsSigned(r *http.Request, body []byte) bool {
	uri, kind := r.URL.RequestURI(), r.Header.Get("Content-Type")
	if got, ok := strings.CutPrefix(r.Header.Get("Wps-Docs-Authorization"), "WPS-4 "+DocApp+":"); ok {
		date := r.Header.Get("Wps-Docs-Date")
		digest := ""
		if len(body) > 0 {
			digest = hexOf(sha256.Sum256(body))
		}
		mac := hmac.New(sha256.New, []byte(DocSecret))
		mac.Write([]byte("WPS-4" + r.Method + uri + kind + date + digest))
		return fresh(date) && got == hex.EncodeToString(mac.Sum(nil))
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "WPS-2:"+DocApp+":")
	if !ok {
		return false
	}
	signs := body
	if r.Method == http.MethodGet {
		signs = []byte(uri)
	}
	sum := md5.Sum(signs) //nolint:gosec // the vendor's
	digest, date := hex.EncodeToString(sum[:]), r.Header.Get("Date")
	want := sha1.Sum([]byte(DocSecret + digest + kind + date)) //nolint:gosec // the vendor's
	return fresh(date) && r.Header.Get("Content-Md5") == digest && got == hex.EncodeToString(want[:])
}

func hexOf(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }

// fresh refuses signatures that somebody may have kept.
func fresh(date string) bool {
	t, err := http.ParseTime(date)
	return err == nil && time.Since(t).Abs() < 15*time.Minute
}

func (d *docServer) convertWPS(w http.ResponseWriter, r *http.Request) {
	var order struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		writeJSON(w, http.StatusOK, map[string]any{"code": 40001, "msg": "invalid parameter"})
		return
	}
	id := fmt.Sprintf("task-%d", time.Now().UnixNano())
	status, result := 4, ""
	if modeOf(r) == ConvertHang {
		status = 2
	} else if document, ok := d.fetch(r, order.URL); ok {
		if pdf, err := d.convert(r, document); err == nil {
			status, result = 1, "https://"+r.Host+"/cache/"+id+".pdf"
			d.mu.Lock()
			d.results.put(id+".pdf", pdf)
			d.mu.Unlock()
		}
	}
	task := map[string]any{"status": status, "url": nil}
	if result != "" {
		task["url"] = result
	}
	state, _ := json.Marshal(task) // a number and a string
	d.mu.Lock()
	d.tasks.put(id, state)
	d.mu.Unlock()
	wpsAnswer(w, map[string]any{"task_id": id})
}

// taskWPS tells that a task waits in line (5) before it tells how it ended.
func (d *docServer) taskWPS(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	d.mu.Lock()
	state, ok := d.tasks.entries[id]
	d.mu.Unlock()
	switch {
	case !ok:
		writeJSON(w, http.StatusOK, map[string]any{"code": 40004, "msg": "no such task"})
	case d.first(id):
		wpsAnswer(w, map[string]any{"status": 5})
	default:
		wpsAnswer(w, json.RawMessage(state))
	}
}
