package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

type kind int

const (
	kindNull kind = iota
	kindScalar
	kindList
	kindMap
	kindBad // was refused already: nothing more is said of it
)

// node is a value of the file. A scalar's text is what was written, without
// quotes and escapes, whatever YAML would make of it.
type node struct {
	kind    kind
	at      position
	text    string
	style   style
	filled  bool // ${...} was replaced in text
	items   []*node
	entries []entry
}

type entry struct {
	key   string
	at    position
	value *node
}

// style is how a scalar was written.
type style int

const (
	stylePlain style = iota
	styleQuoted
	styleBlock  // |
	styleFolded // >
)

// get finds the value of a key.
func (n *node) get(key string) (entry, bool) {
	for _, e := range n.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

// reader copies the AST into our tree.
type reader struct {
	*report
	src *source
}

const deepest = 32

// parse reads the text of a file into a tree. It returns nil if the text is no
// YAML; an empty file is an empty map.
func parse(src *source, text string, rep *report) *node {
	if !readable(src, text, rep) {
		return nil
	}
	file, err := parser.ParseBytes([]byte(shield(text)), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		rep.syntax(err)
		return nil
	}
	r := &reader{report: rep, src: src}
	root := &node{kind: kindMap, at: position{1, 1}}
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if seen {
			r.fail(r.node(doc.Body, 0).at, "", "a second document begins here",
				"a configuration is one document: take the line --- out")
			break
		}
		seen = true
		if n := r.node(doc.Body, 0); n.kind != kindNull {
			root = n
		}
	}
	if root.kind == kindScalar || root.kind == kindList {
		rep.fail(root.at, "", "a configuration is keys and values, such as \"sip:\" with its keys below", "")
		return nil
	}
	return root
}

// readable refuses text that is not UTF-8 or too deep to be a configuration.
func readable(src *source, text string, rep *report) bool {
	for i, line := range src.lines {
		for column, rest := 1, line; rest != ""; column++ {
			r, size := utf8.DecodeRuneInString(rest)
			switch {
			case r == utf8.RuneError && size == 1:
				rep.fail(position{i + 1, column}, "", "the file is not in UTF-8", "save it as UTF-8")
				return false
			case shielded(r), r < ' ' && r != '\t', r == 0x7f:
				rep.fail(position{i + 1, column}, "", fmt.Sprintf("character %U cannot stand in a configuration", r), "")
				return false
			}
			rest = rest[size:]
		}
	}
	if line := abyss(src.lines); line > 0 {
		rep.fail(position{line, 1}, "", "brackets are nested too deep", "")
		return false
	}
	return true
}

// abyss is the line in which brackets or dashes could be nested so deep that
// the parser would run out of stack, 0 for none. Brackets within texts and
// comments count too: the limit is far above what a file would hold.
func abyss(lines []string) int {
	const limit = 2000
	open := 0
	for i, line := range lines {
		open = max(open+strings.Count(line, "[")+strings.Count(line, "{")-strings.Count(line, "]")-strings.Count(line, "}"), 0)
		if open > limit || strings.Count(line, "- ")+strings.Count(line, "? ") > limit || strings.Count(line, "[")+strings.Count(line, "{") > limit {
			return i + 1
		}
	}
	return 0
}

// shield lets ${NAME} stand unquoted inside {...} and [...], where YAML would
// take its braces for its own: they are swapped for characters of private use
// for the time of parsing. The length in characters does not change.
func shield(text string) string {
	return anyReference.ReplaceAllStringFunc(text, func(ref string) string {
		return "$" + shieldChars.Replace(ref[1:])
	})
}

func shielded(r rune) bool { return r >= '\ue000' && r <= '\ue005' }

var (
	shieldChars   = strings.NewReplacer("{", "\ue000", "}", "\ue001", ",", "\ue002", "[", "\ue003", "]", "\ue004", "#", "\ue005")
	unshieldChars = strings.NewReplacer("\ue000", "{", "\ue001", "}", "\ue002", ",", "\ue003", "[", "\ue004", "]", "\ue005", "#")
)

func (r *reader) place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

