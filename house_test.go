package frontdesk_test

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The caps are on the tails: what separates clean code from tired code is its
// largest file and its longest function, not the averages.
const (
	maxFile      = 500 // lines
	maxFunction  = 80  // lines
	maxInterface = 3   // methods
	maxStruct    = 12  // fields, an embedded struct counting as one
)

// quiet packages start no goroutine and ask no clock: their answer depends on
// their arguments alone.
var quiet = []string{"call", "routing", "media/sdp"}

// pure packages besides do no I/O: what they may not import.
var pure = map[string][]string{
	"routing":   {"os", "os/exec", "net", "net/http", "database/sql", "math/rand", "math/rand/v2", "crypto/rand", "log/slog"},
	"media/sdp": {"os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "log/slog"},
}

// programs may print and exit, and their main packages are read by nobody.
func program(pkg string) bool { return under(pkg, "cmd") || under(pkg, "bench") || under(pkg, "e2e") }

// excused lists what breaks a rule for a reason: "path: name" and why. Keep it
// short; an entry that excuses nothing fails.
var excused = map[string]string{
	"sip/message.go: flow": "one value, a socket and who is at its other end; its five answers are always asked of the same thing",

	"needs/needs.go: only cmd reads the environment: take a Config": "a helper of tests, which must not pass in CI without the programs they need",

	"media/pacer_internal_test.go: <-time.After": "a fake socket that stalls; it is called by the pacer under test, always in a bubble",
}

func TestHouse(t *testing.T) {
	t.Parallel()
	src := read(t)
	for _, rule := range []struct {
		name string
		find func(*tree) []string
	}{
		{"package comments", packageComments},
		{"doc comments", docComments},
		{"caps", caps},
		{"forbidden", forbidden},
		{"sleeps", sleeps},
		{"purity", purity},
		{"package state", packageState},
		{"sipgo stays inside", sipgoInside},
	} {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			report(t, unexcused(rule.find(src)))
		})
	}
}

// TestExcuses wants every excuse to be needed.
func TestExcuses(t *testing.T) {
	t.Parallel()
	src := read(t)
	var all []string
	for _, find := range []func(*tree) []string{packageComments, docComments, caps, forbidden, sleeps, purity, packageState, sipgoInside} {
		all = append(all, find(src)...)
	}
	for excuse, why := range excused {
		if why == "" || !slices.ContainsFunc(all, func(p string) bool { return matches(p, excuse) }) {
			t.Errorf("excused[%q] excuses nothing or gives no reason: remove it", excuse)
		}
	}
}

func unexcused(problems []string) []string {
	return slices.DeleteFunc(problems, func(p string) bool {
		for excuse := range excused {
			if matches(p, excuse) {
				return true
			}
		}
		return false
	})
}

// matches compares "path:line: name ..." with "path: name".
func matches(problem, excuse string) bool {
	file, rest, _ := strings.Cut(problem, ":")
	_, rest, _ = strings.Cut(rest, ": ")
	path, name, ok := strings.Cut(excuse, ": ")
	return ok && file == path && strings.HasPrefix(rest+" ", name+" ")
}

func packageComments(t *tree) []string {
	var out []string
	for _, pkg := range t.packages() {
		var first *source
		var with []string
		for _, s := range t.files {
			if s.pkg != pkg || s.test && strings.HasSuffix(s.file.Name.Name, "_test") && !testsOnly(t, pkg) {
				continue
			}
			if first == nil {
				first = &s
			}
			if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
				with = append(with, s.name)
			}
		}
		switch {
		case len(with) == 0:
			out = append(out, t.at(first.file.Package, "package %s has no package comment: say in doc.go what it owns, opening with its model", name(pkg)))
		case len(with) > 1:
			out = append(out, t.at(first.file.Package, "package %s has %d package comments (%s): keep one", name(pkg), len(with), strings.Join(with, ", ")))
		}
	}
	return out
}

