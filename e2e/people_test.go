//go:build e2e

package e2e_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// The employees that these tests know besides olga and petr. None of them has
// a recorded greeting, so that their callers are handed over at once.
const (
	anna   = 1000003 // at 203
	boris  = 1000004 // at 204
	vera   = 1000005 // at 205, sticks for 7 minutes
	gleb   = 1000006 // at 206, never sticks
	zoya   = 1000007 // without an extension
	queue  = 1000008 // fictitious: the queue 810
	nightD = "+74957654321"
)

// Field codes, as the harness makes them.
const (
	fieldManager  = "UF_CRM_FD_MANAGER"
	fieldDeputy   = "UF_CRM_FD_TEMP_MANAGER"
	fieldUntil    = "UF_CRM_FD_TEMP_UNTIL"
	fieldDirect   = "UF_CRM_FD_DIRECT"
	fieldNoSticky = "UF_CRM_FD_NO_STICKY"
)

// staffed are the options of a server with all of them. The trunks are .11,
// redirecting; .12, the same but known to assert numbers that are not the
// callers'; .13, bridging; and .14, which takes the PBX's own calls.
func staffed(more ...option) []option {
	return append([]option{
		portal(func(p *crmtest.Portal) {
			p.AddUserField("USER", crmtest.UserField{Name: "UF_USR_FD_STICKY", Type: "integer"})
			for _, u := range []crmtest.User{
				{ID: anna, FirstName: "Anna", LastName: "Li", Extension: "203"},
				{ID: boris, FirstName: "Boris", LastName: "Ivanov", Extension: "204"},
				{ID: vera, FirstName: "Vera", LastName: "Orlova", Extension: "205", Email: "vera@example.com", Fields: map[string]any{"UF_USR_FD_STICKY": "7"}},
				{ID: gleb, FirstName: "Gleb", LastName: "Popov", Extension: "206", Email: "gleb@example.com", Fields: map[string]any{"UF_USR_FD_STICKY": 0}},
				{ID: zoya, FirstName: "Zoya", LastName: "Belova"},
				{ID: queue, FirstName: "Sales", LastName: "Queue", Extension: "810"},
			} {
				p.AddUser(u)
			}
		}),
		section("trunks", `{redirecting: {sources: [{{.Net}}.11], transfer: [redirect]},`+
			` distrusted: {sources: [{{.Net}}.12], transfer: [redirect], identity: from},`+
			` bridging: {sources: [{{.Net}}.13], transfer: [bridge]},`+
			` outward: {sources: [{{.Net}}.14], transfer: [bridge], sip: "sip:{{.Net}}.14:5060"}}`),
		section("sticky", `{time: 15m}`),
		section("pbx", `{sip: ["sip:{{.PBX}}"], ring: 3s, extensions: [200-209], queues: [800-810, 900]}`),
		section("rules", `[{name: support, did: "`+did+`", default: "800"},`+
			` {name: night, did: "`+nightD+`", default: "900"}, {name: rest, default: "801"}]`),
		number("204", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "205"}}),
		number("205", pbxtest.Behaviour{}), number("206", pbxtest.Behaviour{}),
		number("207", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}),
	}, more...)
}

// client is a number that nobody else in these tests has.
func client(i int) string { return fmt.Sprintf("+7917%07d", 1000000+i*1117) }

// yes are the fields of an entity that has an option set.
func yes(field string) map[string]any { return map[string]any{field: "1"} }

// card is an entity of the portal in few words.
type card struct {
	kind      call.Kind
	owner     int
	fields    map[string]any
	semantics string // of a lead
}

func (c card) add(p *crmtest.Portal, phone string) int {
	phones := []string{phone}
	switch c.kind {
	case call.KindContact:
		return p.AddContact(crmtest.Contact{Name: "Contact", Responsible: c.owner, Phones: phones, Fields: c.fields})
	case call.KindCompany:
		return p.AddCompany(crmtest.Company{Title: "Company", Responsible: c.owner, Phones: phones, Fields: c.fields})
	}
	return p.AddLead(crmtest.Lead{Title: "Lead", Responsible: c.owner, Phones: phones, Fields: c.fields, Semantics: c.semantics})
}

