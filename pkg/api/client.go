package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"xunjian/pkg/access"
	"xunjian/pkg/incident"
)

// Bounds on answers.
const (
	maxAnswer = 32 << 20
	maxReport = 128 << 20
)

// Client speaks the API. Its errors are *Error when the collector refuses.
type Client struct {
	URL   string       // of the collector, without Prefix
	Token string       // empty with Direct
	Lang  string       // of texts: zh-CN (default) or en
	HTTP  *http.Client // default: http.DefaultClient
}

// IncidentFilter narrows a list; empty fields do not.
type IncidentFilter struct {
	State   string // open, unclosed, closed, all
	Level   string
	Service string
	Month   string // 2026-11
	Limit   int
}

// Incidents lists incidents, the newest first.
func (c *Client) Incidents(ctx context.Context, f IncidentFilter) (out IncidentList, err error) {
	q := url.Values{}
	for k, v := range map[string]string{"state": f.State, "level": f.Level, "service": f.Service, "month": f.Month} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return out, c.json(ctx, http.MethodGet, Prefix+"/incidents?"+q.Encode(), nil, &out)
}

// Incident is one incident with its events.
func (c *Client) Incident(ctx context.Context, id string) (out Incident, err error) {
	return out, c.json(ctx, http.MethodGet, incidentPath(id, ""), nil, &out)
}

func incidentPath(id, act string) string {
	p := Prefix + "/incidents/" + url.PathEscape(id)
	if act != "" {
		p += "/" + act
	}
	return p
}

// Open opens an incident that a person reports.
func (c *Client) Open(ctx context.Context, o Opening) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/incidents", o, &out)
}

// Do does one of the deeds about an incident. A 409 names who was first, or what stands against it.
func (c *Client) Do(ctx context.Context, id, name string, a Act, d Deed) (out Incident, err error) {
	body, err := d.body(a)
	if err != nil {
		return out, err
	}
	return out, c.json(ctx, http.MethodPost, incidentPath(id, name), body, &out)
}

// Ack acknowledges. A 409 names who was first.
func (c *Client) Ack(ctx context.Context, id string, a Act) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "ack"), a, &out)
}

// Note adds a note.
func (c *Client) Note(ctx context.Context, id string, a Act) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "note"), a, &out)
}

// Report adds a user's call.
func (c *Client) Report(ctx context.Context, id string, r Call) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "report"), r, &out)
}

// Level sets the level.
func (c *Client) Level(ctx context.Context, id string, g Grading) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "level"), g, &out)
}

// Resolve writes down cause and handling.
func (c *Client) Resolve(ctx context.Context, id string, a Account) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "resolve"), a, &out)
}

// Close closes.
func (c *Client) Close(ctx context.Context, id string, a Account) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "close"), a, &out)
}

// Reopen reopens.
func (c *Client) Reopen(ctx context.Context, id string, a Act) (out Incident, err error) {
	return out, c.json(ctx, http.MethodPost, incidentPath(id, "reopen"), a, &out)
}

// Calls lists who was told of an incident by name, and what came of it.
func (c *Client) Calls(ctx context.Context, id string) (out CallList, err error) {
	return out, c.json(ctx, http.MethodGet, incidentPath(id, "calls"), nil, &out)
}

// Windows lists the planned windows.
func (c *Client) Windows(ctx context.Context) (out WindowList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/windows", nil, &out)
}

// Plan makes a planned window.
func (c *Client) Plan(ctx context.Context, p Planning) (out incident.Window, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/windows", p, &out)
}

// CancelWindow takes a planned window back, or ends it early.
func (c *Client) CancelWindow(ctx context.Context, id string, a Act) (out incident.Window, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/windows/"+url.PathEscape(id)+"/cancel", a, &out)
}

// Roster is who is on duty now and in the days to come; 0 is a fortnight.
func (c *Client) Roster(ctx context.Context, days int) (out Roster, err error) {
	path := Prefix + "/roster"
	if days != 0 {
		path += "?days=" + strconv.Itoa(days)
	}
	return out, c.json(ctx, http.MethodGet, path, nil, &out)
}

// Override puts somebody on a line for a time.
func (c *Client) Override(ctx context.Context, o Override) (out Change, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/roster/overrides", o, &out)
}

// Swap lets two people take over from each other.
func (c *Client) Swap(ctx context.Context, s Swap) (out Change, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/roster/swaps", s, &out)
}

// SignIn says that a person is there for the shift of an important period.
func (c *Client) SignIn(ctx context.Context, s SignIn) (out Change, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/roster/sign-ins", s, &out)
}

// Withdraw takes an override or a swap back.
func (c *Client) Withdraw(ctx context.Context, seq uint64, a Act) (out Change, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/roster/"+strconv.FormatUint(seq, 10)+"/withdraw", a, &out)
}

