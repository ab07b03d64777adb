package b2bua

import (
	"context"
	"errors"
	"fmt"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// side is one leg of a bridged call while it is talked over.
type side struct {
	name    string // for the log
	leg     *sip.Leg
	session *media.Session
	options media.Options
	placed  *secondLeg     // nil: the caller's own leg
	ext     call.Extension // who sits there, on the PBX's side

	refers chan<- *sip.Request // takes the REFERs of who may hand the client on; nil: this one may not
}

func (c *conversation) callerSide() side {
	return side{name: "caller", leg: c.in.Leg, session: c.voice.session, options: media.Options{NAT: c.trunk.NAT}}
}

func (l *secondLeg) side() side {
	return side{name: "callee", leg: l.out.Leg, session: l.session, placed: l}
}

// forward passes the requests of one side to the other until ctx ends. Each
// gets exactly one final answer: the other side's.
func (c *conversation) forward(ctx context.Context, from, to side) {
	for {
		select {
		case r, ok := <-from.leg.Requests():
			if !ok {
				return
			}
			if err := c.pass(ctx, r, from, to); err != nil {
				c.log.Debug("request not passed on", "method", r.Method, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *conversation) pass(ctx context.Context, r *sip.Request, from, to side) error {
	switch r.Method {
	case "INVITE", "UPDATE":
		c.record.note("re-negotiation")
		if len(r.Body) == 0 && r.Method == "INVITE" {
			return c.passLate(ctx, r, from, to)
		}
		return c.passOffer(ctx, r, from, to)
	case "REFER":
		return refer(ctx, r, from)
	case "NOTIFY":
		return r.Respond(481)
	}
	res, err := to.leg.Do(ctx, sip.Message{Method: r.Method, ContentType: r.ContentType, Body: r.Body})
	if err != nil {
		return errors.Join(err, r.Respond(503))
	}
	return r.RespondBody(res.Code, res.ContentType, res.Body)
}

// refer has the call's own goroutine see to a REFER of the PBX. A carrier must
// not choose where a call goes.
func refer(ctx context.Context, r *sip.Request, from side) error {
	if from.refers == nil {
		return r.Respond(403)
	}
	select {
	case from.refers <- r:
		return nil
	case <-ctx.Done(): // handed on, or over
		return r.Respond(491)
	}
}

// passOffer takes one side's new offer to the other and its answer back: hold,
// resume, a moved address, another codec.
func (c *conversation) passOffer(ctx context.Context, r *sip.Request, from, to side) error {
	m := sip.Message{Method: r.Method}
	if len(r.Body) > 0 {
		body, err := sdp.Rewrite(r.Body, to.session.Describe())
		if err != nil {
			return errors.Join(err, r.Respond(488))
		}
		m.ContentType, m.Body = sdpType, body
	}
	res, err := to.leg.Do(ctx, m)
	if err != nil {
		return errors.Join(err, r.Respond(503))
	}
	if res.Code/100 != 2 || len(r.Body) == 0 {
		return r.Respond(res.Code)
	}
	answer, err := settle(r.Body, res.Body, from, to)
	if err != nil {
		return errors.Join(err, r.Respond(488))
	}
	return r.RespondBody(200, sdpType, answer)
}

// passLate takes a re-INVITE without an offer across: the other side's 200
// makes the offer, the asking side's ACK answers it.
func (c *conversation) passLate(ctx context.Context, r *sip.Request, from, to side) error {
	var failed error
	res, err := to.leg.Do(ctx, sip.Message{Method: "INVITE", ACK: func(offer *sip.Response) []byte {
		var answer []byte
		answer, failed = lateAnswer(ctx, r, offer.Body, from, to)
		return answer
	}})
	switch {
	case err != nil:
		return errors.Join(err, r.Respond(503))
	case res.Code/100 != 2:
		return r.Respond(res.Code)
	}
	return failed
}

func lateAnswer(ctx context.Context, r *sip.Request, offer []byte, from, to side) ([]byte, error) {
	body, err := sdp.Rewrite(offer, from.session.Describe())
	if err != nil {
		return nil, errors.Join(err, r.Respond(488))
	}
	if err := r.RespondBody(200, sdpType, body); err != nil {
		return nil, err
	}
	ack, err := r.ACK(ctx)
	if err != nil {
		return nil, err
	}
	return settle(offer, ack, to, from)
}

// settle applies an offer of one side and the other's answer to the media of
// both, and gives the answer in the words of the offering side's leg.
func settle(offerBody, answerBody []byte, offering, answering side) ([]byte, error) {
	offer, err := sdp.ParseOffer(offerBody)
	if err != nil {
		return nil, fmt.Errorf("the offer: %w", err)
	}
	answer, err := sdp.ParseAnswer(answerBody)
	if err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	theirs, err := sdp.Accept(answer)
	if err != nil {
		return nil, err
	}
	ours, err := sdp.Agree(offer, answer)
	if err != nil {
		return nil, err
	}
	body, err := sdp.Rewrite(answerBody, offering.session.Describe())
	if err != nil {
		return nil, err
	}
	if err := answering.session.Start(theirs, answering.options); err != nil {
		return nil, err
	}
	return body, offering.session.Start(ours, offering.options)
}
