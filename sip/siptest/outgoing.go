package siptest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// Options are a call to be placed.
type Options struct {
	To       string         // request URI, "sip:+74951234567@127.0.0.1:5060"
	Node     netip.AddrPort // where it is sent, if not where To leads
	From     sip.Address    // the host is the phone's own if empty
	Asserted *sip.Address   // P-Asserted-Identity
	Privacy  string         // Privacy header, "id"
	Headers  []sip.Header   // further headers

	Offer       []byte // a description of the test's own, in place of the phone's
	NoFollow    bool   // a 3xx ends the call, in place of being followed
	Credentials *sip.Credentials
}

// maxHops is how many redirects a call follows.
const maxHops = 5

// Call sends an INVITE and returns; what comes of it is waited for by the
// call's methods. ctx covers the sending only. A call is ended by Hangup, by
// the other side, or with the phone.
func (p *Phone) Call(ctx context.Context, o Options) (*Call, error) {
	if o.From.Host == "" {
		o.From.Host = p.Addr().String()
	}
	c, err := p.newCall()
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", o.To, err)
	}
	c.opts = o
	out, err := c.dial(ctx, o.To, o.Node)
	if err != nil {
		_ = c.sound.close() // the first error is the one to tell
		return nil, fmt.Errorf("calling %s: %w", o.To, err)
	}
	p.calls.Go(func() {
		ctx, cancel := p.lasting(ctx)
		defer cancel()
		c.follow(ctx, out)
	})
	return c, nil
}

// dial sends the INVITE to a target.
func (c *Call) dial(ctx context.Context, target string, node netip.AddrPort) (*sip.Outgoing, error) {
	o := c.opts
	d := sip.Dial{
		Target: target, Node: node, Headers: slices.Clone(o.Headers), Credentials: o.Credentials,
		Caller: sip.Caller{From: o.From, Asserted: o.Asserted}, Body: o.Offer,
	}
	if o.Privacy != "" {
		d.Headers = append(d.Headers, sip.Header{Name: "Privacy", Value: o.Privacy})
	}
	if len(d.Body) == 0 {
		d.Body = c.sound.offer(sdp.SendRecv)
	}
	out, err := c.phone.stack.Dial(ctx, d)
	if err != nil {
		return nil, err
	}
	c.change(func() {
		c.leg, c.out = out.Leg, out
		c.callIDs = append(c.callIDs, out.CallID())
	})
	return out, nil
}

// follow is the goroutine of a call we placed: its answers, redirects, and then
// the talk.
func (c *Call) follow(ctx context.Context, out *sip.Outgoing) {
	final := c.answers(ctx, out)
	for hop := 0; final != nil && final.Code/100 == 3 && len(final.Contacts) > 0 && !c.opts.NoFollow && hop < maxHops; hop++ {
		next, err := c.dial(ctx, final.Contacts[0], netip.AddrPort{})
		if err != nil {
			c.phone.cfg.Logger.Error("following a redirect", "contact", final.Contacts[0], "error", err)
			break
		}
		out = next
		final = c.answers(ctx, out)
	}
	c.change(func() { c.final = final })
	c.serve(ctx, out.Leg)
	c.end(out.Err())
}

// answers notes all answers to an INVITE and returns the final one, nil where
// the call was given up.
func (c *Call) answers(ctx context.Context, out *sip.Outgoing) (final *sip.Response) {
	for {
		select {
		case r, more := <-out.Responses():
			if !more {
				return final
			}
			c.answered(r)
			if r.Code >= 200 {
				final = r
			}
		case <-ctx.Done():
			return final
		}
	}
}

// answered notes an answer, and talks by its description.
func (c *Call) answered(r *sip.Response) {
	if len(r.Body) > 0 && r.Code < 300 {
		if err := c.sound.accept(r.Body); err != nil {
			c.phone.cfg.Logger.Error("description in an answer", "code", r.Code, "error", err)
		}
	}
	c.change(func() { c.codes = append(c.codes, r.Code) })
}

// WaitCode waits until our INVITE was answered with code, on the way or at
// last.
func (c *Call) WaitCode(ctx context.Context, code int) error {
	return c.until(ctx, fmt.Sprintf("answer %d", code), func() bool { return slices.Contains(c.codes, code) })
}

// WaitFinal waits for the final answer to our INVITE, the last one where
// redirects were followed. It is nil where the call was given up.
func (c *Call) WaitFinal(ctx context.Context) (*sip.Response, error) {
	var r *sip.Response
	err := c.wait(ctx, func() bool {
		r = c.final
		return r != nil || c.over
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the final answer (so far %v): %w", c.Codes(), err)
	}
	return r, nil
}

// WaitAnswer waits until the call is answered.
func (c *Call) WaitAnswer(ctx context.Context) error { return c.WaitCode(ctx, 200) }

// WaitMoved waits until the other side has referred us elsewhere (REFER) and
// returns the call we then made.
func (c *Call) WaitMoved(ctx context.Context) (*Call, error) {
	err := c.wait(ctx, func() bool { return c.moved != nil })
	if err != nil {
		return nil, fmt.Errorf("waiting for a REFER: %w", err)
	}
	return c.moved, nil
}
