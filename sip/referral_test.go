package sip_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// follows accepts a REFER and reports what becomes of it.
func follows(t *testing.T, codes ...int) func(*sip.Incoming, *sip.Request) {
	return func(in *sip.Incoming, r *sip.Request) {
		f, err := r.Referral()
		if err != nil {
			t.Errorf("Referral: %v", err)
			return
		}
		if err := f.Accept(); err != nil {
			t.Errorf("Accept: %v", err)
		}
		if err := f.Accept(); !errors.Is(err, sip.ErrEnded) {
			t.Errorf("Accept again: %v, want that it is answered", err)
		}
		for _, code := range codes {
			f.Report(code)
		}
		select {
		case <-f.Told():
		case <-in.Done():
		}
	}
}

// told takes a NOTIFY, wants it to say status, and answers it.
func (c *script) told(event, state, status, answer string) {
	c.t.Helper()
	n := c.want("NOTIFY")
	if field(n, "Event") != event || !strings.HasPrefix(field(n, "Subscription-State"), state) ||
		field(n, "Content-Type") != "message/sipfrag;version=2.0" || bodyOf(n) != "SIP/2.0 "+status+"\r\n" || field(n, "Contact") == "" {
		c.t.Errorf("want event %s, %s, %s; got\n%s", event, state, status, n)
	}
	c.send(c.reply(n, answer, ""))
}

func TestReferralReported(t *testing.T) {
	established(t, follows(t, 180, 200, 486), func(c *script) {
		for _, event := range []string{"refer", "refer;id=3"} { // the INVITE was 1
			c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>"))
			if res := c.want("SIP/2.0 202"); field(res, "Contact") == "" {
				t.Errorf("no Contact in\n%s", res)
			}
			c.told(event, "active;expires=", "100 Trying", "200 OK")
			c.told(event, "terminated", "200 OK", "200 OK") // 180 was old by then
		}
		c.silent(time.Second)
	})
}

// TestReferralOneNoticeAtATime: what is new while a NOTIFY waits for its answer
// comes after it.
func TestReferralOneNoticeAtATime(t *testing.T) {
	var later chan int
	established(t, func(_ *sip.Incoming, r *sip.Request) {
		f, err := r.Referral()
		if err != nil {
			t.Errorf("Referral: %v", err)
		}
		if err := f.Accept(); err != nil {
			t.Errorf("Accept: %v", err)
		}
		for code := range later {
			f.Report(code)
		}
	}, func(c *script) {
		later = make(chan int) // in the bubble
		c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>"))
		c.want("SIP/2.0 202")
		first := c.want("NOTIFY")
		later <- 180
		later <- 183
		c.silent(400 * time.Millisecond)
		c.send(c.reply(first, "200 OK", ""))
		c.told("refer", "active", "183 Session Progress", "200 OK")
		later <- 603
		close(later)
		c.told("refer", "terminated", "603 Decline", "200 OK")
	})
}

func TestReferralWithoutSubscription(t *testing.T) {
	established(t, follows(t, 200), func(c *script) {
		c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>", "Refer-Sub: false"))
		if res := c.want("SIP/2.0 202"); field(res, "Refer-Sub") != "false" {
			t.Errorf("no Refer-Sub in\n%s", res)
		}
		c.silent(time.Second)
	})
}

// TestReferralNobodyListens: a subscription that is gone gets nothing more.
func TestReferralNobodyListens(t *testing.T) {
	established(t, follows(t, 200), func(c *script) {
		c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>"))
		c.want("SIP/2.0 202")
		c.told("refer", "active", "100 Trying", "481 Subscription Does Not Exist")
		c.silent(time.Second)
	})
}

// TestReferralHungUp: who hangs up after the 202 is told nothing, and nobody
// waits for it.
func TestReferralHungUp(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
			t.Errorf("Answer: %v", err)
		}
		f, err := (<-in.Requests()).Referral()
		if err != nil {
			t.Errorf("Referral: %v", err)
		}
		<-in.Done()
		if err := f.Accept(); !errors.Is(err, sip.ErrEnded) { // 487 went out with the BYE
			t.Errorf("Accept: %v", err)
		}
		f.Report(200)
		<-f.Told()
	}, func(d *desk) {
		c := d.ua(pbxAddr).call("gone")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>"))
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.silent(time.Second)
	})
}

