package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"frontdesk/call"

	gosip "github.com/emiago/sipgo/sip"
)

// Dial is an INVITE to be sent.
type Dial struct {
	Call        string         // our call id; empty: a new one
	Target      string         // request URI
	Node        netip.AddrPort // where to send it; zero: where Target leads
	Transport   string         // "udp", "tcp", "tls"; empty: as Target says, else udp
	MaxForwards int            // what the call's own INVITE had left, less one; 0: 70, negative: too many hops
	Body        []byte         // the offer; must not be empty
	Headers     []Header
	Caller

	Credentials *Credentials // answers to its challenges; nil: those of the peer at its address
}

// Caller is who a call is from and to. From and Asserted are numbers of ours to
// the other side: without a host they get our address, since many a PBX cannot
// read a tel URI.
type Caller struct {
	From     Address
	To       *Address // nil: Target
	Asserted *Address // P-Asserted-Identity; nil: none
}

func (c Caller) at(host string) Caller {
	if c.From.Host == "" {
		c.From.Host = host
	}
	if c.Asserted != nil && c.Asserted.Host == "" {
		a := *c.Asserted
		a.Host = host
		c.Asserted = &a
	}
	return c
}

// ErrTooManyHops refuses to send a call on that has been sent on too often.
var ErrTooManyHops = errors.New("too many hops")

// provisionalQueue is how many provisionals may wait for the owner.
const provisionalQueue = 32

// Outgoing is a call that we make.
type Outgoing struct {
	*Leg
	responses chan *Response

	tx          *clientTx
	tried       tried
	inviteSeq   uint32
	rseq        uint32        // of the last reliable provisional
	rung        chan struct{} // closed by the first provisional, 100 included
	canceling   bool
	canceled    string // the reason given for it
	settled     bool   // the final answer is delivered
	idle        chan struct{}
	ringTooLong timer // C
}

// Dial sends an INVITE. ctx covers only the sending; the call is then ended by
// Cancel or Bye. Its answers come by Responses.
func (s *Stack) Dial(ctx context.Context, d Dial) (*Outgoing, error) {
	if len(d.Body) == 0 {
		return nil, errors.New("dialling without an offer")
	}
	if d.MaxForwards < 0 {
		return nil, ErrTooManyHops
	}
	f, err := s.flowOf(ctx, d.Target, d.Node, d.Transport)
	if err != nil {
		return nil, fmt.Errorf("dialling %q: %w", clean(d.Target), err)
	}
	d.Caller = d.at(s.sentBy(f))
	if d.Call == "" {
		d.Call = call.NewID()
	}
	callID := call.NewID()
	sh := s.shardOf(callID)
	o := newOutgoing(sh, &d, callID, f)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.legs[o.localTag] = o.Leg
	o.invite(o.firstInvite(&d))
	return o, nil
}

// flowOf is the way to the first target of uri, or to node.
func (s *Stack) flowOf(ctx context.Context, uri string, node netip.AddrPort, network string) (flow, error) {
	u, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if node.IsValid() {
		if network == "" {
			network = strings.ToLower(u.UriParams.GetOr("transport", "udp"))
		}
		return s.flowTo(ctx, network, node)
	}
	targets, err := s.resolve(ctx, u)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if network != "" && t.network != network {
			continue
		}
		f, e := s.flowTo(ctx, t.network, t.addr)
		if e == nil {
			return f, nil
		}
		err = errors.Join(err, e)
	}
	if err == nil {
		err = fmt.Errorf("no %s target", network)
	}
	return nil, err
}

func newOutgoing(sh *shard, d *Dial, callID string, f flow) *Outgoing {
	tag := d.Call + "-" + call.NewID()
	name := legName{id: d.Call, callID: callID}
	credentials := d.Credentials
	if p := sh.stack.peerOf(f.remote()); p != nil {
		name.peer = *p
		if credentials == nil {
			credentials = p.Credentials
		}
	}
	o := &Outgoing{Leg: newLeg(sh, name), responses: make(chan *Response, provisionalQueue+1), idle: make(chan struct{}), rung: make(chan struct{})}
	to := "<" + d.Target + ">"
	if d.To != nil {
		to = d.To.String()
	}
	o.dialog = dialog{
		local: d.From.String() + ";tag=" + tag, localTag: tag, remote: to,
		target: d.Target, contact: sh.stack.contact(f), flow: f, credentials: credentials,
	}
	o.unwind = o.giveUp
	o.ringTooLong.fire = func() { o.cancel(`SIP;cause=408;text="No answer"`) }
	return o
}

func (o *Outgoing) firstInvite(d *Dial) *draft {
	inv := o.draft(gosip.INVITE)
	inv.maxForwards = 70
	if d.MaxForwards > 0 {
		inv.maxForwards = d.MaxForwards
	}
	if d.Asserted != nil {
		inv.headers = append(inv.headers, Header{"P-Asserted-Identity", d.Asserted.String()})
	}
	inv.headers = slices.Concat(inv.headers, d.Headers)
	inv.contentType, inv.body = applicationSDP, d.Body
	return inv
}

// invite sends the INVITE, first or with an answer to a challenge.
func (o *Outgoing) invite(d *draft) {
	o.inviteSeq, o.remoteTag, o.rseq = d.cseq, "", 0
	release := o.offers.ours(gosip.INVITE, d.body)
	done := false
	o.tx = o.sh.newClientTx(d, o.flow, newBranch(), func(m *message) {
		if !done && (m == nil || m.res.StatusCode >= 200) {
			done = true
			release()
		}
		o.heard(d, m)
	})
}

