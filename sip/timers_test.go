package sip_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/sip"
)

func TestPRACK(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_ = in.Progress(183, []byte(offerSDP))
		_ = in.Progress(180, nil)
		if _, err := in.Answer(ctx, nil); err != nil {
			t.Errorf("Answer: %v", err)
		}
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("prack")
		c.invite("Require: 100rel")
		res := c.want("SIP/2.0 183")
		if field(res, "Require") != "100rel" || field(res, "RSeq") == "" {
			t.Errorf("provisional\n%s", res)
		}
		start := time.Now()
		if again := c.want("SIP/2.0 183"); again != res { // the 180 and the 200 wait for its PRACK
			t.Errorf("again\n%s", again)
		}
		near(t, "183 again", time.Since(start), 500*time.Millisecond)
		c.establish(res)
		inviteSeq, branch := c.cseq, c.branch
		c.send(c.request("PRACK", "RAck: 1 9 INVITE"))
		c.want("SIP/2.0 481")
		c.send(c.request("PRACK", "RAck: "+field(res, "RSeq")+" 1 INVITE"))
		c.want("SIP/2.0 200")
		ringing := c.next(time.Second)
		if !strings.HasPrefix(ringing, "SIP/2.0 180") {
			t.Fatalf("got %q", firstLine(ringing))
		}
		c.want("SIP/2.0 200")
		seq := c.cseq
		c.cseq, c.branch = inviteSeq, branch
		c.ack()
		c.cseq = seq
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

// A 302 does not wait for a PRACK; without one the call is refused after 32 s.
func TestPRACKMissing(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_ = in.Progress(183, []byte(offerSDP))
		if strings.HasPrefix(in.CallID(), "redirect") {
			_ = in.Redirect("sip:201@192.0.2.20")
			return
		}
		<-ctx.Done()
	}, func(d *desk) {
		u := d.ua(trunkAddr)
		c := u.call("redirect-prack")
		c.invite("Require: 100rel")
		c.want("SIP/2.0 183")
		c.want("SIP/2.0 302")
		c.send(c.again("ACK"))
		c.silent(time.Second)
		c = u.call("lost-prack")
		c.invite("Require: 100rel")
		start := time.Now()
		for {
			msg := c.next(40 * time.Second)
			if strings.HasPrefix(msg, "SIP/2.0 504") {
				break
			}
			if !strings.HasPrefix(msg, "SIP/2.0 183") {
				t.Fatalf("got %q", firstLine(msg))
			}
		}
		near(t, "504", time.Since(start), 32*time.Second)
		c.send(c.again("ACK"))
	})
}

func TestSessionTimerTooShort(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		c := d.ua(trunkAddr).call("422")
		c.send(c.request("INVITE", "Supported: timer", "Session-Expires: 30", offerSDP))
		if res := c.want("SIP/2.0 422"); field(res, "Min-SE") != "90" {
			t.Errorf("answer\n%s", res)
		}
		c.send(c.again("ACK"))
	})
}

// The caller refreshes, then stops: BYE 32 s before the end.
func TestSessionTimerOfTheCaller(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
		r := <-in.Requests()
		_ = r.RespondBody(200, "application/sdp", []byte(offerSDP))
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), sip.ErrExpired) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("uac")
		c.invite("Supported: timer", "Session-Expires: 120;refresher=uac")
		res := c.want("SIP/2.0 200")
		if field(res, "Session-Expires") != "120;refresher=uac" || field(res, "Require") != "timer" {
			t.Errorf("answer\n%s", res)
		}
		c.establish(res)
		c.ack()
		<-time.After(70 * time.Second)
		c.send(c.request("INVITE", "Supported: timer", "Session-Expires: 120;refresher=uac", offerSDP))
		start := time.Now()
		c.want("SIP/2.0 100")
		c.want("SIP/2.0 200")
		c.ack()
		bye := c.want("BYE")
		near(t, "BYE", time.Since(start), 88*time.Second)
		c.send(c.reply(bye, "200 OK", ""))
	})
}

