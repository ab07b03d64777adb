package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/media"
	"frontdesk/pbx/pbxtest"
	"frontdesk/routing"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
	"frontdesk/web"
)

// scene is one call of the demo and what must come of it.
type scene struct {
	title    string
	from     string
	bridged  bool // by the trunk whose calls are bridged
	target   call.Extension
	outcome  call.Outcome
	greeting bool
	digits   string
	passed   call.Extension // to whom the PBX passes the call on
	fault    crmtest.Fault
}

func scenes() []scene {
	return []scene{
		{title: "a known contact is greeted and redirected", from: callerOfOlga, target: "201", outcome: call.OutcomeResponsible, greeting: true},
		{title: "the caller dials 202 during the greeting", from: callerOfOlga, digits: "202", target: "202", outcome: call.OutcomeDigits, greeting: true},
		{title: "a direct contact hears no greeting", from: callerDirect, target: "202", outcome: call.OutcomeResponsible},
		{title: "two contacts with different managers", from: callerOfTwo, target: "800", outcome: call.OutcomeAmbiguous},
		{title: "the portal is silent until the deadline", from: callerUnknown, target: "800", outcome: call.OutcomeDeadline, fault: crmtest.Fault{Kind: crmtest.Silence}},
		{title: "bridged to whom the client talked with last", from: callerDirect, bridged: true, target: "202", outcome: call.OutcomeSticky},
		{title: "the PBX passes the call on", from: callerOfCompany, digits: "209", target: "209", outcome: call.OutcomeDigits, greeting: true, passed: "202"},
	}
}

// result is what came of a scene.
type result struct {
	scene
	rec   call.Record
	call  *siptest.Call
	heard []string // what the caller heard, in order
	err   error    // why it was not as expected
}

const (
	demoDID    = "+74951234567"
	callerTone = 700 // Hz the caller sends while talking
)

// perform places a scene's call and compares what came of it.
func (st *stage) perform(ctx context.Context, s scene) result {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	st.portal.SetFault(s.fault)
	defer st.portal.Heal()
	r := result{scene: s}
	phone := st.trunk
	if s.bridged {
		phone = st.bridged
	}
	if r.call, r.err = phone.Call(ctx, siptest.Options{
		To:   sip.Address{User: demoDID, Host: st.sys.stack.Addr("udp").String()}.URI(),
		From: sip.Address{User: s.from},
	}); r.err != nil {
		return r
	}
	r.err = errors.Join(st.follow(ctx, &r), r.call.Hangup(ctx))
	r.rec = st.recorded(ctx, r)
	r.err = errors.Join(r.err, r.unlike())
	return r
}

// follow listens to the call from the greeting to the talk.
func (st *stage) follow(ctx context.Context, r *result) error {
	c := r.call
	if r.greeting {
		if err := c.WaitSound(ctx, 500*time.Millisecond); err != nil {
			return err
		}
		if r.digits != "" {
			r.heard = append(r.heard, "greeting, cut short by the digits "+r.digits)
			if err := c.Dial(ctx, r.digits); err != nil {
				return err
			}
		}
	}
	if err := c.WaitAnswer(ctx); err != nil {
		return err
	}
	if r.greeting && r.digits == "" {
		pcm := c.Heard()
		r.heard = append(r.heard, fmt.Sprintf("greeting of %.1f s at %.0f dBFS", float64(len(pcm))/8000, media.Level(pcm)))
		if media.Level(pcm) < -40 || len(pcm) < 3*8000 {
			return errors.New("the greeting was not heard whole")
		}
	}
	return st.talk(ctx, r)
}

// talk proves sound both ways.
func (st *stage) talk(ctx context.Context, r *result) error {
	hz := pbxtest.ToneOf(string(r.target))
	if err := r.call.Tone(ctx, callerTone); err != nil {
		return err
	}
	if err := r.call.WaitTone(ctx, hz); err != nil {
		return err
	}
	r.heard = append(r.heard, fmt.Sprintf("the tone of %s, %d Hz", r.target, hz))
	calls := st.pbx.Calls()
	at := calls[len(calls)-1]
	if err := at.WaitTone(ctx, callerTone); err != nil {
		return err
	}
	r.heard = append(r.heard, fmt.Sprintf("and %s heard the caller, %d Hz", r.target, callerTone))
	if r.passed == "" {
		return nil
	}
	hz = pbxtest.ToneOf(string(r.passed))
	if err := r.call.WaitTone(ctx, hz); err != nil {
		return err
	}
	r.heard = append(r.heard, fmt.Sprintf("then the tone of %s, %d Hz", r.passed, hz))
	return nil
}

