package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// anyReference is ${...}; with a second $ before it, it stands for itself.
var anyReference = regexp.MustCompile(`\$?\$\{[^{}\n]*\}`)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// largestFile is the most that ${file:...} takes in.
const largestFile = 64 << 10

// expander replaces ${NAME} and ${file:/path} in values. What comes in is text:
// it is not read as YAML, and references in it are not replaced again.
type expander struct {
	*report
	env func(string) (string, bool)
	dir string // of the configuration: relative files are taken from there
}

// mayBeUnset are the keys in which an unset variable means that there is no
// value; elsewhere it is an error.
func mayBeUnset(path string) bool { return path == "http.token" }

func (x *expander) expand(n *node, path string) {
	for i := range n.entries {
		x.expand(n.entries[i].value, join(path, n.entries[i].key))
	}
	for i, item := range n.items {
		x.expand(item, fmt.Sprintf("%s[%d]", path, i))
	}
	if n.kind != kindScalar || !strings.Contains(n.text, "${") {
		return
	}
	var out strings.Builder
	last := 0
	for _, m := range anyReference.FindAllStringIndex(n.text, -1) {
		out.WriteString(n.text[last:m[0]])
		last = m[1]
		ref := n.text[m[0]:m[1]]
		if strings.HasPrefix(ref, "$$") {
			out.WriteString(ref[1:])
			continue
		}
		value, ok := x.value(n, path, ref, m[0])
		if !ok {
			n.kind = kindBad
			return
		}
		out.WriteString(value)
	}
	rest := n.text[last:]
	if i := strings.Index(rest, "${"); i >= 0 {
		x.fail(x.src.place(n, runes(n.text[:last+i])), path, "${ is not closed by }", "write $${ for the characters themselves")
		n.kind = kindBad
		return
	}
	out.WriteString(rest)
	n.text, n.filled = out.String(), true
}

// value is what a reference stands for; what is wrong with it is reported.
func (x *expander) value(n *node, path, ref string, offset int) (string, bool) {
	at := x.src.place(n, runes(n.text[:offset]))
	name := strings.TrimSuffix(strings.TrimPrefix(ref, "${"), "}")
	if file, ok := strings.CutPrefix(name, "file:"); ok {
		text, err := readSmall(resolve(x.dir, file))
		if err != nil {
			x.fail(at, path, fmt.Sprintf("%s cannot be read: %v", file, err), "")
			return "", false
		}
		return text, true
	}
	if !envName.MatchString(name) {
		x.fail(at, path, fmt.Sprintf("%s is no reference", shorten(ref)), "write ${NAME}, ${file:/path}, or $${ for the characters themselves")
		return "", false
	}
	value, ok := x.env(name)
	if !ok && !mayBeUnset(path) {
		x.fail(at, path, fmt.Sprintf("the environment variable %s is not set", name), "")
		return "", false
	}
	return value, true
}

// readSmall reads a file that holds one value; a line end at its end is none
// of the value's.
func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return "", reason(err)
	}
	if len(b) > largestFile {
		return "", fmt.Errorf("it is longer than %d bytes", largestFile)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// reason is a file error without the path, which the message has already.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// resolve takes a relative path from the configuration's folder.
func resolve(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
