package frontdesk_test

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// packageState finds package-level variables that are, or may be, written
// after the program has started. A variable is fine that is set where it is
// declared, by a literal or by a constructor of something immutable, and that
// nothing in the package assigns, changes or takes the address of.
func packageState(t *tree) []string {
	var out []string
	for _, pkg := range t.packages() {
		var files []*ast.File
		for _, s := range t.files {
			if s.pkg == pkg && !s.test {
				files = append(files, s.file)
			}
		}
		if len(files) == 0 {
			continue
		}
		for _, f := range files {
			out = append(out, declaredState(t, f)...)
		}
		out = append(out, written(t, pkg, files)...)
	}
	return out
}

func declaredState(t *tree, f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if v.Names[0].Name == "_" || embedded(g, v) || selects(v.Type, "sync", "Pool") {
				continue
			}
			if len(v.Values) == 0 {
				out = append(out, t.at(v.Pos(), "%s is a package variable without a value, so something must write it: keep it in a struct", v.Names[0].Name))
			}
			for i, value := range v.Values {
				if why := mutable(value); why != "" {
					out = append(out, t.at(v.Pos(), "%s is package state (%s): keep it in a struct", v.Names[min(i, len(v.Names)-1)].Name, why))
				}
			}
		}
	}
	return out
}

func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// constructors make values that do not change afterwards.
var constructors = map[string][]string{
	"errors":  {"New", "Join"},
	"fmt":     {"Errorf", "Sprintf", "Sprint"},
	"regexp":  {"MustCompile"},
	"netip":   nil,
	"base32":  nil,
	"base64":  nil,
	"strings": nil,
	"slices":  {"Concat", "Collect", "Sorted"},
	"maps":    {"Clone", "Collect"},
	"math":    nil,
	"time":    {"Date", "FixedZone", "Duration"},
	"unicode": nil,
	"sync":    {"OnceValue", "OnceValues", "OnceFunc"},
	"reflect": {"TypeFor", "TypeOf"},
	"crc32":   {"MakeTable"},
}

// mutable says why a variable that starts as e would be state, or nothing.
func mutable(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.UnaryExpr:
		if _, literal := e.X.(*ast.CompositeLit); e.Op == token.AND && literal {
			return "a pointer to what can be changed through it"
		}
	case *ast.CompositeLit:
		if selects(e.Type, "sync") || selects(e.Type, "atomic") || selects(e.Type, "http", "Client") {
			return "a value made to be changed"
		}
	case *ast.CallExpr:
		return mutableCall(e)
	}
	return ""
}

func mutableCall(e *ast.CallExpr) string {
	switch fun := e.Fun.(type) {
	case *ast.Ident:
		if fun.Name == "new" || fun.Name == "make" {
			return fun.Name + " makes something empty, to be written later"
		}
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.CallExpr); ok { // base32.NewEncoding(...).WithPadding(...), template.New(...).Funcs(...)
			return mutableCall(x)
		}
		x, ok := fun.X.(*ast.Ident)
		if !ok {
			return ""
		}
		if x.Name == "template" {
			return ""
		}
		names, known := constructors[x.Name]
		if !known || names != nil && !slices.Contains(names, fun.Sel.Name) {
			return x.Name + "." + fun.Sel.Name + " is not known to make something immutable"
		}
	}
	return ""
}

// written finds the places that change a package-level variable. The types of
// other packages are not needed to tell which name is which, so none is
// loaded.
func written(t *tree, pkg string, files []*ast.File) []string {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	checked, _ := conf.Check(pkg, t.fset, files, info) // errors are about imports, which were not loaded
	var out []string
	say := func(e ast.Expr, how string) {
		id := root(e)
		if v, ok := info.Uses[id].(*types.Var); ok && checked != nil && v.Parent() == checked.Scope() {
			out = append(out, t.at(e.Pos(), "%s is a package variable and is %s here: keep it in a struct", id.Name, how))
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, l := range n.Lhs {
					say(l, "assigned")
				}
			case *ast.IncDecStmt:
				say(n.X, "changed")
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					say(n.X, "pointed to")
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, f.Name) {
					say(n.Args[0], "changed")
				}
			}
			return true
		})
	}
	return out
}

// root is the variable that an expression reaches into: x of x.y[z].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }
