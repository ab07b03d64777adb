//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

const (
	fake      = 1000010 // the placeholder
	neverLead = "+79998887766"

	clientTone = 620 // Hz: nobody of the PBX has it
	talkFor    = 2500 * time.Millisecond
)

// direct is the number that rules lead to an extension or a queue of the PBX.
func direct(ext string) string { return "+74951230" + ext }

// logging are the options of a server that has every call in the portal, as
// it and the PBX's call detail records tell of it.
func logging(more ...option) []option {
	rings := func(t pbxtest.Then) pbxtest.Behaviour {
		return pbxtest.Behaviour{Ring: 200 * time.Millisecond, Then: t}
	}
	agents := []string{"210", "211", "212", "213"}
	out := staffed(
		portal(func(p *crmtest.Portal) {
			p.AddUser(crmtest.User{ID: fake, FirstName: "Nobody", LastName: "Yet"})
			p.AddDepartment(crmtest.Department{ID: 30, Name: "Sales", Head: boris})
			p.AddUser(crmtest.User{ID: gleb, FirstName: "Gleb", LastName: "Popov", Extension: "206", Departments: []int{30}})
		}),
		section("crm", `{placeholder: `+fmt.Sprint(fake)+`, leads: {create: true, never_for: ["`+neverLead+`"]}, mirror: {enabled: false},`+
			` bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 1000, burst: 10000}}}`),
		section("calllog", `{enabled: true, tasks: true}`),
		section("recordings", `{mode: upload, stereo: true, announce: "", dir: "{{.Dir}}/recordings"}`),
		section("sticky", `{time: 0s}`),
		number("203", pbxtest.Behaviour{Mute: true, Then: pbxtest.Then{HangUp: talkFor}}),
		number("204", rings(pbxtest.Then{Move: &pbxtest.Move{To: "205", After: talkFor}})),
		number("205", rings(pbxtest.Then{})), number("206", rings(pbxtest.Then{Code: 603})),
		number("208", rings(pbxtest.Then{NoAnswer: true, Forward: pbxtest.Mailbox})),
		number("800", pbxtest.Behaviour{Poll: &pbxtest.Poll{Agents: append(slices.Clone(agents), "207"), Ring: 100 * time.Millisecond, Rounds: 3}}),
		number("801", pbxtest.Behaviour{Poll: &pbxtest.Poll{Agents: append(slices.Clone(agents), "205"), Ring: 300 * time.Millisecond}}),
		number("802", pbxtest.Behaviour{Menu: &pbxtest.Menu{Keys: map[string]string{"1": "205"}}}),
	)
	rules := []string{`{name: support, did: "` + did + `", default: "800"}`}
	for _, ext := range []string{"203", "204", "205", "206", "207", "208", "800", "801", "802"} {
		rules = append(rules, fmt.Sprintf(`{name: %q, did: %q, default: %q}`, "to "+ext, direct(ext), ext))
	}
	for _, a := range agents {
		out = append(out, number(a, pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}))
	}
	return append(append(out, section("rules", "["+strings.Join(rules, ", ")+"]")), more...)
}

// desk is such a server at work.
type desk struct {
	*server
	trunk *trunkPhone // bridging
}

func startDesk(t *testing.T, options ...option) *desk {
	t.Helper()
	three, x := active()
	s := start(t, logging(append(options, three, section("phonebook", `{sync: false}`))...)...)
	s.connected(x)
	here := s.pbx.State()
	here.AddOutboundRule(pbxtest.Rule{Name: "outside", Prefix: "9", Trunk: "10000", Strip: 1})
	s.pbx.SetTrunk("10000", s.sip)
	for _, ext := range []string{"201", "203", "204", "205"} { // frontdesk itself records these
		s.must(here.Change("Users", ext, pbxtest.Row{"RecordCalls": false}))
	}
	return &desk{s, newTrunkPhone(s, ".13")}
}

// on is the desk as a subtest sees it.
func (d *desk) on(t *testing.T) *desk { return &desk{d.server.on(t), d.trunk} }

