package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// conversion is an order to ONLYOFFICE's converter.
type conversion struct {
	Async      bool   `json:"async"`
	FileType   string `json:"filetype"`
	Key        string `json:"key"`
	OutputType string `json:"outputtype"`
	Title      string `json:"title"`
	URL        string `json:"url"`
	Token      string `json:"token"`
}

// routeOnlyOffice answers as ONLYOFFICE Docs does.
func (d *docServer) routeOnlyOffice(mux *http.ServeMux, wrong bool) {
	mux.HandleFunc("GET /healthcheck", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		switch {
		case wrong:
			fmt.Fprint(w, `{"status":"starting"}`)
		case modeOf(r) == HealthFalse:
			fmt.Fprint(w, "false") // with 200, as the product does
		default:
			fmt.Fprint(w, "true")
		}
	})
	mux.HandleFunc("GET /web-apps/apps/api/documents/api.js", func(w http.ResponseWriter, r *http.Request) {
		if modeOf(r) == EditorError {
			editorPage(w, r, "")
			return
		}
		w.Header().Set("Content-Type", "application/javascript")
		fmt.Fprint(w, "(function(DocsAPI){DocsAPI.DocEditor=function(){};})(window.DocsAPI=window.DocsAPI||{});\n")
	})
	mux.HandleFunc("POST /converter", d.convertOnlyOffice)
	mux.HandleFunc("POST /command", d.command)
	mux.HandleFunc("GET /cache/{key}", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		pdf, ok := d.results.entries[r.PathValue("key")]
		d.mu.Unlock()
		if !ok {
			notFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/pdf")
		w.Write(pdf)
	})
}

func (d *docServer) convertOnlyOffice(w http.ResponseWriter, r *http.Request) {
	var c conversion
	refuse := func(code int) { writeJSON(w, http.StatusOK, map[string]any{"error": code}) }
	switch err := json.NewDecoder(r.Body).Decode(&c); {
	case err != nil || c.Key == "" || c.FileType == "":
		refuse(-7)
		return
	case !signed(r, c.Token, c.Key) && modeOf(r) != TokenIgnored:
		refuse(-8)
		return
	case c.OutputType != "pdf":
		refuse(-9)
		return
	}
	if c.Async && (d.first(c.Key) || modeOf(r) == ConvertHang) {
		writeJSON(w, http.StatusOK, map[string]any{"endConvert": false, "percent": 0})
		return
	}
	document, ok := d.fetch(r, c.URL)
	if !ok {
		refuse(-4)
		return
	}
	pdf, err := d.convert(r, document)
	if err != nil {
		refuse(-3)
		return
	}
	d.mu.Lock()
	d.results.put(c.Key+".pdf", pdf)
	d.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"endConvert": true, "fileType": "pdf", "percent": 100, "fileUrl": "https://" + r.Host + "/cache/" + c.Key + ".pdf"})
}

// first says that nobody has asked for the key before.
func (d *docServer) first(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked[key] {
		return false
	}
	if len(d.asked) >= maxKept {
		clear(d.asked)
	}
	d.asked[key] = true
	return true
}

// signed looks at the token in the body or in the header, and that it speaks of this order.
func signed(r *http.Request, token, key string) bool {
	if token == "" {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	claims, ok := verifyJWT(token, DocSecret)
	return ok && strings.Contains(claims, fmt.Sprintf("%q", key))
}

// verifyJWT is the claims of a token that HMAC-SHA256 signs (RFC 7519).
func verifyJWT(token, secret string) (string, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false
	}
	var head struct {
		Alg string `json:"alg"`
	}
	h, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || json.Unmarshal(h, &head) != nil || head.Alg != "HS256" {
		return "", false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	got, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		return "", false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	return string(claims), err == nil
}

// command tells version and licence.
func (d *docServer) command(w http.ResponseWriter, r *http.Request) {
	var c struct {
		C     string `json:"c"`
		Token string `json:"token"`
	}
	switch err := json.NewDecoder(r.Body).Decode(&c); {
	case err != nil:
		writeJSON(w, http.StatusOK, map[string]any{"error": 5})
	case !signed(r, c.Token, c.C) && modeOf(r) != TokenIgnored:
		writeJSON(w, http.StatusOK, map[string]any{"error": 6})
	case c.C == "version":
		writeJSON(w, http.StatusOK, map[string]any{"error": 0, "version": version(r)})
	case c.C == "license":
		writeJSON(w, http.StatusOK, map[string]any{"error": 0, "license": map[string]any{"end_date": licenceEnd(r).UTC().Format("2006-01-02T15:04:05Z")}})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"error": 5})
	}
}
