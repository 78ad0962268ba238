package api

import (
	"context"
	"net/http"
	"path/filepath"
	"time"
)

// Backups makes copies of all that is kept, one at a time. Start may return *Invalid.
type Backups interface {
	Start(q BackupRequest) (Backup, error)
	State() Backup
	Cancel() Backup
}

// BackupRequest says where to: a folder of the collector's machine in which a new one is made.
type BackupRequest struct {
	Dir  string `json:"dir"`
	Rate int64  `json:"rate"` // bytes a second; 0: as fast as the disk can
}

// Backup is one backup as it stands.
type Backup struct {
	State   string    `json:"state"` // none, running, verifying, done, failed
	Path    string    `json:"path,omitempty"`
	Bytes   int64     `json:"bytes"`
	Total   int64     `json:"total"`
	BeganAt time.Time `json:"began_at,omitzero"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	Error   string    `json:"error,omitempty"`
}

// onlyLocal: a backup holds every secret and is written where the caller says, so it is for who may read the data folder.
func (c *call) onlyLocal() error {
	if c.id.Via != "local" {
		return &fault{status: http.StatusForbidden, code: "only_local"}
	}
	return nil
}

func (s *server) backups(c *call) (Backups, error) {
	if s.Backups == nil {
		return nil, errNotRunning
	}
	return s.Backups, c.onlyLocal()
}

func (s *server) startBackup(c *call) (answer, error) {
	b, err := s.backups(c)
	if err != nil {
		return answer{}, err
	}
	var q BackupRequest
	if err := c.read(&q); err != nil {
		return answer{}, err
	}
	if !filepath.IsAbs(q.Dir) || q.Rate < 0 {
		return answer{}, invalid("dir", "backup")
	}
	state, err := b.Start(q)
	return answer{json: state}, err
}

func (s *server) getBackup(c *call) (answer, error) {
	b, err := s.backups(c)
	if err != nil {
		return answer{}, err
	}
	return answer{json: b.State()}, nil
}

func (s *server) cancelBackup(c *call) (answer, error) {
	b, err := s.backups(c)
	if err != nil {
		return answer{}, err
	}
	return answer{json: b.Cancel()}, nil
}

// StartBackup begins a backup; Backup tells how far it is, CancelBackup ends it.
func (c *Client) StartBackup(ctx context.Context, q BackupRequest) (out Backup, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/backup", q, &out)
}

// Backup is the backup under way, or the last one.
func (c *Client) Backup(ctx context.Context) (out Backup, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/backup", nil, &out)
}

// CancelBackup gives up the backup under way.
func (c *Client) CancelBackup(ctx context.Context) (out Backup, err error) {
	return out, c.json(ctx, http.MethodDelete, Prefix+"/backup", nil, &out)
}
