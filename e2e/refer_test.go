//go:build e2e

package e2e_test

import (
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
)

// leg is the PBX's end of a client's call to a number.
func (s *server) leg(from, ext string) (found *pbxtest.Call) {
	s.t.Helper()
	waitFor(s.t, "the call of "+from+" to reach "+ext, func() bool {
		for _, c := range s.pbx.Calls() {
			if c.Number == ext && c.Invite.From.User == from {
				found = c
			}
		}
		return found != nil
	})
	return found
}

// refers has the PBX hand a client on, and wants the last NOTIFY to say code.
func (s *server) refers(leg *sip.Leg, to string, code int, headers ...sip.Header) {
	s.t.Helper()
	got, err := leg.Refer(patience(s.t), to, headers...)
	s.must(err)
	if got != code {
		s.t.Errorf("a REFER to %s came to %d, want %d", to, got, code)
	}
}

// referred is a transfer by REFER, once refused: two talked, each has an entry
// and a recording.
func referred(d *desk, from string) {
	c := d.calling(from, direct("205"))
	d.hears(c, "205", talkFor)
	at := d.leg(from, "205")
	d.refers(at.Leg(), d.pbx.Phone.URI("206"), 603)
	d.hears(c, "205", 0)
	d.refers(at.Leg(), d.pbx.Phone.URI("201"), 200)
	d.hears(c, "201", talkFor)
	d.must(d.leg(from, "201").WaitTone(patience(d.t), clientTone))
	d.must(c.Hangup(patience(d.t)))
	d.handedOn(c, from, seat{vera, "205"}, seat{olga, "201"})
}

// referredOutgoing is the same of a call that the PBX placed.
func referredOutgoing(d *desk, to string) {
	ctx := patience(d.t)
	c, err := d.pbx.Dial(ctx, "205", "9"+to)
	d.must(err)
	d.must(c.WaitAnswer(ctx))
	d.must(c.WaitSound(ctx, talkFor))
	d.refers(c.Leg(), d.pbx.Phone.URI("201"), 200)
	d.must(c.WaitDone(ctx))
	other := d.leg(to, "201")
	d.must(other.WaitSound(ctx, talkFor))
	d.must(other.Hangup(ctx))
	rec := d.logged(c.CallIDs()[0])
	d.has(rec, entry{kind: 1, status: "200", owner: vera, talk: true, line: "9"}, entry{kind: 1, status: "200", owner: olga, talk: true, line: "9"})
	d.hasLeads(to)
}
