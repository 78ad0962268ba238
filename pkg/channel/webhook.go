package channel

import (
	"context"
	"encoding/json"
)

// hook posts messages as Alertmanager does.
type hook struct {
	base
	wiring
}

func newHook(b base, w wiring) (Channel, error) { return &hook{b, w}, nil }

// Send makes one try.
func (h *hook) Send(ctx context.Context, m Message) (Receipt, error) {
	r, err := h.request(m.Key)
	if err != nil {
		return Receipt{}, err
	}
	a, err := h.post(ctx, h.s.Timeout, r, m.Payload)
	if err != nil {
		return Receipt{}, err
	}
	return judge(a, r.token)
}

// request has the address and the credentials of the channel.
func (b *base) request(key string) (request, error) {
	address, err := b.s.address()
	if err != nil {
		return request{}, err
	}
	token, err := b.s.token()
	return request{url: address, key: key, user: b.s.User, token: token}, err
}

// judge takes a 2xx for a yes, unless its body holds the error code of an instant messenger's robot.
func judge(a answer, secrets ...string) (Receipt, error) {
	a.text = without(a.text, secrets...)
	if r := a.refused(); r != nil {
		return Receipt{}, r
	}
	var robot struct {
		ErrCode json.Number `json:"errcode"`
	}
	if json.Unmarshal(a.body, &robot) == nil && robot.ErrCode != "" && robot.ErrCode != "0" {
		return Receipt{}, &Refusal{Status: a.status, Text: a.text, Cause: CauseReceiver}
	}
	return Receipt{Answer: a.text}, nil
}