func testsOnly(t *tree, pkg string) bool {
	return !slices.ContainsFunc(t.files, func(s source) bool { return s.pkg == pkg && !s.test })
}

func docComments(t *tree) []string {
	var out []string
	for _, s := range t.files {
		if s.test || s.file.Name.Name == "main" || ast.IsGenerated(s.file) {
			continue
		}
		for _, d := range s.file.Decls {
			for _, id := range undocumented(d) {
				out = append(out, t.at(id.Pos(), "%s is exported and has no doc comment: say what it is, its units, its errors", id.Name))
			}
		}
	}
	return out
}

// undocumented lists the exported names of one declaration that nothing
// explains. A comment on a group of constants or variables serves them all.
func undocumented(d ast.Decl) []*ast.Ident {
	var out []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			out = append(out, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					out = append(out, spec.Name)
				}
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					if id.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						out = append(out, id)
					}
				}
			}
		}
	}
	return out
}

// exportedReceiver is true of functions and of the methods of exported types.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	exported := false
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && !exported {
			exported = id.IsExported()
			return false
		}
		return true
	})
	return exported
}

func caps(t *tree) []string {
	var out []string
	for _, s := range t.files {
		if s.test || ast.IsGenerated(s.file) {
			continue
		}
		if n := t.fset.Position(s.file.FileEnd).Line; n > maxFile {
			out = append(out, t.at(s.file.Package, "the file has %d lines, the cap is %d: split it by what its parts own", n, maxFile))
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			out = append(out, capsOf(t, n)...)
			return true
		})
	}
	return out
}

func capsOf(t *tree, n ast.Node) []string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if lines := t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1; lines > maxFunction {
			return []string{t.at(n.Pos(), "%s has %d lines, the cap is %d: name its steps", n.Name.Name, lines, maxFunction)}
		}
	case *ast.TypeSpec:
		switch typ := n.Type.(type) {
		case *ast.InterfaceType:
			if k := count(typ.Methods); k > maxInterface {
				return []string{t.at(n.Pos(), "%s has %d methods, the cap is %d: ask only for what this package uses", n.Name.Name, k, maxInterface)}
			}
		case *ast.StructType:
			return capsOfStruct(t, n.Name.Name, typ)
		}
	}
	return nil
}

func capsOfStruct(t *tree, name string, typ *ast.StructType) []string {
	var out []string
	if k := count(typ.Fields); k > maxStruct {
		out = append(out, t.at(typ.Pos(), "%s has %d fields, the cap is %d: group those that belong together into a struct of their own", name, k, maxStruct))
	}
	for _, f := range typ.Fields.List {
		if nested, ok := f.Type.(*ast.StructType); ok {
			out = append(out, capsOfStruct(t, name, nested)...)
		}
		if selects(f.Type, "context", "Context") {
			out = append(out, t.at(f.Pos(), "%s keeps a context.Context: pass it to the functions that need it", name))
		}
	}
	return out
}

// count is the number of names in a field list, an embedded one being one.
func count(l *ast.FieldList) int {
	n := 0
	for _, f := range l.List {
		n += max(1, len(f.Names))
	}
	return n
}

// selects reports whether n is pkg.name, for one of the names where several
// are given; none stand for all.
func selects(n ast.Node, pkg string, names ...string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && (len(names) == 0 || slices.Contains(names, sel.Sel.Name))
}

func forbidden(t *tree) []string {
	var out []string
	for _, s := range t.files {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				out = append(out, t.at(f.Pos(), "init does its work behind the back of main: make it a function that is called"))
			}
		}
		if s.test || program(s.pkg) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			switch {
			case !ok:
			case selects(c.Fun, "os", "Exit"):
				out = append(out, t.at(c.Pos(), "os.Exit belongs in cmd: return an error"))
			case selects(c.Fun, "fmt", "Print", "Println", "Printf"):
				out = append(out, t.at(c.Pos(), "fmt.Print belongs in cmd: take an io.Writer"))
			case selects(c.Fun, "os", "Getenv", "LookupEnv", "Environ"):
				out = append(out, t.at(c.Pos(), "only cmd reads the environment: take a Config"))
			case selects(c.Fun, "slog", "Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"):
				out = append(out, t.at(c.Pos(), "the global logger: take a *slog.Logger"))
			}
			return true
		})
	}
	return out
}

