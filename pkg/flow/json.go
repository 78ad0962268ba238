package flow

import (
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
)

// maxDepth bounds the nesting of a JSON body: the parser's stack grows with it.
const maxDepth = 200

// ValidJSON refuses deep nesting before the parser meets it.
func ValidJSON(body []byte) error {
	if depth(body) > maxDepth {
		return fmt.Errorf("body is JSON nested over %d deep", maxDepth)
	}
	if !gjson.ValidBytes(body) {
		return errors.New("body is not JSON")
	}
	return nil
}

// depth is the deepest nesting of brackets outside strings.
func depth(body []byte) int {
	level, deepest, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