// contacts are so many of an employee.
func contacts(n, owner int) []card { return slices.Repeat([]card{contactOf(owner, nil)}, n) }

func contactOf(owner int, fields map[string]any) card {
	return card{kind: call.KindContact, owner: owner, fields: fields}
}

// known are callers by what the CRM has of them, and where they are sent:
// scenarios 1 to 5.
func known() []struct {
	name  string
	cards []card
	want  fate
	trace string // what the trace must say
} {
	company := func(owner int) card { return card{kind: call.KindCompany, owner: owner} }
	lead := func(owner int, semantics string) card {
		return card{kind: call.KindLead, owner: owner, semantics: semantics}
	}
	to := func(target call.Extension, o call.Outcome, greeting bool) fate {
		return redirected(target, o, greeting, "")
	}
	const by, manager = call.OutcomeResponsible, call.OutcomeManager
	return []struct {
		name  string
		cards []card
		want  fate
		trace string
	}{
		{"contact_before_company_before_lead", []card{lead(anna, "P"), company(petr), contactOf(olga, nil)}, to("201", by, true), ""},
		{"company_before_lead", []card{lead(anna, "P"), company(petr)}, to("202", by, true), ""},
		{"only_a_lead", []card{lead(anna, "P")}, to("203", by, false), ""},
		{"closed_leads_are_ignored", []card{lead(anna, "S"), lead(petr, "F")}, to("800", call.OutcomeUnknown, false), "closed"},
		{"closed_leads_beside_an_open_one", []card{lead(olga, "S"), lead(anna, "P"), lead(petr, "F")}, to("203", by, false), ""},
		{"two_contacts_of_one_manager", contacts(2, olga), to("201", by, true), ""},
		{"two_contacts_of_different_managers", append(contacts(1, olga), contactOf(petr, nil)), to("800", call.OutcomeAmbiguous, false), "different extensions"},
		{"one_of_two_is_direct", []card{contactOf(olga, yes(fieldDirect)), contactOf(olga, nil)}, to("201", by, true), ""},
		{"both_are_direct", []card{contactOf(olga, yes(fieldDirect)), contactOf(olga, yes(fieldDirect))}, to("201", by, false), "direct"},
		{"a_contact_behind_25_leads", append(slices.Repeat([]card{lead(anna, "P")}, 25), contactOf(olga, nil)), to("201", by, true), ""},
		{"60_contacts_of_one_manager", contacts(60, anna), to("203", by, false), ""},
		{"59_contacts_of_one_manager_and_one_of_another", append(contacts(59, anna), contactOf(petr, nil)), to("800", call.OutcomeAmbiguous, false), ""},
		{"the_call_manager_before_the_responsible", []card{contactOf(olga, map[string]any{fieldManager: fmt.Sprint(vera)})}, to("205", manager, false), ""},
		{"a_call_manager_who_is_a_queue", []card{contactOf(olga, map[string]any{fieldManager: []any{queue}})}, to("810", manager, false), ""},
		{"a_manager_without_extension", []card{contactOf(olga, map[string]any{fieldManager: zoya})}, to("800", call.OutcomeNoExtension, false), "no extension"},
	}
}

