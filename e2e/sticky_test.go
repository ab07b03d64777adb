//go:build e2e

package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/routing"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
	"frontdesk/store/storetest"
)

// factsOf are the facts of a record.
func factsOf(t *testing.T, rec call.Record) (f routing.Facts) {
	t.Helper()
	if err := rec.Facts.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// patientClient rings for ever.
var patientClient = client(650)

// outward is the carrier that takes the PBX's calls. The clients with the
// numbers answer and talk; all others do not.
func (s *server) outward(talks ...string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	phone, err := siptest.NewPhone(ctx, siptest.Config{
		Listen: "udp://" + s.net + ".14:5060",
		Serve: func(ctx context.Context, c *siptest.Call) {
			if c.Ring() != nil {
				return
			}
			switch to := c.Invite().RequestURI.User; {
			case to == patientClient:
				_ = c.WaitDone(ctx)
			case !slices.Contains(talks, to):
				_ = c.Reject(480) // it may have been given up
			case c.Answer(ctx) == nil:
				_ = c.WaitDone(ctx)
			}
		},
	})
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- phone.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// callsOut has an extension of the PBX call a client, talks where the client
// answers, and gives the record.
func (s *server) callsOut(ext, to string, want call.Result) call.Record {
	s.t.Helper()
	ctx := patience(s.t)
	c, err := s.pbx.Phone.Call(ctx, siptest.Options{To: "sip:" + to + "@" + s.sip, From: sip.Address{User: ext}})
	s.must(err)
	final, err := c.WaitFinal(ctx)
	s.must(err)
	if final.Code == 200 {
		s.must(c.WaitSound(ctx, 200*time.Millisecond))
		s.must(c.Hangup(ctx))
	}
	rec := s.recordOf(c.CallIDs()[0])
	if rec.Direction != call.Out || rec.Result != want || rec.DID != call.Number(to) {
		s.t.Errorf("a call from %s to %s is recorded as %s to %s: %q, want %q", ext, to, rec.Direction, rec.DID, rec.Result, want)
	}
	return rec
}

// givesUpOn has an extension of the PBX call a client who rings, and hang up.
func (s *server) givesUpOn(to, ext string) {
	s.t.Helper()
	ctx := patience(s.t)
	c, err := s.pbx.Phone.Call(ctx, siptest.Options{To: "sip:" + to + "@" + s.sip, From: sip.Address{User: ext}})
	s.must(err)
	s.must(c.WaitCode(ctx, 180))
	s.must(c.Hangup(ctx))
	if rec := s.recordOf(c.CallIDs()[0]); rec.Direction != call.Out || rec.Result != call.ResultAbandoned {
		s.t.Errorf("the record says %s, %q, want an outgoing call that was abandoned", rec.Direction, rec.Result)
	}
}

// returns has a client call: it goes to whom the client is bound to, within a
// window of so long.
func (s *server) returns(trunk *trunkPhone, from string, want fate, employee int, window time.Duration) {
	s.t.Helper()
	rec := s.redirects(trunk, from, did, want)
	b := factsOf(s.t, rec).Sticky
	if b == nil || b.Employee != employee || b.Until.Sub(b.Since).Round(time.Second) != window {
		s.t.Errorf("the binding of %s is %+v, want to %d for %v", from, b, employee, window)
	}
}

const usual = 15 * time.Minute // sticky.time

func bound(target call.Extension, greeting bool) fate {
	return redirected(target, call.OutcomeSticky, greeting, "")
}

// stickyCase is a client of the shared server, and what happens to them.
type stickyCase struct {
	name  string
	cards []card
	talks bool // when the PBX calls
	play  func(s *server, client string, trunk *trunkPhone)
}

// stickyCases are scenarios 27, who binds a client and who does not, and 28,
// what goes before a binding.
func stickyCases() []stickyCase {
	mine := []card{contactOf(anna, nil)}
	return []stickyCase{
		{"a_talk_by_dialled_digits", []card{contactOf(olga, nil)}, false, func(s *server, client string, trunk *trunkPhone) {
			s.dialsIn(client, "202")
			s.returns(trunk, client, bound("202", true), petr, usual)
		}},
		{"a_talk_after_the_PBX_redirects", []card{contactOf(boris, nil)}, false, func(s *server, client string, trunk *trunkPhone) {
			s.talksAt(client, "205")
			s.returns(trunk, client, bound("205", false), vera, 7*time.Minute)
		}},
		{"an_attempt_counts", mine, false, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("205", client, call.ResultRefused)
			s.returns(trunk, client, bound("205", false), vera, 7*time.Minute)
		}},
		{"an_attempt_that_is_given_up_counts", nil, false, func(s *server, _ string, trunk *trunkPhone) {
			s.givesUpOn(patientClient, "205")
			s.returns(trunk, patientClient, bound("205", false), vera, 7*time.Minute)
		}},
		{"the_last_one_counts", mine, false, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("205", client, call.ResultRefused)
			s.callsOut("202", client, call.ResultRefused)
			s.returns(trunk, client, bound("202", true), petr, usual)
		}},
		{"a_talk_in_an_outgoing_call", mine, true, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("205", client, call.ResultAnswered)
			s.returns(trunk, client, bound("205", false), vera, 7*time.Minute)
		}},
		{"a_missed_call_binds_nobody", mine, false, func(s *server, client string, trunk *trunkPhone) {
			s.pbx.Set("203", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}})
			s.givesUp(client)
			rec := s.redirects(trunk, client, did, redirected("203", call.OutcomeResponsible, false, ""))
			if b := factsOf(s.t, rec).Sticky; b != nil {
				s.t.Errorf("a missed call bound the caller: %+v", b)
			}
		}},
		{"an_employee_who_never_sticks", mine, true, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("206", client, call.ResultAnswered)
			s.redirects(trunk, client, did, redirected("203", call.OutcomeResponsible, false, ""))
		}},
		{"an_entity_that_forbids_it", []card{contactOf(anna, yes(fieldNoSticky))}, false, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("205", client, call.ResultRefused)
			rec := s.redirects(trunk, client, did, redirected("203", call.OutcomeResponsible, false, ""))
			if trace := traceOf(rec); !strings.Contains(trace, "forbids sticking") {
				s.t.Errorf("the trace does not say what forbids sticking:\n%s", trace)
			}
		}},
		{"before_a_temporary_manager", []card{contactOf(anna, map[string]any{
			fieldDeputy: boris, fieldUntil: time.Now().Add(time.Hour).Format(time.RFC3339),
		})}, false, func(s *server, client string, trunk *trunkPhone) {
			s.redirects(trunk, client, did, redirected("204", call.OutcomeTemporary, false, ""))
			s.callsOut("205", client, call.ResultRefused)
			s.returns(trunk, client, bound("205", false), vera, 7*time.Minute)
		}},
		{"direct_spares_the_greeting", []card{contactOf(anna, yes(fieldDirect))}, false, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("202", client, call.ResultRefused)
			s.returns(trunk, client, bound("202", false), petr, usual)
		}},
		{"digits_go_before_it", mine, false, func(s *server, client string, trunk *trunkPhone) {
			s.callsOut("202", client, call.ResultRefused)
			rec := s.dialsIn(client, "201")
			if rec.Outcome != call.OutcomeDigits || !strings.Contains(traceOf(rec), "bound to") {
				s.t.Errorf("outcome %s, want digits, and the binding in the trace:\n%s", rec.Outcome, traceOf(rec))
			}
			s.returns(trunk, client, bound("201", true), olga, usual)
		}},
		{"callers_whom_the_CRM_does_not_know", nil, false, func(s *server, client string, trunk *trunkPhone) {
			s.redirects(trunk, client, did, redirected("800", call.OutcomeUnknown, false, ""))
			s.callsOut("205", client, call.ResultRefused)
			s.returns(trunk, client, bound("205", false), vera, 7*time.Minute)
		}},
	}
}