func purity(t *tree) []string {
	var out []string
	for _, s := range t.files {
		if s.test || !slices.Contains(quiet, s.pkg) {
			continue
		}
		for _, spec := range s.file.Imports {
			if slices.Contains(pure[s.pkg], unquoted(spec)) {
				out = append(out, t.at(spec.Pos(), "%s is pure and may not import %s: take what it needs as an argument", s.pkg, spec.Path.Value))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, t.at(n.Pos(), "%s starts a goroutine: it only computes", s.pkg))
			case *ast.CallExpr:
				if selects(n.Fun, "time", "Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick") {
					out = append(out, t.at(n.Pos(), "%s asks the clock: take the time as an argument", s.pkg))
				}
			}
			return true
		})
	}
	return out
}

// unquoted is the path of an import.
func unquoted(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, "`\"") }

// sipgoInside looks for sipgo's types in what package sip exports.
func sipgoInside(t *tree) []string {
	var out []string
	for _, s := range t.files {
		if s.test || s.pkg != "sip" {
			continue
		}
		alias := map[string]bool{}
		for _, spec := range s.file.Imports {
			if p := unquoted(spec); under(p, "github.com/emiago/sipgo") {
				local := p[strings.LastIndex(p, "/")+1:]
				if spec.Name != nil {
					local = spec.Name.Name
				}
				alias[local] = true
			}
		}
		if len(alias) == 0 {
			continue
		}
		for _, n := range exportedTypes(s.file) {
			ast.Inspect(n, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && alias[x.Name] {
						out = append(out, t.at(sel.Pos(), "%s.%s is in the exported API: sipgo's types stay inside package sip", x.Name, sel.Sel.Name))
					}
				}
				return true
			})
		}
	}
	return out
}

// exportedTypes are the type expressions others can see: signatures, exported
// fields, definitions.
func exportedTypes(f *ast.File) []ast.Node {
	var out []ast.Node
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				out = append(out, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						out = append(out, visible(spec.Type)...)
					}
				case *ast.ValueSpec:
					if spec.Type != nil && slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported) {
						out = append(out, spec.Type)
					}
				}
			}
		}
	}
	return out
}

// visible leaves out the unexported fields of a struct.
func visible(typ ast.Expr) []ast.Node {
	s, ok := typ.(*ast.StructType)
	if !ok {
		return []ast.Node{typ}
	}
	var out []ast.Node
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 || slices.ContainsFunc(f.Names, (*ast.Ident).IsExported) {
			out = append(out, f.Type)
		}
	}
	return out
}

