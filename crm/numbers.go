package crm

import (
	"slices"
	"strings"

	"frontdesk/call"
)

// Unsearchable says why a number that is stored in the CRM cannot be found by
// who calls from it.
type Unsearchable string

// The reasons.
const (
	UnsearchableText  Unsearchable = "text"  // holds letters, or no digit
	UnsearchableShort Unsearchable = "short" // not a full number: an extension, or digits are missing
	UnsearchableForm  Unsearchable = "form"  // spelled so that the portal's search takes it for another number
)

// ReadStored reads a number as the CRM stores it, as typed, taking a national
// form as one of country. What follows #, ; or , is an extension and is cut.
// why is empty for a number that the portal finds by its caller; with
// UnsearchableForm the mirror still finds it.
func ReadStored(stored, country string) (n call.Number, why Unsearchable) {
	n = readStored(stored, country)
	switch {
	case n == "":
		return "", UnsearchableText
	case !n.E164():
		return n, UnsearchableShort
	}
	code := matchCode(stored)
	if !slices.ContainsFunc(n.Spellings(country), func(s string) bool { return matchCode(s) == code }) {
		return n, UnsearchableForm
	}
	return n, ""
}

func readStored(stored, country string) call.Number {
	return call.ParseNumber(cutExtension(stored), country)
}

// cutExtension cuts what was typed behind a number to be dialled after it.
func cutExtension(stored string) string {
	if i := strings.IndexAny(stored, "#;,"); i > 0 {
		return stored[:i]
	}
	return stored
}

// matchCode is a number as the portal's search compares it: digits, without an
// extension, the Russian 8 as 7 and prefixes for abroad cut.
func matchCode(s string) string {
	s = strings.TrimSpace(cutExtension(s))
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '*' {
			return r
		}
		return -1
	}, s)
	if len(digits) < 10 || strings.HasPrefix(s, "+") {
		return digits
	}
	for _, prefix := range []string{"00", "011", "0"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			return rest
		}
	}
	if digits[0] == '8' && !strings.ContainsAny(digits[1:2], "012") {
		return "7" + digits[1:]
	}
	return digits
}