func (r *reader) node(n ast.Node, depth int) *node {
	at := r.place(n.GetToken())
	bad := &node{kind: kindBad, at: at}
	if depth > deepest {
		r.fail(at, "", fmt.Sprintf("nested more than %d deep", deepest), "")
		return bad
	}
	switch v := n.(type) {
	case *ast.MappingNode:
		return r.mapping(v, depth)
	case *ast.SequenceNode:
		out := &node{kind: kindList, at: at}
		for _, item := range v.Values {
			if whole := r.rejoin(item); whole != nil {
				out.items = append(out.items, whole)
				continue
			}
			out.items = append(out.items, r.node(item, depth+1))
		}
		return out
	case *ast.NullNode:
		return &node{kind: kindNull, at: at}
	case *ast.LiteralNode:
		out := &node{kind: kindScalar, at: at, text: unshieldChars.Replace(v.Value.Value), style: styleBlock}
		if v.Start.Type == token.FoldedType {
			out.style = styleFolded
		}
		return out
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(n.GetToken(), at)
	case *ast.TagNode:
		r.fail(at, "", "! at the beginning of a value is a YAML tag: the word after it would be lost",
			"quote the whole value; in a condition write \"not\" for \"!\"")
		return bad
	case *ast.AliasNode:
		r.fail(at, "", "* at the beginning of a value is a YAML alias", `quote the value: "*72"`)
		return bad
	case *ast.AnchorNode:
		r.fail(at, "", "& at the beginning of a value is a YAML anchor", "quote the value")
		return bad
	}
	r.fail(at, "", "this cannot stand in a configuration", "quote the value")
	return bad
}

// rejoin gives back a text with a colon, as udp://127.0.0.1:5060: within [...]
// inside {...} the parser splits it into a key and a value, though no blank
// follows the colon.
func (r *reader) rejoin(n ast.Node) *node {
	m, ok := n.(*ast.MappingNode)
	if !ok || len(m.Values) != 1 || m.GetToken().Type != token.MappingValueType {
		return nil
	}
	key, value := m.Values[0].Key.GetToken(), m.Values[0].Value.GetToken()
	if key.Type == token.SingleQuoteType || key.Type == token.DoubleQuoteType {
		return nil
	}
	if _, ok := m.Values[0].Value.(ast.ScalarNode); !ok || r.place(value) != (position{r.place(m.GetToken()).line, r.place(m.GetToken()).column + 1}) {
		return nil
	}
	if value.Type == token.SingleQuoteType || value.Type == token.DoubleQuoteType || value.Type == token.ImplicitNullType {
		return nil
	}
	return &node{kind: kindScalar, at: r.place(key), text: unshieldChars.Replace(key.Value + ":" + value.Value)}
}

// scalar takes the token's own text, so that a number stays as it was written.
func scalar(t *token.Token, at position) *node {
	out := &node{kind: kindScalar, at: at, text: unshieldChars.Replace(t.Value)}
	if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
		out.style = styleQuoted
	}
	return out
}

func (r *reader) mapping(m *ast.MappingNode, depth int) *node {
	out := &node{kind: kindMap, at: r.place(m.GetToken())}
	if m.GetToken().Type != token.MappingStartType && len(m.Values) > 0 {
		out.at = r.place(m.Values[0].Key.GetToken())
	}
	r.entries(out, m.Values, depth)
	return out
}

func (r *reader) entries(out *node, values []*ast.MappingValueNode, depth int) {
	for _, v := range values {
		at := r.place(v.Key.GetToken())
		switch v.Key.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		default:
			r.fail(at, "", "this cannot be a key", "keys are plain words; merge keys and complex keys are not read")
			continue
		}
		e := entry{key: unshieldChars.Replace(v.Key.GetToken().Value), at: at, value: r.node(v.Value, depth+1)}
		if first, ok := out.get(e.key); ok {
			r.fail(at, "", fmt.Sprintf("key %q stands here a second time", e.key),
				fmt.Sprintf("it is already in line %d", first.at.line))
			continue
		}
		out.entries = append(out.entries, e)
		if swallowed := swallowed(v.Value, at.column); swallowed != nil {
			r.entries(out, swallowed, depth)
		}
	}
}

