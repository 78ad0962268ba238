// Package config loads strict YAML and reports every fault at once with file, line and path.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// MaxBytes bounds a configuration file.
const MaxBytes = 4 << 20

// Fail takes one fault: the path of the key (checks[3].timeout) and what is wrong with it, remedy included.
type Fail = func(path, format string, args ...any)

// Under is fail with a prefix put before each path.
func Under(fail Fail, prefix string) Fail {
	return func(path, format string, args ...any) {
		switch {
		case path == "":
			path = prefix
		case strings.HasPrefix(path, "["):
			path = prefix + path
		default:
			path = prefix + "." + path
		}
		fail(path, format, args...)
	}
}

// Validator is a configuration that knows what it may hold; it is called once all keys are decoded over the defaults.
type Validator interface{ Validate(fail Fail) }

// Fault is one thing wrong in a file.
type Fault struct {
	File string
	Line int // of the key, or of the nearest part of its path that is there; 0 when there is none
	Path string
	What string
}

func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.What)
	return b.String()
}

// Faults are all that is wrong, in the order of the file.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a file over the given defaults. The error is Faults, or the reason why the file cannot be read.
func Load[T any](file string, defaults T) (T, error) {
	f, err := os.Open(file)
	if err != nil {
		return defaults, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return defaults, fmt.Errorf("read config: %w", err)
	}
	return Parse(file, b, defaults)
}

// Peek reads one top-level text of a file before it is loaded, for what its defaults depend on; "" when there is none.
// What is wrong with the file is for Load to say.
func Peek(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes))
	if err != nil {
		return ""
	}
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil || len(root.Content) == 0 {
		return ""
	}
	v, _ := child(root.Content[0], key)
	if v == nil || v.Kind != yaml.ScalarNode {
		return ""
	}
	return v.Value
}

// Parse is Load on bytes; file only names them in faults.
func Parse[T any](file string, b []byte, defaults T) (T, error) {
	if len(b) > MaxBytes {
		return defaults, Faults{{File: file, What: fmt.Sprintf("file is larger than %d bytes", MaxBytes)}}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil {
		return defaults, faultsOf(file, err, nil)
	}
	if len(root.Content) == 0 {
		return defaults, Faults{{File: file, What: "file is empty"}}
	}
	out := defaults
	var faults Faults
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&out); err != nil {
		faults = faultsOf(file, err, &root)
	} else if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		faults = Faults{{File: file, What: "more than one document: remove what follows the second ---"}}
	}
	if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.What, "already defined") }) {
		faults = append(faults, validate(file, &root, &out, faults)...) // a doubled key stops the decoder half way
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	if x, ok := any(&out).(Including); ok {
		faults = append(faults, x.Elsewhere()...)
	}
	if len(faults) == 0 {
		return out, nil
	}
	return defaults, faults
}

// Including is a configuration that draws other files in; it is asked for what is wrong in them after Validate.
type Including interface{ Elsewhere() Faults }

// FaultsIn are the faults behind an error of Load; one that is none of its own becomes a fault of the file as a whole.
func FaultsIn(file string, err error) Faults {
	var fs Faults
	if errors.As(err, &fs) {
		return fs
	}
	return Faults{{File: file, What: err.Error()}}
}

// validate asks the configuration itself. A key that did not decode holds its default and is not complained of twice.
func validate(file string, root *yaml.Node, out any, before Faults) (faults Faults) {
	v, ok := out.(Validator)
	if !ok {
		return nil
	}
	v.Validate(func(path, format string, args ...any) {
		found := Fault{file, lineOf(root, path), path, fmt.Sprintf(format, args...)}
		told := func(f Fault) bool { return f.Path != "" && f.Path == path }
		if !slices.ContainsFunc(before, told) && !slices.Contains(faults, found) {
			faults = append(faults, found)
		}
	})
	return faults
}

// faultsOf takes the decoder's complaints apart, one fault each.
func faultsOf(file string, err error, root *yaml.Node) Faults {
	var all *yaml.LoadErrors
	if errors.As(err, &all) {
		var fs Faults
		for _, e := range all.Errors {
			path := pathAt(root, e.Mark.Line, e.Mark.Column)
			fs = append(fs, Fault{file, e.Mark.Line, path, plain(e.Message, isSecret(path))})
		}
		return fs
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		return Faults{{File: file, Line: one.Mark.Line, What: plain(one.Message, false)}}
	}
	return Faults{{File: file, What: err.Error()}}
}

var (
	unknownKey = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	wrongType  = regexp.MustCompile("^cannot (?:unmarshal|construct) !!(\\w+)(?: `(.*)`)? into (.+)$")
)

var shapes = map[string]string{"map": "a mapping", "seq": "a list"}

// secretKey is the last key of a path under which somebody may have put a secret itself.
var secretKey = regexp.MustCompile(`(?i)(?:^|\.)secrets\.[^.]+$|(?:pass|pwd|secret|token|key)[a-z_]*$`)

func isSecret(path string) bool { return secretKey.MatchString(path) }

// plain says the decoder's message in the words of the file rather than of the program's types, without what may be a secret.
func plain(s string, secret bool) string {
	if m := unknownKey.FindStringSubmatch(s); m != nil {
		return fmt.Sprintf("unknown key %q", m[1])
	}
	m := wrongType.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	got, into := strconv.Quote(m[2]), m[3]
	if shape, ok := shapes[m[1]]; ok {
		got = shape
	} else if secret {
		got = "a text (not shown here)"
	}
	switch {
	case into == "time.Duration":
		return got + " is not a duration: write a number with a unit, as 10s, 5m or 8h"
	case into == "bool":
		return got + " is neither true nor false"
	case strings.HasPrefix(into, "[]"):
		return got + " stands where a list must: begin each item with -"
	case strings.HasPrefix(into, "int"), strings.HasPrefix(into, "uint"), strings.HasPrefix(into, "float"):
		return got + " is not a number"
	case into == "string":
		return got + " is not a text"
	}
	return got + " stands where a mapping (key: value) must"
}
