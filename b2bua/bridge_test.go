package b2bua_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/media/sdp"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
)

var bridged = transfers(call.TransferBridge)

func TestBridgeAnswered(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Ring: 100 * time.Millisecond}))
	c := r.call()
	r.must(c.WaitCode(r.ctx, 180))
	at := r.talking(c, "201")
	if got := at.Invite.From.User; got != caller {
		t.Errorf("the PBX sees caller %q, want %q", got, caller)
	}
	if got := at.Invite.From.Display; got != "Ann Lee" {
		t.Errorf("the PBX sees name %q, want the CRM's", got)
	}
	if a := at.Invite.Asserted; len(a) != 1 || a[0].User != caller {
		t.Errorf("asserted identity %v, want %s", a, caller)
	}
	r.must(c.Hangup(r.ctx))
	r.must(at.WaitDone(r.ctx))
	rec := r.record()
	r.is(rec, "201", "responsible", "bridge", "answered")
	if at.FrontdeskCall() != rec.ID {
		t.Errorf("X-Frontdesk-Call is %q, the record %q", at.FrontdeskCall(), rec.ID)
	}
	if len(rec.Talks) != 1 || rec.Talks[0].Employee != 17 || rec.Talks[0].Extension != "201" {
		t.Errorf("talks %+v, want one of employee 17 at 201", rec.Talks)
	}
}

func TestBridgeCalleeHangsUp(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Then: pbxtest.Then{HangUp: 300 * time.Millisecond}}))
	c := r.call()
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.WaitDone(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestBridgeAfterGreeting(t *testing.T) {
	r := setup(t, bridged, number("201", pbxtest.Behaviour{Ring: 1500 * time.Millisecond}))
	c := r.call()
	r.must(c.WaitTone(r.ctx, greeted))
	r.must(c.WaitTone(r.ctx, 425)) // who already hears us hears the ringing too
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	rec := r.record()
	r.is(rec, "201", "responsible", "bridge", "answered")
	if !rec.Greeting {
		t.Error("the record tells of no greeting")
	}
}

func TestBridgeAfterAnsweredGreeting(t *testing.T) {
	r := setup(t, bridged, func(r *rig) { r.settings.Greeting.Answer = true })
	c := r.call()
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.WaitTone(r.ctx, greeted))
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestBridgeEarlyMedia(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Early: true, Ring: 2 * time.Second}))
	c := r.call()
	r.must(c.WaitCode(r.ctx, 183))
	r.must(c.WaitTone(r.ctx, pbxtest.ToneOf("201")))
	r.must(c.WaitAnswer(r.ctx))
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestBridgeToDefault(t *testing.T) {
	for name, test := range map[string]struct {
		ring time.Duration
		is   pbxtest.Behaviour
	}{
		"busy":         {is: pbxtest.Refuse("busy")},
		"declined":     {is: pbxtest.Refuse("decline")},
		"unregistered": {is: pbxtest.Refuse("unregistered")},
		"no answer":    {300 * time.Millisecond, pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, quiet, bridged, number("201", test.is))
			if test.ring > 0 {
				r.settings.PBX.Ring = test.ring
			}
			c := r.call()
			r.talking(c, "800")
			r.must(c.Hangup(r.ctx))
			r.is(r.record(), "800", "responsible", "bridge", "answered")
			if n := len(r.pbx.Calls()); n != 2 {
				t.Errorf("%d calls at the PBX, want one to the manager and one to the default", n)
			}
		})
	}
}

func TestBridgeNobodyThere(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Refuse("busy")), number("800", pbxtest.Refuse("busy")))
	c := r.call()
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 486 {
		t.Errorf("the caller got %d, want the callee's 486", res.Code)
	}
	r.is(r.record(), "201", "responsible", "none", "refused")
}

func TestBridgeFollowsRedirect(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "203"}}))
	c := r.call()
	r.talking(c, "203")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "203", "responsible", "bridge", "answered")
	for _, code := range c.Codes() {
		if code/100 == 3 {
			t.Errorf("the trunk saw %d", code)
		}
	}
}

func TestBridgeRedirectLoopEnds(t *testing.T) {
	r := setup(t, quiet, bridged,
		number("201", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "202"}}),
		number("202", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "201"}}))
	c := r.call()
	r.talking(c, "800")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "800", "responsible", "bridge", "answered")
}

