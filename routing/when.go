package routing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"frontdesk/call"
)

// variables are what a `when` expression may speak of. Times are in the plan's
// zone. Besides, match(number, "pattern") tries a pattern as rules have them,
// and within("Mon-Fri 09:00-18:00") or within("schedule") tells whether now is
// within hours.
type variables struct {
	Trunk      string `expr:"trunk"`
	DID        string `expr:"did"`         // "+74951234567"
	Caller     string `expr:"caller"`      // "+79161234567"; empty where it is hidden or missing
	CallerName string `expr:"caller_name"` // as the trunk gave it
	Anonymous  bool   `expr:"anonymous"`
	CRM        answer `expr:"crm"` // see when_crm.go
	clock

	Match  func(number, pattern string) (bool, error) `expr:"match"`
	Within func(hours string) (bool, error)           `expr:"within"`
}

// clock is a moment as expressions see it.
type clock struct {
	Hour    int    `expr:"hour"`
	Minute  int    `expr:"minute"`
	Day     int    `expr:"day"` // of the month
	Month   int    `expr:"month"`
	Year    int    `expr:"year"`
	Weekday string `expr:"weekday"` // "Mon"
	Date    string `expr:"date"`    // "2026-01-31"
	Time    string `expr:"time"`    // "18:05"
}

func clockAt(t time.Time) clock {
	return clock{
		Hour: t.Hour(), Minute: t.Minute(), Day: t.Day(), Month: int(t.Month()), Year: t.Year(),
		Weekday: t.Weekday().String()[:3], Date: t.Format(time.DateOnly), Time: t.Format("15:04"),
	}
}

// value shows the variable called name.
func (v *variables) value(name string) (string, bool) {
	if of, ok := strings.CutPrefix(name, "crm."); ok {
		return v.CRM.value(of)
	}
	switch name {
	case "trunk":
		return strconv.Quote(v.Trunk), true
	case "did":
		return strconv.Quote(v.DID), true
	case "caller":
		return strconv.Quote(v.Caller), true
	case "caller_name":
		return strconv.Quote(shortened(v.CallerName)), true
	case "anonymous":
		return strconv.FormatBool(v.Anonymous), true
	case "weekday":
		return strconv.Quote(v.Weekday), true
	case "date":
		return strconv.Quote(v.Date), true
	case "time":
		return strconv.Quote(v.Time), true
	}
	n, ok := map[string]int{"hour": v.Hour, "minute": v.Minute, "day": v.Day, "month": v.Month, "year": v.Year}[name]
	return strconv.Itoa(n), ok
}

// shortened cuts a name that comes from outside to a length fit for a trace.
func shortened(s string) string { return clip(s, 60) }

// clip cuts s to so many letters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// longestError is how much of an error a trace shows.
const longestError = 200

// expression is a compiled `when`: the parts joined by `and`, in order, so that
// a trace can name the one that failed.
type expression struct {
	text     string
	parts    []part
	patterns map[string]pattern // of match()
	hours    map[string]*hours  // of within()
	fields   []string           // of crm.field()
	asks     bool               // it speaks of the CRM's answer
}

type part struct {
	text    string
	names   []string // variables it speaks of
	program *vm.Program
	asks    bool     // it speaks of the CRM's answer
	either  [][]part // what `or` joins in a part that asks
}

// verdict is what can be said of a condition.
type verdict int

const (
	no      verdict = iota
	unknown         // it turns on the CRM's answer, and there is none
	yes
)

// holds evaluates e; heard: the CRM has answered. Where e does not hold, or
// nobody knows, failed is the part and err, if any, the run-time error.
func (e *expression) holds(v *variables, heard bool) (verdict, int, error) {
	return all(e.parts, v, heard)
}

// all judges parts joined by `and`: one that does not hold settles it.
func all(parts []part, v *variables, heard bool) (out verdict, failed int, err error) {
	out = yes
	for i := range parts {
		is, err := parts[i].holds(v, heard)
		if is == no {
			return no, i, err
		}
		if is == unknown && out == yes {
			out, failed = unknown, i
		}
	}
	return out, failed, nil
}

