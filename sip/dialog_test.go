package sip_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// established gives a call that is up, to an owner that answers what it gets.
func established(t *testing.T, owner func(in *sip.Incoming, r *sip.Request), test func(c *script)) {
	t.Helper()
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
			t.Errorf("Answer: %v", err)
			return
		}
		for {
			select {
			case r := <-in.Requests():
				owner(in, r)
			case <-ctx.Done():
				return
			}
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("up")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		test(c)
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

func TestRequestsReachTheOwner(t *testing.T) {
	established(t, func(_ *sip.Incoming, r *sip.Request) {
		if r.Method != "INFO" || r.Header("X-Digit") != "7" {
			t.Errorf("got %s with %q", r.Method, r.Header("X-Digit"))
		}
		if err := r.Respond(200, sip.Header{Name: "X-Seen", Value: "yes\r\nX-Evil: 1"}); err != nil {
			t.Error(err)
		}
		if err := r.Respond(486); err == nil {
			t.Error("a second final answer was taken")
		}
	}, func(c *script) {
		info := c.request("INFO", "X-Digit: 7")
		c.send(info)
		res := c.want("SIP/2.0 200")
		if field(res, "X-Evil") != "" || field(res, "X-Seen") == "" {
			t.Errorf("headers\n%s", res)
		}
		c.send(info)
		if again := c.want("SIP/2.0 200"); again != res {
			t.Errorf("replayed\n%s", again)
		}
	})
}

func TestSequenceNumbers(t *testing.T) {
	established(t, func(_ *sip.Incoming, r *sip.Request) { _ = r.Respond(200) }, func(c *script) {
		c.cseq = 10
		c.send(c.request("INFO"))
		c.want("SIP/2.0 200")
		c.cseq = 3
		c.send(c.request("INFO"))
		c.want("SIP/2.0 500")
		c.cseq = 20
	})
}

func TestUnknownDialog(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		c := d.ua(trunkAddr).call("unknown")
		c.remote += ";tag=nobody"
		for _, method := range []string{"BYE", "INFO", "UPDATE", "INVITE", "NOTIFY", "REFER"} {
			c.send(c.request(method))
			c.want("SIP/2.0 481")
		}
		c.send(c.again("ACK"))
		c.silent(time.Second)
	})
}

func TestOptions(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		c := d.ua(trunkAddr).call("options")
		c.send(c.request("OPTIONS"))
		res := c.want("SIP/2.0 200")
		if field(res, "Allow") == "" || field(res, "Accept") != "application/sdp" {
			t.Errorf("answer\n%s", res)
		}
		if strings.Contains(field(res, "Allow"), "MESSAGE") { // answered 405 outside of a call
			t.Errorf("Allow: %s", field(res, "Allow"))
		}
		d.Drain()
		c.send(c.request("OPTIONS"))
		if res := c.want("SIP/2.0 503"); field(res, "Retry-After") == "" {
			t.Errorf("answer\n%s", res)
		}
	})
}

func TestReinvite(t *testing.T) {
	established(t, func(_ *sip.Incoming, r *sip.Request) {
		if r.Method != "INVITE" {
			t.Errorf("got %s", r.Method)
		}
		if err := r.RespondBody(200, "application/sdp", []byte(offerSDP)); err != nil {
			t.Error(err)
		}
		go func() {
			if body, err := r.ACK(context.Background()); err != nil || string(body) != "v=ack\r\n" {
				t.Errorf("ACK %q, %v", body, err)
			}
		}()
	}, func(c *script) {
		c.send(c.request("INVITE"))
		c.want("SIP/2.0 100")
		c.want("SIP/2.0 200")
		start := time.Now()
		c.want("SIP/2.0 200")
		near(t, "200 again", time.Since(start), 500*time.Millisecond)
		c.ack("v=ack\r\n")
		c.silent(10 * time.Second)
	})
}

func TestSecondInviteWhileOneIsPending(t *testing.T) {
	var hold chan *sip.Request
	established(t, func(_ *sip.Incoming, r *sip.Request) { hold <- r }, func(c *script) {
		hold = make(chan *sip.Request, 1)
		c.send(c.request("INVITE", offerSDP))
		c.want("SIP/2.0 100")
		first := *c
		c.send(c.request("INVITE", offerSDP))
		if res := c.want("SIP/2.0 500"); field(res, "Retry-After") == "" {
			t.Errorf("answer\n%s", res)
		}
		c.send(c.again("ACK"))
		r := <-hold
		_ = r.Respond(488)
		c.want("SIP/2.0 488")
		c.send(first.again("ACK"))
	})
}

func TestCancelOfAReinvite(t *testing.T) {
	var hold chan *sip.Request
	established(t, func(_ *sip.Incoming, r *sip.Request) { hold <- r }, func(c *script) {
		hold = make(chan *sip.Request, 1)
		c.send(c.request("INVITE", offerSDP))
		c.want("SIP/2.0 100")
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
		if err := (<-hold).Respond(200); err == nil {
			t.Error("a cancelled INVITE was answered")
		}
	})
}

// Glare: while our INVITE is pending theirs gets 491, and Do tells us of ours.
func TestGlare(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
			t.Error(err)
		}
		res, err := in.Do(ctx, sip.Message{Method: "INVITE", Body: []byte(offerSDP)})
		if err != nil || res.Code != 491 {
			t.Errorf("Do: %v, %v", res, err)
		}
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("glare")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		ours := c.want("INVITE")
		c.send(c.request("INVITE", offerSDP))
		c.want("SIP/2.0 491")
		c.send(c.again("ACK"))
		c.send(c.request("UPDATE", offerSDP))
		c.want("SIP/2.0 491")
		c.send(c.reply(ours, "491 Request Pending", ""))
		c.want("ACK")
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

