package frontdesk_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The tests of this file read the source in-process: a test that asks
// `go list` keeps answering from the test cache after a forbidden import is
// added, because go test cannot see what a child process read.

const module = "frontdesk"

// law says which packages of ours each package may import. A package's own
// subpackages are named too: whatever is not listed is forbidden, and a package
// that is not listed fails. A new package needs an ADR in docs/adr.
var law = map[string][]string{
	"":                {},
	"call":            {},
	"routing":         {"call"},
	"sip":             {"call"},
	"sip/siptest":     {"call", "sip", "media", "media/sdp"},
	"media":           {"call", "media/sdp"},
	"media/sdp":       {"call"},
	"tts":             {"call"},
	"crm":             {"call"},
	"crm/crmtest":     {"call"},
	"pbx":             {"call"},
	"pbx/pbxtest":     {"call", "sip", "sip/siptest", "media", "media/sdp"}, // a PBX made of phones
	"store":           {"call"},
	"recording":       {"call"},
	"store/storetest": {"needs"},
	"needs":           {},
	"hep":             {"call"},
	"b2bua":           {"call", "routing", "sip", "media", "media/sdp"},
	"calllog":         {"call", "store", "crm"},
	"phonebook":       {"call"},
	"notify":          {"call", "store"},
	"staff":           {"call", "routing", "store"},
	"web":             {"call", "routing"},
	"bench":           {everything},
	"e2e":             {everything},
	"cmd/frontdesk":   {everything},
}

// everything in a line of the law lets a package import all others: it wires
// them.
const everything = "*"

// doubles are the fakes of the world outside, and what looks for programs to test
// with: only tests and the packages that wire (the sandbox and the demo are made of them) may import them.
var doubles = []string{"sip/siptest", "crm/crmtest", "pbx/pbxtest", "store/storetest", "needs"}

// fence keeps a foreign package inside the packages named.
type fence struct {
	prefix string
	inside []string
	tests  bool // holds in test files too
	why    string
}

var fences = []fence{
	{"github.com/emiago/sipgo", []string{"sip", "sip/siptest"}, true, "sipgo's types stay in package sip; use the types sip exports"},
	{"github.com/riverqueue/river", []string{"store", "calllog", "cmd"}, true, "jobs are owed through store and calllog"},
	{"modernc.org/sqlite", []string{"store"}, true, "the database is reached through store"},
	{"github.com/jackc/pgx", []string{"store"}, true, "the database is reached through store"},
	{"github.com/pressly/goose", []string{"store"}, true, "the database is reached through store"},
	{"github.com/lib/pq", []string{"store"}, true, "the database is reached through store"},
	{"github.com/mattn/go-sqlite3", []string{"store"}, true, "the database is reached through store"},
	{"github.com/spf13/cobra", []string{"cmd"}, true, "flags and commands are the business of cmd"},
	{"flag", []string{"cmd", "bench"}, false, "flags are the business of cmd; take a Config"},
	{"log", nil, true, "take a *slog.Logger"},
	{"github.com/stretchr/testify", nil, true, "tests use the standard library and go-cmp"},
}

// source is one parsed Go file.
type source struct {
	pkg  string // its folder, slash-separated, "" for the root
	name string // path from the root
	test bool
	file *ast.File
}

// tree is the parsed module.
type tree struct {
	fset  *token.FileSet
	files []source
}

// at writes where and what, for a person with an editor.
func (t *tree) at(pos token.Pos, format string, args ...any) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d: ", filepath.ToSlash(p.Filename), p.Line) + fmt.Sprintf(format, args...)
}

// add parses one file; src is nil to read it from disk.
func (t *tree) add(name string, src any) error {
	f, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	pkg := path.Dir(filepath.ToSlash(name))
	if pkg == "." {
		pkg = ""
	}
	t.files = append(t.files, source{pkg: pkg, name: filepath.ToSlash(name), test: strings.HasSuffix(name, "_test.go"), file: f})
	return nil
}

// packages lists the folders that hold Go files.
func (t *tree) packages() []string {
	seen := map[string]bool{}
	for _, s := range t.files {
		seen[s.pkg] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// read gives the whole module, without nested modules, hidden folders and
// testdata.
func read(t *testing.T) *tree {
	t.Helper()
	out, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// parsed is the source, which the tests share.
var parsed = sync.OnceValues(func() (*tree, error) {
	out := &tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(name, d.Name())
		case filepath.Ext(name) == ".go":
			return out.add(name, nil)
		}
		return nil
	})
	return out, err
})

// enter says whether a folder belongs to the module's source.
func enter(name, base string) error {
	if name == "." {
		return nil
	}
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// report fails the test once for each problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func TestImportLaw(t *testing.T) {
	t.Parallel()
	report(t, imports(read(t)))
}

