package sip_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// ownReinvite gives a call that is up, and what Do makes of an INVITE of ours.
func ownReinvite(t *testing.T, do func(ctx context.Context, in *sip.Incoming), test func(c *script, reinvite string)) {
	t.Helper()
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		if _, err := in.Answer(ctx, []byte(offerSDP)); err != nil {
			t.Errorf("Answer: %v", err)
		}
		do(ctx, in)
		<-ctx.Done()
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("reinvite")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		test(c, c.want("INVITE"))
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

func TestOwnReinvite(t *testing.T) {
	ownReinvite(t, func(ctx context.Context, in *sip.Incoming) {
		res, err := in.Do(ctx, sip.Message{Method: "INVITE", ACK: func(answer *sip.Response) []byte {
			return []byte("v=ack to " + string(answer.Body))
		}})
		if err != nil || res.Code != 200 {
			t.Errorf("Do: %v, %v", res, err)
		}
	}, func(c *script, reinvite string) {
		c.send(c.reply(reinvite, "100 Trying", ""))
		ok := c.reply(reinvite, "200 OK", "", "Contact: <sip:moved@"+trunkAddr+">", "v=offer")
		c.send(ok)
		ack := c.want("ACK sip:moved@")
		if bodyOf(ack) != "v=ack to v=offer" {
			t.Errorf("ACK body %q", bodyOf(ack))
		}
		c.send(ok)
		if again := c.want("ACK"); again != ack {
			t.Errorf("another ACK\n%s", again)
		}
	})
}

// A caller of Do that goes away has its INVITE cancelled, and a 2xx that
// crosses the CANCEL acknowledged.
func TestOwnReinviteAbandoned(t *testing.T) {
	for name, final := range map[string]string{"cancelled": "487 Request Terminated", "crossing": "200 OK"} {
		t.Run(name, func(t *testing.T) {
			ownReinvite(t, func(ctx context.Context, in *sip.Incoming) {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				if _, err := in.Do(ctx, sip.Message{Method: "INVITE", Body: []byte(offerSDP)}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Do: %v", err)
				}
			}, func(c *script, reinvite string) {
				c.send(c.reply(reinvite, "180 Ringing", ""))
				c.send(c.reply(c.want("CANCEL"), "200 OK", ""))
				c.send(c.reply(reinvite, final, "", "Contact: <sip:ua@"+trunkAddr+">"))
				c.want("ACK")
				c.silent(time.Second)
			})
		})
	}
}

func TestOwnReinviteChallenged(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "200 OK", "b", "Contact: <sip:201@"+pbxAddr+">", offerSDP))
		pbx.want("ACK")
		got := make(chan int, 1)
		go func() {
			res, err := o.Do(d.t.Context(), sip.Message{Method: "INVITE", Body: []byte(offerSDP)})
			if err != nil {
				t.Error(err)
			}
			got <- res.Code
		}()
		first := pbx.want("INVITE")
		pbx.send(pbx.reply(first, "407 Proxy Authentication Required", "", strings.Replace(challenges("pbx", "n", ""), "WWW-Authenticate", "Proxy-Authenticate", 1)))
		pbx.want("ACK")
		second := pbx.want("INVITE")
		if field(second, "Proxy-Authorization") == "" || field(second, "CSeq") != "3 INVITE" {
			t.Errorf("sent\n%s", second)
		}
		pbx.send(pbx.reply(second, "200 OK", "", "Contact: <sip:201@"+pbxAddr+">", offerSDP))
		if ack := pbx.want("ACK"); field(ack, "CSeq") != "3 ACK" {
			t.Errorf("ACK\n%s", ack)
		}
		if code := <-got; code != 200 {
			t.Errorf("Do: %d", code)
		}
		go func() { _ = o.Bye(d.t.Context(), "") }()
		pbx.send(pbx.reply(pbx.want("BYE"), "200 OK", ""))
		<-o.Done()
	})
}

func TestInviteFacts(t *testing.T) {
	var got sip.Invite
	bubble(t, func(_ context.Context, in *sip.Incoming) {
		got = in.Invite()
		_ = in.Reject(603, "")
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("facts")
		body := "--x\r\nContent-Type: application/isup\r\n\r\nISUP\r\n--x\r\nContent-Type: application/sdp\r\n\r\n" + offerSDP + "\r\n--x--\r\n"
		msg := message(body, append(firstLines(c.request("INVITE",
			"P-Asserted-Identity: <sip:+74950000000@192.0.2.10>, <tel:+74950000000>", "Privacy: id;user",
			"Remote-Party-ID: <sip:+7499@192.0.2.10>;party=calling", "Diversion: <sip:100@192.0.2.10>;reason=unconditional",
			"Supported: Timer, 100rel", "X-Trunk: a")), "MIME-Version: 1.0")...)
		msg = strings.Replace(msg, "Content-Type: application/sdp\r\nContent-Length", "Content-Type: multipart/mixed;boundary=x\r\nContent-Length", 1)
		c.send(msg)
		c.want("SIP/2.0 100")
		c.want("SIP/2.0 603")
		c.send(c.again("ACK"))
		if got.From.Display != "Client" || got.From.User != "+79161234567" || got.To.User != "+74951234567" || got.RequestURI.User != "+74951234567" {
			t.Errorf("parties %+v", got.Parties)
		}
		if len(got.Asserted) != 2 || got.RemoteParty == nil || len(got.Diversion) != 1 || !slices.Equal(got.Privacy, []string{"id", "user"}) {
			t.Errorf("identities %+v", got.Parties)
		}
		if string(got.SDP) != offerSDP || got.MaxForwards != 70 || !slices.Equal(got.Supported, []string{"timer", "100rel"}) || got.Header("x-trunk") != "a" {
			t.Errorf("SDP %q, Max-Forwards %d, Supported %q", got.SDP, got.MaxForwards, got.Supported)
		}
		if got.Peer.Name != "carrier" || got.Source.String() != trunkAddr || got.Received.IsZero() {
			t.Errorf("from %s at %s, %v", got.Peer.Name, got.Source, got.Received)
		}
	})
}
