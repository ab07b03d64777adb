package sip

import (
	gosip "github.com/emiago/sipgo/sip"
)

// offers keeps the two sides' offers from crossing (RFC 3261 section 14, RFC
// 3311 section 5.2).
type offers struct {
	invite, update int      // of ours, without a final answer
	theirs         *Request // an INVITE of theirs without a final answer
	theirsUpdate   *Request // an UPDATE with an offer, likewise
	sdp            []byte   // the session description we sent last
	ack            sentACK  // of the last 2xx to an INVITE of ours
}

// ours notes a request of ours; the function it returns notes its end.
func (o *offers) ours(method gosip.RequestMethod, body []byte) (release func()) {
	switch {
	case method == gosip.INVITE:
		o.invite++
		o.sent(body)
		return func() { o.invite-- }
	case method == gosip.UPDATE && len(body) > 0:
		o.update++
		o.sent(body)
		return func() { o.update-- }
	}
	return func() {}
}

func (o *offers) sent(body []byte) {
	if len(body) > 0 {
		o.sdp = body
	}
}

// drop notes that r has its final answer.
func (o *offers) drop(r *Request) {
	if o.theirs == r {
		o.theirs = nil
	}
	if o.theirsUpdate == r {
		o.theirsUpdate = nil
	}
}

// pending is the answer to an offer of theirs that cannot be taken now, code 0
// where it can.
func (o *offers) pending() response {
	switch {
	case o.invite > 0 || o.update > 0:
		return response{code: 491, reason: "Request Pending"}
	case o.theirs != nil || o.theirsUpdate != nil:
		return response{code: 500, reason: "Server Internal Error", headers: []Header{retryAfter(3)}}
	}
	return response{}
}

// reinvited takes an INVITE within the dialog.
func (l *Leg) reinvited(tx *serverTx, m *message) {
	refusal := l.offers.pending()
	switch {
	case l.state == early && refusal.code == 0, l.answer != nil: // our own final answer, or its ACK, is still to come
		refusal = response{code: 500, reason: "Server Internal Error", headers: []Header{retryAfter(3)}}
	case refusal.code == 0:
		refusal = tooShort(m.req)
	}
	if refusal.code != 0 {
		tx.respond(refusal)
		return
	}
	tx.respond(response{code: 100, reason: "Trying"})
	l.retarget(m.req.Headers())
	r := newRequest(l, tx, m)
	l.offers.theirs = r
	tx.canceled = func() { r.finish(response{code: 487, reason: "Request Terminated"}) }
	l.offer(r)
}

// updated takes an UPDATE. Without an offer it can come at any time.
func (l *Leg) updated(tx *serverTx, m *message) {
	r := newRequest(l, tx, m)
	refusal := tooShort(m.req)
	if len(r.Body) > 0 && refusal.code == 0 {
		refusal = l.offers.pending()
		if refusal.code == 0 && l.state == early { // the offer of their INVITE comes first
			refusal = response{code: 500, reason: "Server Internal Error", headers: []Header{retryAfter(3)}}
		}
	}
	if refusal.code != 0 {
		tx.respond(refusal)
		return
	}
	l.retarget(m.req.Headers())
	if len(r.Body) > 0 {
		l.offers.theirsUpdate = r
	}
	l.offer(r)
}
