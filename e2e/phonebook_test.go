//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
)

// console is the configuration API of a PBX, at an address.
func console(t *testing.T) (*pbxtest.State, *pbxtest.API, string) {
	t.Helper()
	state := pbxtest.NewState(pbxtest.StateConfig{})
	api := pbxtest.NewAPI(state)
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		api.Close()
		server.Close()
	})
	return state, api, server.URL
}

// names are the first names of the contacts by Tag, joined where a Tag is there
// more than once.
func names(state *pbxtest.State) map[string]string {
	out := map[string]string{}
	for _, r := range state.Rows("Contacts") {
		out[fmt.Sprint(r["Tag"])] += fmt.Sprint(r["FirstName"])
	}
	return out
}

// TestKilledSync: kill -9 in the middle, again and again; the next one goes on
// and makes no contact twice.
func TestKilledSync(t *testing.T) {
	t.Parallel()
	const contacts = 400
	state, api, url := console(t)
	p := crmtest.New(crmtest.Options{})
	for id := 1; id <= contacts; id++ {
		p.AddContact(crmtest.Contact{ID: id, Name: "Anna", Phones: []string{fmt.Sprintf("+7916%07d", id)}})
	}
	portal, err := crmtest.Start(p, crmtest.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = portal.Close() })
	dir := t.TempDir()
	file := filepath.Join(dir, "frontdesk.yaml")
	text := fmt.Sprintf("store: %q\nhttp: {listen: \"127.0.0.1:1\"}\ncrm: {bitrix24: {webhook: %q, rate: {per_second: 1000, burst: 10000}}}\n"+
		"pbx: {xapi: {url: %q, client_id: frontdesk, client_secret: secret, rate: 1000}}\nrules: [{name: all, default: \"800\"}]\n",
		"sqlite:"+filepath.Join(dir, "frontdesk.db"), portal.Webhook(), url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sync := func() *exec.Cmd { return exec.Command(binary, "3cx", "sync", "--json", "--config", file) }
	for _, stage := range []int{30, 150, 151, 290} {
		cmd := sync()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "contacts to be made", func() bool { return len(state.Rows("Contacts")) >= stage })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	if made := len(state.Rows("Contacts")); made >= contacts {
		t.Fatalf("all %d contacts were made before the last kill", made)
	}
	for pass := range 2 {
		before := api.Total()
		out, err := sync().Output()
		var sum struct {
			Problem string
			Written struct{ Created, Updated, Deleted int }
		}
		if err != nil || json.Unmarshal(out, &sum) != nil || sum.Problem != "" {
			t.Fatalf("%v: %s", err, out)
		}
		if w := sum.Written; w.Deleted > 0 || pass == 1 && (w.Created+w.Updated > 0 || api.Total()-before > contacts/100+3) {
			t.Errorf("pass %d: %+v, %d requests", pass, sum, api.Total()-before)
		}
	}
	book := names(state)
	for id := 1; id <= contacts; id++ {
		if got := book[fmt.Sprintf("B24:C:%d", id)]; got != "Anna" {
			t.Errorf("contact %d is there as %q", id, got)
		}
	}
	if n := len(state.Rows("Contacts")); n != contacts || strings.Contains(fmt.Sprint(book), "AnnaAnna") {
		t.Errorf("%d contacts", n)
	}
}
