package routing

import (
	"slices"
	"strconv"
	"strings"

	"frontdesk/call"
)

const (
	shortNumber  = 6  // up to so many digits a number is internal or a service's, and stays as dialled
	shortestE164 = 7  // digits
	longestE164  = 15 // digits (ITU-T E.164 section 6)
	codeSeven    = 11 // digits of every number of country code 7
)

// normalise gives a mask that is written nationally, or without its plus, the
// form that numbers have when patterns are tried. Where short numbers may be
// meant as well, it keeps the given form beside.
func normalise(m mask, country string) ([]mask, []fault) {
	if !plain(m) {
		return []mask{m}, nil
	}
	plus := m.classes[0] == classOf('+')
	short := !plus && len(m.classes) <= shortNumber
	if short && !m.open || plus && m.open {
		return checked(m)
	}
	full, own := rewrite(m, country)
	switch {
	case len(full) == 1 && !short:
		return checked(full[0])
	case len(full) == 1 && own:
		return []mask{m, full[0]}, nil
	case len(full) > 0:
		return append(full, m), []fault{severalReadings(full, short)}
	case short, plus:
		return checked(m)
	}
	return []mask{m}, []fault{{
		message: "this never matches: it has no plus and cannot be read as a number of " + orUnknown(country),
		hint:    "write it as an international number, as +74951234567", offset: -1, warning: true,
	}}
}

// severalReadings warns of an open pattern that can be read in several ways,
// all of which it matches.
func severalReadings(full []mask, short bool) fault {
	var readings []string
	for _, m := range full {
		readings = append(readings, m.literals()+"...")
	}
	if short {
		readings = append(readings, "short numbers")
	}
	return fault{
		message: "this matches " + strings.Join(readings, " and "), offset: -1, warning: true,
		hint: "begin it with + to say which is meant, as " + full[0].literals() + "*",
	}
}

// plain reports whether m is of digits, perhaps after a plus: neither a service
// code such as *72 nor anything at all.
func plain(m mask) bool {
	for i, c := range m.classes {
		switch {
		case i == 0 && c == classOf('+'):
		case i > 0 && i == len(m.classes)-1 && m.open && c == anyClass:
		case c&^digitsClass != 0:
			return false
		}
	}
	return len(m.classes) > 0
}

func orUnknown(country string) string {
	if country == "" {
		return "any country (country is not set)"
	}
	return country
}

func checked(m mask) ([]mask, []fault) {
	if why := impossible(m); why != "" {
		return []mask{m}, []fault{{message: "this never matches: " + why, offset: -1, warning: true}}
	}
	return []mask{m}, nil
}

// impossible says why no number is of the form m, or "".
func impossible(m mask) string {
	head, n := m.literals(), len(m.classes)-1
	switch {
	case !strings.HasPrefix(head, "+"):
		return ""
	case strings.HasPrefix(head, "+0"):
		return "no country code begins with 0"
	case n > longestE164:
		return "an international number has at most " + strconv.Itoa(longestE164) + " digits, this has " + strconv.Itoa(n)
	case strings.HasPrefix(head, "+7") && (n > codeSeven || !m.open && n < codeSeven):
		return "a number of +7 has " + strconv.Itoa(codeSeven) + " digits, this has " + strconv.Itoa(n)
	case !m.open && n < shortestE164:
		return "an international number has at least " + strconv.Itoa(shortestE164) + " digits, this has " + strconv.Itoa(n)
	}
	return ""
}

// rewrite finds by samples how numbers of the form m look once they are
// normalised, and puts that into m's fixed head: "8495..." becomes "+7495...".
// Readings as numbers of the country (own) shut out foreign ones, and one that
// only adds the plus shuts out the others. There is none where no sample
// becomes a full number, or one in its given form already is.
func rewrite(m mask, country string) (full []mask, own bool) {
	code := "+" + call.CallingCode(country)
	var foreign, foreignPlus []mask
	for _, sample := range samples(m) {
		n := string(call.ParseNumber(sample, country))
		if n == sample && n[0] == '+' {
			return nil, false
		}
		candidate, good := replaceHead(m, sample, n)
		mine, plusOnly := code != "+" && strings.HasPrefix(n, code), n == "+"+sample
		switch {
		case !good:
		case mine && plusOnly:
			return []mask{candidate}, true
		case mine:
			full = widen(full, candidate)
		case plusOnly:
			foreignPlus = widen(foreignPlus, candidate)
		default:
			foreign = widen(foreign, candidate)
		}
	}
	switch {
	case full != nil:
		return full, true
	case foreign != nil:
		return foreign, false
	}
	return foreignPlus, false
}

// widen adds m to masks unless it is covered, and drops those it covers.
func widen(masks []mask, m mask) []mask {
	if slices.ContainsFunc(masks, func(have mask) bool { return have.covers(m) }) {
		return masks
	}
	return append(slices.DeleteFunc(masks, func(have mask) bool { return m.covers(have) }), m)
}

// replaceHead gives m the head by which the full number differs from sample.
func replaceHead(m mask, sample, number string) (mask, bool) {
	if !strings.HasPrefix(number, "+") {
		return mask{}, false
	}
	same := 0
	for same < len(sample) && same < len(number) && sample[len(sample)-1-same] == number[len(number)-1-same] {
		same++
	}
	cut, head := len(sample)-same, number[:len(number)-same]
	if cut > len(m.literals()) || head == "" {
		return mask{}, false
	}
	out := literalMask(head, m.open)
	out.classes = append(out.classes, m.classes[cut:]...)
	return out, cut == 0 || out.literals() != "+" // a prefix for abroad alone names no country
}

// samples are numbers of the form m: with several fillings after the fixed
// head, since a numbering plan knows only some, and, where m is open, of every
// length a number has.
func samples(m mask) []string {
	least, most := len(m.classes), len(m.classes)
	if m.open {
		least, most = max(least, shortNumber+1), longestE164
	}
	fixed := len(m.literals())
	var out []string
	for n := least; n <= most; n++ {
		for _, fill := range []string{"4951234567", "9161234567", "2125552368", "2079460018", "3012345678", "5012345678"} {
			var b strings.Builder
			for i := range n {
				c := digitsClass
				if i < len(m.classes) {
					c = m.classes[i]
				}
				b.WriteByte(pick(c, fill[max(i-fixed, 0)%len(fill)]))
			}
			out = append(out, b.String())
		}
	}
	return out
}

// pick is the wanted character if c has it, else the first that c has.
func pick(c class, want byte) byte {
	if c&classOf(want) != 0 {
		return want
	}
	for i := range len(charset) {
		if c&(1<<i) != 0 {
			return charset[i]
		}
	}
	return want
}
