package pager

import (
	"xunjian/pkg/channel"
	"xunjian/pkg/config"
)

// Config says who is told, and how.
type Config struct {
	channel.Config `yaml:",inline"` // the receivers
	Escalation     []Step           `yaml:"escalation,omitempty"` // who is called when nobody acknowledges; default: DefaultSteps
	Replies        Replies          `yaml:"replies,omitempty"`    // of people to short messages
}

// Replies is how a gateway hands in what people answer to short messages: it calls /api/xunjian/v1/replies.
type Replies struct {
	Token config.Secret `yaml:"token,omitempty"` // as a bearer token, or as token in the address; none: no replies are taken
	Phone string        `yaml:"phone,omitempty"` // name of the field that holds the number; default phone
	Text  string        `yaml:"text,omitempty"`  // and of the one that holds the text; default text
}

// DefaultConfig has no receivers.
func DefaultConfig() Config {
	return Config{Config: channel.DefaultConfig(), Replies: Replies{Phone: "phone", Text: "text"}}
}

// Validate reports each receiver that could not work. ValidateSteps looks at the escalation, which needs people.
func (c Config) Validate(fail config.Fail) {
	c.Config.Validate(fail)
	c.Replies.Token.Validate(config.Under(fail, "replies.token"))
	for path, name := range map[string]string{"replies.phone": c.Replies.Phone, "replies.text": c.Replies.Text} {
		if name == "" || len(name) > 64 {
			fail(path, "%q is not the name of a field", name)
		}
	}
}