func TestBridgeFollowsNobodyElsewhere(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "sip:0081312345678@198.51.100.9"}}))
	c := r.call()
	r.talking(c, "800")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "800", "responsible", "bridge", "answered")
}

func TestBridgeNodeFailover(t *testing.T) {
	for name, dead := range map[string]func(*pbxtest.PBX){
		"silent":      func(p *pbxtest.PBX) { p.SetDead(true) },
		"unavailable": func(p *pbxtest.PBX) { p.Set("201", pbxtest.Refuse("unavailable")) },
	} {
		t.Run(name, func(t *testing.T) {
			first := secondPBX(t)
			dead(first)
			r := setup(t, quiet, bridged, func(r *rig) {
				r.settings.PBX.Failover = 200 * time.Millisecond
				r.settings.PBX.Nodes = b2bua.NewNodes([]string{
					strings.Replace(first.URI(), "@", "", 1), strings.Replace(r.pbx.URI(), "@", "", 1),
				}, slog.New(slog.DiscardHandler))
			})
			c := r.call()
			r.talking(c, "201")
			r.must(c.Hangup(r.ctx))
			r.is(r.record(), "201", "responsible", "bridge", "answered")
			if up := r.settings.PBX.Nodes.Up(); up != 1 {
				t.Errorf("%d nodes are taken to be up, want 1", up)
			}
		})
	}
}

// secondPBX is another node.
func secondPBX(t *testing.T) *pbxtest.PBX {
	t.Helper()
	p, err := pbxtest.New(t.Context(), pbxtest.Config{Numbers: map[string]pbxtest.Behaviour{"201": {}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestBridgeAllNodesDead(t *testing.T) {
	r := setup(t, quiet, bridged, func(r *rig) {
		r.pbx.SetDead(true)
		r.settings.PBX.Failover = 100 * time.Millisecond
	})
	began := time.Now()
	c := r.call()
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("giving up took %v, want twice the failover time", took)
	}
	if res.Code != 503 {
		t.Errorf("the caller got %d, want 503", res.Code)
	}
	r.is(r.record(), "201", "responsible", "none", "refused")
}

func TestHoldAndResume(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	for range 2 {
		r.must(c.Hold(r.ctx))
		r.must(c.Resume(r.ctx))
		c.Forget()
		at.Forget()
		r.talking(c, "201")
		r.must(at.Hold(r.ctx))
		r.must(at.Resume(r.ctx))
		c.Forget()
		at.Forget()
		r.talking(c, "201")
	}
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestReinviteWithoutOffer(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Late: true}))
	c := r.call()
	at := r.talking(c, "201")
	r.must(c.ReinviteLate(r.ctx))
	c.Forget()
	at.Forget()
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestTrunkMayNotTransfer(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	r.talking(c, "201")
	code, err := c.Transfer(r.ctx, "sip:0081312345678@198.51.100.9")
	if err == nil && code < 300 {
		t.Errorf("a REFER of the trunk was followed: %d", code)
	}
	r.must(c.Hangup(r.ctx))
	r.record()
}

func TestDigitsDuringTalk(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	r.must(c.Dial(r.ctx, "17"))
	got, err := at.WaitDigits(r.ctx, 2)
	r.must(err)
	if got != "17" {
		t.Errorf("the employee's phone got digits %q, want 17", got)
	}
	r.must(c.Hangup(r.ctx))
	r.record()
}

// TestBridgeWithoutHops: a call that has been through too many hands goes no
// further, and its caller learns that it circles (RFC 3261 section 21.4.21).
func TestBridgeWithoutHops(t *testing.T) {
	r := setup(t, quiet, bridged)
	session, err := r.engine.Open()
	r.must(err)
	defer session.Close()
	out, err := r.trunk.Stack().Dial(r.ctx, sip.Dial{
		Target: "sip:" + did + "@" + r.stack.Addr("udp").String(), MaxForwards: 1,
		Body:   sdp.Offer(session.Describe(), []sdp.Codec{sdp.PCMA}),
		Caller: sip.Caller{From: sip.Address{User: caller, Host: r.trunk.Addr().String()}},
	})
	r.must(err)
	var final int
	for res := range out.Responses() {
		final = res.Code
	}
	if final != 483 {
		t.Errorf("answered %d, want 483", final)
	}
	if n := len(r.pbx.Phone.Ladder().Steps()); n != 0 {
		t.Errorf("the PBX heard %d messages", n)
	}
}
