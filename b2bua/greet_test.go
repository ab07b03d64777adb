package b2bua_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

func TestDigits(t *testing.T) {
	for name, test := range map[string]struct {
		dial    string
		info    bool
		target  string
		outcome string
	}{
		"right":       {dial: "202", target: "202", outcome: "digits"},
		"right, INFO": {dial: "202", info: true, target: "202", outcome: "digits"},
		"a queue":     {dial: "801", target: "801", outcome: "digits"},
		"wrong":       {dial: "999", target: "201", outcome: "responsible"},
		"partial":     {dial: "20", target: "201", outcome: "responsible"},
		"end key":     {dial: "20#", target: "201", outcome: "responsible"},
		"a star":      {dial: "*72", target: "201", outcome: "responsible"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			c := r.call()
			r.must(c.WaitTone(r.ctx, greeted))
			press := c.Dial
			if test.info {
				press = c.DialINFO
			}
			if err := press(r.ctx, test.dial); err != nil && !errors.Is(err, sip.ErrEnded) && !errors.Is(err, siptest.ErrOver) {
				t.Log(err) // the last key may find the call already handed over
			}
			r.must(c.WaitAnswer(r.ctx))
			r.atPBX(test.target)
			rec := r.record()
			r.is(rec, test.target, test.outcome, "redirect", "")
			r.must(c.Hangup(r.ctx))
		})
	}
}

func TestFirstDigitStopsTheGreeting(t *testing.T) {
	const next = time.Minute // nobody waits for it
	r := setup(t, func(r *rig) { r.settings.Digits.Next = next })
	c := r.call()
	r.must(c.WaitTone(r.ctx, greeted))
	r.must(c.Dial(r.ctx, "2"))
	began := time.Now()
	r.must(c.Dial(r.ctx, "02"))
	r.must(c.WaitAnswer(r.ctx))
	if took := time.Since(began); took > next/2 {
		t.Errorf("a complete number was acted upon only after %v", took)
	}
	r.is(r.record(), "202", "digits", "redirect", "")
	r.must(c.Hangup(r.ctx))
}

func TestHangupAtEachPhase(t *testing.T) {
	slow := func(r *rig) { r.crm.hang, r.crm.free = true, make(chan struct{}) }
	for name, test := range map[string]struct {
		options []option
		until   func(r *rig, c *siptest.Call) error
		result  call.Result
	}{
		"during lookup": {
			options: []option{slow},
			until:   func(*rig, *siptest.Call) error { return nil },
			result:  call.ResultAbandoned,
		},
		"during greeting": {
			until:  func(r *rig, c *siptest.Call) error { return c.WaitTone(r.ctx, greeted) },
			result: call.ResultAbandoned,
		},
		"during digits": {
			until: func(r *rig, c *siptest.Call) error {
				return errors.Join(c.WaitTone(r.ctx, greeted), c.Dial(r.ctx, "2"))
			},
			result: call.ResultAbandoned,
		},
		"while ringing": {
			options: []option{quiet, bridged, number("201", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}})},
			until:   func(r *rig, c *siptest.Call) error { return c.WaitCode(r.ctx, 180) },
			result:  call.ResultAbandoned,
		},
		"while talking": {
			options: []option{quiet, bridged},
			until:   func(r *rig, c *siptest.Call) error { return c.WaitTone(r.ctx, pbxtest.ToneOf("201")) },
			result:  call.ResultAnswered,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, test.options...)
			c := r.call()
			if r.crm.hang {
				defer close(r.crm.free)
			}
			r.must(test.until(r, c))
			r.must(c.Hangup(r.ctx))
			rec := r.record()
			if rec.Result != test.result {
				t.Errorf("result %q, want %q", rec.Result, test.result)
			}
			for _, at := range r.pbx.Calls() {
				r.must(at.WaitDone(r.ctx))
			}
			if name == "during greeting" && len(r.pbx.Calls()) != 0 {
				t.Error("the PBX rang although the caller hung up during the greeting")
			}
		})
	}
}

// TestHangupWithTheAnswer sweeps the CANCEL over the moment of the answer:
// one of them wins, and nothing is left of the other.
func TestHangupWithTheAnswer(t *testing.T) {
	r := setup(t, quiet, bridged, number("201", pbxtest.Behaviour{Ring: 30 * time.Millisecond}))
	for i := range 20 {
		c := r.call()
		wait, cancel := context.WithTimeout(r.ctx, time.Duration(20+i)*time.Millisecond)
		_ = c.WaitAnswer(wait) // until the moment of this round
		cancel()
		r.must(c.Hangup(r.ctx))
		rec := r.record()
		if rec.Result != call.ResultAbandoned && rec.Result != call.ResultAnswered {
			t.Errorf("round %d: result %q", i, rec.Result)
		}
	}
	for _, at := range r.pbx.Calls() {
		r.must(at.WaitDone(r.ctx))
	}
}

func TestAnonymous(t *testing.T) {
	for name, change := range map[string]func(*siptest.Options){
		"anonymous.invalid": func(o *siptest.Options) { o.From = sip.Address{User: "anonymous", Host: "anonymous.invalid"} },
		"privacy id":        func(o *siptest.Options) { o.Privacy = "id"; o.Asserted = &sip.Address{User: caller, Host: "127.0.0.1"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, quiet, bridged)
			c := r.call(change)
			at := r.talking(c, "800")
			if u := at.Invite.From.User; u != "anonymous" {
				t.Errorf("the PBX sees caller %q, want anonymous", u)
			}
			if len(at.Invite.Asserted) != 0 || !strings.Contains(at.Invite.Header("Privacy"), "id") {
				t.Errorf("asserted %v, privacy %q", at.Invite.Asserted, at.Invite.Header("Privacy"))
			}
			r.must(c.Hangup(r.ctx))
			r.is(r.record(), "800", "anonymous", "bridge", "answered")
		})
	}
}