// calling has a client call and gives the call once it is answered, and the
// client's tone sounds.
func (d *desk) calling(from, to string) *siptest.Call {
	d.t.Helper()
	c := d.rings(from, to)
	ctx := patience(d.t)
	d.must(c.WaitAnswer(ctx))
	d.must(c.Tone(ctx, clientTone))
	return c
}

// rings has a client call.
func (d *desk) rings(from, to string) *siptest.Call {
	d.t.Helper()
	c, err := d.trunk.dial(from, to)
	d.must(err)
	return c
}

// talks has a client talk for a while and hang up, and gives the record.
func (d *desk) talks(from, to, ext string) call.Record {
	d.t.Helper()
	c := d.calling(from, to)
	d.hears(c, ext, talkFor)
	d.must(c.Hangup(patience(d.t)))
	return d.logged(c.CallIDs()[0])
}

// hears waits until a client has heard an extension's tone, and so much more.
func (d *desk) hears(c *siptest.Call, ext string, more time.Duration) {
	d.t.Helper()
	d.must(c.WaitTone(patience(d.t), pbxtest.ToneOf(ext)))
	c.Forget()
	d.must(c.WaitSound(patience(d.t), more))
}

// logged waits until all is done in the portal that is owed for a call, and
// gives its record with the ledger.
func (d *desk) logged(callID string) (rec call.Record) {
	d.t.Helper()
	rec = d.settled(d.recordOf(callID).ID)
	for _, e := range rec.Ledger {
		if e.State != call.StepDone {
			d.t.Errorf("step %s of leg %d is %s: %s", e.Step, e.Leg, e.State, e.Error)
		}
	}
	return rec
}

// owed is how long something may wait: for a database to miss a job whose
// process has died, or for a disk that many tests write to.
const owed = 3 * time.Minute

// settled waits until nothing waits that is owed for a call, and gives its
// record with the ledger.
func (d *desk) settled(id string) (rec call.Record) {
	d.t.Helper()
	if !poll(owed, func() bool { rec = d.record(id); return finished(rec) }) {
		d.t.Fatalf("after %v the ledger of %s is %+v", owed, id, rec.Ledger)
	}
	return rec
}

// finished reports whether a call is over and nothing is owed for it.
func finished(r call.Record) bool {
	over := false
	for _, e := range r.Ledger {
		if e.State == call.StepWaiting {
			return false
		}
		over = over || e.Step == "finish"
	}
	return over
}

// record is a record as the API shows it, the zero value where it does not.
func (s *server) record(id string) (rec call.Record) {
	s.t.Helper()
	if code, body, ok := s.get("/api/v1/calls/" + id); ok && code == http.StatusOK {
		s.must(json.Unmarshal(body, &rec))
	}
	return rec
}

// entries are a call's entries in the portal, in the order of its legs.
func (s *server) entries(id string) (out []crmtest.Call) {
	for _, c := range s.portal.Calls() {
		if strings.HasPrefix(c.ExternalID, id+"-") {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b crmtest.Call) int { return strings.Compare(a.ExternalID, b.ExternalID) })
	return out
}

// leads are the owners of a number's leads, in time's order.
func (s *server) leads(phone string) (out []string) {
	for _, l := range s.portal.Leads() {
		if slices.Contains(l.Phones, phone) {
			out = append(out, fmt.Sprint(l.Owners))
		}
	}
	return out
}

// entry is what an entry in the portal must be.
type entry struct {
	kind   int // 1 out, 2 in, 3 handed on
	status string
	owner  int
	talk   bool   // it lasts as long as the record says
	line   string // bridging if empty
}

// finer is by how many seconds a finer account of a call, which comes once its
// entry is there, may differ from it.
const finer = 1

