package routing

import (
	"strings"

	"frontdesk/call"
)

// class is a set of the characters that numbers are made of.
type class uint16

const (
	digitsClass class = 1<<10 - 1
	anyClass    class = 1<<13 - 1
)

// charset gives each bit of a class its character.
const charset = "0123456789*#+"

func classOf(c byte) class {
	if i := strings.IndexByte(charset, c); i >= 0 {
		return 1 << i
	}
	return 0
}

// literal tells the one character of c; ok is false where there are several.
func (c class) literal() (ch byte, ok bool) {
	for i := range len(charset) {
		if c == 1<<i {
			return charset[i], true
		}
	}
	return 0, false
}

// mask is one form of number: a class for each character, and whether more may
// follow. Exact numbers, prefixes and Asterisk's patterns all are masks.
type mask struct {
	classes []class
	open    bool
}

func (m mask) matches(n call.Number) bool {
	if len(n) < len(m.classes) || (len(n) > len(m.classes) && !m.open) {
		return false
	}
	for i, c := range m.classes {
		if c&classOf(n[i]) == 0 {
			return false
		}
	}
	return true
}

// covers reports whether m matches all that other matches.
func (m mask) covers(other mask) bool {
	if len(other.classes) < len(m.classes) || (!m.open && (other.open || len(other.classes) > len(m.classes))) {
		return false
	}
	for i, c := range m.classes {
		if other.classes[i]&^c != 0 {
			return false
		}
	}
	return true
}

// literals is the leading part of m that is fixed.
func (m mask) literals() string {
	var b strings.Builder
	for _, c := range m.classes {
		ch, ok := c.literal()
		if !ok {
			break
		}
		b.WriteByte(ch)
	}
	return b.String()
}

func literalMask(s string, open bool) mask {
	m := mask{open: open}
	for i := range len(s) {
		m.classes = append(m.classes, classOf(s[i]))
	}
	return m
}

// pattern is a number, prefix or Asterisk-style pattern. It holds more than one
// mask where short numbers are meant as well as full ones.
type pattern struct {
	text  string // as written
	masks []mask
}

// matches reports whether n is of the pattern. No number matches nothing.
func (p pattern) matches(n call.Number) bool {
	if n == "" {
		return false
	}
	for _, m := range p.masks {
		if m.matches(n) {
			return true
		}
	}
	return false
}

func (p pattern) covers(other pattern) bool {
	for _, o := range other.masks {
		covered := false
		for _, m := range p.masks {
			covered = covered || m.covers(o)
		}
		if !covered {
			return false
		}
	}
	return true
}

// parsePattern reads one pattern. Its faults may be warnings only; then the
// pattern is good.
func parsePattern(text, country string) (pattern, []fault) {
	p := pattern{text: text}
	trimmed := strings.TrimSpace(text)
	var m mask
	var f *fault
	switch {
	case trimmed == "":
		return p, []fault{{message: "the pattern is empty", hint: `write "*" for every number, or leave the condition out`, offset: -1}}
	case trimmed[0] == '_':
		m, f = parseAsterisk(text)
	case strings.HasSuffix(trimmed, "*"):
		m, f = parsePrefix(text)
	default:
		return parseExact(p, country)
	}
	if f != nil {
		return p, []fault{*f}
	}
	var faults []fault
	p.masks, faults = normalise(m, country)
	return p, faults
}

func parseExact(p pattern, country string) (pattern, []fault) {
	n := call.ParseNumber(p.text, country)
	if n == "" {
		f := fault{message: "this is no number", hint: "write a number, a prefix such as +7495*, or a pattern such as _+7499XXXXXXX", offset: -1}
		if at := strings.IndexAny(p.text, "XxZzNn[.!"); at >= 0 {
			f.hint, f.offset = `Asterisk-style patterns begin with _: "_`+strings.TrimSpace(p.text)+`"`, len([]rune(p.text[:at]))
		}
		return p, []fault{f}
	}
	m := literalMask(string(n), false)
	p.masks = []mask{m}
	if why := impossible(m); why != "" {
		return p, []fault{{message: "this never matches: " + why, offset: -1, warning: true}}
	}
	return p, nil
}

// separators are what people put between the digits of a number.
const separators = " -()\t/"

