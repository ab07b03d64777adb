package routing

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"

	"frontdesk/call"
)

// answer is what `when` may ask of the CRM: the section that decides, contacts
// before companies before leads, or nothing found.
type answer struct {
	Found bool   `expr:"found"`
	Kind  string `expr:"kind"`  // "contact", "company", "lead"; empty where nothing was found
	Count int    `expr:"count"` // of the section's entities

	Name        values                   `expr:"name"`
	Responsible values                   `expr:"responsible"` // Bitrix24 user ids
	Field       func(code string) values `expr:"field"`       // crm.field("UF_CRM_VIP")
}

func newAnswer(kind call.Kind, section []*call.Entity) answer {
	a := answer{Found: len(section) > 0, Kind: string(kind), Count: len(section)}
	for _, e := range section {
		a.Name.add(e.Name)
		if e.Responsible != 0 {
			a.Responsible.add(float64(e.Responsible))
		}
	}
	a.Field = func(code string) values {
		var v values
		for _, e := range section {
			v.add(e.Fields[code])
		}
		return v
	}
	return a
}

// value shows a member of a: "found", `field("UF_CRM_VIP")`.
func (a *answer) value(of string) (string, bool) {
	code, isField := strings.CutPrefix(of, `field("`)
	if a.Field == nil { // unheard
		return "(unknown)", isField || slices.Contains([]string{"found", "kind", "count", "name", "responsible"}, of)
	}
	switch of {
	case "found":
		return strconv.FormatBool(a.Found), true
	case "kind":
		return strconv.Quote(a.Kind), true
	case "count":
		return strconv.Itoa(a.Count), true
	case "name":
		return a.Name.shown(), true
	case "responsible":
		return a.Responsible.shown(), true
	}
	if !isField {
		return "", false
	}
	return a.Field(strings.TrimSuffix(code, `")`)).shown(), true
}

// values are those of one field over all entities of a section; empty ones are
// left out. A comparison holds where it holds for one of them, and != where ==
// does not. What they are compared with says how they are read, see has and
// ordered.
type values struct{ list []any }

// add takes a value as the portal gives it: a scalar, a list of a multiple
// field, an object with its VALUE as of PHONE.
func (v *values) add(x any) {
	switch x := x.(type) {
	case nil:
	case string:
		if x = strings.TrimSpace(x); x != "" {
			v.list = append(v.list, x)
		}
	case []any:
		for _, one := range x {
			v.add(one)
		}
	case map[string]any:
		v.add(x["VALUE"])
	default:
		v.list = append(v.list, x)
	}
}

// String shows the values for string().
func (v values) String() string {
	texts := make([]string, len(v.list))
	for i, x := range v.list {
		texts[i] = text(x)
	}
	return strings.Join(texts, ", ")
}

// shown is v in a trace.
func (v values) shown() string {
	if len(v.list) == 0 {
		return "(empty)"
	}
	return strconv.Quote(shortened(v.String()))
}

// has is ==. To a boolean a field is true where the portal says so in any way,
// and false where it is empty or anything else; to a number it is read as one;
// to a text the case of letters counts for nothing, and "" is an empty field.
func (v values) has(to any) bool {
	switch to := to.(type) {
	case bool:
		return slices.ContainsFunc(v.list, truth) == to
	case string:
		if to = strings.TrimSpace(to); to == "" {
			return len(v.list) == 0
		}
		return slices.ContainsFunc(v.list, func(x any) bool { return strings.EqualFold(text(x), to) })
	case values:
		return slices.ContainsFunc(to.list, func(x any) bool { return v.has(text(x)) })
	}
	want, ok := amount(to)
	return ok && slices.ContainsFunc(v.list, func(x any) bool {
		n, ok := amount(x)
		return ok && n == want
	})
}

// ordered is <, <=, > and >=: by number to a number, by letters to a text, in
// which dates of the portal come in their order too.
func (v values) ordered(op string, to any) bool {
	return slices.ContainsFunc(v.list, func(x any) bool {
		if s, ok := to.(string); ok {
			return inOrder(op, strings.Compare(strings.ToLower(text(x)), strings.ToLower(s)))
		}
		n, ok := amount(x)
		want, good := amount(to)
		return ok && good && inOrder(op, cmp.Compare(n, want))
	})
}

