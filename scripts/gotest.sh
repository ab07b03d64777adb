#!/bin/sh
# Runs a command of go test. Where it fails, says once more at the end which
# tests failed and what they said: before that stands what their servers logged,
# thousands of lines of it, and CI often keeps the end of a log alone.
set -u
log=$(mktemp)
trap 'rm -f "$log" "$log.status"' EXIT
{ "$@" 2>&1; echo $? >"$log.status"; } | tee "$log"
status=$(cat "$log.status")
if [ "$status" -ne 0 ]; then
	echo "=== failed, and the first that was said:"
	grep -aE '^ *[A-Za-z0-9_]+\.go:[0-9]+: |^[a-z0-9_/]+/[A-Za-z0-9_]+\.go:[0-9]+:|^panic: |^fatal error: |DATA RACE' "$log" | head -n 12 | cut -c 1-200
	grep -aE '^ *--- FAIL|^FAIL.' "$log" | head -n 12 | cut -c 1-100
fi
exit "$status"
