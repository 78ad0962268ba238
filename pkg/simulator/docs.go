package simulator

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// What a probe of cloud-doc must know: the secret of ONLYOFFICE's tokens and of WPS' signatures, the WPS application, and the
// token with which the WOPI editor and the store let somebody in.
const (
	DocSecret = "simulated-document-secret"
	DocApp    = "xunjian-probe"
	DocToken  = "simulated-document-token"
)

// The faults of cloud-doc's own.
const (
	WrongFile       Mode = "wrong-file"       // another document comes back
	ConvertError    Mode = "convert-error"    // conversions fail
	ConvertHang     Mode = "convert-hang"     // conversions never end
	StaleResult     Mode = "stale-result"     // a conversion's result is that of an earlier document
	CorruptAccepted Mode = "corrupt-accepted" // a broken document is converted all the same
	TokenIgnored    Mode = "token-ignored"    // a wrong token or signature is as good as the right one
	DeleteKept      Mode = "delete-kept"      // deleting answers well and deletes nothing
	LicenceNear     Mode = "licence-near"     // the licence ends in 20 days
	LicenceShort    Mode = "licence-short"    // the licence ends in 3 days
	LicenceExpired  Mode = "licence-expired"  // the licence ended yesterday
	StorageAway     Mode = "storage-away"     // the converter does not reach the store
	EditorError     Mode = "editor-error"     // the editor's page comes with 200 and says that it cannot open the document
	Upgraded        Mode = "upgraded"         // another version answers
)

var docModes = []Mode{
	HealthFalse, WrongFile, ConvertError, ConvertHang, StaleResult, CorruptAccepted, TokenIgnored, DeleteKept,
	LicenceNear, LicenceShort, LicenceExpired, StorageAway, EditorError, Throttled, Upgraded,
}

// Bounds of what the document service keeps.
const (
	maxDocument = 1 << 20
	maxKept     = 64 // documents, and as many results and tasks
)

// docServer is a document service in the shapes of Collabora (WOPI), ONLYOFFICE and WPS, with a store for documents beside it.
type docServer struct {
	converter *converter

	mu      sync.Mutex
	store   shelf
	results shelf // PDFs by key
	tasks   shelf // states of WPS tasks by number: a line of JSON
	last    []byte
	asked   map[string]bool // keys that were asked for once: the first answer to an asynchronous order is "not yet"
}

// shelf keeps the newest entries.
type shelf struct {
	entries map[string][]byte
	order   []string
}

func (s *shelf) put(name string, b []byte) {
	if s.entries == nil {
		s.entries = map[string][]byte{}
	}
	if _, known := s.entries[name]; !known {
		s.order = append(s.order, name)
	}
	s.entries[name] = b
	for len(s.order) > maxKept {
		delete(s.entries, s.order[0])
		s.order = s.order[1:]
	}
}

func (s *shelf) drop(name string) {
	delete(s.entries, name)
	for i, n := range s.order {
		if n == name {
			s.order = append(s.order[:i], s.order[i+1:]...)
			return
		}
	}
}

func newDocServer(office string) *docServer {
	return &docServer{converter: newConverter(office), asked: map[string]bool{}}
}

// handler is the service; a wrong one answers well-formed nonsense where a health check looks.
func (d *docServer) handler(wrong bool) http.Handler {
	mux := routes(notFound)
	d.routeStore(mux)
	d.routeWOPI(mux, wrong)
	d.routeOnlyOffice(mux, wrong)
	d.routeWPS(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 2*maxDocument)
		mux.ServeHTTP(w, r)
	})
}

// routeStore is where the platform would keep its documents.
func (d *docServer) routeStore(mux *http.ServeMux) {
	mux.HandleFunc("PUT /store/{name}", d.guarded(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || len(b) > maxDocument {
			writeJSON(w, http.StatusRequestEntityTooLarge, map[string]any{"message": "too large"})
			return
		}
		d.mu.Lock()
		d.store.put(r.PathValue("name"), b)
		d.mu.Unlock()
		writeJSON(w, http.StatusCreated, map[string]any{"id": r.PathValue("name"), "size": len(b)})
	}))
	mux.HandleFunc("GET /store/{name}", d.guarded(func(w http.ResponseWriter, r *http.Request) {
		b, ok := d.document(r, r.PathValue("name"))
		if !ok {
			notFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.openxmlformats-officedocument.wordprocessingml.document")
		w.Write(b)
	}))
	mux.HandleFunc("DELETE /store/{name}", d.guarded(func(w http.ResponseWriter, r *http.Request) {
		if modeOf(r) != DeleteKept {
			d.mu.Lock()
			d.store.drop(r.PathValue("name"))
			d.mu.Unlock()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("GET /store", d.guarded(func(w http.ResponseWriter, _ *http.Request) {
		files := []map[string]any{}
		d.mu.Lock()
		for _, name := range d.store.order {
			files = append(files, map[string]any{"name": name, "size": len(d.store.entries[name])})
		}
		d.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"files": files})
	}))
}

// guarded lets in who has the token.
func (d *docServer) guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+DocToken && modeOf(r) != TokenIgnored {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "invalid token"})
			return
		}
		h(w, r)
	}
}

// document is one in the store, as the fault in force has it.
func (d *docServer) document(r *http.Request, name string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.store.entries[name]
	if ok && modeOf(r) == WrongFile {
		return otherDocument, true
	}
	return b, ok
}

// convert makes a PDF as the fault in force has it.
func (d *docServer) convert(r *http.Request, document []byte) ([]byte, error) {
	mode := modeOf(r)
	switch mode {
	case ConvertError:
		return nil, errUnconverted
	case ConvertHang:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case WrongFile:
		document = otherDocument
	}
	pdf, err := d.converter.convert(r.Context(), document)
	if err != nil && mode == CorruptAccepted {
		pdf, err = writePDF([]string{"(damaged)"}), nil
	}
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if mode == StaleResult {
		if d.last == nil {
			d.last = writePDF([]string{"an earlier document"})
		}
		return d.last, nil
	}
	d.last = pdf
	return pdf, nil
}

// fetch is what a converter gets when it follows a URL into the store.
func (d *docServer) fetch(r *http.Request, address string) ([]byte, bool) {
	name, inStore := lastPart(address, "/store/")
	if !inStore || modeOf(r) == StorageAway {
		return nil, false
	}
	return d.document(r, name)
}

func version(r *http.Request) string {
	if modeOf(r) == Upgraded {
		return "24.04.9.1"
	}
	return "24.04.1.2"
}

// licenceEnd is the last day of the licence.
func licenceEnd(r *http.Request) time.Time {
	left := 300 * day
	switch modeOf(r) {
	case LicenceNear:
		left = 20 * day
	case LicenceShort:
		left = 3 * day
	case LicenceExpired:
		left = -day
	}
	return time.Now().Add(left)
}

func editorPage(w http.ResponseWriter, r *http.Request, id string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if modeOf(r) == EditorError {
		fmt.Fprint(w, `<!DOCTYPE html><html lang="zh-CN"><head><title>文档打开失败</title></head><body><div id="error" data-error-code="40301">文档打开失败，错误码 40301</div></body></html>`)
		return
	}
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="zh-CN"><head><title>编辑器</title></head><body><script>var docURL = %q;</script><div id="editor"></div></body></html>`, id)
}

// lastPart is what follows a prefix in an address' path, unescaped.
func lastPart(address, prefix string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(u.Path, prefix)
}
