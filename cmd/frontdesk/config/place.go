package config

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

func runes(s string) int { return utf8.RuneCountInString(s) }

// place is where the character at an offset of a scalar stands in the file. It
// is exact for a value that is written as it reads: in one line, or in a block
// after |. Elsewhere it is the value's beginning.
func (s *source) place(n *node, offset int) position {
	if n.kind != kindScalar || n.filled || offset < 0 || offset > runes(n.text) {
		return n.at
	}
	switch n.style {
	case styleBlock:
		return s.placeInBlock(n, offset)
	case styleFolded:
		return n.at
	}
	start := n.at.column
	if n.style == styleQuoted {
		start++
	}
	if !s.reads(n.at.line, start, n.text) {
		return n.at
	}
	return position{n.at.line, start + offset}
}

// reads reports whether text stands in a line from a column on.
func (s *source) reads(line, column int, text string) bool {
	chars := []rune(s.line(line))
	return column >= 1 && column-1 <= len(chars) && strings.HasPrefix(string(chars[column-1:]), text)
}

// commented reports whether a comment follows a value that is not quoted.
func (s *source) commented(n *node) bool {
	if n.kind != kindScalar || n.style != stylePlain || !s.reads(n.at.line, n.at.column, n.text) {
		return false
	}
	rest := []rune(s.line(n.at.line))[n.at.column-1+runes(n.text):]
	return strings.HasPrefix(strings.TrimSpace(string(rest)), "#")
}

func (s *source) placeInBlock(n *node, offset int) position {
	before := string([]rune(n.text)[:offset])
	down := strings.Count(before, "\n")
	lines := strings.Split(n.text, "\n")
	first := n.at.line + 1
	indent := indentation(s.line(first))
	line := first + down
	if down >= len(lines) || !s.reads(line, indent+1, lines[down]) {
		return n.at
	}
	return position{line, indent + 1 + runes(before[strings.LastIndexByte(before, '\n')+1:])}
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// wholeReference is a value that is nothing but a reference, with what follows it.
var wholeReference = regexp.MustCompile(`^(?:\$\{[^}]*\}|"\$\{[^}"]*\}"|'\$\{[^}']*\}')(?:[\s,}\]]|$)`)

// hideAll keeps every scalar of a value out of excerpts. References are shown:
// they are no secrets.
func (s *source) hideAll(n *node) {
	for _, e := range n.entries {
		s.hideAll(e.value)
	}
	for _, item := range n.items {
		s.hideAll(item)
	}
	if n.kind != kindScalar {
		return
	}
	line := []rune(s.line(n.at.line))
	if n.at.column > len(line) {
		return
	}
	rest := string(line[n.at.column-1:])
	switch {
	case wholeReference.MatchString(rest):
	case n.style == stylePlain && !n.filled && strings.HasPrefix(rest, n.text):
		s.hide(n.at.line, span{n.at.column, n.at.column + runes(n.text)})
	default:
		s.hide(n.at.line, span{n.at.column, n.at.column + quotedLength(rest)})
		s.hideBelow(n.at.line)
	}
}

// quotedLength is the length of a quoted value at the beginning of a text, or
// of the whole text.
func quotedLength(text string) int {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		return runes(text)
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[0] == '"':
			i++
		case text[i] == text[0] && i+1 < len(text) && text[i+1] == text[0] && text[0] == '\'':
			i++
		case text[i] == text[0]:
			return runes(text[:i+1])
		}
	}
	return runes(text)
}

// hideBelow keeps the lines out of excerpts that are indented below a line:
// the rest of a value of several lines.
func (s *source) hideBelow(line int) {
	outer := indentation(s.line(line))
	for i := line + 1; i <= len(s.lines); i++ {
		text := s.line(i)
		if strings.TrimSpace(text) != "" && indentation(text) <= outer {
			return
		}
		s.hide(i, span{1, runes(text) + 1})
	}
}
