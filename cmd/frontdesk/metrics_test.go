package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/crm"
)

// TestMetricsAreDocumented wants every metric in docs/operations.md, and no
// other there.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	d := newServed(t, func(portal string) string {
		return fmt.Sprintf("recordings: {mode: upload, dir: %q}\nphonebook: {sync: true}\ncalllog: {enabled: true}\ncrm: {placeholder: 1, bitrix24: {%s, webhook: \"%s/rest/1/%s/\"}}\n",
			t.TempDir(), fast, portal, secret)
	})
	d.edit(t, "carrier: {", "carrier: {register: {registrar: \"sip:127.0.0.1:1\", user: u, password: p}, ")
	d.edit(t, "queues: [800-899]", fmt.Sprintf("queues: [800-899], xapi: {url: \"http://127.0.0.1:1\", client_id: frontdesk, client_secret: canary}, cdr: {listen: \"127.0.0.1:%d\"}", freePort(t)))
	sys, _ := d.serve(t)
	there := map[string]bool{}
	for _, c := range slices.Concat(sys.metrics(), sys.web.Collectors(), crm.NewShare(sys.crm, nil).Collectors()) { // the share is for nodes on PostgreSQL
		descs := make(chan *prometheus.Desc, 64)
		c.Describe(descs)
		close(descs)
		for desc := range descs {
			_, name, _ := strings.Cut(desc.String(), "fqName: \"")
			name, _, _ = strings.Cut(name, "\"")
			there[name] = true
		}
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, name := range regexp.MustCompile("frontdesk_[a-z0-9_]+").FindAllString(string(text), -1) {
		told[strings.TrimSuffix(name, "_count")] = true
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !told[name] {
			t.Errorf("docs/operations.md does not tell of %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if !there[name] {
			t.Errorf("docs/operations.md tells of %s, which there is not", name)
		}
	}
}
