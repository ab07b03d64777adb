package sip

import (
	"context"

	gosip "github.com/emiago/sipgo/sip"
)

// reinvite sends an INVITE within the dialog. It belongs to the caller of Do
// until its final answer, and to the shard after that: where the caller has
// gone, a 2xx is acknowledged without a body, for a 2xx without an ACK ends the
// session.
func (l *Leg) reinvite(ctx context.Context, m Message) (*Response, error) {
	r := &reinvite{leg: l, answer: make(chan *message, 1)}
	l.sh.mu.Lock()
	switch {
	case l.state != up:
		l.sh.mu.Unlock()
		return nil, ErrEnded
	case l.offers.pending().code != 0: // as the other side would tell us
		l.sh.mu.Unlock()
		return &Response{Code: 491, Reason: "Request Pending", MadeUp: true}, nil
	}
	r.send(m)
	l.sh.mu.Unlock()
	select {
	case got := <-r.answer:
		return r.acknowledge(m, got)
	case <-ctx.Done():
		r.abandon()
		return nil, context.Cause(ctx)
	}
}

// reinvite is an INVITE of ours within a dialog.
type reinvite struct {
	leg    *Leg
	answer chan *message

	// Under the shard's lock.
	tx        *clientTx
	seq       uint32
	rung      bool
	abandoned bool
	acked     bool
}

func (r *reinvite) send(m Message) {
	l := r.leg
	d := l.draft(gosip.INVITE)
	d.headers = append(d.headers, m.Headers...)
	d.contentType, d.body = m.ContentType, m.Body
	if d.contentType == "" {
		d.contentType = sdpType(m.Body)
	}
	release := l.offers.ours(gosip.INVITE, m.Body)
	r.transmit(d, &tried{}, release)
}

func (r *reinvite) transmit(d *draft, try *tried, release func()) {
	l := r.leg
	r.seq = d.cseq
	settled := false
	r.tx = l.sh.newClientTx(d, l.way(d), newBranch(), func(got *message) {
		switch {
		case got != nil && got.res.StatusCode < 200:
			r.rung = true
			r.cancel()
			return
		case settled:
			l.repeatACK(d.cseq)
			return
		}
		settled = true
		if auth, ok := try.answer(l.credentials, d, got); ok && !r.abandoned {
			again := *d
			again.headers = withAuth(d.headers, auth)
			l.localSeq++
			again.cseq = l.localSeq
			r.transmit(&again, try, release)
			return
		}
		release()
		r.final(got)
	})
}

// final takes the final answer.
func (r *reinvite) final(got *message) {
	if got != nil && got.res.StatusCode/100 == 2 {
		r.leg.retarget(got.res.Headers())
		r.leg.agreed(got.res)
		if r.abandoned {
			r.acked = true
			r.leg.sendACK(r.seq, "", nil)
		}
	}
	r.answer <- got
}

// acknowledge sends the ACK of a 2xx with the body that the caller makes of it.
func (r *reinvite) acknowledge(m Message, got *message) (*Response, error) {
	if got == nil {
		return nil, ErrTransaction
	}
	res := newResponse(got.res)
	if res.Code/100 != 2 {
		return res, nil
	}
	var body []byte
	if m.ACK != nil {
		body = m.ACK(res)
	}
	r.leg.sh.mu.Lock()
	defer r.leg.sh.mu.Unlock()
	r.acked = true
	r.leg.offers.sent(body)
	r.leg.sendACK(r.seq, sdpType(body), body)
	return res, nil
}

// abandon gives the INVITE up: its caller has gone.
func (r *reinvite) abandon() {
	r.leg.sh.mu.Lock()
	defer r.leg.sh.mu.Unlock()
	r.abandoned = true
	select {
	case got := <-r.answer: // it came at the same moment
		if got != nil && got.res.StatusCode/100 == 2 && !r.acked {
			r.leg.sendACK(r.seq, "", nil)
		}
	default:
		r.cancel()
	}
}

// cancel sends CANCEL once it is wanted and allowed.
func (r *reinvite) cancel() {
	if r.abandoned && r.rung && !r.tx.canceled && r.tx.state == ringing {
		r.tx.cancel("")
	}
}
