#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time.
set -euo pipefail
time=${1:-20s}
grep -rln --include='*_test.go' '^func Fuzz' pkg cmd test 2>/dev/null | while read -r file; do
  dir=$(dirname "$file")
  sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
    echo "fuzz ./$dir $target"
    go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null
  done
done
