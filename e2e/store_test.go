//go:build e2e

package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// gone are databases that cannot be opened, and how each is made good.
var gone = map[string]func(t *testing.T) (opt option, back func() error){
	"sqlite": func(t *testing.T) (option, func() error) {
		dir := filepath.Join(t.TempDir(), "mounted", "later")
		return section("store", `"sqlite:`+filepath.Join(dir, "frontdesk.db")+`"`), func() error { return os.MkdirAll(dir, 0o700) }
	},
	"postgres": func(t *testing.T) (option, func() error) {
		server := storetest.Start(t)
		dsn := server.Database(t)
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		return section("store", `"`+dsn+`"`), server.Resume
	},
}

// TestStoreComesLater starts beside a database that cannot be opened: calls are
// routed by the portal and to defaults. When it can be opened the store is taken
// in use: bindings, the mirror and jobs.
func TestStoreComesLater(t *testing.T) {
	t.Parallel()
	for name, make := range gone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missing, back := make(t)
			mine := client(900)
			s := start(t, staffed(missing, withMirror(""), portal(func(p *crmtest.Portal) { contactOf(anna, nil).add(p, mine) }))...)
			s.outward()
			trunk := newTrunkPhone(s, ".11")
			s.redirects(trunk, mine, did, redirected("203", call.OutcomeResponsible, false, ""))
			s.redirects(trunk, callerUnknown, did, redirected("800", call.OutcomeUnknown, false, ""))
			s.callsOut("205", mine, call.ResultRefused) // binds in memory
			s.redirects(trunk, mine, did, bound("205", false))
			if up := s.metrics("frontdesk_store_up"); up != 0 {
				t.Errorf("frontdesk_store_up is %v without a database", up)
			}
			if !strings.Contains(s.log.String(), "the database cannot be opened") {
				t.Error("the log does not say that the database cannot be opened")
			}

			s.must(back())
			waitFor(t, "the store to be taken in use", func() bool {
				return s.metrics("frontdesk_store_up") == 1 && s.metrics("frontdesk_staff_sticky_unsaved") == 0
			})
			s.mirrored()
			s.portal.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
			s.restart()
			s.redirects(trunk, mine, did, bound("205", false))
			s.saysMirror(s.redirects(trunk, callerKnown, did, redirected("201", call.OutcomeResponsible, true, "")), true)
			s.idle()
		})
	}
}

// TestDeadAtStart starts beside a portal, a database and a text to speech
// that are all dead: callers reach the defaults, and the portal's word as soon
// as it lives.
func TestDeadAtStart(t *testing.T) {
	t.Parallel()
	for name, make := range gone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missing, _ := make(t)
			s := start(t, staffed(missing, withMirror(""), func(s *setup) { s.env, s.unready = append(s.env, "PATH=/nonexistent"), true },
				section("greeting", `{engine: espeak, text: "{{"{{.Manager.LastName}}"}}", cache: "{{.Dir}}/cache"}`),
				portal(func(p *crmtest.Portal) { p.SetFault(crmtest.Fault{Kind: crmtest.Refuse}) }))...)
			trunk := newTrunkPhone(s, ".11")
			s.redirects(trunk, callerKnown, did, redirected("800", call.OutcomeCRMError, false, ""))
			s.redirects(trunk, callerUnknown, nightD, redirected("900", call.OutcomeCRMError, false, ""))
			s.ends(s.bridges(callerKnown), "800")
			s.portal.Heal()
			waitFor(t, "calls to be routed by the CRM", func() bool { return trunk.place(callerQuiet, did).target == "202" })
			s.ends(s.bridges(callerKnown), "201") // without a greeting
			s.idle()
		})
	}
}

// TestStoreInUse refuses a second server on one file, which harms nobody.
func TestStoreInUse(t *testing.T) {
	t.Parallel()
	s := start(t)
	cmd := exec.Command(binary, "serve", "--config", s.other())
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "in use by another frontdesk") {
		t.Errorf("a second server on the file ended with %v:\n%s", err, out)
	}
	if a := newTrunkPhone(s, ".11").place(callerKnown, did); a.target != "201" {
		t.Errorf("the first server answered %v", a)
	}
}

// other is the server's configuration at other addresses.
func (s *server) other() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config())
	s.must(err)
	file := filepath.Join(s.dir, "other.yaml")
	moved := strings.NewReplacer(s.sip, freePort(s.t, "127.0.0.1"), s.http, freePort(s.t, "127.0.0.1")).Replace(string(text))
	s.must(os.WriteFile(file, []byte(moved), 0o600))
	return file
}

// TestEndsBeforeTheStore ends frontdesk before its database could be opened: the
// record of a call waits in a file for the next start.
func TestEndsBeforeTheStore(t *testing.T) {
	t.Parallel()
	for name, make := range gone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missing, back := make(t)
			s := start(t, staffed(missing)...)
			trunk := newTrunkPhone(s, ".11")
			rec := s.redirects(trunk, callerUnknown, did, redirected("800", call.OutcomeUnknown, false, ""))
			s.stop()
			s.must(back())
			s.revive()
			waitFor(t, "the record of the call before, and its file to be gone", func() bool {
				kept, err := filepath.Glob(filepath.Join(s.dir, "recordings", "unsaved-*"))
				s.must(err)
				return s.record(rec.ID).ID == rec.ID && len(kept) == 0
			})
		})
	}
}
