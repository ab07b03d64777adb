package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"frontdesk/cmd/frontdesk/config"
)

// FuzzLoad: whatever a file holds, reading it ends, problems point into it, and
// a plan comes with no errors only.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(archive.Files[0].Data))
	}
	f.Add(config.Example())
	f.Fuzz(func(t *testing.T, s string) {
		c, problems := config.Parse("frontdesk.yaml", []byte(s), none)
		if problems.HasErrors() == (c.Plan != nil) {
			t.Fatalf("errors %v, plan %v", problems.HasErrors(), c.Plan != nil)
		}
		lines := strings.Count(s, "\n") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" {
				t.Fatalf("a problem points nowhere: %+v", p)
			}
		}
		if said := text(t, problems); !utf8.ValidString(said) || strings.ContainsAny(said, "\x00\x1b\r") {
			t.Fatalf("problems are no plain text: %q", said)
		}
		_ = fmt.Sprintf("%+v", c)
	})
}

// BenchmarkThousandRules reads a configuration with a thousand rules.
func BenchmarkThousandRules(b *testing.B) {
	var s strings.Builder
	s.WriteString("trunks: {carrier: {sources: [192.0.2.1]}}\nrules:\n")
	for i := range 1000 {
		fmt.Fprintf(&s, "  - name: rule %d\n    trunk: carrier\n    did: [\"+7495%07d\", \"_+7499%04dXXX\"]\n    hours: \"Mon-Fri 09:00-18:00\"\n    default: \"800\"\n", i, i, i)
	}
	file := []byte(s.String())
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := config.Parse("frontdesk.yaml", file, none); problems.HasErrors() {
			b.Fatal(problems.Err())
		}
	}
}

func BenchmarkExample(b *testing.B) {
	file := []byte(config.Example())
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := config.Parse("frontdesk.yaml", file, none); problems.HasErrors() {
			b.Fatal(problems.Err())
		}
	}
}