// TestPeople sees that a caller reaches whom the CRM says, and why.
func TestPeople(t *testing.T) {
	t.Parallel()
	cases := known()
	s := start(t, staffed(portal(func(p *crmtest.Portal) {
		for i, tc := range cases {
			for _, c := range tc.cards {
				c.add(p, client(i))
			}
		}
		contactOf(anna, nil).add(p, spelledStored)
		contactOf(olga, nil).add(p, client(400))
	}))...)
	t.Cleanup(s.idle)
	trunk := newTrunkPhone(s, ".11")
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := s.on(t).redirects(trunk, client(i), did, tc.want)
			if trace := traceOf(rec); !strings.Contains(trace, tc.trace) {
				t.Errorf("the trace does not say %q:\n%s", tc.trace, trace)
			}
			// What explain says of the same call, which is not greeted there.
			d := s.on(t).explain("redirecting", client(i), did)
			if d.Target != tc.want.target || d.Outcome != tc.want.outcome || d.Rule != "support" {
				t.Errorf("explain says %+v, the call went to %s by %s", d, tc.want.target, tc.want.outcome)
			}
		})
	}
	t.Run("hears_the_name_and_reaches_the_manager", func(t *testing.T) { t.Parallel(); talksWith(s.on(t), client(400)) })
	t.Run("an_unknown_caller_goes_by_the_called_number", func(t *testing.T) { t.Parallel(); unknownByDID(s.on(t), trunk) })
	t.Run("any_spelling_of_a_number", func(t *testing.T) { t.Parallel(); spellings(s.on(t), trunk) })
	t.Run("anonymous_callers_are_not_searched", func(t *testing.T) { t.Parallel(); anonymous(s.on(t), trunk) })
}

// redirects places a call, wants it redirected so, and gives its record.
func (s *server) redirects(trunk *trunkPhone, from, to string, want fate, change ...func(*siptest.Options)) call.Record {
	s.t.Helper()
	a := trunk.place(from, to, change...)
	if a.err != nil || a.code != 302 || a.target != want.target {
		s.t.Fatalf("%s was answered %v, want 302 to %s", from, a, want.target)
	}
	rec := s.recordOf(a.callID)
	if got := fateOf(rec); got != want {
		s.t.Errorf("the record of %s says\n%+v, want\n%+v\n%s", from, got, want, traceOf(rec))
	}
	return rec
}

// talksWith hears the greeting of olga and then olga, who hears the caller:
// scenario 1.
func talksWith(s *server, from string) {
	ctx := patience(s.t)
	c, err := newTrunkPhone(s, ".13").dial(from, did)
	s.must(err)
	s.must(c.WaitTone(ctx, greeted))
	s.must(c.WaitAnswer(ctx))
	s.must(c.WaitTone(ctx, pbxtest.ToneOf("201")))
	s.must(c.Tone(ctx, 700))
	waitFor(s.t, "the caller to be heard", func() bool {
		for _, p := range s.pbx.Calls() {
			if p.Number == "201" && p.Invite.From.User == from {
				s.must(p.WaitTone(ctx, 700))
				return true
			}
		}
		return false
	})
	s.must(c.Hangup(ctx))
	want := fate{"201", call.OutcomeResponsible, call.TransferBridge, call.ResultAnswered, true, ""}
	if got := fateOf(s.recordOf(c.CallIDs()[0])); got != want {
		s.t.Errorf("the record says\n%+v, want\n%+v", got, want)
	}
}

// unknownByDID is scenario 7. It also sees that neither unknown callers nor employees who call
// from outside become leads: nothing is written into the CRM while it rings.
func unknownByDID(s *server, trunk *trunkPhone) {
	for to, want := range map[string]call.Extension{did: "800", nightD: "900", strayDID: "801"} {
		s.redirects(trunk, callerUnknown, to, redirected(want, call.OutcomeUnknown, false, ""))
	}
	for _, r := range s.portal.Requests() {
		for _, text := range append(r.Commands, r.Method) {
			if strings.Contains(text, "lead.add") || strings.Contains(text, "item.add") {
				s.t.Errorf("a lead was made: %s", text)
			}
		}
	}
}

// spelledStored is a number as somebody typed it into the CRM.
const spelledStored = "8 (917) 555-66-77"

// spellings is scenario 8: a number is the same however the carrier writes it.
func spellings(s *server, trunk *trunkPhone) {
	for _, from := range []string{"89175556677", "79175556677", "+79175556677", "9175556677", "0079175556677", "8 (917) 555-66-77"} {
		rec := s.redirects(trunk, from, did, redirected("203", call.OutcomeResponsible, false, ""))
		if rec.Caller != "+79175556677" {
			s.t.Errorf("%s is called %q", from, string(rec.Caller))
		}
	}
}

