package sip_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// dialing is a call from the desk to extension 201 of the PBX.
func (d *desk) dialing() *sip.Outgoing {
	d.t.Helper()
	o, err := d.Dial(d.t.Context(), sip.Dial{
		Call: "callid", Target: "sip:201@" + pbxAddr, MaxForwards: 69, Body: []byte(offerSDP),
		Caller:  sip.Caller{From: sip.Address{Display: "Cli\"ent\r\nX-Evil: 1", User: "+79161234567", Host: "192.0.2.1"}},
		Headers: []sip.Header{{Name: "X-Name", Value: "a\r\nX-Evil: 2"}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

// final reads the answers to their end and gives their codes.
func codes(o *sip.Outgoing) []int {
	var out []int
	for r := range o.Responses() {
		out = append(out, r.Code)
	}
	return out
}

func wantCodes(t *testing.T, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

// TestDialFromNumber wants a caller without a host to be a user of ours: a PBX
// may take its From header for a trunk's only as a sip URI.
func TestDialFromNumber(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		number := sip.Address{Display: "Ann", User: "+79161234567"}
		o, err := d.Dial(d.t.Context(), sip.Dial{
			Target: "sip:201@" + pbxAddr, Body: []byte(offerSDP), Caller: sip.Caller{From: number, Asserted: &number},
		})
		if err != nil {
			d.t.Fatal(err)
		}
		inv := pbx.want("INVITE sip:201@" + pbxAddr)
		want := `"Ann" <sip:+79161234567@` + deskAddr + `>`
		if from, asserted := field(inv, "From"), field(inv, "P-Asserted-Identity"); !strings.HasPrefix(from, want+";tag=") || asserted != want {
			d.t.Errorf("From %s, P-Asserted-Identity %s, want %s", from, asserted, want)
		}
		pbx.send(pbx.reply(inv, "486 Busy Here", "b"))
		pbx.want("ACK")
		wantCodes(d.t, codes(o), 486)
	})
}

func TestDial(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE sip:201@" + pbxAddr)
		if field(inv, "X-Evil") != "" || field(inv, "Max-Forwards") != "69" || field(inv, "X-Frontdesk-Call") != "callid" || bodyOf(inv) != offerSDP {
			t.Errorf("sent\n%s", inv)
		}
		pbx.send(pbx.reply(inv, "100 Trying", ""))
		for range 20 { // more than any fixed small number
			pbx.send(pbx.reply(inv, "180 Ringing", "b", "Contact: <sip:201@"+pbxAddr+">"))
		}
		ok := pbx.reply(inv, "200 OK", "b", "Contact: <sip:201@"+pbxAddr+">", offerSDP)
		pbx.send(ok)
		ack := pbx.want("ACK sip:201@" + pbxAddr)
		pbx.send(ok) // our ACK was lost
		if again := pbx.want("ACK"); again != ack {
			t.Errorf("another ACK\n%s", again)
		}
		wantCodes(t, codes(o), append(slices.Repeat([]int{180}, 20), 200)...)
		go func() { _ = o.Bye(d.t.Context(), "") }()
		pbx.send(pbx.reply(pbx.want("BYE"), "200 OK", ""))
		<-o.Done()
	})
}

func TestDialWithoutAnswer(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		start := time.Now()
		for _, at := range []time.Duration{0, 500, 1500, 3500, 7500, 15500, 31500} {
			pbx.want("INVITE")
			near(t, "INVITE", time.Since(start), at*time.Millisecond)
		}
		r := <-o.Responses()
		near(t, "408", time.Since(start), 32*time.Second)
		if r.Code != 408 || !r.MadeUp {
			t.Errorf("got %+v", r)
		}
	})
}

func TestDialRefused(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		busy := pbx.reply(inv, "486 Busy Here", "b")
		pbx.send(busy)
		ack := pbx.want("ACK")
		if field(ack, "Via") != field(inv, "Via") || field(ack, "CSeq") != "1 ACK" || tag(field(ack, "To")) != "b" {
			t.Errorf("ACK\n%s", ack)
		}
		pbx.send(busy)
		pbx.want("ACK")
		wantCodes(t, codes(o), 486)
		if !errors.Is(o.Err(), sip.ErrEnded) {
			t.Errorf("Err %v", o.Err())
		}
	})
}

func TestDialRedirected(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "302 Moved Temporarily", "b", `Contact: "A, B" <sip:205@192.0.2.20>;q=0.9, <sip:206@192.0.2.20>`))
		pbx.want("ACK")
		r := <-o.Responses()
		if want := []string{"sip:205@192.0.2.20", "sip:206@192.0.2.20"}; r.Code != 302 || !slices.Equal(r.Contacts, want) {
			t.Errorf("got %d to %q", r.Code, r.Contacts)
		}
	})
}