// has compares the entries of a call, and that each of them is finished once
// and began when the call did.
func (d *desk) has(rec call.Record, want ...entry) []crmtest.Call {
	d.t.Helper()
	got := d.entries(rec.ID)
	if len(got) != len(want) {
		d.t.Fatalf("%d entries %+v, want %d", len(got), got, len(want))
	}
	for i, w := range want {
		g := got[i]
		if w.line == "" {
			w.line = "bridging"
		}
		seconds := 0
		if w.talk {
			seconds = rec.Talks[i].Seconds
			if seconds < 1 || seconds > 30 {
				d.t.Errorf("talk %d of %d s", i, seconds)
			}
		}
		if !g.Finished || g.Type != w.kind || g.Status != w.status || g.FinishedBy != w.owner || max(g.Duration-seconds, seconds-g.Duration) > finer || g.Line != w.line || len(g.Shown) != 0 {
			d.t.Errorf("entry %d is finished %t, type %d, %s by %d, %d s on line %q, its card shown to %v, want %+v and %d s",
				i, g.Finished, g.Type, g.Status, g.FinishedBy, g.Duration, g.Line, g.Shown, w, seconds)
		}
		began := rec.Started
		if i > 0 {
			began = rec.Talks[i].From
		}
		if apart := g.Started.Sub(began).Abs(); apart > time.Second {
			d.t.Errorf("entry %d began at %v, the call at %v", i, g.Started, began)
		}
	}
	return got
}

// hasLeads compares the owners of a number's leads.
func (d *desk) hasLeads(phone string, want ...string) {
	d.t.Helper()
	if got := d.leads(phone); !slices.Equal(got, want) {
		d.t.Errorf("the leads of %s were owned by %v, want %v", phone, got, want)
	}
}

// owned is a lead that one of the employees had after the other.
func owned(by ...int) string { return fmt.Sprint(by) }

func missedBy(owner int) entry { return entry{kind: 2, status: "304", owner: owner} }
func talkedTo(owner int) entry { return entry{kind: 2, status: "200", owner: owner, talk: true} }

// seat is an employee at an extension.
type seat struct {
	employee int
	ext      string
}

// handedOn wants a client's call to be logged as one in which two talked: each
// has an entry and a recording, the second the lead.
func (d *desk) handedOn(c *siptest.Call, from string, first, second seat) {
	d.t.Helper()
	rec := d.logged(c.CallIDs()[0])
	handed := talkedTo(second.employee)
	handed.kind = 3
	for i, e := range d.has(rec, talkedTo(first.employee), handed) {
		d.sounds(e, rec.Talks[i], exact, clientTone, pbxtest.ToneOf([]seat{first, second}[i].ext))
	}
	d.hasLeads(from, owned(fake, second.employee))
}

// logCase is a call of one client and what the portal has of it.
type logCase struct {
	name           string
	play           func(d *desk, from string)
	entries, tapes int // that it adds; what has no recording is a miss
}

