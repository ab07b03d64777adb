#!/usr/bin/env bash
# Sees to it that the programs which the end-to-end tests talk to are there.
# Root on Debian gets them by apt-get (FRONTDESK_NO_APT=1 forbids that); anybody
# else is told their names, and the tests that need them say that they skip.
# In CI a missing program is an error.
set -euo pipefail

# program:Debian package
wanted="sipp:sip-tester baresip:baresip-core kamailio:kamailio espeak-ng:espeak-ng lame:lame initdb:postgresql gcc:gcc"
PATH=$PATH:/usr/sbin:/sbin
# Debian keeps the server's programs of each version off the path.
for dir in /usr/lib/postgresql/*/bin; do PATH=$PATH:$dir; done

missing() {
  local pair
  for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null || printf '%s ' "${pair##*:}"
  done
}

# Packages bring services, and kamailio's would take port 5060.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  "$@"
}

install() {
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of words
  apt-get update -qq && without_services apt-get install -y -qq --no-install-recommends $1 libc6-dev >/dev/null
}

need=$(missing)
[ -n "$need" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ -z "${FRONTDESK_NO_APT:-}" ]; then
  echo "installing: $need"
  install "$need" || echo "apt-get failed" >&2
  need=$(missing)
  [ -n "$need" ] || exit 0
fi

echo "not installed: $need" >&2
echo "tests that need them will skip; on Debian: apt-get install $need" >&2
[ -z "${CI:-}" ]
