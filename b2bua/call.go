package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/sip"
)

// conversation is one call, from its INVITE to its record.
type conversation struct {
	agent  *Agent
	set    *Settings
	in     *sip.Incoming
	invite sip.Invite
	log    *slog.Logger

	trunk    Trunk
	facts    routing.Facts
	decision routing.Decision
	voice    voice
	taped    bool // what is said in it is recorded
	record   record
}

// run is the call's table of contents.
func (c *conversation) run(ctx context.Context) {
	c.open()
	outside := c.outside()
	c.agent.passing.add(outside, 1)
	defer c.agent.passing.add(outside, -1)
	defer c.close(ctx)

	if c.invite.Peer.PBX {
		c.outgoing(ctx)
		return
	}
	c.incoming(ctx)
}

// incoming takes a trunk's call to the right person.
func (c *conversation) incoming(ctx context.Context) {
	c.agent.gather(ctx, c.set, &c.facts, c.set.Deadline-time.Since(c.invite.Received))
	if a := c.facts.CRM; a.Missing != "" && a.Missing != call.MissingNotAsked {
		c.log.Warn("the CRM gave no answer", "missing", a.Missing, "error", a.Error)
	}
	if ctx.Err() != nil {
		return
	}
	c.decide()
	if c.decision.Reject != 0 {
		c.reject(c.decision.Reject, "")
		return
	}
	if c.decision.Greeting {
		if digits := c.greet(ctx); digits != "" {
			c.facts.Digits = digits
			c.decide()
		}
	}
	if ctx.Err() == nil {
		c.handOver(ctx)
	}
}

// decide asks the plan, which knows everything the facts say and nothing else.
func (c *conversation) decide() {
	first := c.decision.Outcome == ""
	c.decision = c.set.Plan.Decide(c.facts)
	c.record.decided(c.facts, c.decision)
	d := c.decision
	if first {
		c.agent.metrics.decided(d.Outcome, time.Since(c.invite.Received), c.set.Deadline)
	}
	c.log.Debug("decided", "rule", d.Rule, "target", d.Target, "outcome", d.Outcome, "greeting", d.Greeting)
}

// rings tells the observer that an incoming call goes to a target.
func (c *conversation) rings(target call.Extension) {
	if o := c.agent.Observer; o != nil && !c.invite.Peer.PBX {
		o.Ringing(c.record.soFar(target))
	}
}

// reject answers the caller with a final error.
func (c *conversation) reject(code int, reason string) {
	if c.voice.answered {
		return // what is answered can only be hung up, which leaving does
	}
	if err := c.in.Reject(code, reason); err != nil {
		c.log.Warn("cannot reject", "code", code, "error", err)
		return
	}
	c.record.refused(code)
}

// open learns who is calling whom, from the INVITE alone.
func (c *conversation) open() {
	inv := &c.invite
	c.trunk = c.set.Trunks[inv.Peer.Name]
	if c.trunk.Name == "" {
		c.trunk.Name = inv.Peer.Name
	}
	who := identify(inv, c.trunk.Identity, c.set.Country)
	did := inv.RequestURI.User
	if c.trunk.DIDFromTo {
		did = inv.To.User
	}
	c.facts = routing.Facts{
		At: inv.Received.In(c.set.Zone), Trunk: c.trunk.Name,
		Caller: who.number, CallerName: who.name, Anonymous: who.anonymous,
		DID: call.ParseNumber(did, c.set.Country),
	}
	c.record.begin(c.in, &c.facts, inv.Peer.PBX)
	c.log.Debug("call", "from", inv.Source, "caller", c.facts.Caller, "did", c.facts.DID, "sip_call_id", c.in.CallID())
}

// close frees what the call holds and writes its record. A leg that is still
// up is ended by the signalling once the call's goroutine returns.
func (c *conversation) close(ctx context.Context) {
	if s := c.voice.session; s != nil {
		if err := s.Close(); err != nil {
			c.log.Warn("cannot close media", "error", err)
		}
	}
	rec := c.record.end(context.Cause(ctx))
	c.agent.metrics.calls.WithLabelValues(c.trunk.Name, string(rec.Outcome), string(rec.Result)).Inc()
	c.log.Info("call ended", "trunk", rec.Trunk, "caller", rec.Caller, "did", rec.DID,
		"rule", rec.Rule, "outcome", rec.Outcome, "target", rec.Target, "transfer", rec.Transfer, "result", rec.Result,
		"seconds", rec.Times.Ended.Sub(rec.Times.Started).Seconds(), "cause", causeText(ctx))
	if c.agent.Log != nil {
		c.agent.Log.Add(rec)
	}
}

func causeText(ctx context.Context) string {
	if err := context.Cause(ctx); err != nil {
		return err.Error()
	}
	return ""
}

// hungUp reports whether a call's context ended because its caller went away.
func hungUp(cause error) bool {
	return errors.Is(cause, sip.ErrCanceled) || errors.Is(cause, sip.ErrHangup) || errors.Is(cause, sip.ErrNoACK)
}

// statusError is a SIP final response that means failure.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("answered %d", e.code) }
