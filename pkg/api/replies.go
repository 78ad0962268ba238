package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"xunjian/pkg/access"
)

// gateway is the rule of the route that gateways of short messages call: it has a token of its own.
const gateway access.Action = "gateway"

// Replies takes what people answer to short messages.
type Replies interface {
	Admit(token string) bool      // whether the caller is the gateway
	Fields() (phone, text string) // names of the fields that hold them
	// Reply says whether the reply was taken; an error is none of the sender's.
	Reply(now time.Time, phone, text string) (taken bool, err error)
}

// Replied says what became of the replies that a gateway handed in. Why one was refused stands in the collector's log.
type Replied struct {
	Taken   int `json:"taken"`
	Refused int `json:"refused"`
}

// maxReplies bounds what a gateway may hand in at once.
const maxReplies = 100

// admitGateway wants the gateway's token, as a bearer token or, for gateways that know no headers, in the address.
func (s *server) admitGateway(r *http.Request) error {
	if s.Replies == nil {
		return errNotRunning
	}
	token, ok := bearer(r)
	if !ok {
		token = r.URL.Query().Get("token")
	}
	if token == "" || len(token) > 256 || !s.Replies.Admit(token) {
		return access.ErrBadToken
	}
	return nil
}

// takeReplies reads one reply or a list of them, as JSON or as a form.
func (s *server) takeReplies(c *call) (answer, error) {
	got, err := c.replies()
	if err != nil {
		return answer{}, err
	}
	phone, text := s.Replies.Fields()
	var out Replied
	for _, fields := range got {
		taken, err := s.Replies.Reply(c.now, fields[phone], fields[text])
		switch {
		case err != nil:
			return answer{}, err // the gateway is to come again
		case taken:
			out.Taken++
		default:
			out.Refused++
		}
	}
	return answer{json: out}, nil
}

// replies are the fields of each reply in the body; what is neither text nor number is left out.
func (c *call) replies() ([]map[string]string, error) {
	bad := func(what string) error { return &fault{status: http.StatusBadRequest, code: "bad_json", what: what} }
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &fault{status: http.StatusRequestEntityTooLarge, code: "too_large"}
	}
	if err != nil {
		return nil, bad("body broke off")
	}
	if kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(b))
		if err != nil {
			return nil, bad("not a form")
		}
		one := map[string]string{}
		for k := range form {
			one[k] = form.Get(k)
		}
		return []map[string]string{one}, nil
	}
	var many []map[string]any
	if err := json.Unmarshal(b, &many); err != nil {
		var one map[string]any
		if err := json.Unmarshal(b, &one); err != nil {
			return nil, bad("want an object, a list of objects, or a form")
		}
		many = append(many[:0], one)
	}
	if len(many) > maxReplies {
		return nil, bad(fmt.Sprintf("%d replies, at most %d at once", len(many), maxReplies))
	}
	out := make([]map[string]string, len(many))
	for i, m := range many {
		out[i] = map[string]string{}
		for k, v := range m {
			switch v := v.(type) {
			case string:
				out[i][k] = v
			case float64:
				out[i][k] = strconv.FormatFloat(v, 'f', -1, 64)
			}
		}
	}
	return out, nil
}