// recorded is the record of the call, written moments after its end, and again
// when the PBX has told who talked.
func (st *stage) recorded(ctx context.Context, r result) call.Record {
	var rec call.Record
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		page, err := st.sys.ring.List(ctx, web.Filter{Limit: 1})
		if err == nil && len(page.Calls) == 1 && page.Calls[0].Legs[0].CallID == r.call.CallIDs()[0] {
			if rec = page.Calls[0]; rec.Result != "" {
				return rec
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return rec
		}
	}
}

// unlike says in what a result differs from what was expected.
func (r *result) unlike() error {
	transfer := call.TransferRedirect
	if r.bridged {
		transfer = call.TransferBridge
	}
	var all []error
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"target", r.rec.Target, r.target},
		{"outcome", r.rec.Outcome, r.outcome},
		{"greeting", r.rec.Greeting, r.greeting},
		{"transfer", r.rec.Transfer, transfer},
	} {
		if c.got != c.want {
			all = append(all, fmt.Errorf("%s is %v, want %v", c.what, c.got, c.want))
		}
	}
	talks := r.rec.Talks
	if r.passed != "" && (len(talks) != 2 || talks[0].Extension != r.target || talks[1].Extension != r.passed) {
		all = append(all, fmt.Errorf("those who talked are %v, want %s, then %s", talks, r.target, r.passed))
	}
	return errors.Join(all...)
}

// show prints a result: what the caller got, why, and what went over the wire.
func (st *stage) show(r result) error {
	fmt.Fprintf(st.out, "%s dials %s\n", r.from, demoDID)
	if r.call == nil {
		fmt.Fprintln(st.out, "no call:", r.err)
		return nil
	}
	fmt.Fprintf(st.out, "the caller got   %s\n", strings.Trim(fmt.Sprint(r.call.Codes()), "[]"))
	fmt.Fprintf(st.out, "the caller heard %s\n\n", strings.Join(r.heard, "; "))
	if err := st.decision(r.rec); err != nil {
		return err
	}
	fmt.Fprintf(st.out, "\n%s\n", joined(r.rec))
	var ids []string
	for _, l := range r.rec.Legs {
		ids = append(ids, l.CallID)
	}
	fmt.Fprintln(st.out, "\nladder, as frontdesk saw it (-> sent, <- received)")
	if err := siptest.WriteLadder(st.out, st.ladder.Steps(ids...)); err != nil {
		return err
	}
	fmt.Fprintln(st.out, "\ntimes")
	for _, e := range r.rec.Timeline {
		fmt.Fprintf(st.out, "%8.1f ms  %s\n", e.At.Sub(r.rec.Started).Seconds()*1000, e.Event)
	}
	return nil
}

// joined tells what became of a call, as our record and the PBX's account of it
// say together.
func joined(r call.Record) string {
	s := fmt.Sprintf("joined with the PBX's account: %s", r.Result)
	if r.MissedIn != "" {
		s += " in " + r.MissedIn
	}
	for i, t := range r.Talks {
		if s += ", talked with " + string(t.Extension); i < len(r.Talks)-1 {
			s += ", who passed it on" // a line of the PBX tells the length of all talks together
			continue
		}
		s += fmt.Sprintf(" for %d s", t.Seconds)
	}
	return s
}

// decision renders the decision of a record: its facts, decided once more.
func (st *stage) decision(rec call.Record) error {
	var f routing.Facts
	if err := rec.Facts.Decode(&f); err != nil {
		return err
	}
	d := st.sys.live.Load().cfg.Plan.Decide(f)
	got, err := json.Marshal(d.Trace)
	if err != nil {
		return err
	}
	kept, err := rec.Trace.MarshalJSON()
	if err != nil {
		return err
	}
	if string(got) != string(kept) {
		return fmt.Errorf("the record's facts decide otherwise than the call did:\n%s\n%s", got, kept)
	}
	return d.WriteText(st.out)
}

// decided is how long the decision took, as the timeline tells.
func (r *result) decided() string {
	for _, e := range r.rec.Timeline {
		if strings.HasPrefix(e.Event, "decided ") {
			return fmt.Sprintf("%.1f ms", e.At.Sub(r.rec.Started).Seconds()*1000)
		}
	}
	return "-"
}