// An owner that never answers is answered for.
func TestUnansweredRequests(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("unanswered")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		c.send(c.request("INFO"))
		start := time.Now()
		c.want("SIP/2.0 500")
		near(t, "500", time.Since(start), 25*time.Second)
		c.send(c.request("INVITE", offerSDP))
		c.want("SIP/2.0 100")
		reinvite := *c
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(reinvite.again("ACK"))
		c.send(c.request("INFO"))
		c.want("SIP/2.0 481")
	})
}

func TestUnreadRequests(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("unread")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		for range 16 {
			c.send(c.request("INFO"))
		}
		c.silent(time.Second)
		c.send(c.request("INFO"))
		c.want("SIP/2.0 500")
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		for range 16 {
			c.want("SIP/2.0 487")
		}
	})
}

// In-dialog requests go by the route set, to the remote target as it was last
// told.
func TestRouting(t *testing.T) {
	for name, test := range map[string]struct {
		record []string
		uri    string
		route  []string
	}{
		"direct": {nil, "sip:ua@192.0.2.10:5062", nil},
		"loose": {
			[]string{"Record-Route: <sip:192.0.2.10:5060;lr>", "Record-Route: <sip:192.0.2.99;lr>"},
			"sip:ua@192.0.2.10:5062", []string{"<sip:192.0.2.10:5060;lr>", "<sip:192.0.2.99;lr>"},
		},
		"strict": {
			[]string{"Record-Route: <sip:192.0.2.10:5060>, <sip:192.0.2.99;lr>"},
			"sip:192.0.2.10:5060", []string{"<sip:192.0.2.99;lr>", "<sip:ua@192.0.2.10:5062>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context, in *sip.Incoming) {
				_, _ = in.Answer(ctx, []byte(offerSDP))
				r := <-in.Requests()
				_ = r.Respond(200)
				_ = in.Bye(ctx, "Q.850;cause=16")
			}, func(d *desk) {
				proxy := d.ua(trunkAddr)
				target := d.ua("192.0.2.10:5062")
				c := proxy.call("route")
				c.invite(test.record...)
				ok := c.want("SIP/2.0 200")
				if got := len(fields(ok, "Record-Route")); len(test.record) > 0 && got != 2 {
					t.Errorf("%d Record-Route headers in the answer", got)
				}
				c.establish(ok)
				c.ack()
				// The UPDATE moves the remote target.
				c.send(strings.Replace(c.request("UPDATE"), "Contact: <sip:ua@192.0.2.10:5060>", "Contact: <sip:ua@192.0.2.10:5062>", 1))
				c.want("SIP/2.0 200")
				hop := proxy
				if test.record == nil {
					hop = target
				}
				bye := hop.want("BYE")
				if firstLine(bye) != "BYE "+test.uri+" SIP/2.0" || strings.Join(fields(bye, "Route"), " ") != strings.Join(test.route, " ") {
					t.Errorf("sent\n%s", bye)
				}
				if field(bye, "Reason") != "Q.850;cause=16" {
					t.Errorf("Reason %q", field(bye, "Reason"))
				}
				hop.send(hop.reply(bye, "200 OK", ""))
			})
		})
	}
}

// A Contact that is no peer's address, or a name, is not followed.
func TestStrangeContact(t *testing.T) {
	for _, contact := range []string{"sip:ua@198.51.100.9:5060", "sip:ua@evil.example"} {
		t.Run(contact, func(t *testing.T) {
			bubble(t, func(ctx context.Context, in *sip.Incoming) {
				_, _ = in.Answer(ctx, []byte(offerSDP))
			}, func(d *desk) {
				c := d.ua(trunkAddr).call("strange")
				c.send(strings.Replace(c.request("INVITE", offerSDP), "sip:ua@192.0.2.10:5060", contact, 1))
				c.want("SIP/2.0 100")
				c.establish(c.want("SIP/2.0 200"))
				c.ack()
				bye := c.want("BYE " + contact)
				c.send(c.reply(bye, "200 OK", ""))
			})
		})
	}
}

func TestByeFromBothAtOnce(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		if err := in.Bye(ctx, ""); err != nil {
			t.Errorf("Bye: %v", err)
		}
		if err := in.Bye(ctx, ""); err != nil {
			t.Errorf("Bye again: %v", err)
		}
		if !errors.Is(in.Err(), sip.ErrEnded) {
			t.Errorf("Err: %v", in.Err())
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("both")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		bye := c.want("BYE")
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.send(c.request("INVITE", offerSDP)) // after our BYE
		c.want("SIP/2.0 481")
		c.send(c.again("ACK"))
		c.send(c.reply(bye, "481 Call/Transaction Does Not Exist", ""))
	})
}

func TestDoRetransmitsAndTimesOut(t *testing.T) {
	var result chan error
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		_, err := in.Do(ctx, sip.Message{Method: "INFO"})
		result <- err
		<-ctx.Done()
	}, func(d *desk) {
		result = make(chan error, 1)
		c := d.ua(trunkAddr).call("timeout")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		c.want("INFO")
		start := time.Now()
		for _, at := range []time.Duration{500, 1500, 3500, 7500, 11500} {
			c.want("INFO")
			near(t, "INFO again", time.Since(start), at*time.Millisecond)
		}
		if err := <-result; !errors.Is(err, sip.ErrTransaction) {
			t.Errorf("Do: %v", err)
		}
		near(t, "end", time.Since(start), 32*time.Second)
		for c.next(time.Millisecond) != "" {
		}
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}
