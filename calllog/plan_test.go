package calllog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm"
)

const (
	client = call.Number("+79161234567")
	did    = call.Number("+74951234567")
)

// monday is when the calls of the tests begin.
var monday = time.Date(2026, 3, 2, 12, 0, 0, 0, time.FixedZone("", 3*3600))

// policy is that of a company with 201 (61), 205 (65) and a placeholder (99).
func policy() calllog.Policy {
	return calllog.Policy{
		Log: true, Leads: true, Missed: calllog.OwnerPlaceholder, Placeholder: 99, Fallback: 1,
		Employees: map[int]call.Employee{
			61: {ID: 61, Extension: "201"}, 65: {ID: 65, Extension: "205", Phones: []call.Number{"+79165550000"}}, 66: {ID: 66, Extension: "206", Dismissed: true},
			71: {ID: 71, Extension: "300"}, 72: {ID: 72, Extension: "300"}, 80: {ID: 80, Extension: "800"},
		},
		Numbers: call.Numbers{Extensions: call.Ranges{"100-399"}, Queues: call.Ranges{"800-899"}},
		Never:   func(n call.Number) bool { return n == "+79990000000" },
	}
}

// at is a time after the beginning of the call.
func at(seconds int) time.Time { return monday.Add(time.Duration(seconds) * time.Second) }

func talk(ext call.Extension, from, seconds int) call.Talk {
	return call.Talk{Extension: ext, From: at(from), Until: at(from + seconds), Seconds: seconds}
}

