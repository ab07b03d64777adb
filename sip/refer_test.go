package sip_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"frontdesk/sip"
)

// referring gives a call that is up and has been sent a REFER, and checks what
// Refer returns.
func referring(t *testing.T, code int, err error, test func(c *script, refer string)) {
	t.Helper()
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
			t.Errorf("Answer: %v", err)
		}
		got, gotErr := in.Refer(ctx, "sip:201@192.0.2.20", sip.Header{Name: "Referred-By", Value: "<sip:desk@192.0.2.1>"})
		if got != code || !errors.Is(gotErr, err) || err == nil && gotErr != nil {
			t.Errorf("Refer: %d, %v; want %d, %v", got, gotErr, code, err)
		}
		if err := in.Bye(context.WithoutCancel(ctx), ""); err != nil {
			t.Errorf("Bye: %v", err)
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("refer")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		refer := c.want("REFER")
		if field(refer, "Refer-To") != "<sip:201@192.0.2.20>" || field(refer, "Referred-By") == "" || field(refer, "CSeq") != "1 REFER" {
			t.Errorf("sent\n%s", refer)
		}
		test(c, refer)
	})
}

// notify sends a NOTIFY with a sipfrag and takes its answer.
func (c *script) notify(event, state, frag string, want string) {
	c.t.Helper()
	c.send(message(frag, firstLines(c.request("NOTIFY", "Event: "+event, "Subscription-State: "+state))...))
	c.want(want)
}

// firstLines are the header lines of msg without its length.
func firstLines(msg string) []string {
	var out []string
	for _, line := range splitHead(msg) {
		if len(line) < 14 || line[:14] != "Content-Length" {
			out = append(out, line)
		}
	}
	return out
}

func (c *script) bye() {
	c.t.Helper()
	c.send(c.reply(c.want("BYE"), "200 OK", ""))
}

func TestReferAccepted(t *testing.T) {
	for _, code := range []string{"202 Accepted", "200 OK", "204 No Notification"} {
		t.Run(code, func(t *testing.T) {
			referring(t, 200, nil, func(c *script, refer string) {
				c.send(c.reply(refer, code, ""))
				c.notify("refer", "active;expires=60", "SIP/2.0 100 Trying\r\n", "SIP/2.0 200")
				c.notify("refer;id=1", "active;expires=60", "SIP/2.0 180 Ringing\r\n", "SIP/2.0 200")
				<-time.After(30 * time.Second)
				c.notify("Refer ; id=1", "terminated;reason=noresource", "\r\nSIP/2.0 200 OK\r\nContact: <sip:x@y>\r\n", "SIP/2.0 200")
				c.bye()
			})
		})
	}
}

func TestReferNotifiedBeforeTheAnswer(t *testing.T) {
	referring(t, 200, nil, func(c *script, refer string) {
		c.notify("refer", "terminated", "SIP/2.0 200 OK", "SIP/2.0 200")
		c.send(c.reply(refer, "202 Accepted", ""))
		c.bye()
	})
}

func TestReferFailed(t *testing.T) {
	referring(t, 486, nil, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", ""))
		c.notify("refer", "terminated", "SIP/2.0 486 Busy Here\r\n", "SIP/2.0 200")
		c.bye()
	})
}

func TestReferRefused(t *testing.T) {
	referring(t, 603, nil, func(c *script, refer string) {
		c.send(c.reply(refer, "603 Decline", ""))
		c.bye()
	})
}

func TestReferWithoutSubscription(t *testing.T) {
	referring(t, 202, nil, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", "", "Refer-Sub: false"))
		c.bye()
	})
}

func TestReferSilent(t *testing.T) {
	referring(t, 0, sip.ErrReferSilent, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", ""))
		c.notify("refer", "active", "SIP/2.0 100 Trying\r\n", "SIP/2.0 200")
		start := time.Now()
		c.bye()
		near(t, "BYE", time.Since(start), 10*time.Second)
	})
}

func TestReferEndedWithoutFinalWord(t *testing.T) {
	referring(t, 0, sip.ErrReferSilent, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", ""))
		c.notify("refer", "terminated;reason=timeout", "SIP/2.0 100 Trying\r\n", "SIP/2.0 200")
		c.bye()
	})
}

func TestReferThenBye(t *testing.T) {
	referring(t, 200, nil, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", ""))
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

// The last NOTIFY comes after the BYE.
func TestReferThenByeThenNotify(t *testing.T) {
	referring(t, 404, nil, func(c *script, refer string) {
		c.send(c.reply(refer, "202 Accepted", ""))
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.notify("refer", "terminated", "SIP/2.0 404 Not Found\r\n", "SIP/2.0 200")
	})
}

func TestStrangeNotify(t *testing.T) {
	referring(t, 200, nil, func(c *script, refer string) {
		c.notify("refer;id=0", "active", "SIP/2.0 200 OK\r\n", "SIP/2.0 481")
		c.send(c.reply(refer, "202 Accepted", ""))
		c.notify("refer", "active", "junk", "SIP/2.0 200")
		c.notify("refer", "terminated", "SIP/2.0 200 OK\r\n", "SIP/2.0 200")
		c.bye()
	})
}
