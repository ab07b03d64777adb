//go:build e2e

package e2e_test

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
)

// byApp is a portal that is spoken with by an OAuth application alone, and
// mirrored each second. of is whose portal it is.
func byApp(of string) option {
	return section("crm", `{mirror: {every: 1s}, bitrix24: {rate: {per_second: 1000, burst: 10000},`+
		` app: {client_id: local.1, client_secret: application-key, portal: "`+of+`", server: "`+of+`", refresh_token: refresh-local.1-1}}}`)
}

// installed puts the application into the portal.
func installed(p *crmtest.Portal) { p.AddApp(crmtest.App{ID: "local.1", Secret: "application-key"}) }

// kill ends the server as a crash does.
func (s *server) kill() {
	s.t.Helper()
	s.must(s.cmd.Process.Kill())
	<-s.ended
}

// revive starts a server that was killed, on what it has stored.
func (s *server) revive() {
	s.t.Helper()
	s.ended = make(chan struct{})
	s.run()
	s.ready()
}

func (s *server) feeds() bool { return s.metrics("frontdesk_crm_mirror_feeds") == 1 }

// TestNodes has two nodes on one PostgreSQL: one reads the portal, both decide
// from the mirror while it is dead, expired tokens are renewed once, and when
// the one that reads is killed the other goes on.
func TestNodes(t *testing.T) {
	t.Parallel()
	mine := client(950)
	var id int
	database := stores["postgres"](t)[0]
	first := start(t, staffed(database, byApp("{{.Portal}}"), portal(installed),
		portal(func(p *crmtest.Portal) { id = contactOf(anna, nil).add(p, mine) }))...)
	first.mirrored()
	second := start(t, staffed(database, byApp(first.origin()))...)
	second.mirrored()
	if !first.feeds() || second.feeds() {
		t.Errorf("the first node feeds the mirror: %v, the second: %v", first.feeds(), second.feeds())
	}
	trunks := map[*server]*trunkPhone{first: newTrunkPhone(first, ".11"), second: newTrunkPhone(second, ".11")}

	renewals := first.portal.Renewals()
	first.portal.ExpireTokens()
	var calls sync.WaitGroup
	for s, trunk := range trunks {
		for range 5 {
			calls.Go(func() {
				if a := trunk.place(mine, did); a.target != "203" {
					s.t.Errorf("a call while tokens are renewed was answered %v", a)
				}
			})
		}
	}
	calls.Wait()
	if n := first.portal.Renewals() - renewals; n != 1 {
		t.Errorf("the tokens were renewed %d times by two nodes, want once", n)
	}

	first.portal.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
	for s, trunk := range trunks {
		s.saysMirror(s.redirects(trunk, mine, did, redirected("203", call.OutcomeResponsible, false, "")), true)
	}
	first.portal.Heal()

	first.kill()
	first.portal.SetField(call.KindContact, id, "ASSIGNED_BY_ID", boris)
	waitFor(t, "the other node to feed the mirror", second.feeds)
	waitFor(t, "the other node to hear of a change", func() bool { return second.metrics("frontdesk_crm_mirror_changes_total") > 0 })
	first.revive()
	first.mirrored()
	first.portal.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
	for s, trunk := range trunks {
		s.saysMirror(s.redirects(trunk, mine, did, redirected("204", call.OutcomeResponsible, false, "")), true)
	}
	if first.feeds() {
		t.Error("the node that came back feeds too")
	}
	first.quiet()
	second.quiet()
}

// begins counts how often the contacts were read from the first one on.
func (s *server) begins() (n int) {
	for _, r := range s.portal.Requests() {
		for _, c := range r.Commands {
			text, err := url.QueryUnescape(c)
			s.must(err)
			method, _, _ := strings.Cut(text, "?")
			if strings.HasSuffix(method, "crm.contact.list") && strings.Contains(text, "PHONE") &&
				strings.Contains(text, "filter[>ID]=0") && strings.Count(text, "filter[") == 1 {
				n++
			}
		}
	}
	return n
}

