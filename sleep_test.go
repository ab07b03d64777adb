package frontdesk_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// sleeps finds real waiting: time.Sleep, and a bare <-time.After. Inside a
// synctest bubble, where time is virtual, both are fine.
func sleeps(t *tree) []string {
	var out []string
	for _, pkg := range t.packages() {
		var tests []*ast.FuncDecl
		for _, s := range t.files {
			if s.pkg == pkg && s.test {
				tests = append(tests, functions(s.file)...)
			}
		}
		in := bubbles(tests)
		awake := awake(tests, in)
		for _, s := range t.files {
			if s.pkg != pkg {
				continue
			}
			for _, d := range s.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if ok && s.test && len(in) > 0 && !awake[f.Name.Name] {
					continue // only ever called from within a bubble
				}
				out = append(out, sleepsIn(t, d, in)...)
			}
		}
	}
	return out
}

func sleepsIn(t *tree, d ast.Node, in map[string]bool) []string {
	var out []string
	choices := map[ast.Stmt]bool{} // of a select: there other things may happen first
	outside(d, in, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			if selects(n.Fun, "time", "Sleep") {
				out = append(out, t.at(n.Pos(), "time.Sleep: wait for what you are waiting for (a channel, a condition, testing/synctest), or for a timer and ctx"))
			}
		case *ast.SelectStmt:
			if len(n.Body.List) > 1 {
				for _, c := range n.Body.List {
					choices[c.(*ast.CommClause).Comm] = true
				}
			}
		case *ast.ExprStmt:
			if !choices[n] && afterTimer(n.X) {
				out = append(out, t.at(n.Pos(), "<-time.After is a sleep: wait for what you are waiting for, or for a timer and ctx"))
			}
		}
	})
	return out
}

// afterTimer reports whether e is <-time.After(...).
func afterTimer(e ast.Expr) bool {
	recv, ok := e.(*ast.UnaryExpr)
	if !ok || recv.Op != token.ARROW {
		return false
	}
	c, ok := recv.X.(*ast.CallExpr)
	return ok && selects(c.Fun, "time", "After")
}

// outside visits what runs outside bubbles: all but the functions written as
// arguments of a call that opens one.
func outside(n ast.Node, in map[string]bool, visit func(ast.Node)) {
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && opens(c, in) {
			return false
		}
		if n != nil {
			visit(n)
		}
		return true
	})
}

// opens reports whether a call runs its function argument in a bubble.
func opens(c *ast.CallExpr, in map[string]bool) bool {
	return selects(c.Fun, "synctest", "Test", "Run") || in[callee(c)]
}

// callee is the name of what is called, without its package or receiver.
func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func functions(f *ast.File) []*ast.FuncDecl {
	var out []*ast.FuncDecl
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			out = append(out, fn)
		}
	}
	return out
}

// bubbles are the helpers that run a function they are given in a bubble. The
// tests that open one themselves are there, too, so that it is empty only where
// no bubble is.
func bubbles(tests []*ast.FuncDecl) map[string]bool {
	in := map[string]bool{}
	for {
		before := len(in)
		for _, f := range tests {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if ok && opens(c, in) && (entry(f) || takesFunction(f)) {
					in[f.Name.Name] = true
				}
				return true
			})
		}
		if len(in) == before {
			return in
		}
	}
}

// entry reports whether go test calls f.
func entry(f *ast.FuncDecl) bool {
	return f.Recv == nil && slices.ContainsFunc([]string{"Test", "Benchmark", "Fuzz", "Example"}, func(p string) bool { return strings.HasPrefix(f.Name.Name, p) })
}

func takesFunction(f *ast.FuncDecl) bool {
	return slices.ContainsFunc(f.Type.Params.List, func(p *ast.Field) bool {
		_, ok := p.Type.(*ast.FuncType)
		return ok
	})
}

// awake are the functions that run in real time: what go test calls, and what
// those call outside bubbles. Methods are told by their names alone, which errs
// on the side of reporting.
func awake(tests []*ast.FuncDecl, in map[string]bool) map[string]bool {
	out := map[string]bool{}
	for _, f := range tests {
		if entry(f) {
			out[f.Name.Name] = true
		}
	}
	for {
		before := len(out)
		for _, f := range tests {
			if !out[f.Name.Name] {
				continue
			}
			outside(f.Body, in, func(n ast.Node) {
				if c, ok := n.(*ast.CallExpr); ok && callee(c) != "" {
					out[callee(c)] = true
				}
			})
		}
		if len(out) == before {
			return out
		}
	}
}

func TestSleepsAreJudged(t *testing.T) {
	t.Parallel()
	const bubble = "package x\nfunc bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, func(t *testing.T) { f(t) }) }\n"
	for src, want := range map[string]string{
		"package x\nfunc TestA(t *testing.T) { time.Sleep(1) }":                                                                                            "time.Sleep",
		"package x\nfunc helper() { time.Sleep(1) }":                                                                                                       "time.Sleep",
		"package x\nfunc TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }":                                                   "",
		bubble + "func TestA(t *testing.T) { bubble(t, func(t *testing.T) { time.Sleep(1) }) }":                                                            "",
		bubble + "func TestA(t *testing.T) { bubble(t, func(t *testing.T) { wait() }) }\nfunc wait() { <-time.After(1) }":                                  "",
		bubble + "func TestA(t *testing.T) { bubble(t, func(t *testing.T) {}); time.Sleep(1) }":                                                            "time.Sleep",
		bubble + "func TestA(t *testing.T) { wait() }\nfunc wait() { time.Sleep(1) }":                                                                      "time.Sleep",
		bubble + "func TestA(t *testing.T) { wait() }\nfunc wait() { more() }\nfunc more() { <-time.After(1) }":                                            "is a sleep",
		bubble + "func two(t *testing.T, f func()) { bubble(t, func(*testing.T) { f() }) }\nfunc TestA(t *testing.T) { two(t, func() { time.Sleep(1) }) }": "",
	} {
		expect(t, src, sleeps(snippet(t, "web/a_test.go", src)), want)
	}
}
