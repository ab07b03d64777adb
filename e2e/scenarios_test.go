//go:build e2e

package e2e_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/needs"
	"frontdesk/pbx/pbxtest"
)

// More callers, none of whom is greeted.
const (
	callerPatient = "+79161234570" // a contact of 203, who never answers
	callerClose   = "+79161234571" // a contact of 204, who answers after 100 ms
	callerUnknown = "+79031112233"
	callerBlocked = "+79990000000"
	stranger      = "+79990000001" // calls from addresses that no trunk has
)

// trunks are blocks of the test's /24, so that each scenario may call from an
// address of its own.
var trunks = section("trunks", `{
  redirecting: {sources: [{{.Net}}.64/26], transfer: [redirect]},
  referring: {sources: [{{.Net}}.128/26], transfer: [refer]},
  bridging: {sources: [{{.Net}}.192/27], transfer: [bridge]},
  trying: {sources: [{{.Net}}.224/28], transfer: [refer, bridge]}}`)

var firstOf = map[string]int{"redirecting": 64, "referring": 128, "bridging": 192, "trying": 224, "nobody": 240}

// scenario is a file of testdata/sipp, played by SIPp as the carrier, and what
// frontdesk has to say of it afterwards.
type scenario struct {
	name   string // the subtest's, and the file's unless file says another
	file   string
	trunk  string
	caller string // callerKnown if empty
	did    string
	args   []string

	pbx     string   // a file of testdata/sipp, played by SIPp as the PBX; then the server is the scenario's own
	options []option // the same
	before  func(s *server)

	silent bool // no record: the call never was one
	want   fate
	check  func(s *server, p *party, rec call.Record)
}

// fate is what a record says of a call's end.
type fate struct {
	target   call.Extension
	outcome  call.Outcome
	transfer call.Transfer
	result   call.Result
	greeting bool
	digits   string
}

func fateOf(r call.Record) fate {
	return fate{r.Target, r.Outcome, r.Transfer, r.Result, r.Greeting, r.Digits}
}

func redirected(target call.Extension, outcome call.Outcome, greeting bool, digits string) fate {
	return fate{target, outcome, call.TransferRedirect, "", greeting, digits}
}

func bridged(target call.Extension, result call.Result) fate {
	return fate{target, call.OutcomeResponsible, call.TransferBridge, result, false, ""}
}

func unserved(target call.Extension, outcome call.Outcome, result call.Result, greeting bool, digits string) fate {
	return fate{target, outcome, call.TransferNone, result, greeting, digits}
}

