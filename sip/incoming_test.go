package sip_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// redirecting sends every caller to extension 201.
func redirecting(_ context.Context, in *sip.Incoming) {
	_ = in.Redirect("sip:201@192.0.2.20:5060")
}

// answering accepts every call and waits for its end.
func answering(ctx context.Context, in *sip.Incoming) {
	if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
		return
	}
	<-ctx.Done()
}

func TestRedirect(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		c := d.ua(trunkAddr).call("redirect")
		c.send(c.request("INVITE", "Timestamp: 54", offerSDP))
		trying := c.want("SIP/2.0 100")
		if field(trying, "Timestamp") != "54" {
			t.Errorf("100 without the Timestamp:\n%s", trying)
		}
		res := c.want("SIP/2.0 302")
		if got := field(res, "Contact"); got != "<sip:201@192.0.2.20:5060>" {
			t.Errorf("Contact %q", got)
		}
		if field(trying, "X-Frontdesk-Call") == "" || field(trying, "X-Frontdesk-Call") != field(res, "X-Frontdesk-Call") {
			t.Errorf("call id %q on the 100, %q on the 302", field(trying, "X-Frontdesk-Call"), field(res, "X-Frontdesk-Call"))
		}
		c.establish(res)
		c.send(c.again("ACK"))
		c.silent(40 * time.Second)
	})
}

// Timer G: 0.5, 1, 2, 4, 4 ... and timer H after 32 s.
func TestRefusalIsRepeatedUntilACK(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		c := d.ua(trunkAddr).call("repeat")
		c.invite()
		c.want("SIP/2.0 302")
		start := time.Now()
		for _, at := range []time.Duration{500, 1500, 3500, 7500, 11500} {
			c.want("SIP/2.0 302")
			near(t, "302 again", time.Since(start), at*time.Millisecond)
		}
		c.send(c.again("ACK"))
		c.silent(40 * time.Second)
	})
}

// near checks a time to within the wheel's slots: never early.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+150*time.Millisecond {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

func TestRetransmittedInvite(t *testing.T) {
	var served chan struct{}
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		served <- struct{}{}
		_ = in.Progress(183, []byte(offerSDP))
		<-ctx.Done()
	}, func(d *desk) {
		served = make(chan struct{}, 10)
		c := d.ua(trunkAddr).call("again")
		c.invite()
		first := c.want("SIP/2.0 183")
		for range 3 {
			c.send(c.again("INVITE", offerSDP))
			if again := c.want("SIP/2.0 183"); again != first {
				t.Errorf("replayed\n%s\nwant\n%s", again, first)
			}
		}
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
		if len(served) != 1 {
			t.Errorf("%d handlers ran", len(served))
		}
	})
}

func TestMergedInvite(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) { <-ctx.Done() }, func(d *desk) {
		c := d.ua(trunkAddr).call("merged")
		c.invite()
		own := c.branch
		c.branch = "z9hG4bK-other-way"
		c.send(c.again("INVITE", offerSDP))
		c.want("SIP/2.0 482")
		c.branch = own
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
	})
}

func TestOneTagOnEveryResponse(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_ = in.Progress(180, nil)
		_ = in.Progress(183, []byte(offerSDP))
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("tags")
		c.invite()
		tags := map[string]bool{tag(field(c.want("SIP/2.0 180"), "To")): true, tag(field(c.want("SIP/2.0 183"), "To")): true}
		c.send(c.again("CANCEL"))
		tags[tag(field(c.want("SIP/2.0 200"), "To"))] = true
		res := c.want("SIP/2.0 487")
		tags[tag(field(res, "To"))] = true
		if len(tags) != 1 || tags[""] {
			t.Errorf("tags %v", tags)
		}
		c.establish(res)
		c.send(c.again("ACK"))
	})
}

func TestHandlerWithoutAnswer(t *testing.T) {
	for name, h := range map[string]handler{
		"returns": func(context.Context, *sip.Incoming) {},
		"panics":  func(context.Context, *sip.Incoming) { panic("poisoned") },
		"panics after progress": func(_ context.Context, in *sip.Incoming) {
			_ = in.Progress(183, nil)
			panic("poisoned")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, h, func(d *desk) {
				c := d.ua(trunkAddr).call("none")
				c.invite()
				res := c.next(time.Second)
				if strings.HasPrefix(res, "SIP/2.0 183") {
					res = c.next(time.Second)
				}
				if !strings.HasPrefix(res, "SIP/2.0 500") {
					t.Fatalf("got %q, want 500", firstLine(res))
				}
				c.send(c.again("ACK"))
			})
		})
	}
}

