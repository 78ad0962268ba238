package flow

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"xunjian/pkg/check"
)

// extract is a compiled check.Extract.
type extract struct {
	check.Extract
	name  string
	path  text
	group *regexp.Regexp
}

func (c *compiler) extract(path, name string, x check.Extract, need func(string)) *extract {
	out := &extract{Extract: x, name: name, path: c.text(path, x.JSON+x.XML, need)} // one of the two
	if x.Regexp != "" {
		out.group = c.pattern(path+".regexp", x.Regexp)
	}
	return out
}

// errNotThere says that what was to be extracted is not in the answer.
var errNotThere = errors.New("not in the answer")

// take sets the variable.
func (x *extract) take(s *scope, pg *page, cookies func(*url.URL, string) (string, bool)) error {
	v, err := x.find(s, pg, cookies)
	if err == nil {
		err = s.set(x.name, value{v, x.Secret})
	}
	if err != nil {
		return fmt.Errorf("extract %s: %w%s", x.name, err, encoded(pg))
	}
	return nil
}

func (x *extract) find(s *scope, pg *page, cookies func(*url.URL, string) (string, bool)) (string, error) {
	switch {
	case x.JSON != "" || x.XML != "":
		return x.at(s, pg)
	case x.group != nil:
		if m := x.group.FindSubmatch(pg.Body); m != nil {
			return string(m[1]), nil
		}
	case x.Header != "":
		if v := pg.Header.Values(x.Header); len(v) > 0 {
			return v[0], nil
		}
	case x.Cookie != "":
		if v, ok := cookies(pg.url, x.Cookie); ok {
			return v, nil
		}
	case x.URL:
		return pg.url.String(), nil
	case x.Body:
		return string(pg.Body), nil
	default:
		return x.inPage(pg)
	}
	return "", errNotThere
}

func (x *extract) at(s *scope, pg *page) (string, error) {
	path, err := s.work(x.path)
	if err != nil {
		return "", err
	}
	at := jsonAt
	if x.XML != "" {
		at = xmlAt
	}
	values, err := at(pg.Body, path.text)
	switch {
	case err != nil:
		return "", err
	case len(values) == 0 || values[0] == "": // null, too
		return "", errNotThere
	}
	return values[0], nil
}

// inPage reads HTML.
func (x *extract) inPage(pg *page) (string, error) {
	d := pg.document()
	switch {
	case x.Meta != "":
		if v, ok := d.metas[x.Meta]; ok {
			return v, nil
		}
	case x.Action:
		if f := d.form(); f != nil {
			u, err := pg.url.Parse(f.action)
			if err != nil {
				return "", errors.New("the form's action is not a URL")
			}
			return u.String(), nil
		}
	case x.Hidden != "":
		i := slices.IndexFunc(d.forms, func(f *form) bool { _, ok := f.hidden[x.Hidden]; return ok })
		if i >= 0 {
			return d.forms[i].hidden[x.Hidden], nil
		}
	}
	return "", errNotThere
}
