#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
go=${GO:-go}

grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort |
  while IFS=: read -r file func; do
    name=${func#func }
    echo "== $(dirname "$file") $name"
    "$go" test "$(dirname "$file")" -run='^$' -fuzz="^$name\$" -fuzztime="$time" </dev/null
  done
