package sip

import (
	"context"
	"errors"
	"slices"

	gosip "github.com/emiago/sipgo/sip"
)

// requestQueue is how many requests of the other side may wait for the owner.
const requestQueue = 16

// Leg is one INVITE session, with either side, from its beginning to its end.
// It is safe for concurrent use.
type Leg struct {
	legName
	sh       *shard
	requests chan *Request
	done     chan struct{}
	session  // guarded by sh.mu
}

// legName never changes.
type legName struct {
	id     string // our call id
	callID string
	peer   Peer
}

type legState uint8

const (
	early legState = iota // the INVITE has no 2xx yet
	up                    // it has
	over
)

// session is the state of a leg.
type session struct {
	dialog
	state  legState
	err    error                   // why it is over
	cancel context.CancelCauseFunc // of the context of an incoming call
	unwind func(cause error)       // ends the INVITE of a leg that is early

	answer  *answer // our 2xx that waits for its ACK
	bye     farewell
	offers  offers
	open    map[*Request]struct{} // requests of theirs without a final answer
	refers  referrals
	refresh sessionTimer

	reliable *reliable // provisionals of an incoming leg
}

// farewell is our BYE.
type farewell struct {
	sent    bool
	waiting bool // for the ACK of our 2xx (RFC 3261 section 15)
	reason  string
	done    chan struct{} // closed once it is answered, or never will be
}

func newLeg(sh *shard, name legName) *Leg {
	l := &Leg{legName: name, sh: sh, requests: make(chan *Request, requestQueue), done: make(chan struct{})}
	l.bye.done = make(chan struct{})
	return l
}

// ID is our id of the call the leg is part of.
func (l *Leg) ID() string { return l.id }

// CallID is the Call-ID header of the leg.
func (l *Leg) CallID() string { return l.callID }

// Peer is who is at the other end.
func (l *Leg) Peer() Peer { return l.peer }

// Requests gives the other side's requests within the dialog, in order: INVITE,
// UPDATE, INFO, REFER, MESSAGE, and NOTIFY that is not of our own REFER. Each
// wants exactly one Respond; one that stays unanswered is answered 500 after a
// while, or 487 when the session ends. It is never closed: select on Done too.
func (l *Leg) Requests() <-chan *Request { return l.requests }

// Done is closed when the session is over.
func (l *Leg) Done() <-chan struct{} { return l.done }

// Err tells why the session is over: ErrHangup, ErrCanceled, ErrNoACK,
// ErrExpired, ErrShutdown, or ErrEnded where we ended it or the INVITE was
// refused. It is nil before Done is closed.
func (l *Leg) Err() error {
	l.sh.mu.Lock()
	defer l.sh.mu.Unlock()
	return l.err
}

// owns reports whether req is of this dialog.
func (l *Leg) owns(req *gosip.Request) bool {
	id := req.CallID()
	return id != nil && string(*id) == l.callID && l.remoteTag != "" && tagOf(req.From()) == l.remoteTag
}

// request takes a request within the dialog.
func (l *Leg) request(m *message, key txKey) {
	tx := l.sh.newServerTx(m, key, "", l.id)
	if seq := sequence(m.req); seq < l.remoteSeq { // section 12.2.2
		tx.respond(response{code: 500, reason: "Server Internal Error", headers: []Header{{"Warning", `399 frontdesk "CSeq out of order"`}}})
		return
	}
	l.remoteSeq = sequence(m.req)
	if m.flow.reliable() {
		l.flow = m.flow // the connection that lives
	}
	if l.state == over && m.req.Method != gosip.BYE && m.req.Method != gosip.NOTIFY {
		tx.respond(response{code: 481, reason: "Call/Transaction Does Not Exist"})
		return
	}
	switch m.req.Method {
	case gosip.BYE:
		l.hungUp(tx)
	case gosip.PRACK:
		l.prack(tx, m)
	case gosip.OPTIONS:
		tx.respond(response{code: 200, reason: "OK", contact: l.contact, headers: capabilities()})
	case gosip.INVITE:
		l.reinvited(tx, m)
	case gosip.UPDATE:
		l.updated(tx, m)
	case gosip.NOTIFY:
		l.notified(tx, m)
	case gosip.REFER:
		l.refers.theirs++
		l.offer(newRequest(l, tx, m))
	case gosip.INFO, gosip.MESSAGE:
		l.offer(newRequest(l, tx, m))
	default:
		tx.respond(response{code: 405, reason: "Method Not Allowed", headers: []Header{{"Allow", allow}}})
	}
}

