package call

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Number is a public telephone number in E.164 form ("+74951234567"), or a
// short or service number as it was dialled ("112", "*72"). The zero value
// means that there is none.
type Number string

// E164 reports whether n is a full international number.
func (n Number) E164() bool { return len(n) > 1 && n[0] == '+' }

// Digits is n without its plus, as many carriers and CRMs write it.
func (n Number) Digits() string { return strings.TrimPrefix(string(n), "+") }

// Masked is n with its middle hidden, for logs: "+7495*****67".
func (n Number) Masked() string {
	const head, tail = 5, 2
	if len(n) <= head+tail {
		return string(n)
	}
	return string(n[:head]) + strings.Repeat("*", len(n)-head-tail) + string(n[len(n)-tail:])
}

// LogValue masks the number, so that no log line holds it whole by accident.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

// shortest is the length up to which digits are an internal or service number.
const shortest = 6

// longest is how many digits a number may have: E.164 knows 15, and carriers
// put prefixes before them.
const longest = 32

// ParseNumber reads a number as trunks, people and CRMs write it, taking a
// national form as one of country (ISO 3166-1 alpha-2, as "RU"). What is no
// full number (short codes, service codes) comes back as its digits; what holds
// letters, no digit at all or far too many comes back empty.
func ParseNumber(raw, country string) Number {
	digits, plus, ok := dialled(raw)
	if !ok || len(digits) > longest {
		return ""
	}
	if strings.ContainsAny(digits, "*#") || len(digits) <= shortest {
		return Number(digits)
	}
	digits, plus = international(digits, plus, country)
	if n, ok := fixedLength(digits, plus, country); ok {
		return n
	}
	return viaLibrary(digits, plus, country)
}

// dialled strips URI parameters and visual separators; ok is false where
// nothing that can be dialled is left.
func dialled(raw string) (digits string, plus, ok bool) {
	raw = strings.TrimSpace(raw)
	if i := strings.IndexAny(raw, ";@"); i >= 0 {
		raw = raw[:i]
	}
	if strings.HasPrefix(raw, "+") && onlyDigits(raw[1:]) {
		return raw[1:], true, true
	}
	if onlyDigits(raw) {
		return raw, false, true
	}
	var b strings.Builder
	for _, r := range raw {
		switch {
		case r >= '0' && r <= '9', r == '*', r == '#':
			b.WriteRune(r)
		case r == '+' && b.Len() == 0 && !plus:
			plus = true
		case strings.ContainsRune(" -().\t/\u00a0\u2010\u2011\u2013", r):
		default:
			return "", false, false
		}
	}
	return b.String(), plus, b.Len() > 0
}

func onlyDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// international repairs the forms that numbering libraries misread: a plus put
// before the Russian trunk prefix 8, 00 in countries where it is not the
// prefix for abroad, and the old Ukrainian 80.
func international(digits string, plus bool, country string) (string, bool) {
	switch {
	case plus && country == "RU" && len(digits) == 11 && digits[0] == '8':
		return digits, false
	case !plus && strings.HasPrefix(digits, "00"):
		return digits[2:], true
	case !plus && country == "UA" && len(digits) == 11 && strings.HasPrefix(digits, "80"):
		return "3" + digits, true
	}
	return digits, plus
}

// fixedLength reads country code 7, where every national number has ten
// digits, without the numbering library: it costs 20 us a number, a third of
// what a redirected call may cost.
func fixedLength(digits string, plus bool, country string) (Number, bool) {
	if len(digits) != 11 {
		return "", false
	}
	switch {
	case digits[0] == '7' && (plus || country == "RU"):
		return Number("+" + digits), true
	case digits[0] == '8' && !plus && country == "RU" && digits[1] >= '3':
		return Number("+7" + digits[1:]), true
	}
	return "", false
}

func viaLibrary(digits string, plus bool, country string) Number {
	given := digits
	if plus {
		given = "+" + digits
	}
	if n, ok := parseValid(given, country); ok {
		return n
	}
	if !plus {
		if n, ok := parseValid("+"+digits, country); ok {
			return n
		}
	}
	return Number(given)
}

func parseValid(s, country string) (Number, bool) {
	p, err := phonenumbers.Parse(s, country)
	if err != nil || !phonenumbers.IsValidNumber(p) {
		return "", false
	}
	return Number(phonenumbers.Format(p, phonenumbers.E164)), true
}

// Spellings are the forms under which a CRM may have stored n: E.164, without
// the plus, and national (RU numbers also with the trunk prefix 8), without
// repetition and with the E.164 form first.
func (n Number) Spellings(country string) []string {
	if !n.E164() {
		if n == "" {
			return nil
		}
		return []string{string(n)}
	}
	out := []string{string(n), n.Digits()}
	p, err := phonenumbers.Parse(string(n), country)
	if err != nil {
		return out
	}
	national := phonenumbers.GetNationalSignificantNumber(p)
	if p.GetCountryCode() == 7 {
		out = append(out, "8"+national)
	}
	return append(out, national)
}

// CallingCode is the country calling code of country (ISO 3166-1 alpha-2)
// without a plus: "7" for RU; empty where the country is not known.
func CallingCode(country string) string {
	code := phonenumbers.GetCountryCodeForRegion(country)
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}
