package pbxtest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// term is an expression of $filter over a row: a string, number, bool,
// time.Time or nil.
type term func(r Row) any

// parseFilter reads what of OData's $filter is known to work: and, or, not, the
// comparisons, contains, startswith, endswith, tolower, toupper.
func parseFilter(text string, fields []string) (func(Row) bool, error) {
	p := &filterParser{tokens: filterTokens(text), fields: fields}
	t, err := p.or()
	if err != nil {
		return nil, err
	}
	if len(p.tokens) > 0 {
		return nil, fmt.Errorf("syntax error at %q", p.tokens[0])
	}
	return func(r Row) bool {
		yes, _ := t(r).(bool)
		return yes
	}, nil
}

// filterTokens splits at spaces, parentheses and commas; strings keep their
// first quote.
func filterTokens(s string) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		n := 1
		switch {
		case s[0] == '\'':
			var b strings.Builder
			b.WriteByte('\'')
			for n < len(s) && (s[n] != '\'' || n+1 < len(s) && s[n+1] == '\'') {
				if s[n] == '\'' {
					n++
				}
				b.WriteByte(s[n])
				n++
			}
			out, s = append(out, b.String()), s[min(n+1, len(s)):]
			continue
		case strings.ContainsRune("(),", rune(s[0])):
		default:
			if n = strings.IndexAny(s, " (),'"); n < 0 {
				n = len(s)
			}
		}
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

type filterParser struct {
	tokens []string
	fields []string
}

// accept takes the next token if it is one of these.
func (p *filterParser) accept(words ...string) (string, bool) {
	if len(p.tokens) == 0 || !slices.Contains(words, p.tokens[0]) {
		return "", false
	}
	w := p.tokens[0]
	p.tokens = p.tokens[1:]
	return w, true
}

func (p *filterParser) or() (term, error) {
	return p.chain("or", p.and, func(a, b bool) bool { return a || b })
}

func (p *filterParser) and() (term, error) {
	return p.chain("and", p.not, func(a, b bool) bool { return a && b })
}

func (p *filterParser) chain(word string, next func() (term, error), join func(a, b bool) bool) (term, error) {
	left, err := next()
	for err == nil {
		if _, ok := p.accept(word); !ok {
			break
		}
		var right term
		if right, err = next(); err == nil {
			l := left
			left = func(r Row) any {
				a, _ := l(r).(bool)
				b, _ := right(r).(bool)
				return join(a, b)
			}
		}
	}
	return left, err
}

func (p *filterParser) not() (term, error) {
	if _, ok := p.accept("not"); !ok {
		return p.comparison()
	}
	t, err := p.not()
	return func(r Row) any {
		yes, _ := t(r).(bool)
		return !yes
	}, err
}

func (p *filterParser) comparison() (term, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	op, ok := p.accept("eq", "ne", "gt", "ge", "lt", "le")
	if !ok {
		return left, nil
	}
	right, err := p.operand()
	return func(r Row) any { return compare(op, left(r), right(r)) }, err
}

func (p *filterParser) operand() (term, error) {
	if len(p.tokens) == 0 {
		return nil, fmt.Errorf("the expression ends too early")
	}
	tok := p.tokens[0]
	p.tokens = p.tokens[1:]
	if tok == "(" {
		t, err := p.or()
		if _, ok := p.accept(")"); !ok && err == nil {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		return t, err
	}
	if _, call := p.accept("("); call {
		return p.function(tok)
	}
	if v, ok := literal(tok); ok {
		return func(Row) any { return v }, nil
	}
	if !slices.Contains(p.fields, tok) {
		return nil, fmt.Errorf("could not find a property named '%s'", tok)
	}
	return func(r Row) any { return r[tok] }, nil
}

func literal(tok string) (any, bool) {
	switch {
	case tok[0] == '\'':
		return tok[1:], true
	case tok == "true" || tok == "false":
		return tok == "true", true
	case tok == "null":
		return nil, true
	}
	if n, err := strconv.ParseFloat(tok, 64); err == nil {
		return n, true
	}
	t, err := time.Parse(time.RFC3339, tok)
	return t, err == nil
}

func (p *filterParser) function(name string) (term, error) {
	var args []term
	for {
		t, err := p.operand()
		if err != nil {
			return nil, err
		}
		args = append(args, t)
		if end, ok := p.accept(")", ","); !ok {
			return nil, fmt.Errorf("%s: syntax error", name)
		} else if end == ")" {
			break
		}
	}
	text := func(r Row, i int) string {
		s, _ := args[i](r).(string)
		return s
	}
	one := map[string]func(string) string{"tolower": strings.ToLower, "toupper": strings.ToUpper, "trim": strings.TrimSpace}
	two := map[string]func(a, b string) bool{"contains": strings.Contains, "startswith": strings.HasPrefix, "endswith": strings.HasSuffix}
	switch {
	case one[name] != nil && len(args) == 1:
		return func(r Row) any { return one[name](text(r, 0)) }, nil
	case two[name] != nil && len(args) == 2:
		return func(r Row) any { return args[0](r) != nil && two[name](text(r, 0), text(r, 1)) }, nil
	}
	return nil, fmt.Errorf("an unknown function with name '%s' was found", name)
}

// compare compares as the database does: null equals nothing but null.
func compare(op string, a, b any) bool {
	if a == nil || b == nil {
		same := a == nil && b == nil
		return op == "eq" && same || op == "ne" && !same
	}
	c, ok := order(a, b)
	if !ok {
		return op == "ne"
	}
	switch op {
	case "eq":
		return c == 0
	case "ne":
		return c != 0
	case "gt":
		return c > 0
	case "ge":
		return c >= 0
	case "lt":
		return c < 0
	}
	return c <= 0
}

// order compares two values of one kind.
func order(a, b any) (int, bool) {
	if x, ok := moment(a, b); ok {
		y, ok := moment(b, a)
		return x.Compare(y), ok
	}
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return cmp.Compare(x, y), ok
	case bool:
		y, ok := b.(bool)
		if x == y {
			return 0, ok
		}
		return 1, ok
	}
	x, ok := number(a)
	y, also := number(b)
	return cmp.Compare(x, y), ok && also
}

// moment is v as a time, where it or what it is compared with is one.
func moment(v, other any) (time.Time, bool) {
	if t, ok := v.(time.Time); ok {
		return t, true
	}
	s, ok := v.(string)
	if _, timed := other.(time.Time); !ok || !timed {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}