// Responses gives every provisional but 100, and then the one final answer, in
// the order in which they came; then it is closed. A 2xx is acknowledged
// already. Where nobody answers a 408 is made up.
func (o *Outgoing) Responses() <-chan *Response { return o.responses }

// Heard is closed by the first sign of life, if only 100 (Trying), which
// Responses does not give: whoever is silent for long may be dead.
func (o *Outgoing) Heard() <-chan struct{} { return o.rung }

func (o *Outgoing) hasRung() bool {
	select {
	case <-o.rung:
		return true
	default:
		return false
	}
}

// heard takes what came back for the INVITE d.
func (o *Outgoing) heard(d *draft, m *message) {
	switch {
	case m == nil:
		o.failed(madeUp())
	case m.res.StatusCode < 200:
		o.provisional(m)
	case m.res.StatusCode < 300:
		o.accepted(m)
	default:
		if auth, ok := o.tried.answer(o.credentials, d, m); ok && !o.canceling {
			again := *d
			again.headers = withAuth(d.headers, auth)
			o.localSeq++
			again.cseq = o.localSeq
			o.invite(&again)
			return
		}
		o.failed(newResponse(m.res))
	}
}

func (o *Outgoing) provisional(m *message) {
	if !o.hasRung() {
		close(o.rung)
	}
	if o.canceling {
		o.sendCancel()
		return
	}
	o.sh.after(&o.ringTooLong, timerC)
	if m.res.StatusCode == 100 {
		return
	}
	if tag := tagOf(m.res.To()); tag != "" && (o.remoteTag == "" || o.remoteTag == tag) {
		o.establish(m.res)
		if !o.acknowledge(m.res) {
			return
		}
	}
	if len(o.responses) < provisionalQueue { // an owner that does not read loses some of the ringing, never the end
		o.responses <- newResponse(m.res)
	}
}

// establish takes the dialog from a response (RFC 3261 section 12.1.2).
func (o *Outgoing) establish(res *gosip.Response) {
	hs := res.Headers()
	o.remoteTag, o.remote = tagOf(res.To()), res.To().Value()
	o.routes = routeSet(hs)
	slices.Reverse(o.routes)
	o.retarget(hs)
}

// accepted takes a 2xx: the first, one sent again, or one of another fork.
func (o *Outgoing) accepted(m *message) {
	tag := tagOf(m.res.To())
	switch {
	case o.settled && tag == o.remoteTag:
		o.repeatACK(o.inviteSeq)
		return
	case o.settled:
		o.declineFork(m)
		return
	}
	o.establish(m.res)
	o.state = up
	o.sendACK(o.inviteSeq, "", nil)
	if o.canceling { // the answer crossed our CANCEL
		o.hangup(o.canceled, ErrEnded)
		o.deliver(&Response{Code: 487, Reason: "Request Terminated", MadeUp: true})
		return
	}
	o.agreed(m.res)
	o.deliver(newResponse(m.res))
}

// declineFork acknowledges and ends a session that another branch of a fork
// set up (section 13.2.2.4).
func (o *Outgoing) declineFork(m *message) {
	if l := o.sh.legs[o.localTag+"/"+tagOf(m.res.To())]; l != nil {
		l.repeatACK(o.inviteSeq)
		return
	}
	fork := &Outgoing{Leg: newLeg(o.sh, o.legName)}
	fork.dialog = o.dialog
	fork.localTag = o.localTag + "/" + tagOf(m.res.To()) // its key among the legs: what comes in names localTag
	fork.localSeq = o.inviteSeq
	fork.establish(m.res)
	fork.state = up
	o.sh.legs[fork.localTag] = fork.Leg
	fork.sendACK(o.inviteSeq, "", nil)
	fork.hangup("", ErrEnded)
}

// failed ends a call that was not answered.
func (o *Outgoing) failed(r *Response) {
	o.end(ErrEnded)
	o.forget()
	o.deliver(r)
}

// deliver hands over the final answer.
func (o *Outgoing) deliver(r *Response) {
	if o.settled {
		return
	}
	o.settled = true
	o.sh.wheel.stop(&o.ringTooLong)
	o.responses <- r
	close(o.responses)
	close(o.idle)
}

// Cancel gives the call up: by CANCEL, which waits for a provisional (RFC 3261
// section 9.1), or by BYE where the answer was quicker. It returns when the
// transaction is over, or ctx ends; the rest happens without us. Responses
// still gives the final answer, as 487; where a 2xx crossed the CANCEL it is
// closed without one.
func (o *Outgoing) Cancel(ctx context.Context, reason string) error {
	o.sh.mu.Lock()
	if o.state == up {
		o.sh.mu.Unlock()
		return o.Bye(ctx, reason)
	}
	o.cancel(reason)
	o.sh.mu.Unlock()
	select {
	case <-o.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// giveUp is Cancel without the wait, for Bye and the end of the stack.
func (o *Outgoing) giveUp(error) { o.cancel("") }

func (o *Outgoing) cancel(reason string) {
	if o.canceling || o.settled {
		return
	}
	o.canceling, o.canceled = true, reason
	if o.hasRung() {
		o.sendCancel()
	}
}

// sendCancel sends CANCEL once.
func (o *Outgoing) sendCancel() {
	if o.tx.canceled {
		return
	}
	o.sh.wheel.stop(&o.ringTooLong)
	o.tx.cancel(o.canceled)
}