// dialsIn has a client dial an extension during the greeting and talk there.
func (s *server) dialsIn(from, ext string) call.Record {
	s.t.Helper()
	ctx := patience(s.t)
	c := s.bridges(from)
	s.must(c.WaitTone(ctx, greeted))
	s.must(c.Dial(ctx, ext))
	return s.ends(c, ext)
}

// talksAt has a client call and talk with whom the call ends up at.
func (s *server) talksAt(from, ext string) call.Record {
	s.t.Helper()
	return s.ends(s.bridges(from), ext)
}

// bridges places a client's call by the trunk that is bridged.
func (s *server) bridges(from string) *siptest.Call {
	s.t.Helper()
	c, err := newTrunkPhone(s, ".13").dial(from, did)
	s.must(err)
	return c
}

// ends waits for a talk at an extension, ends it, and gives its record.
func (s *server) ends(c *siptest.Call, ext string) call.Record {
	s.t.Helper()
	ctx := patience(s.t)
	s.must(c.WaitAnswer(ctx))
	s.must(c.WaitTone(ctx, pbxtest.ToneOf(ext)))
	s.must(c.Hangup(ctx))
	rec := s.recordOf(c.CallIDs()[0])
	if len(rec.Talks) != 1 || rec.Talks[0].Extension != call.Extension(ext) {
		s.t.Errorf("the talks of the record are %+v, want one with %s", rec.Talks, ext)
	}
	return rec
}