func (p *part) holds(v *variables, heard bool) (verdict, error) {
	if p.asks && !heard {
		return p.unheard(v), nil
	}
	out, err := p.run(v)
	if err != nil {
		return no, errors.New(plainMessage(err))
	}
	if is, isBool := out.(bool); isBool && is {
		return yes, nil
	}
	return no, nil
}

// unheard judges a part that asks the CRM, without its answer: another side of
// an `or` may hold all the same.
func (p *part) unheard(v *variables) verdict {
	out := unknown
	if p.either != nil {
		out = no
	}
	for _, parts := range p.either {
		is, _, _ := all(parts, v, false) // one that fails does not hold; the trace shows the whole part
		out = max(out, is)
	}
	return out
}

// explain says why part i of e did not hold.
func (e *expression) explain(v *variables, i int, err error) string {
	p := e.parts[i]
	var b strings.Builder
	b.WriteString("when ")
	b.WriteString(p.text)
	if err != nil {
		b.WriteString(" failed: " + clip(err.Error(), longestError))
	} else {
		b.WriteString(" is false")
	}
	for i, name := range p.names {
		b.WriteString([]string{" (", ", "}[min(i, 1)])
		value, _ := v.value(name)
		b.WriteString(name + " = " + value)
	}
	if len(p.names) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// functions binds match and within to e and to the moment t.
func (e *expression) functions(v *variables, country string, t time.Time) {
	v.Match = func(n, text string) (bool, error) {
		p, ok := e.patterns[text]
		if !ok {
			return false, fmt.Errorf("match: %q is not written in the expression", text)
		}
		return p.matches(number(call.Number(n), country)), nil
	}
	v.Within = func(text string) (bool, error) {
		h, ok := e.hours[text]
		if !ok {
			return false, fmt.Errorf("within: %q is not written in the expression", text)
		}
		open, _ := h.open(t)
		return open, nil
	}
}

const (
	maxNodes     = 500    // bounds the size of an expression
	memoryBudget = 10_000 // elements of lists that it may make on its way
)

func (p *part) run(v *variables) (any, error) {
	machine := vm.VM{MemoryBudget: memoryBudget}
	return machine.Run(p.program, v)
}

func options() []expr.Option {
	return []expr.Option{
		expr.Env(&variables{}), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxNodes),
		expr.DisableBuiltin("now"), expr.DisableBuiltin("timezone"), // neither the machine's clock nor its files
	}
}

// parseWhen compiles the text of a `when`; resolve reads hours or the name of a
// schedule.
func parseWhen(text, country string, resolve func(string) (*hours, []fault)) (*expression, []fault) {
	if strings.TrimSpace(text) == "" {
		return nil, []fault{{
			message: "the expression is empty, and would hold for every call", offset: -1,
			hint: "leave `when` out, or put an expression that begins with ! in quotes",
		}}
	}
	program, err := expr.Compile(text, optionsFor(text)...)
	if err != nil {
		return nil, []fault{exprFault(err)}
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, []fault{exprFault(err)}
	}
	e := &expression{text: text, patterns: map[string]pattern{}, hours: map[string]*hours{}}
	c := constants{expression: e, country: country, resolve: resolve}
	ast.Walk(&tree.Node, &c)
	e.asks = asks(tree.Node)
	c.faults = append(c.faults, c.loose()...)
	if e.parts = split(tree.Node); e.parts == nil {
		e.parts = []part{{text: strings.TrimSpace(text), names: namesIn(tree.Node), program: program, asks: e.asks}}
	}
	if len(c.faults) == 0 {
		c.faults = e.rehearse(country)
	}
	return e, c.faults
}