// logCases are the scenarios of logging, by their numbers.
func logCases() []logCase {
	return []logCase{
		{"30_nobody_of_a_queue_answers", func(d *desk, from string) {
			c := d.calling(from, direct("800"))
			d.must(c.WaitDone(patience(d.t))) // the queue gives up
			rec := d.logged(c.CallIDs()[0])
			d.has(rec, missedBy(fake))
			d.hasLeads(from, owned(fake))
			if rec.MissedIn != "queue" {
				d.t.Errorf("missed in %q, want the queue", rec.MissedIn)
			}
		}, 1, 0},
		{"30_the_fifth_agent_answers", func(d *desk, from string) {
			d.has(d.talks(from, direct("801"), "205"), talkedTo(vera))
			d.hasLeads(from, owned(fake, vera))
		}, 1, 1},
		{"30_hang_up_in_a_menu", func(d *desk, from string) {
			c := d.calling(from, direct("802"))
			d.must(c.WaitSound(patience(d.t), 200*time.Millisecond))
			d.must(c.Hangup(patience(d.t)))
			d.has(d.logged(c.CallIDs()[0]), missedBy(fake))
			d.hasLeads(from, owned(fake))
		}, 1, 0},
		{"31_a_new_caller_talks", func(d *desk, from string) {
			e := d.has(d.talks(from, direct("205"), "205"), talkedTo(vera))
			d.hasLeads(from, owned(fake, vera))
			if !slices.Equal(e[0].Appeared, []int{vera}) {
				d.t.Errorf("the card appeared to %v, want to %d", e[0].Appeared, vera)
			}
		}, 1, 1},
		{"31_a_new_caller_gives_up", func(d *desk, from string) {
			d.has(d.givesUpAt(from, "207"), missedBy(fake))
			d.hasLeads(from, owned(fake))
		}, 1, 0},
		{"31_a_second_call_during_the_first", func(d *desk, from string) {
			first := d.calling(from, direct("205"))
			second := d.rings(from, direct("207"))
			d.must(second.WaitCode(patience(d.t), 180))
			d.must(second.Hangup(patience(d.t)))
			d.hears(first, "205", talkFor)
			d.must(first.Hangup(patience(d.t)))
			d.has(d.logged(first.CallIDs()[0]), talkedTo(vera))
			d.has(d.logged(second.CallIDs()[0]), missedBy(fake))
			d.hasLeads(from, owned(fake, vera))
		}, 2, 1},
		{"32_transferred", func(d *desk, from string) {
			c := d.calling(from, direct("204"))
			d.hears(c, "204", 0)
			d.hears(c, "205", talkFor)
			d.must(c.Hangup(patience(d.t)))
			d.handedOn(c, from, seat{boris, "204"}, seat{vera, "205"})
		}, 2, 2},
		{"22_transferred_by_REFER", referred, 2, 2},
		{"22_outgoing_transferred_by_REFER", referredOutgoing, 2, 2},
		{"35_voicemail", func(d *desk, from string) {
			c := d.calling(from, direct("208"))
			d.must(c.WaitTone(patience(d.t), pbxtest.MailboxTone))
			d.must(c.Hangup(patience(d.t)))
			d.has(d.logged(c.CallIDs()[0]), missedBy(fake))
		}, 1, 0},
		{"35_outgoing", func(d *desk, from string) {
			ctx := patience(d.t)
			c, err := d.pbx.Dial(ctx, "205", "9"+from)
			d.must(err)
			d.must(c.WaitAnswer(ctx))
			d.must(c.WaitSound(ctx, talkFor))
			d.must(c.Hangup(ctx))
			d.has(d.logged(c.CallIDs()[0]), entry{kind: 1, status: "200", owner: vera, talk: true, line: "9"})
			d.hasLeads(from)
		}, 1, 1},
		{"10_a_number_that_never_becomes_a_lead", func(d *desk, _ string) {
			d.has(d.givesUpAt(neverLead, "207"), missedBy(fake))
			d.hasLeads(neverLead)
		}, 1, 0},
	}
}

// givesUpAt has a client hang up while it rings at an extension.
func (d *desk) givesUpAt(from, ext string) call.Record {
	d.t.Helper()
	c := d.rings(from, direct(ext))
	d.must(c.WaitCode(patience(d.t), 180))
	d.must(c.Hangup(patience(d.t)))
	return d.logged(c.CallIDs()[0])
}

// handedOver is a call that the trunk itself takes to the PBX: only the PBX
// knows what became of it.
func handedOver(d *desk) {
	ctx := patience(d.t)
	c, err := newTrunkPhone(d.server, ".11").dial(callerQuiet, did, func(o *siptest.Options) { o.NoFollow = false })
	d.must(err)
	d.must(c.WaitAnswer(ctx))
	d.hears(c, "202", talkFor)
	d.must(c.Hangup(ctx))
	want := talkedTo(petr)
	want.line = "redirecting"
	rec := d.logged(c.CallIDs()[0])
	e := d.has(rec, want)
	d.sounds(e[0], rec.Talks[0], exact, pbxtest.ToneOf("202")) // 3CX's own recording
}

// greetedOnly hangs up in the greeting (scenario 19): the PBX hears nothing of
// it.
func greetedOnly(d *desk) {
	c := d.rings(callerKnown, did)
	d.must(c.WaitTone(patience(d.t), greeted))
	d.must(c.Hangup(patience(d.t)))
	d.has(d.logged(c.CallIDs()[0]), missedBy(fake))
	for _, at := range d.pbx.Calls() {
		if strings.Contains(at.Invite.From.User, callerKnown[1:]) {
			d.t.Errorf("the PBX was called: %s", at.Number)
		}
	}
}

// requests counts what the portal was asked by a method.
func (s *server) requests(method string) (n int) {
	for _, r := range s.portal.Requests() {
		if strings.EqualFold(strings.TrimSuffix(r.Method, ".json"), method) {
			n++
		}
		for _, c := range r.Commands {
			_, text, _ := strings.Cut(c, "=")
			if name, _, _ := strings.Cut(text, "?"); strings.EqualFold(name, method) {
				n++
			}
		}
	}
	return n
}