// incoming is a call of a caller whom the CRM does not know, to 201.
func incoming(id string, change ...func(*call.Record)) call.Record {
	r := call.Record{
		ID: id, Direction: call.In,
		Parties: call.Parties{Trunk: "carrier", Caller: client, DID: did},
		Times:   call.Times{Started: monday, Ended: at(300)},
		Routed:  call.Routed{Target: "201", Outcome: call.OutcomeUnknown},
		Ended:   call.Ended{Transfer: call.TransferBridge},
		Legs:    []call.Leg{{Peer: "carrier"}, {Peer: "pbx", Target: "sip:201@127.0.0.1:5070", Code: 200}},
		Facts:   call.NewDocument(map[string]any{"crm": call.Answer{Source: call.SourceLive}}),
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func knownAs(entities ...call.Entity) func(*call.Record) {
	return func(r *call.Record) {
		r.Facts = call.NewDocument(map[string]any{"crm": call.Answer{Source: call.SourceLive, Entities: entities}})
	}
}

func answered(talks ...call.Talk) func(*call.Record) {
	return func(r *call.Record) {
		r.Result, r.Talks = call.ResultAnswered, talks
		if len(talks) > 0 {
			r.Answered = talks[0].From
		}
	}
}

func missed(where string) func(*call.Record) {
	return func(r *call.Record) { r.Result, r.MissedIn = call.ResultMissed, where }
}

func outgoing(r *call.Record) {
	r.Direction, r.Caller, r.DID, r.Prefix, r.Target = call.Out, "201", client, "9", ""
}

// show writes a plan on lines.
func show(p calllog.Plan) string {
	var b strings.Builder
	owner := func(o calllog.Owner) string {
		if o.Head {
			return fmt.Sprintf("head of %d else %d", o.Employee, o.Else)
		}
		return fmt.Sprint(o.Employee)
	}
	for _, e := range p.Entries {
		fmt.Fprintf(&b, "%s type %d of %s line %s at +%v: %s for %v by %s", e.External, e.Type, e.Number, e.Line,
			e.Started.Sub(monday), e.Status, time.Duration(e.Duration), owner(e.Owner))
		if e.Entity.ID != 0 {
			fmt.Fprintf(&b, " on %s %d", e.Entity.Kind, e.Entity.ID)
		}
		if e.Create {
			b.WriteString(" create")
		}
		if e.Talk != nil {
			b.WriteString(" with " + e.Talk.Recording)
		}
		b.WriteByte('\n')
	}
	if l := p.Lead; l != nil {
		fmt.Fprintf(&b, "lead")
		if l.Create != nil {
			fmt.Fprintf(&b, " for %s", l.Create.Number)
		}
		if l.ID != 0 {
			fmt.Fprintf(&b, " %d", l.ID)
		}
		fmt.Fprintf(&b, " from %d to %d\n", l.From, l.To)
	}
	if t := p.Task; t != nil {
		fmt.Fprintf(&b, "task for %s about %s\n", owner(t.Owner), t.Number)
	}
	return b.String()
}

func TestMake(t *testing.T) {
	t.Parallel()
	contact := call.Entity{Kind: call.KindContact, ID: 7, Responsible: 61}
	for _, c := range []struct {
		name   string
		record call.Record
		policy func(*calllog.Policy)
		want   string
	}{
		{"answered", incoming("a", knownAs(contact), answered(talk("201", 10, 95))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 1m35s by 61 on contact 7\n"},
		{"transferred", incoming("a", knownAs(contact), answered(talk("201", 10, 52), talk("205", 62, 202))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 52s by 61 on contact 7\n" +
				"a-1 type 3 of +79161234567 line carrier at +1m2s: 200 for 3m22s by 65 on contact 7\n"},
		{"transferred, both recorded", incoming("a", knownAs(contact), answered(
			call.Talk{Extension: "201", From: at(10), Seconds: 52, Recording: "one"}, call.Talk{Extension: "205", From: at(62), Seconds: 202, Recording: "two"})), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 52s by 61 on contact 7 with one\n" +
				"a-1 type 3 of +79161234567 line carrier at +1m2s: 200 for 3m22s by 65 on contact 7 with two\n"},
		{"a talk of no length between", incoming("a", knownAs(contact), answered(talk("201", 10, 0), talk("205", 10, 20))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 20s by 65 on contact 7\n"},
		{"only a talk of no length", incoming("a", knownAs(contact), answered(talk("201", 10, 0))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 1s by 61 on contact 7\n"},
		{"answered, no talk known", incoming("a", knownAs(contact), answered(), func(r *call.Record) { r.Answered = at(10) }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 4m50s by 61 on contact 7\n"},
		{"answered at a dismissed employee's", incoming("a", knownAs(contact), answered(talk("206", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 99 on contact 7\n"},
		{"answered at an extension that two share", incoming("a", knownAs(contact), answered(talk("300", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 99 on contact 7\n"},
		{"queue missed", incoming("a", knownAs(contact), missed("queue"), func(r *call.Record) { r.Target = "801" }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"ivr missed", incoming("a", knownAs(contact), missed("ivr"), func(r *call.Record) { r.Target = "" }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"voicemail is a miss", incoming("a", knownAs(contact), missed("voicemail"), func(r *call.Record) { r.Talks = []call.Talk{talk("201", 20, 30)} }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"abandoned in the greeting", incoming("a", knownAs(contact), func(r *call.Record) { r.Result, r.MissedIn, r.Legs = call.ResultAbandoned, "greeting", r.Legs[:1] }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"nobody reached is refused to the caller", incoming("a", knownAs(contact), func(r *call.Record) { r.Result = call.ResultRefused }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"missed, the employee's", incoming("a", knownAs(contact), missed("extension"), func(r *call.Record) {
			r.Legs = append(r.Legs, call.Leg{Target: "sip:205@127.0.0.1:5070", Code: 480})
		}), func(p *calllog.Policy) { p.Missed = calllog.OwnerEmployee },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 65 on contact 7\n"},
		{"missed in a queue, the employee's", incoming("a", knownAs(contact), missed("queue"), func(r *call.Record) { r.Target, r.Legs = "801", r.Legs[:1] }),
			func(p *calllog.Policy) { p.Missed = calllog.OwnerEmployee },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\n"},
		{"missed, the head's", incoming("a", knownAs(contact), missed("extension")), func(p *calllog.Policy) { p.Missed = calllog.OwnerHead },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by head of 61 else 99 on contact 7\n"},
		{"missed, no placeholder", incoming("a", knownAs(contact), missed("extension")), func(p *calllog.Policy) { p.Placeholder = 0 },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 1 on contact 7\n"},
		{"missed, with a task", incoming("a", knownAs(contact), missed("extension")), func(p *calllog.Policy) { p.Tasks = true },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on contact 7\ntask for 99 about +79161234567\n"},
		{"handed over, and nobody tells", incoming("a", knownAs(contact), func(r *call.Record) { r.Transfer = call.TransferRedirect }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: OTHER for 0s by 61 on contact 7\n"},
		{"internal", incoming("a", answered(talk("201", 1, 5)), func(r *call.Record) { r.Caller, r.DID = "205", "201" }), nil, ""},
		{"internal, from the PBX", incoming("a", outgoing, answered(talk("201", 1, 5)), func(r *call.Record) { r.DID = "205" }), nil, ""},
		{"anonymous", incoming("a", missed("extension"), func(r *call.Record) { r.Caller = "" }), nil, ""},
		{"blocked", incoming("a", func(r *call.Record) { r.Outcome, r.Result = call.OutcomeBlocked, call.ResultRefused }), nil, ""},
		{"no rule", incoming("a", func(r *call.Record) { r.Outcome, r.Result = call.OutcomeNoRule, call.ResultRefused }), nil, ""},
		{"off", incoming("a", knownAs(contact), answered(talk("201", 10, 95))), func(p *calllog.Policy) { p.Log = false }, ""},
		{"off, but leads", incoming("a", answered(talk("201", 10, 95))), func(p *calllog.Policy) { p.Log = false },
			"lead for +79161234567 from 99 to 61\n"},

		{"outgoing", incoming("a", outgoing, answered(talk("201", 10, 95))), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 200 for 1m35s by 61\n"},
		{"outgoing without a prefix", incoming("a", outgoing, answered(talk("201", 10, 95)), func(r *call.Record) { r.Prefix = "" }), nil,
			"a-0 type 1 of +79161234567 line carrier at +0s: 200 for 1m35s by 61\n"},
		{"outgoing, busy", incoming("a", outgoing, missed(""), func(r *call.Record) { r.Legs[1].Code = 486 }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 486 for 0s by 61\n"},
		{"outgoing, declined", incoming("a", outgoing, missed(""), func(r *call.Record) { r.Legs[1].Code = 603 }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 603 for 0s by 61\n"},
		{"outgoing, no such number", incoming("a", outgoing, missed(""), func(r *call.Record) { r.Legs[1].Code = 404 }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 404 for 0s by 61\n"},
		{"outgoing, no answer", incoming("a", outgoing, missed(""), func(r *call.Record) { r.Legs[1].Code = 408 }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 304 for 0s by 61\n"},
		{"outgoing, the carrier fails", incoming("a", outgoing, missed(""), func(r *call.Record) { r.Legs[1].Code = 503 }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: OTHER for 0s by 61\n"},
		{"outgoing, given up", incoming("a", outgoing, func(r *call.Record) { r.Result = call.ResultAbandoned }), nil,
			"a-0 type 1 of +79161234567 line 9 at +0s: 603-S for 0s by 61\n"},

		{"new caller", incoming("a", answered(talk("205", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 65\nlead for +79161234567 from 99 to 65\n"},
		{"new caller, transferred", incoming("a", answered(talk("201", 10, 52), talk("205", 62, 202))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 52s by 61\n" +
				"a-1 type 3 of +79161234567 line carrier at +1m2s: 200 for 3m22s by 65\nlead for +79161234567 from 99 to 65\n"},
		{"new caller, missed", incoming("a", missed("extension")), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99\nlead for +79161234567 from 99 to 0\n"},
		{"new caller, the CRM was late", incoming("a", missed("extension"), func(r *call.Record) {
			r.Facts = call.NewDocument(map[string]any{"crm": call.Answer{Missing: call.MissingDeadline}})
		}), nil, "a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99\nlead for +79161234567 from 99 to 0\n"},
		{"the rule asks nobody", incoming("a", missed("extension"), func(r *call.Record) {
			r.Facts = call.NewDocument(map[string]any{"crm": call.Answer{Missing: call.MissingNotAsked}})
		}), nil, "a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99\n"},
		{"never a lead", incoming("a", missed("extension"), func(r *call.Record) { r.Caller = "+79990000000" }), nil,
			"a-0 type 2 of +79990000000 line carrier at +0s: 304 for 0s by 99\n"},
		{"an employee's mobile is never a lead", incoming("a", missed("extension"), func(r *call.Record) { r.Caller = "+79165550000" }), nil,
			"a-0 type 2 of +79165550000 line carrier at +0s: 304 for 0s by 99\n"},
		{"a short number is never a lead", incoming("a", missed("extension"), func(r *call.Record) { r.Caller = "0911" }), nil,
			"a-0 type 2 of 0911 line carrier at +0s: 304 for 0s by 99\n"},
		{"new caller, no leads wanted", incoming("a", missed("extension")), func(p *calllog.Policy) { p.Leads = false },
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99\n"},
		{"new caller, simple CRM", incoming("a", answered(talk("201", 10, 52), talk("205", 62, 202))), func(p *calllog.Policy) { p.Simple = true },
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 52s by 61 create\n" +
				"a-1 type 3 of +79161234567 line carrier at +1m2s: 200 for 3m22s by 65\n"},
		{"known by the placeholder's lead", incoming("a", knownAs(call.Entity{Kind: call.KindLead, ID: 12, Responsible: 99}), answered(talk("205", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 65 on lead 12\nlead 12 from 99 to 65\n"},
		{"known by the placeholder's lead, missed again", incoming("a", knownAs(call.Entity{Kind: call.KindLead, ID: 12, Responsible: 99}), missed("extension")), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99 on lead 12\n"},
		{"known by somebody's lead", incoming("a", knownAs(call.Entity{Kind: call.KindLead, ID: 12, Responsible: 61}), answered(talk("205", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 65 on lead 12\n"},
		{"known by a closed lead", incoming("a", knownAs(call.Entity{Kind: call.KindLead, ID: 12, Closed: true}), answered(talk("205", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 65\nlead for +79161234567 from 99 to 65\n"},
		{"a contact goes before a lead", incoming("a", knownAs(call.Entity{Kind: call.KindLead, ID: 12, Responsible: 99}, contact), answered(talk("205", 10, 5))), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 65 on contact 7\n"},
		{"answered by the placeholder's own extension", incoming("a", answered(talk("800", 10, 5))), func(p *calllog.Policy) { p.Placeholder = 80 },
			"a-0 type 2 of +79161234567 line carrier at +0s: 200 for 5s by 80\nlead for +79161234567 from 80 to 0\n"},
		{"facts that are not understood", incoming("a", missed("extension"), func(r *call.Record) { r.Facts = call.NewDocument("?") }), nil,
			"a-0 type 2 of +79161234567 line carrier at +0s: 304 for 0s by 99\nlead for +79161234567 from 99 to 0\n"},
	} {
		p := policy()
		if c.policy != nil {
			c.policy(&p)
		}
		if diff := cmp.Diff(c.want, show(calllog.Make(c.record, p))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		record call.Record
		owner  int
		ok     bool
	}{
		{"an employee", incoming("a"), 61, true},
		{"a queue", incoming("a", func(r *call.Record) { r.Target = "801" }), 99, true},
		{"a queue that an employee stands for", incoming("a", func(r *call.Record) { r.Target = "800" }), 80, true},
		{"outgoing", incoming("a", outgoing), 0, false},
		{"within the company", incoming("a", func(r *call.Record) { r.Caller = "205" }), 0, false},
	} {
		e, lead, ok := calllog.Ring(c.record, policy())
		if ok != c.ok || e.Owner.Employee != c.owner {
			t.Errorf("%s: %v, by %d", c.name, ok, e.Owner.Employee)
		}
		if ok && (e.Type != crm.CallIn || e.External != "a-0" || lead == nil || lead.Create == nil || lead.To != 0) {
			t.Errorf("%s: %+v, %+v", c.name, e, lead)
		}
	}
}

// TestExternalIDs wants no two calls, and no two conversations, to share one.
func TestExternalIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		for _, e := range calllog.Make(incoming(call.NewID(), answered(talk("201", 10, 52), talk("205", 62, 202))), policy()).Entries {
			if seen[e.External] {
				t.Fatalf("%s twice", e.External)
			}
			seen[e.External] = true
		}
	}
}
