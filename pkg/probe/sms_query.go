package probe

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
	"xunjian/pkg/flow"
)

// smsQuery asks a platform's HTTP interface for numbers.
type smsQuery struct{ *httpAsker }

var secretPlace = regexp.MustCompile(`\{\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

// newSMSQuery puts the check's secrets into the headers.
func newSMSQuery(spec check.Spec, env Env, target string, headers map[string]string) (*smsQuery, error) {
	var hidden secrets
	filled := make(map[string]string, len(headers))
	for name, value := range headers {
		var bad error
		filled[name] = secretPlace.ReplaceAllStringFunc(value, func(place string) string {
			secret, err := secretOf(spec, env, secretPlace.FindStringSubmatch(place)[1])
			if err != nil {
				bad = err
			}
			hidden.add(secret)
			return secret
		})
		if bad != nil {
			return nil, fmt.Errorf("header %s: %w", name, bad)
		}
		if strings.ContainsAny(filled[name], "\r\n\x00") {
			return nil, fmt.Errorf("header %s: a secret in it has more than one line", name)
		}
	}
	ask := check.Spec{
		Name: spec.Name, Service: spec.Service, Kind: "http", Target: target, Every: spec.Every, Timeout: spec.Timeout, Slow: spec.Slow,
		Allow: spec.Allow, TLS: spec.TLS, HTTP: check.HTTP{Headers: filled},
	}
	asker, err := newHTTP(ask.WithDefaults(), env)
	if err != nil {
		return nil, err
	}
	h := asker.(*httpAsker)
	h.judge.readsBody = true
	h.secrets = append(h.secrets, hidden...)
	return &smsQuery{h}, nil
}

// secretOf reads a secret of the check's.
func secretOf(spec check.Spec, env Env, name string) (string, error) {
	ref, ok := spec.Secrets[name]
	if !ok {
		return "", fmt.Errorf("no secret %s in this check's secrets", name)
	}
	return env.Secret(ref)
}

// numbers reads the numbers at the given paths of the JSON answer.
func (q *smsQuery) numbers(ctx context.Context, wait time.Duration, paths ...string) ([]float64, *fault) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	body, bad := q.fetch(ctx)
	if bad != nil && bad.outcome == check.Fail && bad.class != check.ClassTimeout && flow.Pause(ctx, flow.Shortly) { // one bad answer is no news
		body, bad = q.fetch(ctx)
	}
	if bad != nil {
		bad.reason = q.secrets.hide(bad.reason)
		return nil, bad
	}
	out := make([]float64, len(paths))
	for i, path := range paths {
		switch v := gjson.GetBytes(body, path); v.Type {
		case gjson.Number:
			out[i] = v.Num
		case gjson.String:
			n := gjson.Parse(v.Str)
			if n.Type != gjson.Number {
				return nil, failed(check.ClassContent, "%s: %q is no number", path, check.Clip(v.Str, maxSeen))
			}
			out[i] = n.Num
		default:
			return nil, failed(check.ClassContent, "%s: no number in the answer", path)
		}
	}
	return out, nil
}

// fetch is one request on a connection of its own.
func (q *smsQuery) fetch(ctx context.Context) ([]byte, *fault) {
	l, bad := q.open(ctx, startWatch())
	if bad != nil {
		return nil, bad
	}
	defer l.raw.Close()
	defer l.endWith(ctx)()
	get := hop{request: q.request, wire: q.wire}
	resp, bad := get.converse(ctx, l) //nolint:bodyclose // the body is read off our own connection, which Close ends
	if bad != nil {
		return nil, bad
	}
	if resp.StatusCode != http.StatusOK {
		return nil, failed(check.ClassStatus, "%s", formatStatus(resp.StatusCode))
	}
	body, bad := q.judge.read(ctx, resp)
	defer body.release()
	if bad != nil {
		return nil, bad
	}
	if err := flow.ValidJSON(body.bytes()); err != nil {
		return nil, failed(check.ClassContent, "%v", err)
	}
	return bytes.Clone(body.bytes()), nil
}