// imports finds breaches of the law and of the fences.
func imports(t *tree) []string {
	var out []string
	for _, pkg := range t.packages() {
		if _, ok := allowed(pkg); !ok {
			out = append(out, fmt.Sprintf("%s: the package is not in the law: write an ADR in docs/adr and add it to `law` in arch_test.go, or put the code into a package that is there", pkg))
		}
	}
	for _, s := range t.files {
		for _, spec := range s.file.Imports {
			imported := unquoted(spec)
			if why := breach(s, imported); why != "" {
				out = append(out, t.at(spec.Pos(), "%s imports %s: %s", name(s.pkg), imported, why))
			}
		}
	}
	return out
}

// allowed gives a package's line of the law. Whatever stands under cmd is the
// program, and wires; so do the programs under bench.
func allowed(pkg string) ([]string, bool) {
	switch {
	case under(pkg, "cmd"):
		pkg = "cmd/frontdesk"
	case under(pkg, "bench"):
		pkg = "bench"
	}
	may, ok := law[pkg]
	return may, ok
}

// breach says why s may not import a package, or nothing.
func breach(s source, imported string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		return breachOfLaw(s, ours)
	}
	for _, f := range fences {
		foreign := strings.Contains(f.prefix, ".") // not of the standard library, where log/slog is not log
		if imported != f.prefix && !(foreign && under(imported, f.prefix)) || s.test && !f.tests {
			continue
		}
		if !slices.ContainsFunc(f.inside, func(p string) bool { return s.pkg == p || (p == "cmd" || p == "bench") && under(s.pkg, p) }) {
			return f.why
		}
	}
	return ""
}

func breachOfLaw(s source, ours string) string {
	may, known := allowed(s.pkg)
	wires := slices.Contains(may, everything)
	switch {
	case !known, ours == s.pkg: // said once for the package; an external test imports its package
		return ""
	case wires, slices.Contains(may, ours), s.test && slices.Contains(doubles, ours):
		return ""
	case slices.Contains(doubles, ours):
		return "a test double belongs in _test files, cmd, e2e and bench only"
	case len(may) == 0:
		return "it may import nothing of ours; declare an interface of one to three methods here, or move the code"
	}
	return "it may import only " + strings.Join(may, ", ") + " of ours; declare an interface of one to three methods here and let cmd wire it"
}

// under reports whether an import path is prefix or lies below it.
func under(imported, prefix string) bool {
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}

// name is a package as people call it.
func name(pkg string) string {
	if pkg == "" {
		return module
	}
	return pkg
}

func TestImportsAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, imported, want string }{
		{"sip/a.go", "frontdesk/media", "may import only call"},
		{"sip/a.go", "frontdesk/call", ""},
		{"sip/a_test.go", "frontdesk/sip", ""},
		{"sip/a_test.go", "frontdesk/sip/siptest", ""},
		{"sip/a.go", "frontdesk/sip/siptest", "test double"},
		{"crm/a_test.go", "frontdesk/pbx", "may import only call"},
		{"call/a.go", "frontdesk/routing", "nothing of ours"},
		{"web/a.go", "frontdesk/crm", "may import only call, routing"},
		{"cmd/frontdesk/config/a.go", "frontdesk/routing", ""},
		{"cmd/frontdesk/a.go", "frontdesk/crm/crmtest", ""},
		{"util/a.go", "strings", "not in the law"},
		{"sip/newcorner/a.go", "strings", "not in the law"},
		{"web/a.go", "github.com/emiago/sipgo/sip", "sipgo's types stay in package sip"},
		{"b2bua/a_test.go", "github.com/emiago/sipgo/sip", "sipgo's types stay in package sip"},
		{"sip/a.go", "github.com/emiago/sipgo/sip", ""},
		{"crm/a.go", "github.com/riverqueue/river", "jobs are owed"},
		{"cmd/frontdesk/a.go", "github.com/riverqueue/river", ""},
		{"calllog/a.go", "github.com/jackc/pgx/v5", "through store"},
		{"staff/a_test.go", "github.com/pressly/goose/v3", "through store"},
		{"staff/a_test.go", "frontdesk/store/storetest", ""},
		{"staff/a.go", "frontdesk/store/storetest", "test double"},
		{"routing/a_test.go", "flag", ""},
		{"routing/a.go", "flag", "take a Config"},
		{"tts/a.go", "log", "slog"},
		{"tts/a.go", "log/slog", ""},
	} {
		got := imports(snippet(t, c.file, "package x\nimport _ "+strconv.Quote(c.imported)+"\n"))
		expect(t, c.file+" importing "+c.imported, got, c.want)
	}
}

// snippet is a tree of one file.
func snippet(t *testing.T, name, src string) *tree {
	t.Helper()
	out := &tree{fset: token.NewFileSet()}
	if err := out.add(name, src); err != nil {
		t.Fatal(err)
	}
	return out
}

// expect wants exactly one problem that holds want, or none for "".
func expect(t *testing.T, what string, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s: unexpected %q", what, got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("%s: got %q, want one problem with %q", what, got, want)
	}
}
