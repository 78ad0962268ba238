package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// The names of the services.
const (
	CloudDoc  = "cloud-doc"
	Signature = "signature"
	SMS       = "sms"
	Gateway   = "gateway"
	SMPP      = "smpp" // the short message centre, by either protocol
	CMPP      = "cmpp"
)

// Services lists those under contract, in its order.
var Services = []string{CloudDoc, Signature, SMS, Gateway}

// services answer as the products do that they stand for.
func services(seal *sealOffice) []*venue {
	centre := newCentre()
	return []*venue{
		{name: CloudDoc, title: "云文档服务", plain: cloudDoc("true", discovery, capabilities(true)), wrong: cloudDoc(`{"status":"starting"}`, emptyDiscovery, capabilities(false)), own: []Mode{HealthFalse}},
		{name: Signature, title: "签章服务", plain: (&sealService{office: seal}).handler(), wrong: (&sealService{office: seal, revoked: true}).handler(), own: sealModes},
		{name: SMS, title: "短信服务", plain: centre.figures(true, "success"), wrong: centre.figures(false, "InvalidUsrOrPwd"), own: balanceModes},
		{name: Gateway, title: "网关服务", plain: gateway(true), wrong: gateway(false)},
		{name: SMPP, title: "短信中心 SMPP", talk: centre.door(newSMPPServer), own: smscModes},
		{name: CMPP, title: "短信网关 CMPP", talk: centre.door(newCMPPServer), own: smscModes},
	}
}

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

func capabilities(convert bool) any {
	return map[string]any{
		"convert-to":     map[string]any{"available": convert, "endpoint": "/cool/convert-to"},
		"productName":    "Demo Document Server",
		"productVersion": "24.04.1.2",
	}
}

func cloudDoc(health, discovery string, capabilities any) http.Handler {
	mux := routes(notFound)
	mux.HandleFunc("GET /healthcheck", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if modeOf(r) == HealthFalse {
			fmt.Fprint(w, "false")
			return
		}
		fmt.Fprint(w, health)
	})
	mux.HandleFunc("GET /hosting/discovery", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		fmt.Fprintf(w, discovery, r.Host)
	})
	mux.HandleFunc("GET /hosting/capabilities", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, capabilities)
	})
	return mux
}

// gateway gives the nonce back; a wrong one answers out of its cache.
func gateway(live bool) http.Handler {
	mux := routes(noRoute)
	mux.HandleFunc("GET /get/echo", func(w http.ResponseWriter, r *http.Request) {
		nonce := r.URL.Query().Get("nonce")
		if nonce == "" {
			nonce = r.Header.Get("X-Nonce")
		}
		if !live {
			nonce = "cached-answer"
		}
		w.Header().Set("X-Gateway-Route", "echo")
		w.Header().Set("X-Kong-Proxy-Latency", "1")
		w.Header().Set("X-Kong-Upstream-Latency", "2")
		writeJSON(w, http.StatusOK, map[string]any{"route": "echo", "nonce": nonce, "url": r.URL.Path})
	})
	return mux
}

// routes is a mux with the login page, where redirects lead, and what a product answers to the rest.
func routes(missing http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cas/login", loginPage)
	mux.HandleFunc("/", missing)
	return mux
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusNotFound, map[string]any{"code": 404, "message": "Not Found"})
}

// noRoute is what Kong says of a route it has lost.
func noRoute(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusNotFound, map[string]any{"message": "no Route matched with those values"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer may have gone
}
