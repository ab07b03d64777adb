package config

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// position is a place in the file: line and column from 1, the column in
// characters. The zero value is nowhere.
type position struct{ line, column int }

// source is the text of a configuration file and what must not be shown of it.
type source struct {
	name  string
	lines []string
	// hidden are the parts of lines that hold secrets, by line.
	hidden map[int][]span
	// secrets are the values of secret keys: no message may quote one.
	secrets []string
}

// span is a part of a line: characters first to last, from 1, last excluded.
type span struct{ first, last int }

func newSource(name, text string) *source {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return &source{name: name, lines: lines, hidden: map[int][]span{}}
}

// line is the text of a line, "" beyond the file.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// hide keeps a part of a line out of every excerpt.
func (s *source) hide(line int, part span) {
	s.hidden[line] = append(s.hidden[line], part)
}

// conceal masks secrets in a message.
func (s *source) conceal(text string) string {
	const shortest = 4 // anything less would mask words by chance
	for _, secret := range s.secrets {
		if len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, mask)
		}
	}
	return text
}

// secretPair is a key that sounds like a secret's, with its value. It guards
// excerpts of files that could not be parsed.
var secretPair = regexp.MustCompile(`(?i)["']?[\w-]*(?:pass|pwd|secret|token|webhook|hook|smtp)[\w-]*["']?\s*:\s+(\$\{[^}]*\}|"[^"]*"?|'[^']*'?|[^\s,}#][^,}]*)`)

// secretURL is what is secret in an address wherever it stands: the password of
// a user, and the key of a Bitrix24 webhook.
var secretURL = regexp.MustCompile(`://[^\s/@:]*:([^\s@]+)@|/rest/\d+/([^"',]+)`)

// reference is a use of the environment or a file, which is no secret itself.
var reference = regexp.MustCompile(`^["']?\$\{[^}]*\}["']?$`)

const mask = "***"

// longestLine is the longest line that is quoted at all, in characters.
const longestLine = 4096

// excerpt is a line as it may be shown, and the column at which what stood at
// column now stands. Secrets are masked, control characters replaced, and a
// long line is cut around the column.
func (s *source) excerpt(line, column int) (string, int) {
	runes := []rune(s.line(line))
	if len(runes) > longestLine {
		return "…", 1
	}
	hide := make([]bool, len(runes))
	for _, p := range s.spans(line) {
		for i := max(p.first-1, 0); i < min(p.last-1, len(runes)); i++ {
			hide[i] = true
		}
	}
	var out []rune
	at := column
	for i, r := range runes {
		if i+1 == column {
			at = len(out) + 1
			if hide[i] && i > 0 && hide[i-1] {
				at -= len(mask)
			}
		}
		switch {
		case hide[i] && i > 0 && hide[i-1]:
		case hide[i]:
			out = append(out, []rune(mask)...)
		case r != '\t' && !unicode.IsPrint(r):
			out = append(out, utf8.RuneError)
		default:
			out = append(out, r)
		}
	}
	if column > len(runes) {
		at = len(out) + 1
	}
	return window(out, at)
}

// spans are all secret parts of a line: those known from the types, and those
// that look like secrets.
func (s *source) spans(line int) []span {
	text := s.line(line)
	out := s.hidden[line]
	for _, re := range []*regexp.Regexp{secretPair, secretURL} {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			for g := 2; g+1 < len(m); g += 2 {
				if m[g] < 0 || reference.MatchString(strings.TrimSpace(text[m[g]:m[g+1]])) {
					continue
				}
				first := utf8.RuneCountInString(text[:m[g]]) + 1
				out = append(out, span{first, first + utf8.RuneCountInString(text[m[g]:m[g+1]])})
			}
		}
	}
	return out
}

// window cuts a long line around a column.
func window(line []rune, column int) (string, int) {
	const width, before = 160, 60
	if len(line) <= width {
		return string(line), column
	}
	from := max(min(column-1-before, len(line)-width), 0)
	to := min(from+width, len(line))
	head, tail := "", ""
	if from > 0 {
		head = "…"
	}
	if to < len(line) {
		tail = "…"
	}
	return head + string(line[from:to]) + tail, column - from + len([]rune(head))
}
