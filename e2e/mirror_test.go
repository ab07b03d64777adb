//go:build e2e

package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
)

// withMirror is the CRM with a mirror, as it is by default.
func withMirror(more string) option {
	return section("crm", `{bitrix24: {webhook: "{{.Webhook}}", event_token: heard, rate: {per_second: 1000, burst: 10000}}`+more+`}`)
}

// restart ends the server and starts it again on what it has stored. A slow
// machine may open the store only after calls are served.
func (s *server) restart() {
	s.t.Helper()
	stored := func() {
		waitFor(s.t, "the store to be open", func() bool { return s.metrics("frontdesk_store_up") == 1 })
	}
	stored()
	s.stop()
	s.ended = make(chan struct{})
	s.run()
	s.ready()
	stored()
}

// mirrored waits until the mirror has read the portal.
func (s *server) mirrored() {
	s.t.Helper()
	waitLong(s.t, "the mirror to be complete", 2*patient, func() bool {
		return s.metrics("frontdesk_crm_mirror_export_ratio") == 1 && s.metrics("frontdesk_crm_mirror_age_seconds") >= 0
	})
}

// TestMirror is scenario 12 beside a mirror: known callers reach and talk with
// their managers while the portal refuses connections, before and after a
// restart beside it, and by the portal again when it lives. The whole hour is in
// the tests of cmd/frontdesk, where time is virtual.
func TestMirror(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			company, both, talks := client(800), client(801), client(802)
			s := start(t, staffed(append(options(t), withMirror(""), portal(func(p *crmtest.Portal) {
				card{kind: call.KindCompany, owner: anna}.add(p, company)
				contactOf(olga, map[string]any{fieldManager: vera}).add(p, both)
				contactOf(vera, nil).add(p, both)
				contactOf(gleb, nil).add(p, talks) // who never sticks
			}))...)...)
			s.mirrored()
			trunk := newTrunkPhone(s, ".11")
			s.portal.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
			byMirror := func() {
				t.Helper()
				for from, want := range map[string]fate{
					callerKnown:   redirected("201", call.OutcomeResponsible, true, ""),
					callerQuiet:   redirected("202", call.OutcomeResponsible, false, ""),
					company:       redirected("203", call.OutcomeResponsible, false, ""),
					both:          redirected("205", call.OutcomeManager, false, ""),
					callerUnknown: redirected("800", call.OutcomeUnknown, false, ""),
				} {
					s.saysMirror(s.redirects(trunk, from, did, want), true)
				}
				s.saysMirror(s.ends(s.bridges(talks), "206"), true)
			}
			byMirror()
			s.restart()
			s.mirrored()
			byMirror()
			s.portal.Heal()
			waitFor(t, "the portal to be asked again", func() bool {
				a := trunk.place(callerQuiet, did)
				return a.target == "202" && factsOf(t, s.recordOf(a.callID)).CRM.Source == call.SourceLive
			})
			s.idle()
		})
	}
}

// saysMirror wants a record to tell that the mirror answered, how old it is,
// and why the portal was not heard, if it was asked.
func (s *server) saysMirror(rec call.Record, asked bool) {
	s.t.Helper()
	crm, trace := factsOf(s.t, rec).CRM, traceOf(rec)
	if crm.Source != call.SourceMirror || crm.Age <= 0 || asked != (crm.Missing != "") {
		s.t.Errorf("the CRM's answer is %s, %v old, missing %q, want the mirror's", crm.Source, time.Duration(crm.Age), crm.Missing)
	}
	if !strings.Contains(trace, "answered by the mirror") || !strings.Contains(trace, " old") {
		s.t.Errorf("the trace does not tell of the mirror and its age:\n%s", trace)
	}
}

// TestPreferMirror sees callers sent on at once however slow the portal is, and
// what the portal says count for the next call.
func TestPreferMirror(t *testing.T) {
	t.Parallel()
	var id int
	mine := client(810)
	s := start(t, staffed(withMirror(", prefer: mirror"), portal(func(p *crmtest.Portal) { id = contactOf(anna, nil).add(p, mine) }))...)
	s.mirrored()
	trunk := newTrunkPhone(s, ".11")
	s.portal.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Second})
	s.portal.SetField(call.KindContact, id, "ASSIGNED_BY_ID", boris) // of which nobody tells frontdesk
	a := trunk.place(mine, did)
	if a.target != "203" || a.took > 500*time.Millisecond {
		t.Errorf("the call was answered %v, want 203 at once", a)
	}
	s.saysMirror(s.recordOf(a.callID), false)
	waitFor(t, "the mirror to be corrected", func() bool { return s.explain("redirecting", mine, did).Target == "204" })
	s.idle()
}

