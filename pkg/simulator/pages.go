package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// maxPage bounds the body of a page.
const maxPage = 1 << 20

// pageLog takes pages and writes each as one line.
type pageLog struct {
	mu   sync.Mutex
	file *os.File // nil when nothing is kept
}

// Page is a line of the log.
type Page struct {
	ReceivedAt time.Time         `json:"received_at"`
	Path       string            `json:"path"`
	Headers    map[string]string `json:"headers"`
	Body       json.RawMessage   `json:"body"` // as it came, or as a JSON string when it was not JSON
}

func openPageLog(path string) (*pageLog, error) {
	if path == "" {
		return &pageLog{}, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open page log: %w", err)
	}
	return &pageLog{file: f}, nil
}

// ServeHTTP says yes in the words of the robots that people use, once the page is in the log.
func (l *pageLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now().UTC()
	if r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, errors.New("want POST"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPage))
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read page: %w", err))
		return
	}
	if err := l.add(Page{at, r.URL.Path, shownHeaders(r.Header), asJSON(body)}); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success"})
}

func asJSON(body []byte) json.RawMessage {
	if json.Valid(body) {
		return body
	}
	quoted, _ := json.Marshal(string(body)) // a string always can be
	return quoted
}

// shownHeaders leaves out what only concerns the connection.
func shownHeaders(h http.Header) map[string]string {
	out := map[string]string{}
	for name, values := range h {
		switch name {
		case "Accept-Encoding", "Connection", "Content-Length":
		default:
			out[name] = strings.Join(values, ", ")
		}
	}
	return out
}

// add writes a whole line at once: readers never see half a page.
func (l *pageLog) add(p Page) error {
	line, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode page: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("log page: %w", err)
	}
	return nil
}

func (l *pageLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}
