package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxOrder bounds the body of an order.
const maxOrder = 16 << 10

// control is the door for orders: what runs, what is broken, what was asked.
func (s *Simulator) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services", s.listServices)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.faults()) })
	mux.HandleFunc("PUT /faults/{service}", s.putFault)
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.counts()) })
	mux.HandleFunc("GET /telegrams", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Telegrams()) })
	mux.HandleFunc("POST /replies/{door}", s.postReply)
	// The same receiver as on its own port. Refusing is only possible there: this port must stay open, so here it hangs up.
	pages := s.venue(Webhook)
	mux.Handle("/webhook", pages)
	mux.Handle("/webhook/", pages)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, errors.New("want GET /services, GET /faults, PUT /faults/{service}, GET /requests, GET /telegrams, POST /replies/{smpp or cmpp} or POST /webhook"))
	})
	return mux
}

func (s *Simulator) listServices(w http.ResponseWriter, _ *http.Request) {
	type service struct {
		Name  string `json:"name"`
		Title string `json:"title"`
		URL   string `json:"url"`
		Mode  Mode   `json:"mode"`
		Modes []Mode `json:"modes"` // that it can be put into
	}
	var out []service
	for _, v := range s.venues {
		if v.name != Webhook {
			out = append(out, service{v.name, v.title, s.URL(v.name), v.fault.now().Mode, v.modes()})
		}
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *Simulator) faults() map[string]Fault {
	out := make(map[string]Fault, len(s.venues))
	for _, v := range s.venues {
		out[v.name] = v.fault.now()
	}
	return out
}

func (s *Simulator) counts() map[string]Count {
	out := make(map[string]Count, len(s.venues))
	for _, v := range s.venues {
		out[v.name] = v.fault.count()
	}
	return out
}

func (s *Simulator) putFault(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	v := s.venue(name)
	if v == nil {
		refuse(w, http.StatusNotFound, s.unknown(name))
		return
	}
	f, err := readOrder(http.MaxBytesReader(w, r.Body, maxOrder))
	if err == nil {
		err = v.check(f)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := v.fault.set(f); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	s.logger.Info("fault set", "service", name, "mode", f.Mode)
	writeJSON(w, http.StatusOK, v.fault.now())
}

func readOrder(body io.Reader) (Fault, error) {
	var f Fault
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("read order: %w (want an object with mode, and delay_ms, requests or for_ms if needed)", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return f, errors.New("read order: more than one object")
	}
	return f, nil
}

func (s *Simulator) unknown(name string) error {
	known := make([]string, len(s.venues))
	for i, v := range s.venues {
		known[i] = v.name
	}
	return fmt.Errorf("no service %q: want one of %s", name, strings.Join(known, ", "))
}

func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}
