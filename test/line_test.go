package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"xunjian/pkg/simulator"
)

var replyCode = regexp.MustCompile(`回复\s*(\d{4,6})`)

// The resident answers a short message that came by SMPP, and another that came by CMPP: the reply comes back over the session
// that the collector keeps open, and acknowledges in the resident's name.
func TestReplyOverTheLine(t *testing.T) {
	t.Parallel()
	for kind, user := range map[string]string{"smpp": simulator.SMPPUser, "cmpp": simulator.CMPPUser} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir, control := t.TempDir(), freeAddr(t)
			start(t, dir, "simulator", "--folder", dir, "--control="+port(control), "--webhook=0", "--pages", filepath.Join(dir, "pages.jsonl"), "--smpp=0", "--cmpp=0", "--cloud-doc=0", "--signature=0", "--sms=0", "--gateway=0", "--oa=0", "--office=none")
			centre := ""
			eventually(t, "simulator", func() error {
				var doors []struct{ Name, URL string }
				err := call("GET", "http://"+control+"/services", "", nil, &doors)
				for _, d := range doors {
					if d.Name == kind {
						centre = strings.TrimPrefix(d.URL, "tcp://")
					}
				}
				return err
			})
			if err := os.WriteFile(filepath.Join(dir, "sms.password"), []byte(simulator.SMSPassword), 0o600); err != nil {
				t.Fatal(err)
			}
			_, config, web := dutyOver(t, dir, "10m", fmt.Sprintf("{name: line, kind: %s, server: '%s', user: '%s', token: {file: sms.password}, sms: {from: '10690000', report: 20s}}", kind, centre, user))
			id := report(t, config)
			var code string
			eventually(t, "message to the resident", func() error {
				var got []simulator.Telegram
				if err := call("GET", "http://"+control+"/telegrams", "", nil, &got); err != nil {
					return err
				}
				for _, m := range got {
					if found := replyCode.FindStringSubmatch(m.Text); m.Number == zhang && found != nil {
						code = found[1]
					}
				}
				if code == "" {
					return fmt.Errorf("the centre took %+v", got)
				}
				return nil
			})
			if err := call("POST", "http://"+control+"/replies/"+kind, "", simulator.Telegram{Number: zhang, Text: "收到 " + code}, nil); err != nil {
				t.Fatal(err)
			}
			token := mustRun(t, "collector", "token", "api", "--config", config, "--name", "test", "--role", "viewer")
			eventually(t, "acknowledgement", func() error {
				var got struct {
					AckBy  string `json:"ack_by"`
					Events []struct{ Kind, Person, Via, Device string }
				}
				if err := call("GET", web+"/api/xunjian/v1/incidents/"+id, token, nil, &got); err != nil {
					return err
				}
				for _, e := range got.Events {
					if e.Kind == "acknowledged" && e.Person == "张三" && e.Via == "sms" && e.Device == "138****0001 line" && got.AckBy == "张三" {
						return nil
					}
				}
				return fmt.Errorf("%+v", got)
			})
		})
	}
}