// storedOddly are numbers as people type them into cards.
var storedOddly = map[string]string{
	"+79175550001": "+79175550001#404",
	"+79175550002": "8 917 555-00-02 Masha",
	"+79175550003": "8 (917) 555-00-03",
	"+79175550004": "9175550004",
}

// TestStoredSpellings sees a number that is stored oddly found, or reported:
// scenario 8.
func TestStoredSpellings(t *testing.T) {
	t.Parallel()
	s := start(t, staffed(portal(func(p *crmtest.Portal) {
		for _, stored := range storedOddly {
			contactOf(anna, nil).add(p, stored)
		}
	}))...)
	cmd := exec.Command(binary, "bitrix24", "lint", "--config", s.config())
	cmd.Dir = s.dir
	report, err := cmd.CombinedOutput() // its status tells of findings
	trunk := newTrunkPhone(s, ".11")
	for from, stored := range storedOddly {
		a := trunk.place(from, did)
		reported := strings.Contains(string(report), stored)
		if a.target != "203" && !reported {
			t.Errorf("a caller stored as %q was answered %v, and lint says nothing of it (%v):\n%s", stored, a, err, report)
		}
		t.Logf("%s: %v, reported %t", stored, a, reported)
	}
	s.idle()
}

// anonymous is scenario 9: callers hide in several ways. A number that the carrier asserts
// counts where it is trusted for that, and never against the caller's wish.
func anonymous(s *server, trunk *trunkPhone) {
	asserted := sip.Address{User: callerQuiet, Host: "carrier.example"}
	distrusted := newTrunkPhone(s, ".12")
	hidden := redirected("800", call.OutcomeAnonymous, false, "")
	noHost := func(o *siptest.Options) { o.From.Host = "anonymous.invalid" }
	private := func(o *siptest.Options) { o.Asserted, o.Privacy = &asserted, "id" }
	for _, change := range []func(*siptest.Options){noHost, private, func(o *siptest.Options) { noHost(o); private(o) }} {
		if rec := s.redirects(trunk, "anonymous", did, hidden, change); rec.Caller != "" {
			s.t.Errorf("the record names the caller: %q", string(rec.Caller))
		}
	}
	asks := func(o *siptest.Options) { o.Asserted = &asserted }
	s.redirects(distrusted, "anonymous", did, hidden, asks)
	for _, r := range s.portal.Requests() {
		for _, text := range append(r.Commands, string(r.Body)) {
			if strings.Contains(text, "anonymous") || strings.Contains(text, strings.TrimPrefix(callerQuiet, "+")) {
				s.t.Errorf("the CRM was asked for a hidden caller: %s", text)
			}
		}
	}
	s.redirects(trunk, callerUnknown, did, redirected("202", call.OutcomeResponsible, false, ""), asks)
}

// TestOwnNumbers sees the company's own numbers go by their rule, without the
// CRM: scenario 10.
func TestOwnNumbers(t *testing.T) {
	t.Parallel()
	s := start(t, staffed(
		portal(func(p *crmtest.Portal) { contactOf(anna, nil).add(p, client(500)) }),
		section("rules", `[{name: ours, caller: ["`+client(500)+`", "+7495123*"], default: "801", lookup: false}, {name: support, default: "800"}]`))...)
	trunk := newTrunkPhone(s, ".11")
	for _, from := range []string{client(500), did} {
		if rec := s.redirects(trunk, from, did, redirected("801", call.OutcomeLookupOff, false, "")); rec.Rule != "ours" {
			t.Errorf("the call went by rule %q, want ours", rec.Rule)
		}
	}
	for _, r := range s.portal.Requests() {
		if strings.Contains(string(r.Body), client(500)[1:]) {
			t.Errorf("the CRM was asked for a caller without look-up by %s", r.Method)
		}
	}
	s.idle()
}

// TestLookupsDuringExport sees callers answered in time, by the portal itself,
// while the mirror reads all of it within the plan's narrow limits: scenario 14.
func TestLookupsDuringExport(t *testing.T) {
	t.Parallel()
	timely(t, duringExport)
}

