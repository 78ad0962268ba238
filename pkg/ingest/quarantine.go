package ingest

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"xunjian/pkg/uplink"
)

// The bounds of the folder; the oldest files make room.
const (
	quarantineFiles = 100
	quarantineBytes = 16 << 20
	quarantineAgent = 20 // files of one agent, so that a bad one does not push out what others sent
)

// Quarantine keeps messages that nobody could make sense of, for those who mend the program: a file each, named by the
// SHA-256 of the message, with a line of JSON that says whose it is and then its bytes.
type Quarantine struct {
	dir   string
	log   *slog.Logger
	found func(uplink.Poison) // learns of each message that was kept; may be nil
	count *prometheus.CounterVec
	pace  *rate.Limiter // writes a second: what is more is only counted

	mu    sync.Mutex
	files []kept // oldest first
	bytes int64
}

// kept is one file.
type kept struct {
	sum, agent string
	size       int64
	at         time.Time
}

// quarantineHead is the first line of a file.
type quarantineHead struct {
	Agent  string    `json:"agent"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Bytes  int       `json:"bytes"`
}

// NewQuarantine opens the folder, which is made with the first message. found learns of each message that is kept anew.
func NewQuarantine(dir string, found func(uplink.Poison), log *slog.Logger, reg prometheus.Registerer) (*Quarantine, error) {
	q := &Quarantine{dir: dir, log: log, found: found, pace: rate.NewLimiter(2, quarantineFiles)}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	q.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "xunjian_ingest_quarantined_total", Help: "Messages that could not be understood or made the program stumble, by agent and reason.",
	}, []string{"agent", "reason"})
	if reg != nil {
		reg.MustRegister(q.count)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && isSum(e.Name()) {
			q.files = append(q.files, kept{e.Name(), q.agentOf(e.Name()), info.Size(), info.ModTime()})
			q.bytes += info.Size()
		}
	}
	slices.SortFunc(q.files, func(a, b kept) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.sum, b.sum)) })
	q.makeRoom(0)
	return q, nil
}

func isSum(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 32
}

// agentOf reads whose a file is; of one that cannot be read nobody knows.
func (q *Quarantine) agentOf(name string) string {
	f, err := os.Open(filepath.Join(q.dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	var head quarantineHead
	_ = json.NewDecoder(f).Decode(&head) // a torn file belongs to nobody
	return head.Agent
}

// Keep counts a message and keeps it, once. It never fails its caller: what cannot be written is only counted.
func (q *Quarantine) Keep(p uplink.Poison) {
	q.count.WithLabelValues(p.Agent, p.Reason).Inc()
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.ContainsFunc(q.files, func(f kept) bool { return f.sum == p.Sum }) || !isSum(p.Sum) || !q.pace.Allow() {
		return
	}
	head, err := json.Marshal(quarantineHead{p.Agent, p.At, p.Reason, p.Detail, len(p.Bytes)})
	if err != nil {
		q.log.Error("quarantine", "error", err)
		return
	}
	body := append(append(head, '\n'), p.Bytes...)
	if len(body) > quarantineBytes {
		return
	}
	q.makeRoomFor(p.Agent, int64(len(body)))
	if err := writeWhole(q.dir, p.Sum, body); err != nil {
		q.log.Error("message is not kept in quarantine", "sha256", p.Sum, "error", err)
		return
	}
	q.files = append(q.files, kept{p.Sum, p.Agent, int64(len(body)), p.At})
	q.bytes += int64(len(body))
	if q.found != nil {
		q.found(p)
	}
}

// makeRoomFor removes the oldest of the agent's own files when it has too many, then the oldest of all.
func (q *Quarantine) makeRoomFor(agent string, size int64) {
	own := 0
	for _, f := range q.files {
		if f.agent == agent {
			own++
		}
	}
	for ; own >= quarantineAgent; own-- {
		q.remove(slices.IndexFunc(q.files, func(f kept) bool { return f.agent == agent }))
	}
	q.makeRoom(size)
}

func (q *Quarantine) makeRoom(size int64) {
	for len(q.files) > 0 && (q.bytes+size > quarantineBytes || size > 0 && len(q.files) >= quarantineFiles || len(q.files) > quarantineFiles) {
		q.remove(0)
	}
}

func (q *Quarantine) remove(i int) {
	if err := os.Remove(filepath.Join(q.dir, q.files[i].sum)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.log.Warn("quarantined message stays", "error", err)
	}
	q.bytes -= q.files[i].size
	q.files = slices.Delete(q.files, i, i+1)
}

// writeWhole writes a file whole or not at all; a power cut may lose it, for the agent's log has the hash, too.
func writeWhole(dir, name string, body []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := filepath.Join(dir, "new")
	if err := os.WriteFile(tmp, body, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}