// TestMirrorHears sees the portal's own events change where the next call goes.
func TestMirrorHears(t *testing.T) {
	t.Parallel()
	var id int
	mine := client(820)
	s := start(t, staffed(withMirror(", prefer: mirror"), portal(func(p *crmtest.Portal) { id = contactOf(anna, nil).add(p, mine) }))...)
	s.mirrored()
	s.portal.AddHook(crmtest.Hook{URL: "http://" + s.http + "/hooks/bitrix24/events", Token: "heard"})
	s.portal.SetField(call.KindContact, id, "ASSIGNED_BY_ID", boris)
	waitFor(t, "the event to be taken", func() bool { return s.metrics(`frontdesk_crm_events_total{result="taken"}`) >= 1 })
	waitFor(t, "the mirror to hear", func() bool { return s.explain("redirecting", mine, did).Target == "204" })
	s.redirects(newTrunkPhone(s, ".11"), mine, did, redirected("204", call.OutcomeResponsible, false, ""))
	s.idle()
}

// TestTemporaryManager sees a deputy get the calls up to the limit and not at
// it, whatever zone it is written in; then the fields are emptied once, and
// both who are concerned get one mail, also after a restart: scenario 6.
func TestTemporaryManager(t *testing.T) {
	t.Parallel()
	mail := newMailbox(t)
	var running, past int
	mine, late := client(830), client(831)
	s := start(t, staffed(
		portal(func(p *crmtest.Portal) {
			running = contactOf(vera, nil).add(p, mine)
			past = contactOf(vera, map[string]any{
				fieldDeputy: gleb, fieldUntil: time.Now().Add(-time.Minute).Format(time.RFC3339),
			}).add(p, late)
		}),
		section("staff", `{every: 1s}`),
		section("mail", `{smtp: "smtp://`+mail.addr()+`", from: desk@example.com}`))...)
	trunk := newTrunkPhone(s, ".11")
	s.redirects(trunk, late, did, redirected("205", call.OutcomeResponsible, false, ""))

	until := time.Now().Add(4 * time.Second).Truncate(time.Second)
	s.portal.SetField(call.KindContact, running, fieldDeputy, gleb)
	s.portal.SetField(call.KindContact, running, fieldUntil, until.In(time.FixedZone("", 9*3600)).Format(time.RFC3339))
	s.aroundTheLimit(trunk, mine, until)

	for _, id := range []int{running, past} {
		waitFor(t, "the fields to be emptied", func() bool { return s.empty(id, fieldDeputy) && s.empty(id, fieldUntil) })
	}
	want := []string{"gleb@example.com", "gleb@example.com", "vera@example.com", "vera@example.com"}
	waitFor(t, "the mails", func() bool { return len(mail.taken()) >= len(want) })
	s.restart()
	waitFor(t, "another search", func() bool { return s.metrics(`frontdesk_staff_searches_total{result="ok"}`) >= 2 })
	if got := mail.taken(); !slices.Equal(got, want) {
		t.Errorf("mails to %q, want to %q", got, want)
	}
	if n := s.updates(); n != 2 {
		t.Errorf("contacts were updated %d times, want each once", n)
	}
	s.redirects(trunk, mine, did, redirected("205", call.OutcomeResponsible, false, ""))
	s.idle()
}

// aroundTheLimit places calls across the limit: those that arrive before it go
// to the deputy, the others to the responsible.
func (s *server) aroundTheLimit(trunk *trunkPhone, from string, until time.Time) {
	s.t.Helper()
	tick := time.NewTicker(250 * time.Millisecond) // no two share a look-up
	defer tick.Stop()
	before, after := 0, 0
	for after < 3 {
		rec := s.recordOf(trunk.place(from, did).callID)
		want := redirected("205", call.OutcomeResponsible, false, "")
		if rec.Started.Before(until) {
			want = redirected("206", call.OutcomeTemporary, false, "")
			before++
		} else {
			after++
		}
		if got := fateOf(rec); got != want {
			s.t.Errorf("%v from the limit the record says\n%+v, want\n%+v", rec.Started.Sub(until), got, want)
		}
		<-tick.C
	}
	if before == 0 {
		s.t.Error("no call came before the limit: the test tests nothing")
	}
}

// empty reports whether a contact's field holds nothing.
func (s *server) empty(id int, code string) bool {
	v, _ := s.portal.Field(call.KindContact, id, code)
	return v == nil || v == "" || v == false
}

// updates counts the portal's contacts that were written.
func (s *server) updates() (n int) {
	for _, r := range s.portal.Requests() {
		for _, c := range append(r.Commands, r.Method) {
			if strings.Contains(c, "crm.contact.update") {
				n++
			}
		}
	}
	return n
}
