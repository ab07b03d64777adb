package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/routing"
	"frontdesk/store/storetest"
	"frontdesk/web"
)

// books are a portal and a PBX, and a configuration between them.
type books struct {
	portal *crmtest.Portal
	pbx    *pbxtest.State
	api    *pbxtest.API
	dir    string
	file   string
}

func newBooks(t *testing.T, build pbxtest.Build, dsn string) *books {
	t.Helper()
	b := &books{portal: crmtest.New(crmtest.Options{}), pbx: pbxtest.NewState(pbxtest.StateConfig{Build: build}), dir: t.TempDir()}
	portal, err := crmtest.Start(b.portal, crmtest.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := portal.Close(); err != nil {
			t.Error(err)
		}
	})
	b.api = pbxtest.NewAPI(b.pbx)
	server := httptest.NewServer(b.api)
	t.Cleanup(func() {
		b.api.Close()
		server.Close()
	})
	if dsn == "" {
		dsn = "sqlite:" + filepath.Join(b.dir, "frontdesk.db")
	}
	b.file = filepath.Join(b.dir, "frontdesk.yaml")
	text := fmt.Sprintf("store: %q\nhttp: {listen: \"127.0.0.1:0\"}\ncrm: {bitrix24: {webhook: %q, rate: {per_second: 1000, burst: 10000}}}\n"+
		"pbx: {xapi: {url: %q, client_id: frontdesk, client_secret: secret, rate: 1000}}\nphonebook: {sync: true}\nlog: {level: error}\nrules: [{name: all, default: \"800\"}]\n",
		dsn, portal.Webhook(), server.URL)
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// sync runs the command and wants an exit status.
func (b *books) sync(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), append([]string{"3cx", "sync", "--config", b.file}, args...), &out, &errs); code != want {
		t.Fatalf("exit status %d, want %d\n%s%s", code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func (b *books) synced(t *testing.T, args ...string) web.PhonebookSync {
	t.Helper()
	out, _ := b.sync(t, 0, append(args, "--json")...)
	var s web.PhonebookSync
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

// tagged are the first names and mobile numbers of the contacts, by Tag.
func (b *books) tagged() map[string]string {
	out := map[string]string{}
	for _, r := range b.pbx.Rows("Contacts") {
		out[fmt.Sprint(r["Tag"])] += fmt.Sprintf("%v %v;", r["FirstName"], r["PhoneNumber"])
	}
	return out
}

// writes are the requests that wrote contacts.
func (b *books) writes() int {
	n := 0
	for _, r := range b.api.Requests() {
		if r.Method != "GET" && strings.Contains(r.Path, "/Contacts") {
			n++
		}
	}
	return n
}

func person(id int, name string) crmtest.Contact {
	return crmtest.Contact{ID: id, Name: name, Phones: []string{fmt.Sprintf("8 916 %07d", id)}, Card: crmtest.Card{Kinds: []string{"MOBILE"}}}
}

func TestSyncCommand(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]pbxtest.Build{"newest": 0, "before contacts were reworked": pbxtest.Build8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t, build, "")
			for id := 1; id <= 250; id++ {
				b.portal.AddContact(person(id, "Anna"))
			}
			mum := b.pbx.AddContact(pbxtest.Row{"FirstName": "Mum", "Home": "+74950000000"})
			out, _ := b.sync(t, 0, "--dry-run")
			if !strings.Contains(out, "create B24:C:1 Anna") || !strings.Contains(out, "to be created") || b.writes() > 0 {
				t.Errorf("dry run, %d writes:\n%s", b.writes(), out)
			}
			if s := b.synced(t); s.Written.Created != 250 || s.Contacts.Foreign != 1 || s.Problem != "" {
				t.Errorf("first: %+v", s)
			}
			before := b.writes()
			if s := b.synced(t); b.writes() != before || s.Contacts.Unchanged != 250 {
				t.Errorf("second: %d writes, %+v", b.writes()-before, s)
			}
			for id := 1; id <= 10; id++ {
				b.portal.Remove(call.KindContact, id)
			}
			b.portal.SetField(call.KindContact, 11, "NAME", "Olga")
			b.api.SetFault(pbxtest.Fault{Kind: pbxtest.Unauthorized, After: 2, Times: 1})
			if s := b.synced(t); s.Written != (web.PhonebookWritten{Updated: 1, Deleted: 10}) {
				t.Errorf("third: %+v", s)
			}
			got := b.tagged()
			if len(got) != 241 || got["B24:C:11"] != "Olga +79160000011;" || got["B24:C:10"] != "" {
				t.Errorf("%d contacts, %q, %q", len(got), got["B24:C:11"], got["B24:C:10"])
			}
			if rows := b.pbx.Rows("Contacts"); !slices.ContainsFunc(rows, func(r pbxtest.Row) bool { return r["Id"] == mum && r["FirstName"] == "Mum" }) {
				t.Error("people's contact is gone")
			}
		})
	}
}