// givesUp has a client hang up while it rings.
func (s *server) givesUp(from string) {
	s.t.Helper()
	ctx := patience(s.t)
	c := s.bridges(from)
	s.must(c.WaitCode(ctx, 180))
	s.must(c.Hangup(ctx))
	if rec := s.recordOf(c.CallIDs()[0]); rec.Result != call.ResultAbandoned {
		s.t.Errorf("the result is %q, want abandoned", rec.Result)
	}
}

// TestSticky sees clients come back to whom they last spoke with, or who tried
// to reach them.
func TestSticky(t *testing.T) {
	t.Parallel()
	cases := stickyCases()
	number := func(i int) string { return client(600 + i) }
	s := start(t, staffed(portal(func(p *crmtest.Portal) {
		for i, tc := range cases {
			for _, c := range tc.cards {
				c.add(p, number(i))
			}
		}
	}), section("digits", `{first: 2s, next: 1s}`))...)
	later := client(651)
	talks := []string{later}
	for i, tc := range cases {
		if tc.talks {
			talks = append(talks, number(i))
		}
	}
	s.outward(talks...)
	trunk := newTrunkPhone(s, ".11")
	t.Run("cases", func(t *testing.T) {
		for i, tc := range cases {
			t.Run(tc.name, func(t *testing.T) { t.Parallel(); tc.play(s.on(t), number(i), trunk) })
		}
	})
	t.Run("explain_knows", func(t *testing.T) {
		if d := s.on(t).explain("redirecting", number(0), did); d.Target != "202" || d.Outcome != call.OutcomeSticky {
			t.Errorf("explain says %+v, want 202 by sticky", d)
		}
	})
	t.Run("an_employee_whose_extension_is_gone", func(t *testing.T) {
		s := s.on(t)
		s.reload(section("pbx", `{sip: ["sip:{{.PBX}}"], ring: 3s, extensions: [200-201, 203-209], queues: [800-810, 900]}`))
		rec := s.redirects(trunk, number(0), did, redirected("201", call.OutcomeResponsible, true, ""))
		if trace := traceOf(rec); !strings.Contains(trace, "the PBX has no extension 202") {
			t.Errorf("the trace does not say that 202 is gone:\n%s", trace)
		}
	})
	t.Run("a_reload_counts_for_the_next_calls", func(t *testing.T) {
		s := s.on(t)
		s.reload(section("sticky", `{time: 3m}`), section("pbx", `{sip: ["sip:{{.PBX}}"], extensions: [200-204], queues: [205, 800-810]}`))
		s.callsOut("202", later, call.ResultAnswered)
		s.callsOut("205", later, call.ResultAnswered) // a queue now: nobody
		s.returns(trunk, later, bound("202", true), petr, 3*time.Minute)
	})
	s.idle()
}

// stores are the databases that what is kept must survive in.
var stores = map[string]func(t *testing.T) []option{
	"sqlite": func(*testing.T) []option { return nil },
	"postgres": func(t *testing.T) []option {
		return []option{section("store", `"`+storetest.Postgres(t)+`"`)}
	},
}

// TestStickyOutlives sees bindings survive a restart and the portal's death,
// and on PostgreSQL reach the other node: scenario 29. Clocks that jump are in
// the tests of package staff, where time is virtual.
func TestStickyOutlives(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := client(700)
			here := options(t)
			common := staffed(append(here, portal(func(p *crmtest.Portal) { contactOf(anna, nil).add(p, mine) }))...)
			s := start(t, common...)
			s.outward()
			s.callsOut("205", mine, call.ResultRefused)
			s.restart()
			waitFor(t, "the bindings to be read", func() bool { return s.metrics("frontdesk_staff_sticky_bindings") >= 1 })
			trunk := newTrunkPhone(s, ".11")
			s.returns(trunk, mine, bound("205", false), vera, 7*time.Minute)
			s.portal.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
			s.returns(trunk, mine, bound("205", false), vera, 7*time.Minute)
			s.portal.Heal()
			if len(here) > 0 {
				other := start(t, common...)
				other.returns(newTrunkPhone(other, ".11"), mine, bound("205", false), vera, 7*time.Minute)
				other.outward()
				other.callsOut("202", mine, call.ResultRefused)
				waitFor(t, "the binding to reach the first node", func() bool {
					return s.explain("redirecting", mine, did).Target == "202"
				})
			}
			s.idle()
		})
	}
}