func TestPanicWithTheCallUp(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		panic("poisoned")
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("panic")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		bye := c.want("BYE")
		c.send(c.reply(bye, "200 OK", ""))
	})
}

func TestAnswer(t *testing.T) {
	var got chan string
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		ack, err := in.Answer(ctx, []byte(offerSDP))
		if err != nil {
			t.Error(err)
		}
		got <- string(ack)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), sip.ErrHangup) || !errors.Is(in.Err(), sip.ErrHangup) {
			t.Errorf("cause %v, Err %v", context.Cause(ctx), in.Err())
		}
	}, func(d *desk) {
		got = make(chan string, 1)
		c := d.ua(trunkAddr).call("late")
		c.send(c.request("INVITE"))
		c.want("SIP/2.0 100")
		res := c.want("SIP/2.0 200")
		if bodyOf(res) != offerSDP || field(res, "Contact") != "<sip:"+deskAddr+">" || field(res, "Allow") == "" {
			t.Errorf("unexpected answer\n%s", res)
		}
		c.establish(res)
		c.ack(offerSDP + "a=late\r\n")
		if ack := <-got; ack != offerSDP+"a=late\r\n" {
			t.Errorf("ACK body %q", ack)
		}
		bye := c.request("BYE")
		c.send(bye)
		c.want("SIP/2.0 200")
		c.send(bye) // the same again
		c.want("SIP/2.0 200")
		c.send(c.request("BYE")) // another one
		c.want("SIP/2.0 481")
	})
}

// 0.5, 1, 2, 4, 4 ... s; BYE and ErrNoACK at 32 s.
func TestAnswerWithoutACK(t *testing.T) {
	var result chan error
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, err := in.Answer(ctx, []byte(offerSDP))
		result <- err
		<-ctx.Done()
	}, func(d *desk) {
		result = make(chan error, 1)
		c := d.ua(trunkAddr).call("noack")
		c.invite()
		c.want("SIP/2.0 200")
		start := time.Now()
		for _, at := range []time.Duration{500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500} {
			c.want("SIP/2.0 200")
			near(t, "200 again", time.Since(start), at*time.Millisecond)
		}
		bye := c.want("BYE")
		near(t, "BYE", time.Since(start), 32*time.Second)
		c.send(c.reply(bye, "200 OK", ""))
		if err := <-result; !errors.Is(err, sip.ErrNoACK) {
			t.Errorf("Answer: %v", err)
		}
	})
}

func TestACKWithTheBranchOfTheInvite(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		c := d.ua(trunkAddr).call("samebranch")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.send(c.again("ACK"))
		c.silent(40 * time.Second)
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

func TestByeBeforeACK(t *testing.T) {
	var result chan error
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, err := in.Answer(ctx, []byte(offerSDP))
		result <- err
	}, func(d *desk) {
		result = make(chan error, 1)
		c := d.ua(trunkAddr).call("early-bye")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.silent(40 * time.Second)
		if err := <-result; !errors.Is(err, sip.ErrHangup) {
			t.Errorf("Answer: %v", err)
		}
	})
}

func TestByeOfAnEarlyDialog(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_ = in.Progress(183, nil)
		<-ctx.Done()
		if _, err := in.Answer(ctx, nil); !errors.Is(err, sip.ErrHangup) {
			t.Errorf("Answer: %v", err)
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("bye183")
		c.invite()
		c.establish(c.want("SIP/2.0 183"))
		invite := *c
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(invite.again("ACK"))
		c.silent(40 * time.Second)
	})
}

// Our BYE has to wait for the ACK.
func TestHangupBeforeACK(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = in.Answer(ctx, []byte(offerSDP))
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("hangup")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 200")
		c.ack()
		bye := c.want("BYE")
		c.send(c.reply(bye, "200 OK", ""))
		c.silent(10 * time.Second)
	})
}

func TestProvisionalIsRepeatedEachMinute(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_ = in.Progress(180, nil)
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("minute")
		c.invite()
		c.want("SIP/2.0 180")
		for range 3 {
			start := time.Now()
			c.want("SIP/2.0 180")
			near(t, "180 again", time.Since(start), time.Minute)
		}
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
	})
}