// TestKilledInAnExport kills the process while it reads the portal: it goes on
// where it was.
func TestKilledInAnExport(t *testing.T) {
	t.Parallel()
	const cards = 1600 // three batches and a rest
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, staffed(append(options(t), withMirror(""), portal(func(p *crmtest.Portal) {
				for i := range cards {
					contactOf(anna, nil).add(p, client(10000+i))
				}
				// Besides the pages there are three: the portal's time, the last id,
				// and the search for temporary managers.
				p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Hour, Method: "batch", After: 5})
			}))...)...)
			waitFor(t, "a part of the export", func() bool { return s.metrics(`frontdesk_crm_mirror_entities{kind="contact"}`) > 500 })
			s.kill()
			s.portal.Heal()
			s.revive()
			s.mirrored()
			if n := s.metrics(`frontdesk_crm_mirror_entities{kind="contact"}`); n != cards+2 {
				t.Errorf("the mirror has %v contacts, want %d", n, cards+2)
			}
			if n := s.begins(); n != 1 {
				t.Errorf("the contacts were read from the first one on %d times, want once", n)
			}
			s.idle()
		})
	}
}

// TestKilledInARenewal kills the process while it waits for new tokens: they
// are renewed once, afterwards.
func TestKilledInARenewal(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, staffed(append(options(t), byApp("{{.Portal}}"), portal(installed))...)...)
			trunk := newTrunkPhone(s, ".11")
			s.redirects(trunk, callerQuiet, did, redirected("202", call.OutcomeResponsible, false, ""))
			renewals := s.portal.Renewals()
			s.portal.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Minute, Method: "oauth.token"})
			s.portal.ExpireTokens()
			trunk.place(callerUnknown, did) // answered at the deadline, by the mirror or not
			s.kill()
			s.portal.Heal()
			s.revive()
			waitLong(t, "the portal to be asked again", patient, func() bool {
				a := trunk.place(callerQuiet, did)
				return a.target == "202" && factsOf(t, s.recordOf(a.callID)).CRM.Source == call.SourceLive
			})
			if n := s.portal.Renewals() - renewals; n != 1 {
				t.Errorf("the tokens were renewed %d times, want once", n)
			}
			s.quiet() // calls wait for their whole deadline here
		})
	}
}

// TestKilledInAnExpiry kills the process between emptying a temporary manager's
// fields and the mails: both are done once.
func TestKilledInAnExpiry(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var id int
			s := start(t, staffed(append(options(t), section("staff", `{every: 1s}`),
				section("mail", `{smtp: "smtp://{{.Net}}.25:2525", from: desk@example.com}`),
				portal(func(p *crmtest.Portal) { id = contactOf(vera, nil).add(p, client(960)) }))...)...)
			addr := s.net + ".25:2525"
			mute := func() error { return nil }
			if name == "sqlite" { // killed with a mail half sent; on PostgreSQL such a job is taken up a minute later
				silent, err := net.Listen("tcp", addr) // takes connections and says nothing
				s.must(err)
				mute = silent.Close
			}
			s.portal.SetField(call.KindContact, id, fieldDeputy, gleb)
			s.portal.SetField(call.KindContact, id, fieldUntil, time.Now().Add(-time.Minute).Format(time.RFC3339))
			waitFor(t, "the fields to be emptied", func() bool {
				return s.empty(id, fieldDeputy) && s.empty(id, fieldUntil) && s.metrics(`frontdesk_staff_deputies_total{result="cleared"}`) == 1
			})
			s.kill()
			s.must(mute())
			mail := newMailboxAt(t, addr)
			s.revive()
			want := []string{"gleb@example.com", "vera@example.com"}
			waitLong(t, "the mails", 2*patient, func() bool { return len(mail.taken()) >= len(want) })
			waitFor(t, "another search", func() bool { return s.metrics(`frontdesk_staff_searches_total{result="ok"}`) >= 2 })
			if got := mail.taken(); !slices.Equal(got, want) {
				t.Errorf("mails to %q, want to %q", got, want)
			}
			if n := s.updates(); n != 1 {
				t.Errorf("the contact was updated %d times, want once", n)
			}
			s.idle()
		})
	}
}
