package b2bua_test

import (
	"context"
	"testing"

	"frontdesk/call"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// carrier makes the trunk answer calls of the PBX with a tone, and frontdesk
// send them there.
func carrier(r *rig) {
	answered := func(ctx context.Context, c *siptest.Call) {
		if err := c.Answer(ctx); err != nil {
			return
		}
		if err := c.Tone(ctx, greeted); err != nil {
			return
		}
		<-ctx.Done()
	}
	phone, err := siptest.NewPhone(r.ctx, siptest.Config{Serve: answered})
	r.must(err)
	r.trunk = phone
	trunk := r.settings.Trunks["carrier"]
	trunk.Target = "sip:" + phone.Addr().String()
	r.settings.Trunks["carrier"] = trunk
}

func (r *rig) callOut(number string) *siptest.Call {
	r.t.Helper()
	c, err := r.pbx.Phone.Call(r.ctx, siptest.Options{
		To: "sip:" + number + "@" + r.stack.Addr("udp").String(), From: sip.Address{User: "201"},
	})
	r.must(err)
	return c
}

func TestCallOfThePBXGoesToTheTrunk(t *testing.T) {
	r := setup(t, carrier)
	c := r.callOut("+74957654321")
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.WaitTone(r.ctx, greeted))
	if !r.agent.Passing("+74957654321") || r.agent.Passing("201") {
		t.Error("the call's number outside does not pass")
	}
	r.must(c.Hangup(r.ctx))
	rec := r.record()
	if rec.Direction != call.Out || rec.Trunk != "carrier" || rec.DID != "+74957654321" || rec.Caller != "201" {
		t.Errorf("the record says %s by %q from %q to %q", rec.Direction, rec.Trunk, rec.Caller, rec.DID)
	}
	if len(rec.Talks) != 1 || rec.Talks[0].Extension != "201" {
		t.Errorf("talks %+v, want one of 201", rec.Talks)
	}
	if rec.Result != call.ResultAnswered || rec.Transfer != call.TransferBridge {
		t.Errorf("the record says %q by %q", rec.Result, rec.Transfer)
	}
}

// What is dialled stays one user of one URI, whatever it holds.
func TestCallOfThePBXKeepsWhatWasDialled(t *testing.T) {
	for _, dialled := range []string{"*72%23", "123%40evil.test", "1%20SIP/2.0"} {
		t.Run(dialled, func(t *testing.T) {
			got := make(chan string, 1)
			r := setup(t, carrier, func(r *rig) {
				phone, err := siptest.NewPhone(r.ctx, siptest.Config{Serve: func(_ context.Context, c *siptest.Call) { got <- c.Invite().RequestURI.URI() }})
				r.must(err)
				r.trunk = phone
				trunk := r.settings.Trunks["carrier"]
				trunk.Target = "sip:" + phone.Addr().String()
				r.settings.Trunks["carrier"] = trunk
			})
			c := r.callOut(dialled)
			select {
			case uri := <-got:
				if want := "sip:" + dialled + "@" + r.trunk.Addr().String(); uri != want {
					t.Errorf("the trunk was asked for %s, want %s", uri, want)
				}
			case <-r.ctx.Done():
				t.Fatal("no call came to the trunk")
			}
			_, err := c.WaitFinal(r.ctx)
			r.must(err)
			r.record()
		})
	}
}

func TestCallOfThePBXWithoutATrunk(t *testing.T) {
	r := setup(t)
	res, err := r.callOut("+74957654321").WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 503 {
		t.Errorf("answered %d, want 503", res.Code)
	}
	if rec := r.record(); rec.Result != call.ResultRefused {
		t.Errorf("the record says %q", rec.Result)
	}
}