// offer gives r to the owner, or answers for an owner that does not read.
func (l *Leg) offer(r *Request) {
	select {
	case l.requests <- r:
		if l.open == nil {
			l.open = map[*Request]struct{}{}
		}
		l.open[r] = struct{}{}
		r.guard.fire = func() { r.finish(response{code: 500, reason: "Server Internal Error"}) }
		l.sh.after(&r.guard, ownerPatience)
	default:
		l.offers.drop(r)
		r.tx.respond(response{code: 500, reason: "Server Internal Error", headers: []Header{retryAfter(5)}})
	}
}

// end marks the session over: the owner learns of it, and what the other side
// still waits for is answered. The dialog may live on for a while; see forget.
func (l *Leg) end(cause error) {
	if l.state == over {
		return
	}
	l.state, l.err = over, cause
	for r := range l.open {
		r.finish(response{code: 487, reason: "Request Terminated"}) // section 15.1.2
	}
	l.sh.wheel.stop(&l.refresh.timer)
	close(l.done)
	if l.cancel != nil && !errors.Is(cause, ErrEnded) {
		l.cancel(cause)
	}
}

// forget lets go of the dialog.
func (l *Leg) forget() {
	l.sh.wheel.stop(&l.refers.linger)
	if l.sh.legs[l.localTag] == l {
		delete(l.sh.legs, l.localTag)
	}
	select {
	case <-l.bye.done:
	default:
		close(l.bye.done)
	}
}

// hangup ends the session from our side, whatever state it is in.
func (l *Leg) hangup(reason string, cause error) {
	switch {
	case l.state == early:
		l.unwind(cause)
	case l.state == up:
		l.end(cause)
		l.bye.reason = reason
		if l.answer != nil {
			l.bye.waiting = true // no BYE before the ACK (section 15)
			return
		}
		l.sendBye()
	}
}

// Do sends a request within the dialog and waits for its final answer. A 2xx to
// an INVITE is acknowledged, with the body that m.ACK makes of it. A digest
// challenge is answered once, with the credentials of the leg's peer. Other
// answers, 491 too, are the caller's. When ctx ends first an INVITE is
// cancelled.
func (l *Leg) Do(ctx context.Context, m Message) (*Response, error) {
	if gosip.RequestMethod(m.Method) == gosip.INVITE {
		return l.reinvite(ctx, m)
	}
	got, _, err := l.exchange(ctx, m)
	if err != nil {
		return nil, err
	}
	return newResponse(got.res), nil
}

// exchange sends m and waits for its final answer; it tells the sequence
// number that got it.
func (l *Leg) exchange(ctx context.Context, m Message) (*message, uint32, error) {
	type outcome struct {
		got *message
		seq uint32
	}
	answers := make(chan outcome, 1)
	l.sh.mu.Lock()
	if l.state == over || l.remoteTag == "" {
		l.sh.mu.Unlock()
		return nil, 0, ErrEnded
	}
	l.sendMessage(m, func(got *message, seq uint32) { answers <- outcome{got, seq} })
	l.sh.mu.Unlock()
	select {
	case o := <-answers:
		if o.got == nil {
			return nil, o.seq, ErrTransaction
		}
		return o.got, o.seq, nil
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

// sendMessage sends m, once more if it is challenged, and calls done with its
// final answer, nil if there was none, and the sequence number that got it.
func (l *Leg) sendMessage(m Message, done func(*message, uint32)) {
	method := gosip.RequestMethod(m.Method)
	d := l.draft(method)
	d.headers = slices.Concat(d.headers, m.Headers)
	d.contentType, d.body = m.ContentType, m.Body
	if d.contentType == "" {
		d.contentType = sdpType(m.Body)
	}
	release := l.offers.ours(method, m.Body)
	l.sendDraft(d, &tried{}, func(got *message, seq uint32) {
		release()
		done(got, seq)
	})
}

func (l *Leg) sendDraft(d *draft, try *tried, done func(*message, uint32)) *clientTx {
	settled := false
	return l.sh.newClientTx(d, l.way(d), newBranch(), func(got *message) {
		switch {
		case got != nil && got.res.StatusCode < 200:
			return
		case settled: // a 2xx to INVITE once more
			l.repeatACK(d.cseq)
			return
		}
		settled = true
		if auth, ok := try.answer(l.credentials, d, got); ok {
			again := *d
			again.headers = withAuth(d.headers, auth)
			l.localSeq++
			again.cseq = l.localSeq
			l.sendDraft(&again, try, done)
			return
		}
		done(got, d.cseq)
	})
}
