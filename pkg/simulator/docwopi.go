package simulator

import (
	"crypto/sha1" //nolint:gosec // what a websocket's answer is made of
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	discovery = `<?xml version="1.0" encoding="utf-8"?>
<wopi-discovery><net-zone name="external-http"><app name="writer">
<action name="edit" ext="docx" urlsrc="https://%[1]s/browser/edit?"/>
<action name="view" ext="pdf" urlsrc="https://%[1]s/browser/view?"/>
</app></net-zone></wopi-discovery>
`
	emptyDiscovery = `<?xml version="1.0" encoding="utf-8"?>
<wopi-discovery><net-zone name="external-http"/><!-- %[1]s --></wopi-discovery>
`
)

// routeWOPI answers as Collabora Online does.
func (d *docServer) routeWOPI(mux *http.ServeMux, wrong bool) {
	mux.HandleFunc("GET /hosting/discovery", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		if wrong {
			fmt.Fprintf(w, emptyDiscovery, r.Host)
			return
		}
		fmt.Fprintf(w, discovery, r.Host)
	})
	mux.HandleFunc("GET /hosting/capabilities", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"convert-to":     map[string]any{"available": !wrong, "endpoint": "/cool/convert-to"},
			"productName":    "Demo Document Server",
			"productVersion": version(r),
		})
	})
	mux.HandleFunc("GET /wopi/files/{id}", d.fileInfo)
	mux.HandleFunc("POST /browser/edit", d.openWOPI)
	mux.HandleFunc("POST /cool/convert-to/pdf", d.convertWOPI)
	mux.HandleFunc("GET /cool/ws", websocket)
}

// websocket agrees to become one (RFC 6455) and says no more.
func websocket(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Websocket-Version") != "13" {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "want a websocket", http.StatusUpgradeRequired)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
}

// fileInfo is the platform's part of WOPI: what it tells an editor of a document.
func (d *docServer) fileInfo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("access_token") != DocToken && modeOf(r) != TokenIgnored {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "invalid token"})
		return
	}
	b, ok := d.document(r, r.PathValue("id"))
	if !ok || modeOf(r) == StorageAway {
		notFound(w, r)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"BaseFileName": r.PathValue("id"), "Size": len(b), "UserCanWrite": true})
}

func (d *docServer) openWOPI(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("access_token") != DocToken && modeOf(r) != TokenIgnored {
		http.Error(w, "access denied", http.StatusForbidden)
		return
	}
	source := r.URL.Query().Get("WOPISrc")
	name, ok := lastPart(source, "/wopi/files/")
	if _, stored := d.document(r, name); !ok || !stored {
		http.Error(w, "no such document", http.StatusNotFound)
		return
	}
	editorPage(w, r, source)
}

func (d *docServer) convertWOPI(w http.ResponseWriter, r *http.Request) {
	part, _, err := r.FormFile("data")
	if err != nil {
		http.Error(w, "want a file named data", http.StatusBadRequest)
		return
	}
	defer part.Close()
	b, err := io.ReadAll(part)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pdf, err := d.convert(r, b)
	if err != nil {
		w.Header().Set("X-Error-Kind", "faulty")
		http.Error(w, "conversion failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Write(pdf)
}
