package api

import (
	"net/http"
	"time"

	"xunjian/pkg/access"
	"xunjian/pkg/fleet"
)

// TokenRequest asks for a one-time enrolment token.
type TokenRequest struct {
	Agent string `json:"agent,omitempty"` // the only name that it enrols; empty: any that is not taken
	TTL   string `json:"ttl,omitempty"`   // duration, default 1h
	By    string `json:"by,omitempty"`    // person who asks; default: the token's person
}

// Token is a one-time token; its text is told only when it is made.
type Token struct {
	Text      string           `json:"token,omitempty"`
	ID        string           `json:"id"`
	Agent     string           `json:"agent,omitempty"`
	State     fleet.TokenState `json:"state"`
	By        string           `json:"by"`
	CreatedAt time.Time        `json:"created_at"`
	ExpiresAt time.Time        `json:"expires_at"`
	UsedAt    time.Time        `json:"used_at,omitzero"`
	UsedBy    string           `json:"used_by,omitempty"`
	UsedFrom  string           `json:"used_from,omitempty"`
	RevokedAt time.Time        `json:"revoked_at,omitzero"`
	RevokedBy string           `json:"revoked_by,omitempty"`
}

// APITokenRequest asks for an API token.
type APITokenRequest struct {
	Name    string      `json:"name"`
	Role    access.Role `json:"role"`
	Person  string      `json:"person,omitempty"` // in whose name it acts; empty: it names one with each act
	TTL     string      `json:"ttl,omitempty"`    // duration; default: until revoked
	By      string      `json:"by,omitempty"`     // person who asks; default: the token's person
	Replace bool        `json:"replace,omitempty"`
}

// APIToken is an API token; its text is told only when it is made.
type APIToken struct {
	Text      string      `json:"token,omitempty"`
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Role      access.Role `json:"role"`
	Person    string      `json:"person,omitempty"`
	By        string      `json:"by"`
	CreatedAt time.Time   `json:"created_at"`
	ExpiresAt time.Time   `json:"expires_at,omitzero"`
	LastUsed  time.Time   `json:"last_used,omitzero"`
	RevokedAt time.Time   `json:"revoked_at,omitzero"`
	RevokedBy string      `json:"revoked_by,omitempty"`
}

type (
	// TokenList is the answer to GET tokens.
	TokenList struct {
		Tokens []Token `json:"tokens"`
	}
	// APITokenList is the answer to GET api-tokens.
	APITokenList struct {
		Tokens []APIToken `json:"tokens"`
	}
)

func tellToken(t fleet.Token, text string) Token {
	return Token{
		Text: text, ID: t.ID, Agent: t.Agent, State: t.State, By: t.By, CreatedAt: t.CreatedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(),
		UsedAt: t.UsedAt.UTC(), UsedBy: t.UsedBy, UsedFrom: t.UsedFrom, RevokedAt: t.RevokedAt.UTC(), RevokedBy: t.RevokedBy,
	}
}

func tellAPIToken(t access.Token, text string) APIToken {
	return APIToken{
		Text: text, ID: t.ID, Name: t.Name, Role: t.Role, Person: t.Person, By: t.By, CreatedAt: t.CreatedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(),
		LastUsed: t.LastUsed.UTC(), RevokedAt: t.RevokedAt.UTC(), RevokedBy: t.RevokedBy,
	}
}

func (s *server) listTokens(c *call) (answer, error) {
	if s.Agents == nil {
		return answer{}, errNotRunning
	}
	all, err := s.Agents.Tokens(c.now)
	if err != nil {
		return answer{}, err
	}
	out := TokenList{Tokens: []Token{}}
	for _, t := range all {
		out.Tokens = append(out.Tokens, tellToken(t, ""))
	}
	return answer{json: out}, nil
}

func (s *server) createToken(c *call) (answer, error) {
	var in TokenRequest
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Agents == nil {
		return answer{}, errNotRunning
	}
	ttl, err := duration("ttl", in.TTL)
	if err != nil {
		return answer{}, err
	}
	by, err := c.person(in.By)
	if err != nil {
		return answer{}, err
	}
	text, t, err := s.Agents.CreateToken(c.now, fleet.TokenRequest{Agent: in.Agent, TTL: ttl, By: by})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, json: tellToken(t, text)}, nil
}

func (s *server) revokeToken(c *call) (answer, error) {
	if s.Agents == nil {
		return answer{}, errNotRunning
	}
	by, err := c.remover()
	if err != nil {
		return answer{}, err
	}
	t, err := s.Agents.RevokeToken(c.now, c.PathValue("id"), by)
	if err != nil {
		return answer{}, err
	}
	return answer{json: tellToken(t, "")}, nil
}

// remover is who takes something away: DELETE has no body, so the person may be named in the address.
func (c *call) remover() (string, error) {
	q, err := c.query("by")
	if err != nil {
		return "", err
	}
	return c.person(q["by"])
}

func (s *server) listAPITokens(*call) (answer, error) {
	if s.Access == nil {
		return answer{}, errNotRunning
	}
	all, err := s.Access.Tokens()
	if err != nil {
		return answer{}, err
	}
	out := APITokenList{Tokens: []APIToken{}}
	for _, t := range all {
		out.Tokens = append(out.Tokens, tellAPIToken(t, ""))
	}
	return answer{json: out}, nil
}

func (s *server) createAPIToken(c *call) (answer, error) {
	var in APITokenRequest
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	if s.Access == nil {
		return answer{}, errNotRunning
	}
	ttl, err := duration("ttl", in.TTL)
	if err != nil {
		return answer{}, err
	}
	by, err := c.person(in.By)
	if err != nil {
		return answer{}, err
	}
	text, t, err := s.Access.CreateToken(c.now, access.TokenRequest{
		Name: in.Name, Role: in.Role, Person: in.Person, TTL: ttl, By: by, Replace: in.Replace,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, json: tellAPIToken(t, text)}, nil
}

func (s *server) revokeAPIToken(c *call) (answer, error) {
	if s.Access == nil {
		return answer{}, errNotRunning
	}
	by, err := c.remover()
	if err != nil {
		return answer{}, err
	}
	t, err := s.Access.Revoke(c.now, c.PathValue("id"), by)
	if err != nil {
		return answer{}, err
	}
	return answer{json: tellAPIToken(t, "")}, nil
}