// CANCEL waits for a provisional.
func TestOutgoingCancel(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		done := make(chan error, 1)
		go func() { done <- o.Cancel(d.t.Context(), "SIP;cause=200") }()
		pbx.silent(400 * time.Millisecond)
		pbx.send(pbx.reply(inv, "180 Ringing", "b"))
		cancel := pbx.want("CANCEL")
		if field(cancel, "Via") != field(inv, "Via") || field(cancel, "CSeq") != "1 CANCEL" || field(cancel, "To") != field(inv, "To") || field(cancel, "Reason") != "SIP;cause=200" {
			t.Errorf("CANCEL\n%s", cancel)
		}
		pbx.send(pbx.reply(cancel, "200 OK", "b"))
		pbx.send(pbx.reply(inv, "487 Request Terminated", "b"))
		pbx.want("ACK")
		if err := <-done; err != nil {
			t.Errorf("Cancel: %v", err)
		}
		wantCodes(t, codes(o), 487)
	})
}

func TestOutgoingCancelCrossesAnswer(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "180 Ringing", "b"))
		<-o.Responses()
		go func() { _ = o.Cancel(d.t.Context(), "") }()
		cancel := pbx.want("CANCEL")
		pbx.send(pbx.reply(inv, "200 OK", "b", "Contact: <sip:201@"+pbxAddr+">", offerSDP))
		pbx.want("ACK")
		bye := pbx.want("BYE")
		pbx.send(pbx.reply(cancel, "200 OK", "b"))
		pbx.send(pbx.reply(bye, "200 OK", ""))
		wantCodes(t, codes(o), 487)
		<-o.Done()
	})
}

// A callee that goes on ringing after CANCEL is given up 32 s later.
func TestOutgoingCancelIgnored(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "180 Ringing", "b"))
		<-o.Responses()
		start := time.Now()
		go func() { _ = o.Cancel(d.t.Context(), "") }()
		pbx.send(pbx.reply(pbx.want("CANCEL"), "200 OK", "b"))
		wantCodes(t, codes(o), 408)
		near(t, "end", time.Since(start), 32*time.Second)
	})
}

// Timer C: a callee that rings for ever is cancelled.
func TestOutgoingRingsForEver(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "180 Ringing", "b"))
		<-o.Responses()
		start := time.Now()
		if msg := pbx.next(200 * time.Second); !strings.HasPrefix(msg, "CANCEL") {
			t.Fatalf("got %q", firstLine(msg))
		}
		near(t, "CANCEL", time.Since(start), 185*time.Second)
		pbx.send(pbx.reply(inv, "487 Request Terminated", "b"))
		pbx.want("ACK")
		wantCodes(t, codes(o), 487)
	})
}

func TestForkedAnswer(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "200 OK", "first", "Contact: <sip:201@"+pbxAddr+">", offerSDP))
		pbx.want("ACK")
		second := pbx.reply(inv, "200 OK", "second", "Contact: <sip:202@"+pbxAddr+">", offerSDP)
		pbx.send(second)
		ack := pbx.want("ACK sip:202@")
		bye := pbx.want("BYE sip:202@")
		if tag(field(ack, "To")) != "second" || tag(field(bye, "To")) != "second" {
			t.Errorf("sent\n%s\n%s", ack, bye)
		}
		pbx.send(second)
		pbx.want("ACK sip:202@")
		pbx.send(pbx.reply(bye, "200 OK", ""))
		wantCodes(t, codes(o), 200)
		go func() { _ = o.Bye(d.t.Context(), "") }()
		bye = pbx.want("BYE sip:201@")
		pbx.send(pbx.reply(bye, "200 OK", ""))
		<-o.Done()
	})
}

func TestOutgoingHungUp(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "200 OK", "b", "Contact: <sip:201@"+pbxAddr+">", "Record-Route: <sip:192.0.2.30;lr>, <sip:192.0.2.20:5060;lr>", offerSDP))
		ack := pbx.want("ACK")
		if got := strings.Join(fields(ack, "Route"), " "); got != "<sip:192.0.2.20:5060;lr> <sip:192.0.2.30;lr>" {
			t.Errorf("Route %q", got)
		}
		wantCodes(t, codes(o), 200)
		c := pbx.callee(inv, "b")
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
		<-o.Done()
		if !errors.Is(o.Err(), sip.ErrHangup) {
			t.Errorf("Err %v", o.Err())
		}
	})
}

