#!/usr/bin/env bash
# Installs the Debian packages that tests and benchmarks compare with. Not root, or no Debian: says in one line what is
# missing and exits with 1; make test then sets XUNJIAN_WITHOUT_PEERS=1, and the tests that need a peer skip themselves.
set -u
declare -A need=(
  [prometheus]=prometheus [promtool]=prometheus [prometheus-alertmanager]=prometheus-alertmanager
  [prometheus-node-exporter]=prometheus-node-exporter [prometheus-blackbox-exporter]=prometheus-blackbox-exporter
  [chromium]=chromium [chromedriver]=chromium-driver [libreoffice]=libreoffice-writer-nogui [pdftoppm]=poppler-utils
  [protoc]=protobuf-compiler [victoria-metrics]=victoria-metrics [strace]=strace [openssl]=openssl
  [node]=nodejs [npm]=npm [nginx]=nginx
)
missing=()
for bin in "${!need[@]}"; do
  command -v "$bin" >/dev/null 2>&1 || missing+=("${need[$bin]}")
done
fc-list 2>/dev/null | grep -qi 'noto.*cjk' || missing+=(fonts-noto-cjk)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "setup: installing ${missing[*]}"
  log=$(mktemp)
  # Services must not start by themselves: tests start their own on free loopback ports.
  policy=/usr/sbin/policy-rc.d
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap 'rm -f '$policy EXIT; }
  if apt-get update -qq >"$log" 2>&1 &&
     DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -5 "$log"
fi
echo "setup: not tested here, for lack of Debian packages: ${missing[*]} (run as root to install them)"
exit 1