func duringExport(t *testing.T) (late []string) {
	const deadline, calls = 2500 * time.Millisecond, 12
	s := start(t, staffed(
		portal(func(p *crmtest.Portal) {
			for i := range 6000 {
				contactOf(olga, nil).add(p, client(2000+i))
			}
			p.SetRate(2, 50)
			p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: 200 * time.Millisecond})
		}),
		section("crm", `{deadline: 2500ms, bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 2, burst: 40}}}`),
		section("rules", `[{name: support, default: "800", greeting: false}]`))...)
	trunk := newTrunkPhone(s, ".11")
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	during := 0
	for i := range calls {
		if s.metrics("frontdesk_crm_mirror_export_ratio") < 1 {
			during++
		}
		a := trunk.place(client(2000+i*400), did)
		if a.code != 302 || a.took > deadline+faultGrace {
			late = append(late, fmt.Sprintf("call %d was answered %v, want 302 to 201 within %v", i, a, deadline))
		}
		if f := factsOf(t, s.recordOf(a.callID)); a.target != "201" || f.CRM.Source != call.SourceLive || f.CRM.Missing != "" {
			late = append(late, fmt.Sprintf("call %d went to %q by %+v, want 201 by the portal's own answer", i, a.target, f.CRM))
		}
		<-tick.C
	}
	if during < calls/2 {
		t.Errorf("only %d of %d calls came during the export: the test tests nothing", during, calls)
	}
	s.mirrored()
	s.idle()
	return late
}

// TestNodeFailover sees calls go to the PBX's second node while the first is
// dead, and be refused and recorded once while both are: scenario 26.
func TestNodeFailover(t *testing.T) {
	t.Parallel()
	const failover = time.Second
	s := start(t, staffed(section("sticky", `{time: 0}`), section("pbx",
		`{sip: ["sip:{{.PBX}}", "sip:{{.Net}}.3:5060"], failover: 1s, ring: 10s, extensions: [200-209], queues: [800-810]}`))...)
	first := s.pbx
	s.startPBX("udp://" + s.net + ".3:5060")
	second := s.pbx
	waitFor(t, "both nodes to be up", func() bool { return s.metrics("frontdesk_pbx_nodes_up") >= 1 })
	ctx := patience(t)
	trunk := newTrunkPhone(s, ".13")

	first.SetDead(true)
	began := time.Now()
	c, err := trunk.dial(callerQuiet, did)
	s.must(err)
	s.must(c.WaitAnswer(ctx))
	took := time.Since(began)
	s.must(c.WaitTone(ctx, pbxtest.ToneOf("202")))
	s.must(c.Hangup(ctx))
	if took > failover+time.Second {
		t.Errorf("the second node answered after %v, want soon after %v", took, failover)
	}
	if rec := s.recordOf(c.CallIDs()[0]); fateOf(rec) != bridged("202", call.ResultAnswered) || len(rec.Legs) != 3 {
		t.Errorf("the record says %+v with legs %+v, want 202 at the second node", fateOf(rec), rec.Legs)
	}
	if n := len(second.Calls()); n != 1 {
		t.Errorf("the second node got %d calls, want 1", n)
	}

	// A caller who is redirected is sent to the node that lives.
	r, err := newTrunkPhone(s, ".11").dial(callerQuiet, did)
	s.must(err)
	final, err := r.WaitFinal(ctx)
	s.must(err)
	if want := "sip:202@" + s.net + ".3:5060"; final == nil || final.Code != 302 || !strings.HasPrefix(final.Contacts[0], want) {
		t.Errorf("the caller was redirected by %+v, want to %s", final, want)
	}

	second.SetDead(true)
	a := trunk.place(callerQuiet, did)
	if a.code != 503 {
		t.Errorf("with all nodes dead the caller was answered %v, want 503", a)
	}
	want := unserved("202", call.OutcomeResponsible, call.ResultRefused, false, "")
	if rec := s.recordOf(a.callID); fateOf(rec) != want {
		t.Errorf("the record says\n%+v, want\n%+v", fateOf(rec), want)
	}
	s.idle()
}