func TestSyncCommandFails(t *testing.T) {
	t.Parallel()
	b := newBooks(t, 0, "")
	for id := 1; id <= 5; id++ {
		b.portal.AddContact(person(id, "Anna"))
	}
	b.api.SetFault(pbxtest.Fault{Kind: pbxtest.Forbidden, Path: "/Contacts"})
	out, errs := b.sync(t, exitFindings, "--json")
	if !strings.Contains(out, `"problem":`) && !strings.Contains(out, `"problem": `) || !strings.Contains(errs, "403") || strings.Contains(out+errs, "secret") {
		t.Errorf("403: %s%s", out, errs)
	}
	b.api.Heal()
	b.synced(t)
	for id := 1; id <= 5; id++ {
		b.portal.Remove(call.KindContact, id)
	}
	if _, errs := b.sync(t, exitFindings); !strings.Contains(errs, "--force") || len(b.tagged()) != 5 {
		t.Errorf("an empty portal: %s", errs)
	}
	if s := b.synced(t, "--force"); s.Written.Deleted != 5 || len(b.tagged()) != 0 {
		t.Errorf("forced: %+v", s)
	}
	if _, errs := b.sync(t, exitConfig, "--force", "--csv", "x"); errs == "" {
		t.Error("--force with --csv")
	}
}

func TestSyncCSV(t *testing.T) {
	t.Parallel()
	b := newBooks(t, 0, "")
	c := person(7, "=1+1")
	b.portal.AddContact(c)
	out, _ := b.sync(t, 0, "--csv", "-")
	want := "Name,Last Name,Company,Mobile,Mobile2,Home,Home 2,Business,Business2,e-mail,Other,Business Fax,Home Fax,Pager\r\n'=1+1,,,+79160000007,,,,,,,,,,\r\n"
	if out != want {
		t.Errorf("got  %q\nwant %q", out, want)
	}
	file := filepath.Join(b.dir, "book.csv")
	if out, _ := b.sync(t, 0, "--csv", file); out != "1 contacts in "+file+"\n" {
		t.Errorf("%q", out)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	if b.api.Total() > 0 {
		t.Error("the PBX was asked")
	}
	b.portal.SetFault(crmtest.Fault{Kind: crmtest.NoAuth})
	b.sync(t, exitFindings, "--csv", file)
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("a failed export replaced the file: %q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(b.dir, ".frontdesk-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestContactsAfterACall: what a call was about is read again and written, when
// the PBX can be reached, and asked for by the API meanwhile.
func TestContactsAfterACall(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		b := newBooks(t, 0, dsn)
		b.portal.AddContact(person(1, "Anna"))
		b.portal.AddContact(person(2, "Boris"))
		c, end := b.serve(t)
		s, err := c.Sync(t.Context(), web.PhonebookOptions{}, func(web.Progress) {})
		if err != nil || s.Written.Created != 2 {
			t.Fatalf("%v, %+v", err, s)
		}
		b.portal.SetField(call.KindContact, 1, "NAME", "Olga")
		b.portal.Remove(call.KindContact, 2)
		b.api.SetFault(pbxtest.Fault{Kind: pbxtest.Unavailable, Path: "/Contacts", Times: 3})
		c.ended(call.Record{ID: "a", Facts: call.NewDocument(routing.Facts{CRM: call.Answer{Entities: []call.Entity{
			{Kind: call.KindContact, ID: 1}, {Kind: call.KindContact, ID: 2}, {Kind: call.KindLead, ID: 3, Unreadable: true},
		}}})})
		c.ended(call.Record{ID: "b"})
		wait(t, "Olga alone", func() bool {
			got := b.tagged()
			return len(got) == 1 && got["B24:C:1"] == "Olga +79160000001;"
		})
		end()
	})
}

// serve runs the address book as serve does, until end.
func (b *books) serve(t *testing.T) (c contacts, end func()) {
	t.Helper()
	cfg, problems := config.Load(b.file, os.LookupEnv)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	st, err := openStore(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	portal, err := newPortal(cfg, st, log)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = newContacts(cfg, portal, st, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	c.run(ctx, g)
	g.Go(func() error { return st.Run(ctx) })
	wait(t, "the store is open", func() bool { ok, _ := st.Ready(); return ok })
	if n := len(c.collectors()); n < 5 {
		t.Errorf("%d metrics", n)
	}
	return c, func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		portal.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRefreshesWithoutADatabase: what could not be owed is owed later.
func TestRefreshesWithoutADatabase(t *testing.T) {
	t.Parallel()
	b := newBooks(t, 0, "")
	b.portal.AddContact(person(1, "Anna"))
	c, end := b.serve(t)
	defer end()
	full := &refreshes{store: c.refreshes.store, log: c.refreshes.log, more: make(chan struct{}, 1)}
	for range mostRecords + 5 {
		full.Ended(call.Record{Facts: call.NewDocument(routing.Facts{CRM: call.Answer{Entities: []call.Entity{{Kind: call.KindContact, ID: 1}}}})})
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := full.owe(gone); err == nil || len(full.records) != mostRecords {
		t.Errorf("%v, %d kept", err, len(full.records))
	}
	full.records = full.records[:250]
	wait(t, "the jobs are owed", func() bool { // the database of a busy machine may take longer than Run waits at its end
		if err := full.Run(gone); err != nil {
			t.Fatal(err)
		}
		return len(full.records) == 0
	})
	wait(t, "Anna", func() bool { return b.tagged()["B24:C:1"] != "" })
}

// wait polls until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not in a minute: %s", what)
		}
	}
}
