#!/usr/bin/env bash
# What must hold besides the tests: formatted sources, tidy modules, lint, generated code up to date.
set -euo pipefail
fail=0
unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v '\.pb\.go$'))
[ -z "$unformatted" ] || { echo "check: gofmt would change: $unformatted"; fail=1; }
go mod tidy -diff >/tmp/xunjian-tidy.$$ 2>&1 || { echo "check: go.mod is not tidy:"; head -20 /tmp/xunjian-tidy.$$; fail=1; }
rm -f /tmp/xunjian-tidy.$$
go vet ./... || fail=1
make -s lint || fail=1
if command -v protoc >/dev/null 2>&1; then
  before=$(cat proto/uplink/v1/*.pb.go | sha256sum)
  make -s proto
  [ "$before" = "$(cat proto/uplink/v1/*.pb.go | sha256sum)" ] || { echo "check: proto/uplink/v1 is not up to date: run make proto"; fail=1; }
else
  echo "check: generated code not compared: no protoc here"
fi
exit $fail
