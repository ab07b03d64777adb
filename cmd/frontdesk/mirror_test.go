package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
)

// The command reads a portal into the store, goes on where it stopped, and
// leaves a store alone that serve holds.
func TestMirrorExport(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	ids := make([]int, 1200)
	for i := range ids {
		ids[i] = p.AddContact(crmtest.Contact{Name: "C", Phones: []string{fmt.Sprintf("8 916 %07d", i)}})
	}
	p.AddLead(crmtest.Lead{Title: "L", Phones: []string{"+79160000001"}})
	portal, err := crmtest.Start(p, crmtest.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := portal.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	dsn := "sqlite:" + filepath.Join(dir, "frontdesk.db")
	file := filepath.Join(dir, "frontdesk.yaml")
	text := fmt.Sprintf("store: %q\nhttp: {listen: \"127.0.0.1:1\"}\ncrm: {bitrix24: {webhook: %q}}\n"+
		"rules: [{name: all, default: \"800\"}]\n", dsn, portal.Webhook())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	export := func(want int, flags ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"mirror", "export", "--config", file}, flags...), &out, &errs); code != want {
			t.Fatalf("exit status %d, want %d\n%s%s", code, want, &out, &errs)
		}
		return out.String(), errs.String()
	}
	p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Method: "batch", After: 3})
	if _, stderr := export(exitFindings); !strings.Contains(stderr, "run it again") || strings.Contains(stderr, "secret") {
		t.Errorf("a broken portal: %s", stderr)
	}
	p.Heal()
	const want = "contacts 1200, companies 0, leads 1, numbers 1200\n"
	if stdout, stderr := export(0); stdout != want || stderr != "" && !strings.Contains(stderr, "mirror exported") {
		t.Errorf("printed %q and %q, want %q", stdout, stderr, want)
	}
	for _, id := range ids {
		p.Remove(call.KindContact, id)
	}
	if _, stderr := export(exitFindings); !strings.Contains(stderr, "--full") {
		t.Errorf("a portal without contacts is believed: %s", stderr)
	}
	if stdout, _ := export(0, "--full"); stdout != "contacts 0, companies 0, leads 1, numbers 1\n" {
		t.Errorf("--full printed %q", stdout)
	}
	serving, err := store.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr := export(exitFindings); !strings.Contains(stderr, "in use by another frontdesk") {
		t.Errorf("a store in use: %s", stderr)
	}
	if err := serving.Close(); err != nil {
		t.Error(err)
	}
}
