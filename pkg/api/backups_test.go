package api

import (
	"net/http"
	"strings"
	"testing"
)

// copier remembers what it was asked for.
type copier struct{ asked []BackupRequest }

func (c *copier) Start(q BackupRequest) (Backup, error) {
	c.asked = append(c.asked, q)
	return Backup{State: "running", Total: 7}, nil
}
func (c *copier) State() Backup  { return Backup{State: "done", Path: "/b/1"} }
func (c *copier) Cancel() Backup { return Backup{State: "failed"} }

// Only the command line beside the collector may have backups made, and only to places that are named in full.
func TestBackup(t *testing.T) {
	c := &copier{}
	control := NewControl("", "")
	r := newRig(t, func(o *Options) { o.Backups, o.Control = c, control })
	for body, want := range map[string]int{
		`{"dir":"/b","rate":5}`: http.StatusOK, `{"dir":"b"}`: http.StatusUnprocessableEntity, `{"dir":"/b","rate":-1}`: http.StatusUnprocessableEntity,
		`{"dir":"/b","x":1}`: http.StatusBadRequest,
	} {
		if status, _, text := r.ask("POST", Prefix+"/backup", control.Token, body); status != want {
			t.Errorf("%s: %d %s, want %d", body, status, text, want)
		}
	}
	if len(c.asked) != 1 || c.asked[0] != (BackupRequest{Dir: "/b", Rate: 5}) {
		t.Errorf("asked for %+v", c.asked)
	}
	for method, want := range map[string]string{"GET": `"path":"/b/1"`, "DELETE": "failed"} {
		if status, _, text := r.ask(method, Prefix+"/backup", control.Token, "{}"); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
}
