package pager

import (
	"testing"

	"xunjian/pkg/channel"
)

// A channel of short messages that names no numbers of its own is for people alone.
func TestPersonalChannels(t *testing.T) {
	cfg := channel.Config{List: []channel.Settings{
		{Name: "phone", Kind: "sms", URL: "http://x/", Gateway: &channel.Gateway{Body: "{phone}", Yes: channel.Yes{JSON: "code"}}},
		{Name: "robot", Kind: "wecom", URL: "http://x/"},
	}}
	cs, err := cfg.Channels()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		p, ok := cs[i].(personal)
		if !ok || p.Personal() != want || broadcasts(cs[i]) == want || p.Reaches(channel.Person{Phone: "13800000000"}) != want {
			t.Errorf("%s: %v, broadcasts %v", cs[i].Name(), ok, broadcasts(cs[i]))
		}
	}
}
