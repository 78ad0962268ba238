package flow

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"xunjian/pkg/check"
)

// note keeps an exchange for whoever follows the run.
func (s *session) note(r *Request, a *Answer, err error, took time.Duration) {
	if s.call.Trace == nil {
		return
	}
	e := Exchange{Method: r.Method, URL: s.scope.mask.url(r.URL), Header: s.scope.mask.header(r.Header), Duration: took}
	e.Body = s.body(r.Header.Get("Content-Type"), r.Body)
	if a != nil {
		shown := *a
		shown.Header = s.scope.mask.header(a.Header)
		shown.Body = []byte(s.body(a.Header.Get("Content-Type"), a.Body))
		e.Answer = &shown
	}
	var bad *Fault
	if errors.As(err, &bad) {
		e.Fault = s.scope.mask.Hide(bad.Reason)
	} else if err != nil {
		e.Fault = s.scope.mask.Hide(err.Error())
	}
	s.trace = append(s.trace, e)
}

// body hides the fields that look like secrets, which it has to read for that, and then the secrets.
func (s *session) body(kind string, b []byte) string {
	text := string(b)
	if strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		text = hideFields(text)
	} else {
		text = guarded(text)
	}
	return s.scope.mask.clip(text, maxShown)
}

func hideFields(form string) string {
	pairs := strings.Split(form, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if isSecretName(name) {
			pairs[i] = name + "=" + masked
		} else if plain, err := url.QueryUnescape(value); err == nil {
			pairs[i] = name + "=" + plain
		}
	}
	return strings.Join(pairs, "&")
}

// hideKeys hides the strings under secret-looking keys of an object, and of the objects in it.
func hideKeys(text string) string {
	if ValidJSON([]byte(text)) != nil {
		return text
	}
	var values []string
	var visit func(v gjson.Result, depth int)
	visit = func(v gjson.Result, depth int) {
		v.ForEach(func(key, inner gjson.Result) bool {
			switch {
			case inner.IsObject() || inner.IsArray():
				if depth < 8 {
					visit(inner, depth+1)
				}
			case inner.Type == gjson.String && inner.Str != "" && isSecretName(key.Str):
				values = append(values, inner.Raw, `"`+masked+`"`)
			}
			return len(values) < 64
		})
	}
	visit(gjson.Parse(text), 0)
	return strings.NewReplacer(values...).Replace(text)
}

// tell hands a step on when it is over.
func (s *session) tell(st *step, result check.Step) {
	if s.call.Trace == nil {
		return
	}
	result.Reason = s.scope.mask.Hide(result.Reason)
	values := map[string]string{}
	for _, x := range st.extracts {
		if v, ok := s.scope.vars[x.name]; ok {
			shown := s.scope.mask.clip(guarded(v.text), maxSeen)
			if isSecretName(x.name) {
				shown = masked
			}
			values[x.name] = shown
		}
	}
	for i := range s.trace { // what an answer brought later may be a secret of an earlier request
		x := &s.trace[i]
		x.URL, x.Body, x.Fault = s.scope.mask.Hide(x.URL), s.scope.mask.Hide(x.Body), s.scope.mask.Hide(x.Fault)
		x.Header = s.scope.mask.header(x.Header)
		if a := x.Answer; a != nil {
			a.Header, a.Body = s.scope.mask.header(a.Header), []byte(s.scope.mask.Hide(string(a.Body)))
		}
	}
	s.call.Trace(Event{List: st.list, Step: st.FlowStep, Result: result, Exchanges: s.trace, Values: values})
}
