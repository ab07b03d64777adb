package sip_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"frontdesk/sip"
)

func TestCancelBeforeTheHandlerRan(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), sip.ErrCanceled) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		if _, err := in.Answer(context.Background(), []byte(offerSDP)); !errors.Is(err, sip.ErrCanceled) {
			t.Errorf("late Answer: %v", err)
		}
		if err := in.Progress(183, nil); !errors.Is(err, sip.ErrCanceled) {
			t.Errorf("late Progress: %v", err)
		}
		if err := in.Redirect("sip:201@192.0.2.20"); !errors.Is(err, sip.ErrCanceled) {
			t.Errorf("late Redirect: %v", err)
		}
	}, func(d *desk) {
		c := d.ua(trunkAddr).call("cancel")
		c.send(c.request("INVITE", offerSDP))
		c.send(c.again("CANCEL")) // back to back
		c.want("SIP/2.0 100")
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
		c.silent(40 * time.Second)
	})
}

func TestCancelIsAnsweredEachTime(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) { <-ctx.Done() }, func(d *desk) {
		c := d.ua(trunkAddr).call("cancel2")
		c.invite()
		cancel := c.again("CANCEL")
		c.send(cancel)
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(cancel)
		c.want("SIP/2.0 200")
		c.send(c.again("ACK"))
	})
}

func TestCancelAfterTheAnswer(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		c := d.ua(trunkAddr).call("crossing")
		c.invite()
		ok := c.want("SIP/2.0 200")
		c.send(c.again("CANCEL"))
		if res := c.want("SIP/2.0 200"); field(res, "CSeq") != "1 CANCEL" || field(res, "To") != field(ok, "To") {
			t.Errorf("answer to CANCEL\n%s", res)
		}
		c.establish(ok)
		c.ack()
		c.silent(40 * time.Second)
		c.send(c.request("BYE"))
		c.want("SIP/2.0 200")
	})
}

func TestCancelOfNothing(t *testing.T) {
	bubble(t, answering, func(d *desk) {
		c := d.ua(trunkAddr).call("nothing")
		c.request("INVITE")
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 481")
	})
}

// The answer and the CANCEL race, many times: exactly one wins, and the side
// that lost learns it.
func TestCancelAgainstAnswer(t *testing.T) {
	var answered chan error
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		_, err := in.Answer(ctx, []byte(offerSDP))
		answered <- err
		<-ctx.Done()
	}, func(d *desk) {
		answered = make(chan error, 1)
		u := d.ua(trunkAddr)
		won := map[string]int{}
		for i := range 200 {
			c := u.call(fmt.Sprintf("race-%d", i))
			c.send(c.request("INVITE", offerSDP))
			if i%2 == 1 {
				c.want("SIP/2.0 100")
			}
			c.send(c.again("CANCEL"))
			finals := map[string]string{}
			for len(finals) < 2 {
				msg := c.next(time.Second)
				if msg == "" {
					t.Fatalf("round %d: only %v", i, finals)
				}
				if line := firstLine(msg); line != "SIP/2.0 100 Trying" {
					finals[field(msg, "CSeq")] = msg
				}
			}
			final := firstLine(finals["1 INVITE"])
			won[final]++
			switch final {
			case "SIP/2.0 200 OK":
				c.establish(finals["1 INVITE"])
				c.ack()
				if err := <-answered; err != nil {
					t.Fatalf("round %d: Answer won and says %v", i, err)
				}
				c.send(c.request("BYE"))
				c.want("SIP/2.0 200")
			case "SIP/2.0 487 Request Terminated":
				c.send(c.again("ACK"))
				if err := <-answered; !errors.Is(err, sip.ErrCanceled) {
					t.Fatalf("round %d: Answer lost and says %v", i, err)
				}
			default:
				t.Fatalf("round %d: %s", i, final)
			}
		}
		if len(won) != 2 {
			t.Errorf("only one side ever won: %v", won)
		}
	})
}

// A burst of provisionals leaves in order, and an INVITE never arrives after
// its CANCEL, however many calls there are.
func TestOrderUnderLoad(t *testing.T) {
	const calls, burst = 300, 8
	bubble(t, func(ctx context.Context, in *sip.Incoming) {
		for i := range burst {
			_ = in.Progress(183, []byte(fmt.Sprintf("v=%d\r\n", i)))
		}
		<-ctx.Done()
	}, func(d *desk) {
		u := d.ua(trunkAddr)
		scripts := map[string]*script{}
		for i := range calls {
			c := u.call(fmt.Sprintf("burst-%d", i))
			scripts[c.callID] = c
			c.send(c.request("INVITE", offerSDP))
			if i%2 == 1 {
				c.send(c.again("CANCEL"))
			}
		}
		next := map[string]int{}
		final := map[string]bool{}
		for open := calls; open > 0; {
			msg := u.next(time.Second)
			if msg == "" {
				t.Fatalf("%d calls incomplete", open)
			}
			id := field(msg, "Call-ID")
			switch line := firstLine(msg); line {
			case "SIP/2.0 183 Session Progress":
				if want := fmt.Sprintf("v=%d\r\n", next[id]); bodyOf(msg) != want || final[id] {
					t.Fatalf("%s: %q, want %q", id, bodyOf(msg), want)
				}
				if next[id]++; next[id] == burst && scripts[id] != nil && !final[id] {
					scripts[id].send(scripts[id].again("CANCEL"))
				}
			case "SIP/2.0 481 Call/Transaction Does Not Exist":
				t.Fatalf("%s: CANCEL overtook its INVITE", id)
			case "SIP/2.0 487 Request Terminated":
				if !final[id] {
					final[id] = true
					open--
					scripts[id].send(scripts[id].again("ACK"))
				}
			}
		}
	})
}
