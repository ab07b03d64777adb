package main

import (
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsAreDocumented wants every command in docs/operations.md.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		_, name, _ := strings.Cut(c.CommandPath(), " ")
		if c.Runnable() && !strings.Contains(string(text), "`frontdesk "+name) && !strings.Contains(string(text), "`"+name) {
			t.Errorf("docs/operations.md does not tell of the command %s", name)
		}
	}
	walk(newRoot())
}

// TestPathsAreDocumented wants every path of the API in docs/api.md.
func TestPathsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	described, err := os.ReadFile("../../web/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct{ Paths map[string]any }
	if err := json.Unmarshal(described, &api); err != nil || len(api.Paths) == 0 {
		t.Fatalf("%d paths, %v", len(api.Paths), err)
	}
	for p := range api.Paths {
		one := "`" + path.Base(p) + "`" // a row of a table under several paths' heading
		if !strings.Contains(string(text), p) && !(strings.Contains(string(text), path.Dir(p)+"/") && strings.Contains(string(text), one)) {
			t.Errorf("docs/api.md does not tell of %s", p)
		}
	}
}
