package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/store"
)

// TestBackupCommand copies a store that another one has open, as serve does.
func TestBackupCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command := func(dsn string, args ...string) (string, int) {
		t.Helper()
		file := filepath.Join(dir, "frontdesk.yaml")
		text := `trunks: {carrier: {sources: [127.0.0.1]}}
pbx: {sip: ["sip:127.0.0.1:5070"], extensions: [100-299], queues: [800-899]}
rules: [{name: all, default: "800"}]
crm: {bitrix24: {webhook: "http://127.0.0.1:1/rest/1/x/"}}
store: ` + dsn + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"backup", "--config", file}, args...), &out, &out)
		return out.String(), code
	}
	dsn, to := "sqlite:"+filepath.Join(dir, "frontdesk.db"), filepath.Join(dir, "copy.db")
	serving, err := store.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.Put(t.Context(), "token", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if out, code := command(dsn, to); code != 0 || !strings.Contains(out, "copy.db: written") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if out, code := command(dsn, to); code != 1 || !strings.Contains(out, "exists") {
		t.Errorf("over a copy: exit %d: %s", code, out)
	}
	if out, code := command("postgres://desk:canary@db/frontdesk", to); code != 1 || !strings.Contains(out, "pg_dump") || strings.Contains(out, "canary") {
		t.Errorf("PostgreSQL: exit %d: %s", code, out)
	}
	if _, code := command(dsn); code != 2 {
		t.Errorf("without a file: exit %d", code)
	}
	if err := serving.Close(); err != nil {
		t.Fatal(err)
	}
	restored, err := store.Open(t.Context(), "sqlite:"+to, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := restored.Get(t.Context(), "token"); err != nil || string(v) != "kept" {
		t.Errorf("restored %q, %v", v, err)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
}
