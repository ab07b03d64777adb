package frontdesk_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	linkPattern   = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	codePattern   = regexp.MustCompile("`[^`\n]+`")
	makePattern   = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	targetPattern = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):[^=]`)
	headPattern   = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	anchorPattern = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// documents maps the path of every Markdown file to its text.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(name, d.Name())
		case filepath.Ext(name) == ".md":
			b, err := os.ReadFile(name)
			out[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	for _, must := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/operations.md", "docs/api.md"} {
		if docs[must] == "" {
			t.Errorf("%s is missing", must)
		}
	}
	targets := makeTargets(t)
	for name, text := range docs {
		for _, problem := range slices.Concat(links(name, text, os.ReadFile), targetsNamed(name, text, targets)) {
			t.Error(problem)
		}
	}
}

// links finds relative links that lead nowhere, and anchors without a heading.
func links(name, text string, read func(string) ([]byte, error)) []string {
	var out []string
	for i, line := range strings.Split(text, "\n") {
		line = codePattern.ReplaceAllString(line, "")
		for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
			u, err := url.Parse(m[1])
			if err == nil && u.IsAbs() {
				continue
			}
			if why := leadsNowhere(name, text, u, err, read); why != "" {
				out = append(out, fmt.Sprintf("%s:%d: the link %s %s", name, i+1, m[1], why))
			}
		}
	}
	return out
}

func leadsNowhere(name, text string, u *url.URL, err error, read func(string) ([]byte, error)) string {
	if err != nil {
		return "is no URL"
	}
	if u.Path != "" {
		target := filepath.Join(filepath.Dir(name), filepath.FromSlash(u.Path))
		if info, err := os.Stat(target); err == nil && info.IsDir() {
			return ""
		}
		b, err := read(target)
		if err != nil {
			return "leads to no file"
		}
		text = string(b)
	}
	if u.Fragment != "" && !slices.Contains(anchors(text), u.Fragment) {
		return "names a heading that is not there"
	}
	return ""
}

// anchors are the fragments that Git forges make of headings.
func anchors(text string) []string {
	var out []string
	for _, m := range headPattern.FindAllStringSubmatch(text, -1) {
		heading := anchorPattern.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		out = append(out, strings.ReplaceAll(heading, " ", "-"))
	}
	return out
}

// targetsNamed finds `make X` in code where the Makefile has no X. Prose may
// make what it likes.
func targetsNamed(name, text string, targets []string) []string {
	var out []string
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		code := line
		if !fenced {
			code = strings.Join(codePattern.FindAllString(line, -1), " ")
		}
		for _, m := range makePattern.FindAllStringSubmatch(code, -1) {
			if !slices.Contains(targets, m[1]) {
				out = append(out, fmt.Sprintf("%s:%d: there is no `make %s`", name, i+1, m[1]))
			}
		}
	}
	return out
}

func makeTargets(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range targetPattern.FindAllStringSubmatch(string(b), -1) {
		out = append(out, m[1])
	}
	return out
}

// TestMakeHelp wants every target that people may call to be explained by
// `make help`.
func TestMakeHelp(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"help", "demo", "test", "check", "bench", "e2e", "fuzz", "build"} {
		if !regexp.MustCompile(`(?m)^` + want + `:.*## \S`).Match(b) {
			t.Errorf("Makefile: the target %s is missing, or has no ## help", want)
		}
	}
}

// TestADRs wants the decisions numbered without gaps, each with its parts.
func TestADRs(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("docs/adr/[0-9]*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no ADRs: %v", err)
	}
	for i, name := range names {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(filepath.Base(name), want) {
			t.Errorf("%s: its number should be %s", name, want)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"Status: ", "## Context", "## Decision", "## Consequences"} {
			if !strings.Contains(string(b), "\n"+part) {
				t.Errorf("%s has no %q", name, part)
			}
		}
	}
}

func TestDocumentsAreJudged(t *testing.T) {
	t.Parallel()
	read := func(name string) ([]byte, error) {
		if name == "docs/there.md" {
			return []byte("# A heading, with: signs\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	for text, want := range map[string]string{
		"[a](there.md)":                            "",
		"[a](there.md#a-heading-with-signs)":       "",
		"[a](there.md#other)":                      "heading that is not there",
		"[a](gone.md)":                             "docs/x.md:1: the link gone.md leads to no file",
		"[a](https://example.org/gone.md)":         "",
		"`[a](gone.md)`":                           "",
		"# Here\n[a](#here)":                       "",
		"[a](#nowhere)":                            "heading that is not there",
		"![picture](gone.png) and [a](there.md#x)": "gone.png",
	} {
		got := links("docs/x.md", text, read)
		if len(got) > 1 {
			got = got[:1]
		}
		expect(t, text, got, want)
	}
	for text, want := range map[string]string{
		"run `make check`":                "",
		"run `make everything`":           "x.md:1: there is no `make everything`",
		"rules make sense":                "",
		"```\nmake check\nmake gone\n```": "x.md:3: there is no `make gone`",
	} {
		expect(t, text, targetsNamed("x.md", text, []string{"check"}), want)
	}
}
