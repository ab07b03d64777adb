package b2bua

import (
	"strings"

	"frontdesk/call"
)

// entry is what a caller dials, key by key.
type entry struct {
	plan    Digits
	numbers call.Numbers
	keys    []byte
}

// add takes one key and reports whether the entry is over: by the end key, at
// the most digits allowed, or since the number is complete or can no longer
// become one. A caller who dialled all of an extension does not wait for a
// pause to prove it.
func (e *entry) add(key byte) (over bool) {
	if key == e.plan.End && e.plan.End != 0 {
		return true
	}
	e.keys = append(e.keys, key)
	return len(e.keys) >= e.plan.Max || !e.numbers.Continues(e.String())
}

func (e *entry) String() string { return string(e.keys) }

// infoDigit reads the key of a SIP INFO: "Signal=5" of application/dtmf-relay,
// or the bare key of application/dtmf. Signal may also be its event number
// (10 for the star, 11 for the hash).
func infoDigit(contentType string, body []byte) (byte, bool) {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	text := strings.TrimSpace(string(body))
	switch strings.TrimSpace(kind) {
	case "application/dtmf-relay":
		for line := range strings.SplitSeq(text, "\n") {
			name, value, ok := strings.Cut(line, "=")
			if ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
				return key(strings.TrimSpace(value))
			}
		}
	case "application/dtmf":
		return key(text)
	}
	return 0, false
}

func key(s string) (byte, bool) {
	switch s = strings.ToUpper(s); s {
	case "10":
		return '*', true
	case "11":
		return '#', true
	}
	if len(s) == 1 && strings.Contains("0123456789*#ABCD", s) {
		return s[0], true
	}
	return 0, false
}