// TestCallLog has every kind of call in the portal exactly once, with its
// owner, its length, its line, its lead, its task and its recording.
func TestCallLog(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cases := append(logCases(), brittleTapes()...)
			encoder, died := mortalEncoder(t)
			d := startDesk(t, append(options(t), encoder)...)
			number := func(i int) string { return client(1100 + i) }
			var answer []string // the clients whom the PBX calls
			for i, c := range cases {
				if strings.Contains(c.name, "outgoing") {
					answer = append(answer, number(i))
				}
			}
			d.outward(answer...)
			entries, tapes, misses := 2, 1, 1
			t.Run("cases", func(t *testing.T) {
				for i, c := range cases {
					entries, tapes, misses = entries+c.entries, tapes+c.tapes, misses+c.entries-c.tapes
					t.Run(c.name, func(t *testing.T) { t.Parallel(); c.play(d.on(t), number(i)) })
				}
				t.Run("19_hang_up_in_the_greeting", func(t *testing.T) { t.Parallel(); greetedOnly(d.on(t)) })
				t.Run("35_handed_over", func(t *testing.T) { t.Parallel(); handedOver(d.on(t)) })
				t.Run("35_internal", func(t *testing.T) { t.Parallel(); internal(d.on(t)) })
			})
			d.counts(entries, tapes, misses)
			d.deliveredTapes()
			d.wholeTapes()
			if !died() {
				t.Error("no encoder was killed")
			}
			d.idle()
			d.expires()
		})
	}
}

// internal is a call between two extensions, which is nobody's business.
func internal(d *desk) {
	now := time.Now().UTC().Truncate(time.Second)
	d.pbx.State().Account(pbxtest.Account{
		Direction: pbxtest.Internal, Caller: pbxtest.Party{Number: "201"}, Dialled: "205", Started: now.Add(-9 * time.Second), Ended: now, End: pbxtest.BySource,
		Legs: []pbxtest.Leg{{Party: pbxtest.Party{Number: "205"}, Kind: pbxtest.Extension, How: pbxtest.Dialled, Rang: now.Add(-9 * time.Second), Answered: now.Add(-8 * time.Second), Ended: now}},
	})
}

// counts compares what the portal was asked and what it has, over all calls.
func (d *desk) counts(entries, tapes, misses int) {
	d.t.Helper()
	attached := 0
	for _, c := range d.portal.Calls() {
		if c.Attached > 1 {
			d.t.Errorf("%s has been given %d recordings", c.ExternalID, c.Attached)
		}
		attached += c.Attached
	}
	for what, n := range map[string][2]int{
		"entries":                   {len(d.portal.Calls()), entries},
		"recordings":                {attached, tapes},
		"files":                     {len(d.portal.Files()), tapes},
		"tasks":                     {len(d.portal.Tasks()), misses},
		"requests to finish a call": {d.requests("telephony.externalcall.finish"), entries},
	} {
		if n[0] != n[1] {
			d.t.Errorf("there are %d %s, want %d", n[0], what, n[1])
		}
	}
	unheard := max(d.metrics(`frontdesk_calllog_ringing_total{result="failed"}`), 0) // of which no answer came, or was kept, in time
	if n := d.requests("telephony.externalcall.register"); n < entries || n > entries+int(unheard) {
		d.t.Errorf("there are %d requests to register a call, want %d, and of %v perhaps another", n, entries, unheard)
	}
}

// deliveredTapes wants all recordings gone that the portal has; those of
// machines, which nobody wants, stay until they expire.
func (d *desk) deliveredTapes() {
	d.t.Helper()
	if !poll(owed, func() bool {
		for _, name := range d.tapes() {
			id, _, _ := strings.Cut(name, "-")
			if strings.HasSuffix(name, ".mp3") || len(d.record(id).Talks) > 0 {
				return false
			}
		}
		return true
	}) {
		d.t.Errorf("recordings that are delivered are here still: %q", d.tapes())
	}
}