func TestReferTo(t *testing.T) {
	const tags = "%3Bto-tag%3Dt1%3Bfrom-tag%3Df1"
	for name, test := range map[string]struct {
		to   string
		want string // user, Replaces, whether it is required, who asks
		bad  bool
	}{
		"blind":                {to: "<sip:205@192.0.2.20>", want: "205||false|"},
		"without brackets":     {to: "sip:205@192.0.2.20", want: "205||false|"},
		"a name and a tel URI": {to: `"Vera" <tel:+74951234567;phone-context=x>`, want: "+74951234567||false|"},
		"method INVITE":        {to: "<sip:205@192.0.2.20;method=INVITE>", want: "205||false|"},
		"other headers":        {to: "<sip:205@192.0.2.20?Call-Info=x&Route=%3Csip:evil%3E>", want: "205||false|"},
		"attended":             {to: "<sip:205@192.0.2.20?Replaces=a%40b" + tags + ">", want: "205|a@b;to-tag=t1;from-tag=f1|false|"},
		"attended, required":   {to: "<sip:205@192.0.2.20?require=replaces&replaces=a%3Bfrom-tag%3Df1%3Bx%3D1%3Bto-tag%3Dt1%3Bearly-only>", want: "205|a;to-tag=t1;from-tag=f1;early-only|true|"},
		"escaped user":         {to: "<sip:20%35@192.0.2.20>", want: "205||false|"},
		"a line break in user": {to: "<sip:205%0d%0aX:y@192.0.2.20>", want: "205  X||false|"},

		"nobody":                   {bad: true},
		"no URI":                   {to: "205", bad: true},
		"another method":           {to: "<sip:205@192.0.2.20;method=BYE>", bad: true},
		"a line break in Replaces": {to: "<sip:205@192.0.2.20?Replaces=a%0d%0aX:y" + tags + ">", bad: true},
		"a line break in a tag":    {to: "<sip:205@192.0.2.20?Replaces=a%3Bto-tag%3Dt%0d%0aX%3Bfrom-tag%3Df>", bad: true},
		"a tag is missing":         {to: "<sip:205@192.0.2.20?Replaces=a%3Bto-tag%3Dt>", bad: true},
		"a tag comes twice":        {to: "<sip:205@192.0.2.20?Replaces=a" + tags + "%3Bto-tag%3Dx>", bad: true},
		"two dialogs":              {to: "<sip:205@192.0.2.20?Replaces=a" + tags + "&Replaces=b" + tags + ">", bad: true},
		"bad escape":               {to: "<sip:205@192.0.2.20?Replaces=%zz>", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			established(t, func(_ *sip.Incoming, r *sip.Request) {
				f, err := r.Referral()
				if (err != nil) != test.bad {
					t.Errorf("Referral: %v", err)
				}
				if err == nil {
					if got := said(f); got != test.want+"boss" {
						t.Errorf("got %q, want %q", got, test.want+"boss")
					}
				}
				if err := r.Respond(403); err != nil {
					t.Error(err)
				}
			}, func(c *script) {
				headers := []string{"Referred-By: <sip:boss@192.0.2.20>"}
				if test.to != "" {
					headers = append(headers, "Refer-To: "+test.to)
				}
				c.send(c.request("REFER", headers...))
				c.want("SIP/2.0 403")
			})
		})
	}
}

func said(f *sip.Referral) string {
	required, by := "false", ""
	if f.Required {
		required = "true"
	}
	if f.By != nil {
		by = f.By.User
	}
	return strings.Join([]string{f.To.User, f.Replaces, required, by}, "|")
}

// TestReferToTwice: the parser refuses what must come once before anybody
// reads it (RFC 3515 section 2.4.2).
func TestReferToTwice(t *testing.T) {
	established(t, func(_ *sip.Incoming, r *sip.Request) { t.Error("the owner got it") }, func(c *script) {
		c.send(c.request("REFER", "Refer-To: <sip:205@192.0.2.20>", "Refer-To: <sip:206@192.0.2.20>"))
		c.want("SIP/2.0 400")
	})
}