// swallowed are the keys below a value that is nothing but a tag: the parser
// takes them for the tag's own.
func swallowed(n ast.Node, column int) []*ast.MappingValueNode {
	tag, ok := n.(*ast.TagNode)
	if !ok {
		return nil
	}
	m, ok := tag.Value.(*ast.MappingNode)
	if !ok || len(m.Values) == 0 {
		return nil
	}
	first := m.Values[0].Key.GetToken().Position
	if first.Line == tag.Start.Position.Line || first.Column != column {
		return nil
	}
	return m.Values
}

// syntax reports what the parser says of a text that is no YAML.
func (r *report) syntax(err error) {
	var se *yaml.SyntaxError
	if !errors.As(err, &se) || se.Token == nil || se.Token.Position == nil {
		r.fail(position{1, 1}, "", "this is no YAML", "")
		return
	}
	at := position{max(se.Token.Position.Line, 1), max(se.Token.Position.Column, 1)}
	r.fail(at, "", "this is no YAML: "+unshieldChars.Replace(se.Message), syntaxHint(se.Message, r.src, at.line))
}

// syntaxHint says what is usually meant by the traps of YAML.
func syntaxHint(message string, src *source, number int) string {
	line := src.line(number)
	trimmed := strings.TrimSpace(line)
	if open := oddQuotes(src.lines[:min(number, len(src.lines))]); open > 0 && open < number {
		return fmt.Sprintf("a quote in line %d may not be closed", open)
	}
	switch {
	case strings.Contains(trimmed, "when:"):
		return "write a condition below \"when: |\", or quote the whole of it"
	case strings.Contains(message, "reserved character"), strings.Contains(message, "mapping value is not allowed"),
		strings.Contains(message, "value is not allowed"):
		return "quote the value"
	case strings.Contains(message, "alias"):
		return `a value that begins with * must be quoted: "*72"`
	case strings.Contains(message, "tab") || strings.Contains(line, "\t"):
		return "indent with spaces"
	case strings.Contains(message, "flow") || strings.Contains(message, "sequence end"),
		strings.Contains(message, "must be specified"):
		return "a bracket is not closed, or a value with brackets is not quoted"
	}
	return ""
}

// oddQuotes is the first line with an odd number of double quotes, 0 for none.
func oddQuotes(lines []string) int {
	for i, line := range lines {
		if strings.Count(line, `"`)%2 != 0 {
			return i + 1
		}
	}
	return 0
}

// parsePath splits "rules[2].did[0]" into its keys and indices.
func parsePath(path string) []string {
	var out []string
	for part := range strings.SplitSeq(path, ".") {
		key, indices, _ := strings.Cut(part, "[")
		if key != "" {
			out = append(out, key)
		}
		if indices == "" {
			continue
		}
		for index := range strings.SplitSeq(strings.TrimSuffix(indices, "]"), "][") {
			out = append(out, index)
		}
	}
	return out
}

// joinPath is the reverse of parsePath.
func joinPath(steps []string) string {
	var b strings.Builder
	for _, s := range steps {
		if _, err := strconv.ParseUint(s, 10, 31); err == nil {
			b.WriteString("[" + s + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s)
	}
	return b.String()
}

// found is what a path leads to in the tree.
type found struct {
	node  *node
	at    position // of the value, or of the nearest key above it
	exact bool
}

// find follows a path as far as it goes. An index into a single value that may
// also be a list is that value.
func (n *node) find(path string) found {
	f := found{node: n, at: n.at}
	for _, step := range parsePath(path) {
		switch f.node.kind {
		case kindMap:
			e, ok := f.node.get(step)
			if !ok {
				return f
			}
			f.node, f.at = e.value, e.value.at
			if e.value.kind == kindMap || e.value.kind == kindList || e.value.kind == kindNull {
				f.at = e.at
			}
		case kindList:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(f.node.items) {
				return f
			}
			f.node = f.node.items[i]
			f.at = f.node.at
		default:
			if step != "0" {
				return f
			}
		}
	}
	f.exact = true
	return f
}
