package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"frontdesk/cmd/frontdesk/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const goldenDir = "../../../testdata/config"

// TestProblems reads every configuration of testdata/config and compares what
// is said of it, to the letter. No text may hold a canary: those are secrets.
func TestProblems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.txtar"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

func golden(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := map[string]string{}
	want := ""
	at := -1
	for i, f := range archive.Files {
		switch f.Name {
		case "problems":
			want, at = string(f.Data), i
		case "env":
			for line := range strings.Lines(string(f.Data)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[key] = value
			}
		default:
			if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, problems := config.Load(filepath.Join(dir, "frontdesk.yaml"), lookup(env))
	got := text(t, problems)
	got = strings.ReplaceAll(got, dir+string(filepath.Separator), "")
	if strings.Contains(got, "canary") {
		t.Errorf("a secret shows:\n%s", got)
	}
	if problems.HasErrors() == (c.Plan != nil) {
		t.Errorf("errors: %v, plan: %v", problems.HasErrors(), c.Plan)
	}
	if *update && at >= 0 {
		archive.Files[at].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func text(t testing.TB, problems config.Problems) string {
	t.Helper()
	var b bytes.Buffer
	if err := problems.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
