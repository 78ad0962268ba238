#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time. Making inputs smaller is bounded: it would take a minute for each that
# reaches a new line, which is all the time there is.
set -euo pipefail
time=${1:-20s}
grep -rln --include='*_test.go' '^func Fuzz' pkg cmd test 2>/dev/null | while read -r file; do
  dir=$(dirname "$file")
  sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
    echo "fuzz ./$dir $target"
    go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x </dev/null
  done
done
