package measure

import "encoding/json"

// Maybe is a figure that may be missing: then it prints 无数据 and is null in JSON, never 0.
type Maybe[T any] struct {
	Value T
	Known bool
}

// Known is a figure that is there.
func Known[T any](v T) Maybe[T] { return Maybe[T]{v, true} }

// Ratio is a share of counts; nothing counted, nothing said.
func Ratio(part, whole int64) Maybe[float64] {
	if whole <= 0 {
		return Maybe[float64]{}
	}
	return Known(float64(part) / float64(whole))
}

// MarshalJSON writes null for what is missing.
func (m Maybe[T]) MarshalJSON() ([]byte, error) {
	if !m.Known {
		return []byte("null"), nil
	}
	return json.Marshal(m.Value)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Maybe[T]) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*m = Maybe[T]{}
		return nil
	}
	m.Known = true
	return json.Unmarshal(b, &m.Value)
}