// The caller has us refresh: by UPDATE where it takes that, else by INVITE.
func TestSessionTimerOfOurs(t *testing.T) {
	for method, allow := range map[string]string{"UPDATE": "INVITE, ACK, BYE, UPDATE", "INVITE": "INVITE, ACK, BYE"} {
		t.Run(method, func(t *testing.T) {
			bubble(t, answering, func(d *desk) {
				c := d.ua(trunkAddr).call("uas")
				c.invite("Supported: timer", "Session-Expires: 120;refresher=uas", "Allow: "+allow)
				res := c.want("SIP/2.0 200")
				if field(res, "Session-Expires") != "120;refresher=uas" {
					t.Errorf("answer\n%s", res)
				}
				c.establish(res)
				c.ack()
				start := time.Now()
				for i := range 3 {
					refresh := c.want(method)
					near(t, "refresh", time.Since(start), time.Duration(i+1)*time.Minute)
					if field(refresh, "Session-Expires") != "120;refresher=uac" || (method == "INVITE") != (bodyOf(refresh) == offerSDP) {
						t.Errorf("sent\n%s", refresh)
					}
					body := ""
					if method == "INVITE" {
						body = offerSDP
					}
					c.send(c.reply(refresh, "200 OK", "", "Session-Expires: 120;refresher=uac", "Contact: <sip:ua@"+trunkAddr+">", body))
					if method == "INVITE" {
						c.want("ACK")
					}
				}
				refresh := c.want(method)
				c.send(c.reply(refresh, "481 Call/Transaction Does Not Exist", ""))
				if method == "INVITE" {
					c.want("ACK")
				}
				c.bye()
			})
		})
	}
}

func TestMaxCalls(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) { <-ctx.Done() }, func(d *desk) {
		u := d.ua(trunkAddr)
		first := u.call("first")
		first.invite()
		second := u.call("second")
		second.send(second.request("INVITE", offerSDP))
		if res := u.want("SIP/2.0 503"); field(res, "Retry-After") == "" {
			t.Errorf("answer\n%s", res)
		}
		if got := d.Held(); got.Servers != 1 || d.Active() != 1 {
			t.Errorf("a refused call is held: %+v", got)
		}
		first.send(first.again("INVITE", offerSDP)) // no new call
		u.want("SIP/2.0 100")
		first.send(first.again("CANCEL"))
		u.want("SIP/2.0 200")
		u.want("SIP/2.0 487")
		first.send(first.again("ACK"))
	}, func(c *sip.Config) { c.MaxCalls = 1 })
}

// An INVITE that carries the id of a call in progress came back to us.
func TestLoop(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) { <-ctx.Done() }, func(d *desk) {
		u := d.ua(trunkAddr)
		c := u.call("loop")
		c.send(c.request("INVITE", offerSDP))
		id := field(c.want("SIP/2.0 100"), "X-Frontdesk-Call")
		back := u.call("back")
		back.send(back.request("INVITE", "X-Frontdesk-Call: "+id, offerSDP))
		back.want("SIP/2.0 482")
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
	})
}

// The end of the stack ends its calls.
func TestShutdown(t *testing.T) {
	var mu sync.Mutex
	causes := map[string]error{}
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if in.CallID() == "answered" {
			_, _ = in.Answer(ctx, []byte(offerSDP))
		}
		<-ctx.Done()
		mu.Lock()
		defer mu.Unlock()
		causes[in.CallID()] = context.Cause(ctx)
	}, func(d *desk) {
		u, other := d.ua(trunkAddr), d.ua("192.0.2.11:5060")
		ringing, answered := u.call("ringing"), other.call("answered")
		answered.invite()
		answered.establish(answered.want("SIP/2.0 200"))
		answered.ack()
		ringing.invite()
		d.stop()
		d.ended = true
		ringing.want("SIP/2.0 503")
		answered.want("BYE")
		if len(causes) != 2 || !errors.Is(causes["ringing"], sip.ErrShutdown) || !errors.Is(causes["answered"], sip.ErrShutdown) {
			t.Errorf("causes %v", causes)
		}
	})
}

// Half of everything is lost, doubled or late: calls get through all the same.
func TestLossyNetwork(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		u := d.ua(trunkAddr)
		d.net.SetFaults(faults(0.2))
		done := 0
		for i := range 50 {
			c := u.call(fmt.Sprintf("lossy-%d", i))
			invite := c.request("INVITE", offerSDP)
			wait := 500 * time.Millisecond
			for wait < 32*time.Second {
				c.send(invite)
				if c.await("SIP/2.0 302", wait) {
					done++
					break
				}
				wait *= 2
			}
			for range 5 {
				c.send(c.again("ACK"))
			}
			c.await("nothing", 100*time.Millisecond)
		}
		d.net.SetFaults(faults(0))
		if done < 50 {
			t.Errorf("%d of 50 calls got through", done)
		}
	})
}

// await reads until a message begins with start, or d is over.
func (u *ua) await(start string, d time.Duration) bool {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		if strings.HasPrefix(u.next(time.Until(end)), start) {
			return true
		}
	}
	return false
}
