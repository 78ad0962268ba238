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

// Services lists those under contract, in its order, and then the platform that they serve.
var Services = []string{CloudDoc, Signature, SMS, Gateway, OA}

// services answer as the products do that they stand for.
func (s *Simulator) services() []*venue {
	seal, docs, centre := s.seal, s.docs, s.centre
	return []*venue{
		{name: CloudDoc, title: "云文档服务", plain: docs.handler(false), wrong: docs.handler(true), own: docModes},
		{name: Signature, title: "签章服务", plain: (&sealService{office: seal}).handler(), wrong: (&sealService{office: seal, revoked: true}).handler(), own: sealModes},
		{name: SMS, title: "短信服务", plain: centre.figures(true, "success"), wrong: centre.figures(false, "InvalidUsrOrPwd"), own: balanceModes},
		{name: Gateway, title: "网关服务", plain: newGateway(false, s.certs, s.URL).handler(), wrong: newGateway(true, s.certs, s.URL).handler(), own: gatewayModes},
		{name: OA, title: "协同办公", plain: s.oa.handler(), wrong: http.HandlerFunc(systemError), own: oaModes},
		{name: SMPP, title: "短信中心 SMPP", talk: centre.door(newSMPPServer), own: smscModes},
		{name: CMPP, title: "短信网关 CMPP", talk: centre.door(newCMPPServer), own: smscModes},
	}
}

// plainServices are services without anything of their own, for tests of many.
func plainServices(n int) (out []*venue) {
	well := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"code": 0, "message": "SUCCESS"})
	})
	for i := range n {
		name := fmt.Sprintf("plain-%d", i+1)
		out = append(out, &venue{name: name, title: name, plain: well, wrong: http.HandlerFunc(systemError)})
	}
	return out
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

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer may have gone
}
