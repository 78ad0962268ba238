#!/usr/bin/env bash
# Runs every test with the race detector. The detector of Go 1.26 dies by itself now and then in tests that use synctest
# (golang/go#78156): packages in which it did, and in which nothing else failed, are tested again, at most twice, the last
# time without the detector: tests that let many timers go off in fake time kill it each time.
set -uo pipefail
go=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
packages=(./...)
for race in -race -race ""; do
  "$go" test $race -timeout 14m "${packages[@]}" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  [ "$code" -eq 0 ] && exit 0
  # go test prints package by package; each ends with a line that names it.
  mapfile -t again < <(awk '
    /ThreadSanitizer: CHECK failed|^SIGSEGV: segmentation violation/ { died = 1 } # the latter is how code other than Go dies
    /^ *--- FAIL|^panic:|DATA RACE/ { failed = 1 }
    /^(ok|\?)[ \t]/ { died = failed = 0 }
    /^FAIL\t/ { print (died && !failed ? $2 : "!"); died = failed = 0 }' "$log")
  if [ ${#again[@]} -eq 0 ] || [[ " ${again[*]} " == *" ! "* ]]; then
    exit "$code"
  fi
  echo "race: the detector died in ${again[*]}, once more (golang/go#78156)"
  packages=("${again[@]}")
done
exit "$code"