func scenarios() []scenario {
	const by = call.OutcomeResponsible
	tcp := []string{"-t", "t1"}
	return []scenario{
		{name: "redirect", trunk: "redirecting", caller: callerQuiet, want: redirected("202", by, false, "")},
		{name: "redirect_tcp", file: "redirect", args: tcp, trunk: "redirecting", caller: callerQuiet, want: redirected("202", by, false, "")},
		{name: "redirect_after_early_media", trunk: "redirecting", want: redirected("201", by, true, ""), check: wholeGreeting},
		{name: "refer_accepted", trunk: "referring", want: fate{"201", by, call.TransferRefer, "", true, ""}},
		{name: "refer_refused", trunk: "trying", want: fate{"201", by, call.TransferBridge, call.ResultAnswered, true, ""}},
		{name: "refer_failed", trunk: "referring", want: unserved("201", by, call.ResultMissed, true, "")},
		{name: "refer_silent", trunk: "referring", want: unserved("201", by, call.ResultMissed, true, "")},

		{name: "digits_right", trunk: "redirecting", want: redirected("203", call.OutcomeDigits, true, "203")},
		{name: "digits_right_rfc4733", trunk: "redirecting", want: redirected("203", call.OutcomeDigits, true, "203")},
		{name: "digits_wrong", trunk: "redirecting", want: redirected("201", by, true, "21")},
		{name: "digits_partial", trunk: "redirecting", want: redirected("201", by, true, "20")},
		{name: "digits_none", trunk: "redirecting", want: redirected("201", by, true, ""), check: wholeGreeting},

		{name: "hangup_before_183", trunk: "redirecting", options: []option{trunks}, before: slowPortal,
			want: unserved("", "", call.ResultAbandoned, false, "")},
		{name: "hangup_during_greeting", trunk: "redirecting", want: unserved("201", by, call.ResultAbandoned, true, ""), check: nobodyRang},
		{name: "hangup_during_digits", trunk: "redirecting", want: unserved("201", by, call.ResultAbandoned, true, "")},
		{name: "hangup_while_ringing", trunk: "bridging", caller: callerPatient, want: unserved("203", by, call.ResultAbandoned, false, ""), check: pbxOver},
		{name: "hangup_while_pbx_rings", file: "hangup_while_ringing", pbx: "pbx_ring", trunk: "bridging", caller: callerQuiet,
			want: unserved("202", by, call.ResultAbandoned, false, "")},
		{name: "retransmitted_invite", args: []string{"-pause_msg_ign"}, trunk: "redirecting", want: redirected("201", by, true, "")},
		{name: "lost_ack", trunk: "bridging", caller: callerQuiet, want: bridged("202", call.ResultAbandoned), check: answerRepeated},

		{name: "late_offer_refer", trunk: "referring", want: fate{"201", by, call.TransferRefer, "", true, ""}, check: wholeGreeting},
		{name: "late_offer_bridge", trunk: "bridging", caller: callerQuiet, want: bridged("202", call.ResultAnswered)},
		{name: "late_offer_redirect", trunk: "redirecting", want: redirected("201", by, false, "")},
		{name: "no_common_codec_refer", trunk: "referring", want: unserved("201", by, call.ResultRefused, false, "")},
		{name: "no_common_codec_redirect", trunk: "redirecting", want: redirected("201", by, false, "")},

		{name: "bridge_answered", trunk: "bridging", pbx: "pbx_answer", caller: callerQuiet, want: bridged("202", call.ResultAnswered)},
		{name: "bridge_answered_tcp", file: "bridge_answered", args: tcp, trunk: "bridging", pbx: "pbx_answer", caller: callerQuiet,
			want: bridged("202", call.ResultAnswered)},
		{name: "bridge_busy", trunk: "bridging", pbx: "pbx_busy", caller: callerQuiet, want: bridged("800", call.ResultAnswered)},
		{name: "bridge_all_busy", trunk: "bridging", pbx: "pbx_all_busy", caller: callerQuiet, want: unserved("202", by, call.ResultRefused, false, "")},
		{name: "bridge_no_answer", trunk: "bridging", pbx: "pbx_no_answer", caller: callerQuiet, want: bridged("800", call.ResultAnswered)},
		{name: "bridge_302", trunk: "bridging", pbx: "pbx_302", caller: callerQuiet, want: bridged("203", call.ResultAnswered)},
		{name: "bridge_hung_up_by_callee", trunk: "bridging", pbx: "pbx_hangs_up", caller: callerQuiet, want: bridged("202", call.ResultAnswered)},

		{name: "unknown_caller", trunk: "redirecting", caller: callerUnknown, want: redirected("800", call.OutcomeUnknown, false, "")},
		{name: "unknown_did", trunk: "redirecting", did: "+74950000000", want: unserved("", call.OutcomeNoRule, call.ResultRefused, false, "")},
		{name: "blocked", trunk: "redirecting", caller: callerBlocked, want: unserved("", call.OutcomeBlocked, call.ResultRefused, false, "")},
		{name: "unknown_source", caller: stranger, trunk: "nobody", silent: true, check: portalUntouched},
		{name: "unknown_source_refused", caller: stranger, trunk: "nobody", silent: true, check: refusedOnce,
			options: []option{trunks, section("sip", `{listen: ["udp://{{.SIP}}"], unknown_source: refuse}`)}},
		{name: "unsupported_require", trunk: "redirecting", silent: true},
		{name: "max_forwards_0", trunk: "redirecting", silent: true},
		{name: "malformed", trunk: "redirecting", silent: true},
		{name: "options", trunk: "redirecting", silent: true},
		{name: "options_tcp", file: "options", args: tcp, trunk: "redirecting", silent: true},
	}
}

// company is the shared server's: who may be called, and by whom.
func company() []option {
	staff := func(p *crmtest.Portal) {
		for caller, ext := range map[string]string{callerPatient: "203", callerClose: "204"} {
			id := p.AddUser(crmtest.User{FirstName: "Anna", LastName: "Li", Extension: ext})
			p.AddContact(crmtest.Contact{Name: "Oleg", Responsible: id, Phones: []string{caller}, Fields: map[string]any{"UF_CRM_FD_DIRECT": true}})
		}
	}
	return []option{
		trunks, portal(staff),
		section("pbx", `{sip: ["sip:{{.PBX}}"], ring: 3s, extensions: [200-209], queues: [800-801]}`),
		section("blocked", `{callers: ["`+callerBlocked+`"], action: reject}`),
		number("202", pbxtest.Behaviour{Ring: 200 * time.Millisecond}),
		number("203", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}),
		number("204", pbxtest.Behaviour{Ring: 100 * time.Millisecond}),
	}
}

func TestSIPp(t *testing.T) {
	t.Parallel()
	needs.Program(t, "sipp", "sip-tester")
	shared := start(t, company()...)
	t.Cleanup(shared.idle)
	next := map[string]int{}
	for _, sc := range scenarios() {
		from := fmt.Sprintf("%s.%d", shared.net, firstOf[sc.trunk]+next[sc.trunk])
		next[sc.trunk]++
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			if sc.pbx == "" && sc.options == nil {
				sc.play(shared.on(t), from)
				return
			}
			sc.alone(t)
		})
	}
}