// parsePrefix reads "+7495*".
func parsePrefix(text string) (mask, *fault) {
	end := strings.LastIndexByte(text, '*')
	m := mask{open: true}
	offset := -1
	for _, r := range text[:end] {
		offset++
		switch {
		case strings.ContainsRune(separators+".", r):
		case r == '+' && len(m.classes) > 0, !strings.ContainsRune(charset, r):
			return m, &fault{message: "a prefix is made of digits, * and #, with + only in front; " + quoteRune(r) + " is none of these", hint: patternHint(r), offset: offset}
		default:
			m.classes = append(m.classes, classOf(byte(r)))
		}
	}
	return m, nil
}

func patternHint(r rune) string {
	if strings.ContainsRune("XxZzNn[!", r) {
		return "Asterisk-style patterns begin with _ and end with . or !, not with *"
	}
	return ""
}

// parseAsterisk reads "_+7499XXXXXXX".
func parseAsterisk(text string) (mask, *fault) {
	runes := []rune(text)
	var m mask
	for i := strings.IndexByte(text, '_') + 1; i < len(runes); i++ {
		r := runes[i]
		if m.open && !strings.ContainsRune(separators, r) {
			return m, &fault{message: "nothing may follow . or !", offset: i}
		}
		switch {
		case strings.ContainsRune(separators, r):
		case r == '[':
			c, length, f := parseSet(runes, i)
			if f != nil {
				return m, f
			}
			m.classes = append(m.classes, c)
			i += length - 1
		case r == '+' && len(m.classes) > 0:
			return m, &fault{message: "+ stands only in front", offset: i}
		default:
			if f := m.add(r, i); f != nil {
				return m, f
			}
		}
	}
	if len(m.classes) == 0 && !m.open {
		return m, &fault{message: "nothing follows _", hint: "as in _+7499XXXXXXX", offset: -1}
	}
	return m, nil
}

// add appends what one character of an Asterisk-style pattern stands for.
func (m *mask) add(r rune, offset int) *fault {
	switch {
	case r == 'X' || r == 'x':
		m.classes = append(m.classes, digitsClass)
	case r == 'Z' || r == 'z':
		m.classes = append(m.classes, digitsClass&^classOf('0'))
	case r == 'N' || r == 'n':
		m.classes = append(m.classes, digitsClass&^classOf('0')&^classOf('1'))
	case r == '.':
		m.classes, m.open = append(m.classes, anyClass), true
	case r == '!':
		m.open = true
	case strings.ContainsRune(charset, r):
		m.classes = append(m.classes, classOf(byte(r)))
	default:
		return &fault{
			message: quoteRune(r) + " means nothing in a pattern", offset: offset,
			hint: "X is 0-9, Z is 1-9, N is 2-9, [15-7] one of these, . one or more, ! none or more",
		}
	}
	return nil
}

// parseSet reads "[15-7]" beginning at runes[at].
func parseSet(runes []rune, at int) (c class, length int, f *fault) {
	for i := at + 1; i < len(runes); i++ {
		r := runes[i]
		switch {
		case r == ']' && c == 0:
			return 0, 0, &fault{message: "[] holds no digit", offset: at}
		case r == ']':
			return c, i - at + 1, nil
		case r == '+' || !strings.ContainsRune(charset, r):
			return 0, 0, &fault{message: quoteRune(r) + " is no digit", hint: "as in [15-7]", offset: i}
		case i+2 < len(runes) && runes[i+1] == '-' && runes[i+2] != ']':
			last := runes[i+2]
			if last < r || r < '0' || last > '9' {
				return 0, 0, &fault{message: quoteRune(r) + " to " + quoteRune(last) + " is no span of digits", hint: "as in [15-7]", offset: i}
			}
			for d := r; d <= last; d++ {
				c |= classOf(byte(d))
			}
			i += 2
		default:
			c |= classOf(byte(r))
		}
	}
	return 0, 0, &fault{message: "[ is not closed by ]", offset: at}
}

// exact reports whether p stands for single numbers only.
func (p pattern) exact() bool {
	for _, m := range p.masks {
		if m.open {
			return false
		}
		for _, c := range m.classes {
			if _, one := c.literal(); !one {
				return false
			}
		}
	}
	return true
}
