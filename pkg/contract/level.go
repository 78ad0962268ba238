// Package contract is the contract's arithmetic: levels, limits and clocks as pure functions of what happened.
package contract

import "fmt"

// Level is the contract's grade of a fault (二、服务响应要求).
type Level string

// The three levels: 紧急, 一般, 轻微.
const (
	Urgent  Level = "urgent"
	General Level = "general"
	Minor   Level = "minor"
)

// Levels lists all of them, gravest first.
var Levels = []Level{Urgent, General, Minor}

// ParseLevel accepts exactly the three names.
func ParseLevel(s string) (Level, error) {
	switch l := Level(s); l {
	case Urgent, General, Minor:
		return l, nil
	}
	return "", fmt.Errorf("level %q: want urgent, general or minor", s)
}

// Graver says whether l weighs more than m.
func (l Level) Graver(m Level) bool { return l.rank() > m.rank() }

func (l Level) rank() int {
	switch l {
	case Urgent:
		return 3
	case General:
		return 2
	case Minor:
		return 1
	}
	return 0
}
