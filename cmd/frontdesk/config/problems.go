package config

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Problem is one thing that is wrong, or doubtful, in a configuration file.
type Problem struct {
	File    string
	Line    int    // from 1; 0 where no line is to blame
	Column  int    // from 1, in characters
	Path    string // of the value, as rules[2].did[0]
	Message string
	Hint    string // what to do about it, may be empty
	Warning bool   // doubtful only: the configuration is used all the same

	excerpt string // the line, secrets masked
	caret   int    // column of the caret in excerpt
}

// String is the problem in one line: "file:line:column: message".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// MarshalJSON writes {"file","line","column","path","severity","message","hint",
// "excerpt"}; severity is "error" or "warning".
func (p Problem) MarshalJSON() ([]byte, error) {
	severity := "error"
	if p.Warning {
		severity = "warning"
	}
	return json.Marshal(struct {
		File     string `json:"file"`
		Line     int    `json:"line,omitempty"`
		Column   int    `json:"column,omitempty"`
		Path     string `json:"path,omitempty"`
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Hint     string `json:"hint,omitempty"`
		Excerpt  string `json:"excerpt,omitempty"`
	}{p.File, p.Line, p.Column, p.Path, severity, p.Message, p.Hint, p.excerpt})
}

// Problems are all problems of one file, in the order of its lines.
type Problems []Problem

// HasErrors reports whether any of them is more than a warning.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

// Err is nil where there are only warnings, else an error that holds every
// problem in one line each.
func (ps Problems) Err() error {
	var errs []error
	for _, p := range ps {
		if !p.Warning {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}

// WriteText writes the problems for people: each with its place, the line with
// a caret under what is meant, and a hint.
func (ps Problems) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, p := range ps {
		fmt.Fprintln(b, p)
		if p.Line > 0 {
			number := fmt.Sprint(p.Line)
			fmt.Fprintf(b, "  %s | %s\n", number, p.excerpt)
			fmt.Fprintf(b, "  %s | %s^\n", strings.Repeat(" ", len(number)), indent(p.excerpt, p.caret))
		}
		if p.Hint != "" {
			fmt.Fprintf(b, "  %s\n", p.Hint)
		}
	}
	return b.Flush()
}

// indent is white space as wide as what stands before a column: tabs stay tabs.
func indent(line string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range line {
		if n >= column {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// byPlace orders problems by line and column, errors before warnings.
func byPlace(a, b Problem) int {
	severity := func(p Problem) int {
		if p.Warning {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		cmp.Compare(severity(a), severity(b)), cmp.Compare(a.Message, b.Message))
}

// nearest is the candidate that word was most likely meant to be, or "".
func nearest(word string, candidates []string) string {
	best, least := "", max(1, len([]rune(word))/3)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in characters, a swap of
// neighbours counted as one.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	var before []int
	last := make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