func TestHouseIsJudged(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\n", maxFunction)
	for _, c := range []struct {
		find      func(*tree) []string
		src, want string
	}{
		{packageComments, "package x", "no package comment"},
		{packageComments, "// Package x is.\npackage x", ""},
		{docComments, "package x\nfunc F() {}", "F is exported"},
		{docComments, "package x\n// T is.\ntype T int\nfunc (*T) M() {}", "M is exported"},
		{docComments, "package x\ntype t int\nfunc (t) M() {}", ""},
		{docComments, "package x\n// These.\nconst (\nA = 1\nB = 2\n)", ""},
		{docComments, "package x\nvar A = 1", "A is exported"},
		{caps, "package x\nfunc f() {" + long + "}", "f has 81 lines"},
		{caps, "package x\n" + strings.Repeat("\n", maxFile), "the file has 501 lines"},
		{caps, "package x\ntype I interface { A(); B(); C(); D() }", "I has 4 methods"},
		{caps, "package x\ntype S struct { a,b,c,d,e,f,g,h,i,j,k,l,m int }", "S has 13 fields"},
		{caps, "package x\ntype S struct { in struct { a,b,c,d,e,f,g,h,i,j,k,l,m int } }", "S has 13 fields"},
		{caps, "package x\ntype S struct { ctx context.Context }", "keeps a context.Context"},
		{forbidden, "package x\nfunc init() {}", "init"},
		{sleeps, "package x\nfunc f() { time.Sleep(1) }", "time.Sleep"},
		{sleeps, "package x\nfunc f() { <-time.After(1) }", "is a sleep"},
		{sleeps, "package x\nfunc f() { synctest.Test(t, func() { time.Sleep(1) }) }", ""},
		{sleeps, "package x\nfunc f() { select { case <-c: case <-time.After(1): } }", ""},
		{sleeps, "package x\nfunc f() { select { case <-time.After(1): } }", "is a sleep"},
		{forbidden, "package x\nfunc f() { os.Exit(1) }", "os.Exit"},
		{forbidden, "package x\nfunc f() { slog.Info(``) }", "global logger"},
		{packageState, "package x\nvar n int", "without a value"},
		{packageState, "package x\nvar n = 1\nfunc f() { n++ }", "changed here"},
		{packageState, "package x\nvar n = 1\nfunc f() { n := 2; n = 3; _ = n }", ""},
		{packageState, "package x\nvar m = map[int]int{1: 2}\nfunc f() { m[1] = 3 }", "assigned here"},
		{packageState, "package x\nvar m = map[int]int{1: 2}\nfunc f() { delete(m, 1) }", "changed here"},
		{packageState, "package x\nvar m = []string{``}\nfunc f() *string { return &m[0] }", "pointed to"},
		{packageState, "package x\nvar m = []string{``}\nfunc f() string { return m[0] }", ""},
		{packageState, "package x\nvar m = make(map[int]int)", "make makes"},
		{packageState, "package x\nvar c = &http.Client{}", "a pointer"},
		{packageState, "package x\nvar c = prometheus.NewCounter(o)", "not known"},
		{packageState, "package x\nimport `errors`\nvar e = errors.New(``)\nvar p sync.Pool\nvar _ I = T{}", ""},
		{packageState, "package x\nvar e = base32.NewEncoding(``).WithPadding(-1)\nvar r = regexp.MustCompile(``)", ""},
		{packageState, "package x\nimport `embed`\n//go:embed a\nvar f embed.FS", ""},
	} {
		expect(t, strconv.Quote(c.src[:min(len(c.src), 80)]), c.find(snippet(t, "web/a.go", c.src)), c.want)
	}
}

func TestPurityIsJudged(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"package routing\nimport `os`":                        "may not import",
		"package routing\nfunc f() { _ = time.Now() }":        "asks the clock",
		"package routing\nfunc f() { go f() }":                "starts a goroutine",
		"package routing\nfunc f(at time.Time) { at.Unix() }": "",
	} {
		expect(t, src, purity(snippet(t, "routing/a.go", src)), want)
	}
	for src, want := range map[string]string{
		"package sip\nimport gosip `github.com/emiago/sipgo/sip`\nfunc F(r *gosip.Request) {}":    "exported API",
		"package sip\nimport gosip `github.com/emiago/sipgo/sip`\ntype T struct{ R gosip.Uri }":   "exported API",
		"package sip\nimport gosip `github.com/emiago/sipgo/sip`\ntype T struct{ r gosip.Uri }":   "",
		"package sip\nimport gosip `github.com/emiago/sipgo/sip`\nfunc f(r *gosip.Request) {}":    "",
		"package sip\nimport gosip `github.com/emiago/sipgo/sip`\nfunc F() { _ = gosip.INVITE }":  "",
		"package sip\nimport `github.com/emiago/sipgo/sip`\ntype T interface{ R() *sip.Request }": "exported API",
	} {
		expect(t, src, sipgoInside(snippet(t, "sip/a.go", src)), want)
	}
}
