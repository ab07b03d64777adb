package sip

import (
	"context"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// answer is a 2xx of ours to an INVITE until its ACK comes (RFC 3261 section
// 13.3.1.4). It is sent again on connections too: a proxy behind one may lose
// it.
type answer struct {
	leg      *Leg
	tx       *serverTx
	flow     flow
	cseq     uint32
	response []byte
	interval time.Duration
	retry    timer
	limit    timer

	done chan struct{}
	body []byte // of the ACK
	err  error
}

// awaitACK begins to send the 2xx that tx has just sent again.
func (l *Leg) awaitACK(tx *serverTx, cseq uint32) *answer {
	a := &answer{
		leg: l, tx: tx, flow: tx.flow, cseq: cseq, response: tx.last, interval: t1, done: make(chan struct{}),
	}
	a.retry.fire, a.limit.fire = a.resend, a.expired
	l.answer = a
	l.sh.after(&a.retry, t1)
	l.sh.after(&a.limit, timeout)
	return a
}

func (a *answer) resend() {
	a.leg.sh.stack.stats.retransmitted.Add(1)
	if err := a.flow.send(a.response); err != nil {
		a.leg.sh.unsent(a.flow, err)
	}
	a.interval = min(2*a.interval, t2)
	a.leg.sh.wheel.again(&a.retry, a.interval)
}

// expired ends a session that the caller never acknowledged.
func (a *answer) expired() {
	l := a.leg
	a.finish(nil, ErrNoACK)
	if l.state == up {
		l.hangup("", ErrNoACK)
	}
}

// finish ends the wait.
func (a *answer) finish(body []byte, err error) {
	l := a.leg
	if l.answer != a {
		return
	}
	l.answer = nil
	l.sh.wheel.stop(&a.retry)
	l.sh.wheel.stop(&a.limit)
	a.tx.answered()
	a.body, a.err = body, err
	close(a.done)
	if l.bye.waiting {
		l.bye.waiting = false
		l.sendBye()
	}
}

// wait returns the ACK's body.
func (a *answer) wait(ctx context.Context) ([]byte, error) {
	select {
	case <-a.done:
		return a.body, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// sentACK is the ACK of a 2xx, kept for when that comes again.
type sentACK struct {
	cseq uint32
	flow flow
	data []byte
}

// sendACK acknowledges the 2xx to our INVITE of that sequence number.
func (l *Leg) sendACK(cseq uint32, contentType string, body []byte) {
	d := l.ack(cseq, contentType, body)
	f := l.way(d)
	l.offers.ack = sentACK{cseq, f, d.render(l.sh.stack, f, newBranch())}
	l.repeatACK(cseq)
}

// repeatACK sends the ACK again; nothing where the owner has yet to make it.
func (l *Leg) repeatACK(cseq uint32) {
	a := l.offers.ack
	if a.cseq != cseq || a.data == nil {
		return
	}
	if err := a.flow.send(a.data); err != nil {
		l.sh.unsent(a.flow, err)
	}
}

// ack takes an ACK: of a final answer by its transaction, of a 2xx by its
// dialog, whatever branch it has. What fits nothing gets silence.
func (sh *shard) ack(m *message) {
	if tx := sh.servers[serverKey(m.req, gosip.INVITE)]; tx != nil && tx.state != accepted {
		tx.acknowledge()
		return
	}
	tag := tagOf(m.req.To())
	if l := sh.legs[tag]; l != nil && l.owns(m.req) {
		if a := l.answer; a != nil && a.cseq == sequence(m.req) {
			a.finish(m.req.Body(), nil)
		}
		return
	}
	key := mergeKeyOf(m.req)
	key.method = gosip.INVITE
	if tx := sh.merging[key]; tx != nil && tx.head.tag == tag { // an ACK of a refusal with a branch of its own
		tx.acknowledge()
	}
}