// Undelivered lists the pages that are not delivered.
func (c *Client) Undelivered(ctx context.Context) (out PageList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/pages", nil, &out)
}

// TestPage sends a test page and tells what each receiver answered.
func (c *Client) TestPage(ctx context.Context, t Test) (out TestList, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/pages/test", t, &out)
}

// Heartbeat tells how the heartbeat of each receiver does.
func (c *Client) Heartbeat(ctx context.Context) (out HeartList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/heartbeat", nil, &out)
}

// Beat sends a heartbeat out of turn and tells what each receiver answered.
func (c *Client) Beat(ctx context.Context, b Beat) (out HeartList, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/heartbeat/send", b, &out)
}

// Services lists the services' states.
func (c *Client) Services(ctx context.Context) (out ServiceList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/services", nil, &out)
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) (out AgentList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/agents", nil, &out)
}

// RevokeAgent forbids an agent to send.
func (c *Client) RevokeAgent(ctx context.Context, name string, a Act) error {
	return c.json(ctx, http.MethodPost, Prefix+"/agents/"+url.PathEscape(name)+"/revoke", a, nil)
}

// Tokens lists the one-time tokens.
func (c *Client) Tokens(ctx context.Context) (out TokenList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/tokens", nil, &out)
}

// CreateToken makes a one-time token.
func (c *Client) CreateToken(ctx context.Context, q TokenRequest) (out Token, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/tokens", q, &out)
}

// RevokeToken makes a one-time token useless.
func (c *Client) RevokeToken(ctx context.Context, id, by string) (out Token, err error) {
	return out, c.json(ctx, http.MethodDelete, removal("/tokens/", id, by), nil, &out)
}

// APITokens lists the API tokens.
func (c *Client) APITokens(ctx context.Context) (out APITokenList, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/api-tokens", nil, &out)
}

// CreateAPIToken makes an API token.
func (c *Client) CreateAPIToken(ctx context.Context, q APITokenRequest) (out APIToken, err error) {
	return out, c.json(ctx, http.MethodPost, Prefix+"/api-tokens", q, &out)
}

// RevokeAPIToken makes an API token useless.
func (c *Client) RevokeAPIToken(ctx context.Context, id, by string) (out APIToken, err error) {
	return out, c.json(ctx, http.MethodDelete, removal("/api-tokens/", id, by), nil, &out)
}

func removal(kind, id, by string) string {
	p := Prefix + kind + url.PathEscape(id)
	if by != "" {
		p += "?" + url.Values{"by": {by}}.Encode()
	}
	return p
}

// Status is the collector at a glance.
func (c *Client) Status(ctx context.Context) (out Status, err error) {
	return out, c.json(ctx, http.MethodGet, Prefix+"/status", nil, &out)
}

// MonthReport is a month's record as a file; format is docx, xlsx or json.
func (c *Client) MonthReport(ctx context.Context, month, format string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, Prefix+"/reports/"+url.PathEscape(month+"."+format), nil, maxReport)
}

// Reload has the collector read its configuration again; the error holds all that is wrong with it.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, HealthPrefix+"reload", nil, maxAnswer)
	return err
}

func (c *Client) json(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	b, err := c.do(ctx, method, path, body, maxAnswer)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept-Language", cmp.Or(c.Lang, "zh-CN"))
	resp, err := cmp.Or(c.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer of %s: %w", path, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("read answer of %s: more than %d bytes", path, limit)
	case resp.StatusCode >= 300:
		return nil, refused(resp, b)
	}
	return b, nil
}

// refused makes the error out of an answer, which is the API's own or a text (reload, something between us).
func refused(resp *http.Response, b []byte) error {
	var e struct{ Error *Error }
	if json.Unmarshal(b, &e) == nil && e.Error != nil && e.Error.Code != "" {
		e.Error.Status = resp.StatusCode
		return e.Error
	}
	return &Error{Status: resp.StatusCode, Code: "http", Message: cmp.Or(strings.TrimSpace(string(b[:min(len(b), 4096)])), resp.Status)}
}

// Direct answers requests within this process, in the identity's name: for the command line when no collector runs.
func Direct(h http.Handler, id access.Identity) http.RoundTripper { return direct{h, id} }

type direct struct {
	handler http.Handler
	id      access.Identity
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	in := r.Clone(context.WithValue(r.Context(), identityKey{}, d.id))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	d.handler.ServeHTTP(w, in)
	if err := r.Context().Err(); err != nil {
		return nil, errors.Join(err, errors.New("call was given up"))
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// recorder keeps an answer in memory; the API's answers are whole anyway.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