func inOrder(op string, c int) bool {
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// partly is contains, startsWith and endsWith, whatever the case of letters.
func (v values) partly(op, of string) bool {
	test := map[string]func(s, part string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	}[op]
	return slices.ContainsFunc(v.list, func(x any) bool { return test(strings.ToLower(text(x)), strings.ToLower(of)) })
}

// truth reads yes as portals write it.
func truth(x any) bool {
	switch strings.ToLower(text(x)) {
	case "1", "y", "yes", "true":
		return true
	}
	return false
}

// amount reads a number; money is written "1500.50|RUB".
func amount(x any) (float64, bool) {
	switch x := x.(type) {
	case int:
		return float64(x), true
	case float64:
		return x, true
	case string:
		s, _, _ := strings.Cut(x, "|")
		n, err := strconv.ParseFloat(strings.Replace(strings.TrimSpace(s), ",", ".", 1), 64)
		return n, err == nil
	}
	return 0, false
}

func text(x any) string {
	switch x := x.(type) {
	case string:
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(x)
}

// optionsFor are options, with the operators of fields where text may need them:
// they make compiling dearer.
func optionsFor(text string) []expr.Option {
	if !strings.Contains(text, "crm") {
		return options()
	}
	return append(options(), fieldOperators()...)
}

// fieldOperators let fields stand on either side of an operator. Which kinds
// can be compared is checked when the expression is read.
func fieldOperators() []expr.Option {
	equality := []any{
		new(func(values, string) bool), new(func(values, bool) bool), new(func(values, int) bool), new(func(values, float64) bool),
		new(func(string, values) bool), new(func(bool, values) bool), new(func(int, values) bool), new(func(float64, values) bool),
		new(func(values, values) bool),
	}
	order := []any{
		new(func(values, string) bool), new(func(values, int) bool), new(func(values, float64) bool),
		new(func(string, values) bool), new(func(int, values) bool), new(func(float64, values) bool),
	}
	texts := []any{new(func(values, string) bool)}
	membership := []any{new(func(values, []any) bool), new(func(string, values) bool), new(func(int, values) bool)}
	var out []expr.Option
	for _, o := range []struct {
		op    string
		types []any
	}{
		{"==", equality}, {"!=", equality}, {"<", order}, {"<=", order}, {">", order}, {">=", order},
		{"in", membership}, {"contains", texts}, {"startsWith", texts}, {"endsWith", texts},
	} {
		name := "field " + o.op // no expression can call it
		out = append(out, expr.Operator(o.op, name), expr.Function(name, func(p ...any) (any, error) { return compare(o.op, p[0], p[1]), nil }, o.types...))
	}
	return out
}

// compare is an operator with a field on one side.
func compare(op string, a, b any) bool {
	v, ok := a.(values)
	if !ok {
		v, b = b.(values), a
		op = mirrored(op)
	}
	switch op {
	case "==":
		return v.has(b)
	case "!=":
		return !v.has(b)
	case "in":
		list, isList := b.([]any)
		return isList && slices.ContainsFunc(list, v.has) || !isList && v.has(b)
	case "contains", "startsWith", "endsWith":
		s, _ := b.(string)
		return v.partly(op, s)
	}
	return v.ordered(op, b)
}

// mirrored is op with its sides exchanged.
func mirrored(op string) string {
	if is, ok := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]; ok {
		return is
	}
	return op
}

// asks reports whether n speaks of the CRM's answer.
func asks(n ast.Node) bool {
	var a asking
	ast.Walk(&n, &a)
	return bool(a)
}

type asking bool

// Visit notes crm, also as a member of the environment.
func (a *asking) Visit(n *ast.Node) {
	switch x := (*n).(type) {
	case *ast.IdentifierNode:
		*a = *a || x.Value == "crm"
	case *ast.MemberNode:
		*a = *a || memberOf(x) == "crm"
	}
}

func memberOf(m *ast.MemberNode) string {
	if s, ok := m.Property.(*ast.StringNode); ok {
		return s.Value
	}
	return ""
}

// isField reports whether n is a member called field.
func isField(n ast.Node) bool {
	m, ok := n.(*ast.MemberNode)
	return ok && memberOf(m) == "field"
}

// nameOf is the variable that n is, as traces show it; "" for none.
func nameOf(n ast.Node) string {
	switch x := n.(type) {
	case *ast.IdentifierNode:
		return x.Value
	case *ast.MemberNode:
		if base, ok := x.Node.(*ast.IdentifierNode); ok && base.Value == "crm" {
			return "crm." + memberOf(x)
		}
	case *ast.CallNode:
		if len(x.Arguments) != 1 || !isField(x.Callee) {
			return ""
		}
		if code, ok := x.Arguments[0].(*ast.StringNode); ok {
			return "crm.field(" + strconv.Quote(code.Value) + ")"
		}
	}
	return ""
}

var fieldCode = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// field reads the code in one crm.field().
func (c *constants) field(n *ast.CallNode) {
	c.named--
	if len(n.Arguments) != 1 {
		return // expr has said so
	}
	code, ok := n.Arguments[0].(*ast.StringNode)
	switch {
	case !ok:
		c.faults = append(c.faults, unquoted("crm.field", n.Arguments[0]))
	case !fieldCode.MatchString(code.Value):
		c.faults = append(c.faults, fault{
			message: fmt.Sprintf("%q is no code of a field", shortened(code.Value)), offset: code.Location().From,
			hint: `codes are in capitals, as UF_CRM_VIP or SOURCE_ID`,
		})
	default:
		c.fields = append(c.fields, code.Value)
	}
}

// loose is the fault of a field that is passed on without its code: nobody
// would know what to ask the portal for.
func (c *constants) loose() []fault {
	if c.named <= 0 {
		return nil
	}
	return []fault{{message: "crm.field wants the code of a field right behind it", hint: `as in crm.field("UF_CRM_VIP") == true`, offset: -1}}
}

// plainCRM puts an error of expr that speaks of our types into words.
func plainCRM(message string) (plain, hint string) {
	switch {
	case strings.Contains(message, "routing.answer"):
		hint = `there are crm.found, crm.kind, crm.count, crm.name, crm.responsible and crm.field("CODE")`
	case strings.Contains(message, "routing.values"):
		hint = `compare it: crm.field("UF_CRM_VIP") == true, == "text", > 3, in ["a", "b"], contains "text"`
	}
	return strings.NewReplacer("routing.answer", "crm", "routing.values", "a field of the CRM").Replace(message), hint
}
