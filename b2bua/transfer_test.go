package b2bua_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

func TestRedirect(t *testing.T) {
	r := setup(t, quiet)
	c := r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	want := r.pbx.Phone.URI("201")
	if res.Code != 302 || len(res.Contacts) != 1 || res.Contacts[0] != want {
		t.Errorf("answered %d with contacts %q, want 302 and %s", res.Code, res.Contacts, want)
	}
	rec := r.record()
	r.is(rec, "201", "responsible", "redirect", "")
	if rec.Greeting {
		t.Error("the record tells of a greeting")
	}
}

func TestRedirectAfterEarlyGreeting(t *testing.T) {
	r := setup(t)
	c := r.call()
	r.must(c.WaitCode(r.ctx, 183))
	r.must(c.WaitTone(r.ctx, greeted))
	r.must(c.WaitAnswer(r.ctx)) // the redirect was followed
	r.must(c.WaitTone(r.ctx, pbxtest.ToneOf("201")))
	rec := r.record()
	r.is(rec, "201", "responsible", "redirect", "")
	if !rec.Greeting {
		t.Error("the record tells of no greeting")
	}
	r.must(c.Hangup(r.ctx))
}

func TestReferAccepted(t *testing.T) {
	r := setup(t, transfers(call.TransferRefer))
	c := r.call()
	moved, err := c.WaitMoved(r.ctx)
	r.must(err)
	r.must(moved.WaitTone(r.ctx, pbxtest.ToneOf("201")))
	r.must(c.WaitDone(r.ctx)) // the BYE came
	r.is(r.record(), "201", "responsible", "refer", "")
	r.must(moved.Hangup(r.ctx))
}

func TestReferRefusedFallsToBridge(t *testing.T) {
	r := setup(t, quiet, transfers(call.TransferRefer, call.TransferBridge), refers(siptest.Refer{Code: 603}))
	c := r.call()
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestReferFailsAtTarget(t *testing.T) {
	r := setup(t, quiet, transfers(call.TransferRefer, call.TransferBridge), refers(siptest.Refer{Report: 486}))
	c := r.call()
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

func TestReferSilentFallsToBridge(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out the 10 s of a silent transfer")
	}
	r := setup(t, quiet, transfers(call.TransferRefer, call.TransferBridge), refers(siptest.Refer{Silent: true}))
	c := r.call()
	r.talking(c, "201")
	r.must(c.Hangup(r.ctx))
	r.is(r.record(), "201", "responsible", "bridge", "answered")
}

// refers replaces the trunk by one that takes REFER so.
func refers(how siptest.Refer) option {
	return func(r *rig) {
		phone, err := siptest.NewPhone(r.ctx, siptest.Config{Refer: how})
		r.must(err)
		r.trunk = phone
	}
}

func TestTransferBeforeAnswerNeedsNoRefer(t *testing.T) {
	r := setup(t, quiet, transfers(call.TransferRedirect, call.TransferRefer))
	c := r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 302 {
		t.Errorf("answered %d, want 302", res.Code)
	}
	r.is(r.record(), "201", "responsible", "redirect", "")
}

func TestNoCommonCodec(t *testing.T) {
	g729 := []byte("v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 18\r\n")
	for name, test := range map[string]struct {
		transfer call.Transfer
		code     int
	}{
		"redirect": {call.TransferRedirect, 302}, // needs no media of ours: the greeting is skipped
		"refer":    {call.TransferRefer, 488},    // nothing works without it
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, transfers(test.transfer))
			c := r.call(func(o *siptest.Options) { o.Offer, o.NoFollow = g729, true })
			res, err := c.WaitFinal(r.ctx)
			r.must(err)
			if res.Code != test.code {
				t.Errorf("answered %d, want %d", res.Code, test.code)
			}
			if rec := r.record(); rec.Greeting {
				t.Error("the record tells of a greeting")
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	r := setup(t, quiet, func(r *rig) {
		r.settings.Deadline = 200 * time.Millisecond
		r.crm.hang, r.crm.free = true, make(chan struct{})
	})
	defer close(r.crm.free)
	began := time.Now()
	c := r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 302 || !strings.Contains(res.Contacts[0], "800@") {
		t.Errorf("answered %d %v, want the rule's default", res.Code, res.Contacts)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("decided after %v, before the deadline", took)
	}
	r.is(r.record(), "800", "deadline", "redirect", "")
}

func TestPanicEndsOneCall(t *testing.T) {
	r := setup(t, quiet, func(r *rig) { r.settings.Greeting.Say = func(call.Employee) (string, error) { panic("poisoned") } })
	c := r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 500 {
		t.Errorf("answered %d, want 500", res.Code)
	}
	r.record()
	r.crm.answer = call.Answer{Source: call.SourceLive}
	c = r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err = c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 302 {
		t.Errorf("the next call was answered %d, want 302", res.Code)
	}
}

// mirror answers for everybody.
type mirror struct{ answer call.Answer }

func (m mirror) Lookup(call.Number, time.Time) (call.Answer, bool) { return m.answer, true }

func TestMirrorAnswersAtTheDeadline(t *testing.T) {
	copied := contactOf(18)
	copied.Source, copied.Age = call.SourceMirror, call.Seconds(90*time.Second)
	r := setup(t, quiet, func(r *rig) {
		r.settings.Deadline = 200 * time.Millisecond
		r.crm.hang, r.crm.free = true, make(chan struct{})
		r.mirror = mirror{copied}
	})
	defer close(r.crm.free)
	c := r.call(func(o *siptest.Options) { o.NoFollow = true })
	res, err := c.WaitFinal(r.ctx)
	r.must(err)
	if res.Code != 302 || !strings.Contains(res.Contacts[0], "202@") {
		t.Errorf("answered %d %v, want the manager the mirror knows", res.Code, res.Contacts)
	}
	rec := r.record()
	r.is(rec, "202", "responsible", "redirect", "")
	trace, err := rec.Trace.MarshalJSON()
	r.must(err)
	if s := string(trace); !strings.Contains(s, "mirror") || !strings.Contains(s, "deadline") {
		t.Errorf("the trace tells neither the mirror nor the deadline: %s", s)
	}
}