// split compiles each part of an `and` by itself; nil where one cannot stand
// alone.
func split(n ast.Node) []part {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		left, right := split(b.Left), split(b.Right)
		if left == nil || right == nil {
			return nil
		}
		return append(left, right...)
	}
	program, err := expr.Compile(n.String(), optionsFor(n.String())...)
	if err != nil {
		return nil
	}
	p := part{text: n.String(), names: namesIn(n), program: program, asks: asks(n)}
	if p.asks {
		p.either = sides(n)
	}
	return []part{p}
}

// sides are what `or` joins in n; nil where it joins nothing that can stand
// alone.
func sides(n ast.Node) [][]part {
	b, ok := n.(*ast.BinaryNode)
	if !ok || b.Operator != "or" && b.Operator != "||" {
		return nil
	}
	left, right := split(b.Left), split(b.Right)
	if left == nil || right == nil {
		return nil
	}
	return [][]part{left, right}
}

// rehearse runs e on a call without caller, which an expression must survive.
func (e *expression) rehearse(country string) []fault {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := &variables{Anonymous: true, CRM: newAnswer("", nil), clock: clockAt(at)}
	e.functions(v, country, at)
	for i := range e.parts {
		if _, err := e.parts[i].run(v); err != nil {
			return []fault{{
				message: "this fails on a call without number or name: " + plainMessage(err), offset: -1, warning: true,
				hint: "the rule then does not match",
			}}
		}
	}
	return nil
}

func exprFault(err error) fault {
	f := fault{message: plainMessage(err), offset: -1}
	f.message, f.hint = plainCRM(f.message)
	var at *file.Error
	if errors.As(err, &at) && at.Snippet != "" {
		f.offset = at.From
	}
	if name, ok := strings.CutPrefix(f.message, "unknown name "); ok {
		f.hint = suggest(name, names(), strings.Join(names(), ", "))
	}
	return f
}

// plainMessage is an error of expr on one line, without its drawing.
func plainMessage(err error) string {
	var at *file.Error
	if errors.As(err, &at) {
		return at.Message
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func names() []string {
	return []string{
		"trunk", "did", "caller", "caller_name", "anonymous", "hour", "minute", "weekday", "date", "time", "day", "month", "year",
		"match", "within", "crm",
	}
}

// namesIn lists the variables that n speaks of, once each, in order.
func namesIn(n ast.Node) []string {
	var c collector
	ast.Walk(&n, &c)
	return c.names
}

type collector struct{ names []string }

// Visit notes a variable.
func (c *collector) Visit(n *ast.Node) {
	name := nameOf(*n)
	if _, known := (&variables{}).value(name); known && !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

// constants reads the patterns and hours that an expression holds.
type constants struct {
	*expression
	country string
	resolve func(string) (*hours, []fault)
	faults  []fault
	named   int // members called field
}

// Visit reads the text of one match(), within() or crm.field().
func (c *constants) Visit(n *ast.Node) {
	if isField(*n) {
		c.named++
	}
	cl, ok := (*n).(*ast.CallNode)
	if !ok {
		return
	}
	if isField(cl.Callee) {
		c.field(cl)
		return
	}
	callee, ok := cl.Callee.(*ast.IdentifierNode)
	if !ok || (callee.Value != "match" && callee.Value != "within") || len(cl.Arguments) == 0 {
		return
	}
	argument := cl.Arguments[len(cl.Arguments)-1]
	text, ok := argument.(*ast.StringNode)
	if !ok {
		c.faults = append(c.faults, unquoted(callee.Value, argument))
		return
	}
	var faults []fault
	if callee.Value == "match" {
		c.patterns[text.Value], faults = parsePattern(text.Value, c.country)
	} else {
		c.hours[text.Value], faults = c.resolve(text.Value)
	}
	for _, f := range faults {
		f.offset = text.Location().From + 1 + max(f.offset, 0)
		c.faults = append(c.faults, f)
	}
}

func unquoted(function string, argument ast.Node) fault {
	return fault{message: function + " wants its text in quotes, so that it can be checked now", offset: argument.Location().From}
}
