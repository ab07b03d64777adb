package siptest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// serve answers the other side's requests until the session is over.
func (c *Call) serve(ctx context.Context, leg *sip.Leg) {
	for {
		select {
		case r := <-leg.Requests():
			if err := c.request(ctx, leg, r); err != nil {
				c.phone.cfg.Logger.Warn("request within a call", "method", r.Method, "error", err)
			}
		case <-leg.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// request does as a telephone does with a request within a call.
func (c *Call) request(ctx context.Context, leg *sip.Leg, r *sip.Request) error {
	switch r.Method {
	case "INVITE", "UPDATE":
		return c.renegotiate(ctx, r)
	case "INFO":
		d, ok := signal(r.ContentType, r.Body)
		if !ok {
			return r.Respond(415)
		}
		c.sound.session.Inject(d)
		return r.Respond(200)
	case "REFER":
		return c.referred(ctx, leg, r)
	default:
		return r.Respond(200)
	}
}

// renegotiate answers a re-INVITE or an UPDATE.
func (c *Call) renegotiate(ctx context.Context, r *sip.Request) error {
	switch {
	case len(r.Body) > 0:
		body, err := c.sound.answer(r.Body, sdp.SendRecv)
		if err != nil {
			return errors.Join(err, r.Respond(488))
		}
		return r.RespondBody(200, "application/sdp", body)
	case r.Method == "UPDATE": // it only keeps the session alive
		return r.Respond(200)
	}
	if err := r.RespondBody(200, "application/sdp", c.sound.offer(sdp.SendRecv)); err != nil {
		return err
	}
	ack, err := r.ACK(ctx)
	if err != nil {
		return err
	}
	return c.sound.accept(ack)
}

// referred takes a REFER as the phone is told to.
func (c *Call) referred(ctx context.Context, leg *sip.Leg, r *sip.Request) error {
	refer := c.phone.cfg.Refer
	to, err := sip.ParseAddress(r.Header("Refer-To"))
	switch {
	case err != nil:
		return r.Respond(400)
	case refer.Code >= 300:
		return r.Respond(refer.Code)
	}
	if err := r.Respond(202); err != nil || refer.Silent {
		return err
	}
	c.phone.calls.Go(func() {
		if err := c.transfer(ctx, leg, to.URI()); err != nil {
			c.phone.cfg.Logger.Warn("doing as REFER asked", "error", err)
		}
	})
	return nil
}

// transfer calls the target and reports it by NOTIFY (RFC 3515 section 2.4.4).
func (c *Call) transfer(ctx context.Context, leg *sip.Leg, target string) error {
	refer := c.phone.cfg.Refer
	if err := notify(ctx, leg, 100); err != nil {
		return err
	}
	code := refer.Report
	if code == 0 {
		o := c.opts
		o.To, o.Node, o.Offer = target, netip.AddrPort{}, nil
		next, err := c.phone.Call(ctx, o)
		if err != nil {
			return errors.Join(err, notify(ctx, leg, 503))
		}
		c.change(func() { c.moved = next })
		final, err := next.WaitFinal(ctx)
		if err != nil {
			return err
		}
		code = 487
		if final != nil {
			code = final.Code
		}
	}
	if refer.Hangup {
		return leg.Bye(ctx, "")
	}
	return notify(ctx, leg, code)
}

// notify reports how far a transfer is.
func notify(ctx context.Context, leg *sip.Leg, code int) error {
	state := "active;expires=60"
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	res, err := leg.Do(ctx, sip.Message{
		Method: "NOTIFY", ContentType: "message/sipfrag;version=2.0", Body: fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", code, phrase(code)),
		Headers: []sip.Header{{Name: "Event", Value: "refer"}, {Name: "Subscription-State", Value: state}},
	})
	return refused("NOTIFY", res, err)
}

// phrase is a reason for people.
func phrase(code int) string {
	switch {
	case code < 200:
		return "Trying"
	case code < 300:
		return "OK"
	}
	return "Failed"
}