// callee is the dialog that inv began, seen from who was called.
func (u *ua) callee(inv, ourTag string) *script {
	return &script{
		ua: u, callID: field(inv, "Call-ID"), target: strings.Trim(field(inv, "Contact"), "<>"),
		local: field(inv, "To") + ";tag=" + ourTag, remote: field(inv, "From"), cseq: 100,
	}
}

func challenges(realm, nonce, more string) string {
	return fmt.Sprintf(`WWW-Authenticate: Digest realm=%q, nonce=%q, algorithm=MD5, qop="auth"%s`, realm, nonce, more)
}

func TestChallengedInvite(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		pbx.send(pbx.reply(inv, "401 Unauthorized", "b", challenges("pbx", "n1", "")))
		pbx.want("ACK")
		second := pbx.want("INVITE")
		if field(second, "CSeq") != "2 INVITE" || !strings.Contains(field(second, "Authorization"), `username="desk"`) ||
			field(second, "Call-ID") != field(inv, "Call-ID") || field(second, "Via") == field(inv, "Via") {
			t.Errorf("sent\n%s", second)
		}
		// A stale nonce is answered once more, a second refusal is not.
		pbx.send(pbx.reply(second, "401 Unauthorized", "b", challenges("pbx", "n2", ", stale=true")))
		pbx.want("ACK")
		third := pbx.want("INVITE")
		pbx.send(pbx.reply(third, "401 Unauthorized", "b", challenges("pbx", "n3", ", stale=true")))
		pbx.want("ACK")
		wantCodes(t, codes(o), 401)
		pbx.silent(time.Second)
	})
}

func TestChallengeOfAnotherRealm(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		pbx.send(pbx.reply(pbx.want("INVITE"), "401 Unauthorized", "b", challenges("elsewhere", "n1", "")))
		pbx.want("ACK")
		wantCodes(t, codes(o), 401)
		pbx.silent(time.Second)
	})
}

// A trunk without credentials learns nothing by challenging our BYE.
func TestChallengedBye(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, _ = in.Answer(ctx, []byte(offerSDP))
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("leak")
		c.invite()
		c.establish(c.want("SIP/2.0 200"))
		c.ack()
		c.send(c.reply(c.want("BYE"), "401 Unauthorized", "", challenges("pbx", "n1", "")))
		c.silent(10 * time.Second)
	})
}

func TestReliableProvisionalOfThePBX(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		o := d.dialing()
		inv := pbx.want("INVITE")
		rel := pbx.reply(inv, "183 Session Progress", "b", "Contact: <sip:201@"+pbxAddr+">", "Require: 100rel", "RSeq: 7", offerSDP)
		pbx.send(rel)
		prack := pbx.want("PRACK sip:201@")
		if field(prack, "RAck") != "7 1 INVITE" || tag(field(prack, "To")) != "b" {
			t.Errorf("sent\n%s", prack)
		}
		pbx.send(rel) // no second PRACK
		pbx.send(pbx.reply(prack, "200 OK", ""))
		pbx.send(pbx.reply(inv, "180 Ringing", "b", "Contact: <sip:201@"+pbxAddr+">", "Require: 100rel", "RSeq: 9")) // 8 is missing
		pbx.silent(time.Second)
		pbx.send(pbx.reply(inv, "180 Ringing", "b", "Contact: <sip:201@"+pbxAddr+">", "Require: 100rel", "RSeq: 8"))
		prack = pbx.want("PRACK")
		if field(prack, "RAck") != "8 1 INVITE" {
			t.Errorf("sent\n%s", prack)
		}
		pbx.send(pbx.reply(prack, "200 OK", ""))
		pbx.send(pbx.reply(inv, "486 Busy Here", "b"))
		pbx.want("ACK")
		wantCodes(t, codes(o), 183, 180, 486)
	})
}

func TestDialRefusesNonsense(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		for name, dial := range map[string]sip.Dial{
			"no offer":      {Target: "sip:201@" + pbxAddr},
			"too many hops": {Target: "sip:201@" + pbxAddr, Body: []byte(offerSDP), MaxForwards: -1},
			"no SIP URI":    {Target: "tel:+7495", Body: []byte(offerSDP)},
		} {
			if _, err := d.Dial(d.t.Context(), dial); err == nil {
				t.Errorf("%s was dialled", name)
			}
		}
	})
}

func TestProbe(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		pbx := d.ua(pbxAddr)
		go func() {
			msg := pbx.next(time.Second)
			pbx.send(pbx.reply(msg, "200 OK", "b"))
		}()
		res, err := d.Options(d.t.Context(), "sip:"+pbxAddr)
		if err != nil || res.Code != 200 {
			t.Errorf("got %v, %v", res, err)
		}
		ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Second)
		defer cancel()
		if _, err := d.Options(ctx, "sip:"+pbxAddr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("silent node: %v", err)
		}
	})
}
