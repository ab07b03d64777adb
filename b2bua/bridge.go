package b2bua

import (
	"context"
	"fmt"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/sip"
)

// maxHops bounds the redirections of the PBX followed for one call.
const maxHops = 5

// place is where a second leg goes, and how.
type place struct {
	peer        string // node or trunk, for the record
	inside      bool   // to the PBX
	uri         string // Request-URI, and what the To header says
	ext         call.Extension
	credentials *sip.Credentials
	way
}

// bridge calls the target on the PBX, then, where it does not answer, is busy
// or declines, the rule's default, and joins whoever answers with the caller.
func (c *conversation) bridge(ctx context.Context) int {
	if c.prepareTape(ctx); ctx.Err() != nil {
		return 0
	}
	targets := []call.Extension{c.decision.Target}
	if d := c.decision.Default; d != "" && d != c.decision.Target {
		targets = append(targets, d)
	}
	code := 503
	for i, ext := range targets {
		ring := c.set.PBX.Ring
		if i == len(targets)-1 {
			ring = 0 // nobody comes after: let it ring
		}
		var leg *secondLeg
		if leg, code = c.reach(ctx, ext, ring, c.usual()); leg != nil {
			c.record.handed(call.TransferBridge, leg.place.ext)
			return c.join(ctx, leg)
		}
		if ctx.Err() != nil {
			return 0
		}
		c.record.note("no luck at " + string(ext))
		c.log.Info("target not reached", "target", ext, "code", code)
	}
	return code
}

// reach rings one extension: node after node while they are silent or broken,
// and wherever the PBX redirects. It returns the leg that answered, or the
// final status.
func (c *conversation) reach(ctx context.Context, ext call.Extension, ring time.Duration, w way) (*secondLeg, int) {
	if ring > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, ring, errNoAnswer)
		defer cancel()
	}
	code := 503
	for hop := 0; hop <= maxHops; hop++ {
		c.rings(ext)
		leg, res := c.anyNode(ctx, ext, w)
		if leg != nil {
			return leg, 0
		}
		if code = res.Code; code/100 != 3 {
			return nil, code
		}
		next, ok := c.followed(res)
		if !ok {
			return nil, 480
		}
		c.record.note("redirected to " + string(next))
		ext = next
	}
	return nil, 482
}

// anyNode tries the PBX's nodes in order until one gives a word that counts.
// Where none does it is 503, whatever each of them said or did not say: a 408
// would have the carrier think that nobody answered.
func (c *conversation) anyNode(ctx context.Context, ext call.Extension, w way) (*secondLeg, *sip.Response) {
	if w.nodes == nil {
		w.nodes = c.set.PBX.Nodes.Order()
	}
	for _, node := range w.nodes {
		leg, res := c.attempt(ctx, place{peer: node, inside: true, uri: targetURI(node, string(ext)), ext: ext, way: w})
		if leg != nil || ctx.Err() != nil || !brokenNode(res.Code) {
			return leg, res
		}
		if res.Code == 408 || res.Code == 503 {
			c.set.PBX.Nodes.Failed(node, fmt.Sprintf("a call got %d", res.Code))
		}
	}
	return nil, &sip.Response{Code: 503}
}

// brokenNode reports whether a status speaks of the node and not of the
// callee: the next node may do better (RFC 3261 sections 21.4.8, 21.5.4).
func brokenNode(code int) bool {
	return code == 408 || code == 500 || 502 <= code && code <= 504
}

// followed is where a redirection of the PBX leads. Only numbers that exist on
// it, or its own nodes, are followed: nothing else may be dialled through us.
func (c *conversation) followed(res *sip.Response) (call.Extension, bool) {
	for _, contact := range res.Contacts {
		user, _, found := strings.Cut(strings.TrimPrefix(contact, "sip:"), "@")
		if !found {
			continue
		}
		ext := call.Extension(user)
		if c.numbers().Has(ext) {
			return ext, true
		}
		for _, node := range c.set.PBX.Nodes.Order() {
			if sameHost(contact, node) && isNumber(user) {
				return ext, true
			}
		}
	}
	return "", false
}

// isNumber keeps a followed user to what may be dialled on the PBX.
func isNumber(s string) bool {
	return s != "" && len(s) <= 16 && strings.Trim(s, "0123456789*#") == ""
}

// numbers are those that exist on the PBX now.
func (c *conversation) numbers() call.Numbers {
	if c.set.PBX.Numbers == nil {
		return call.Numbers{}
	}
	return c.set.PBX.Numbers()
}

// join connects the leg that answered with the caller, until either hangs up.
func (c *conversation) join(ctx context.Context, leg *secondLeg) int {
	if err := c.answerFor(ctx, leg); err != nil {
		c.log.Info("the caller was gone when the call was answered", "error", err)
		c.hangUp(ctx, leg.out.Leg, "")
		c.release(leg)
		return 0
	}
	c.meet(ctx, leg)
	return 0
}

// employeeAt is who sits at ext as far as the decision knows.
func (c *conversation) employeeAt(ext call.Extension) int {
	for id, e := range c.facts.Employees {
		if e.Extension == ext {
			return id
		}
	}
	return 0
}

// outgoing bridges a call of the PBX to the carrier, the other way round.
// Without a trunk the answer is 503, upon which 3CX tries its next route.
func (c *conversation) outgoing(ctx context.Context) {
	leg, code := c.outward(ctx, c.invite.RequestURI.User, c.usual())
	switch {
	case leg != nil:
		c.record.handed(call.TransferBridge, leg.place.ext)
		c.join(ctx, leg)
	case ctx.Err() == nil:
		c.reject(code, "")
	}
}

// outward calls a number outside by the trunks that take calls, one after the
// other while they are broken. It returns the leg that answered, or the final
// status.
func (c *conversation) outward(ctx context.Context, number string, w way) (*secondLeg, int) {
	code := 503
	for _, name := range trunkNames(c.set.Trunks) {
		t := c.set.Trunks[name]
		if t.Target == "" {
			continue
		}
		if c.invite.Peer.PBX {
			c.record.outgoing(name)
			c.prepareTape(ctx)
		}
		leg, res := c.attempt(ctx, place{
			peer: name, uri: targetURI(t.Target, number), ext: call.Extension(number), credentials: t.Credentials, way: w,
		})
		if leg != nil {
			return leg, 0
		}
		if code = res.Code; ctx.Err() != nil || !brokenNode(code) {
			break
		}
	}
	return nil, code
}