// alone plays a scenario against a server, and perhaps a PBX, of its own.
func (sc scenario) alone(t *testing.T) {
	options := sc.options
	var pbx *party
	if sc.pbx != "" {
		at := claim(t) + ".2:5060"
		pbx = sippServe(t, sc.pbx, at)
		options = append([]option{trunks, section("pbx", `{sip: ["sip:`+at+`"], ring: 2s}`)}, options...)
	}
	s := start(t, options...)
	if sc.before != nil {
		sc.before(s)
	}
	sc.play(s, fmt.Sprintf("%s.%d", s.net, firstOf[sc.trunk]))
	s.idle()
	if pbx != nil {
		pbx.leave()
	}
}

// play places the scenario's call and looks at what is known of it afterwards.
func (sc scenario) play(s *server, from string) {
	p := sippCall(s.t, cmp.Or(sc.file, sc.name), from, s.sip, sc.flags()...)
	p.wait()
	if sc.silent {
		for _, rec := range s.calls() {
			if rec.Legs[0].CallID == p.callID {
				s.t.Errorf("there is a record of a call that never was: %+v", fateOf(rec))
			}
		}
		if sc.check != nil {
			sc.check(s, p, call.Record{})
		}
		return
	}
	rec := s.recordOf(p.callID)
	if got := fateOf(rec); got != sc.want {
		s.t.Errorf("the record says\n%+v, want\n%+v", got, sc.want)
	}
	if caller := call.Number(cmp.Or(sc.caller, callerKnown)); rec.Caller != caller {
		s.t.Errorf("the record's caller is %s, want %s", string(rec.Caller), string(caller))
	}
	if rec.Trunk != sc.trunk {
		s.t.Errorf("the record's trunk is %q, want %q", rec.Trunk, sc.trunk)
	}
	if sc.check != nil {
		sc.check(s, p, rec)
	}
}

func (sc scenario) flags() []string {
	return append([]string{"-key", "caller", cmp.Or(sc.caller, callerKnown), "-s", cmp.Or(sc.did, did)}, sc.args...)
}

// recordOf waits for the record of a SIP call, and wants only one.
func (s *server) recordOf(callID string) (rec call.Record) {
	s.t.Helper()
	found := 0
	waitFor(s.t, "the record of "+callID, func() bool {
		found = 0
		for _, r := range s.calls() {
			if r.Legs[0].CallID == callID {
				rec = r
				found++
			}
		}
		return found > 0
	})
	if found != 1 {
		s.t.Errorf("%d records of one call", found)
	}
	return rec
}

func slowPortal(s *server) {
	s.portal.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Second})
}

// moment is when a record's timeline has an event, zero if never.
func moment(rec call.Record, prefix string) time.Time {
	for _, e := range rec.Timeline {
		if strings.HasPrefix(e.Event, prefix) {
			return e.At
		}
	}
	return time.Time{}
}

// wholeGreeting wants the caller handed over only once the greeting is over.
func wholeGreeting(s *server, _ *party, rec call.Record) {
	from, to := moment(rec, "greeting"), moment(rec, string(rec.Transfer))
	if took := to.Sub(from); took < greeting-50*time.Millisecond {
		s.t.Errorf("handed over %v after the greeting began, which takes %v", took, greeting)
	}
}

func nobodyRang(s *server, _ *party, rec call.Record) {
	if len(rec.Legs) != 1 {
		s.t.Errorf("legs %+v, want the caller's only", rec.Legs)
	}
}

// pbxOver wants the calls that reached the PBX for a record to be over.
func pbxOver(s *server, _ *party, rec call.Record) {
	found := false
	for _, c := range s.pbx.Calls() {
		if c.FrontdeskCall() == rec.ID {
			found = true
			s.must(c.WaitDone(patience(s.t)))
		}
	}
	if !found {
		s.t.Error("the PBX never got the call")
	}
}

// answerRepeated wants the 200 sent until Timer H ends it (RFC 3261 section
// 13.3.1.4): at 0, 0.5, 1.5, 3.5, then every 4 s until 31.5.
func answerRepeated(s *server, p *party, rec call.Record) {
	if n := len(p.received("SIP/2.0 200")); n < 9 || n > 12 {
		s.t.Errorf("the 200 came %d times, want 11", n)
	}
	if took := rec.Times.Ended.Sub(rec.Times.Started); took < 32*time.Second {
		s.t.Errorf("given up after %v, want 32 s after the answer", took)
	}
	pbxOver(s, p, rec)
}

func refusedOnce(s *server, p *party, _ call.Record) {
	if n := len(p.received("SIP/2.0 403")); n != 1 {
		s.t.Errorf("%d times 403, want one", n)
	}
	portalUntouched(s, p, call.Record{})
}

// portalUntouched wants the CRM not asked for a stranger.
func portalUntouched(s *server, _ *party, _ call.Record) {
	for _, r := range s.portal.Requests() {
		if strings.Contains(string(r.Body), strings.TrimPrefix(stranger, "+")) {
			s.t.Errorf("the portal was asked for a stranger's number by %s", r.Method)
		}
	}
}
