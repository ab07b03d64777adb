package b2bua

import (
	"context"
	"errors"
	"sync"
	"time"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// meeting is a bridged call while it is talked over: the client, on a trunk's
// side, and whoever of the PBX is on the line with them. The PBX may hand the
// client on; it lasts until somebody hangs up.
type meeting struct {
	*conversation
	client, desk side
	joint        *secondLeg        // the leg whose relay joins the two
	refers       chan *sip.Request // of the desk, for the call's own goroutine
	idle         func()            // ends what answers the requests of both
	waiting      bool              // the desk is gone, and somebody else is being called
	talks        []*talk
	leaving      sync.WaitGroup // legs that are seen off, beside the talk
}

// talk is one conversation of the client with somebody at the PBX.
type talk struct {
	call.Talk
	tape *tape
}

// meet joins the caller with the leg that answered, and writes down who talked.
// The call's own leg may leave before the others do, hence its context says
// nothing here.
func (c *conversation) meet(ctx context.Context, leg *secondLeg) {
	began := time.Now()
	m := &meeting{conversation: c, joint: leg, refers: make(chan *sip.Request)}
	m.client, m.desk = c.callerSide(), leg.side()
	m.desk.ext = leg.place.ext
	if c.invite.Peer.PBX {
		m.client, m.desk = m.desk, m.client
		m.client.ext, m.desk.ext = "", call.Extension(c.facts.Caller)
	}
	m.desk.refers = m.refers
	endedBy := m.run(context.WithoutCancel(ctx))
	for _, t := range m.talks {
		t.Recording = t.tape.kept()
		c.record.talked(t.Talk)
	}
	c.log.Info("talk over", "target", leg.place.ext, "seconds", time.Since(began).Seconds(), "ended_by", endedBy)
}

// run lasts to the end of the call, and says who ended it.
func (m *meeting) run(ctx context.Context) (endedBy string) {
	ctx, cancel := context.WithCancel(ctx)
	defer m.leaving.Wait()
	defer cancel()
	for {
		m.begin(ctx)
		next, endedBy := m.talk(ctx)
		m.idle()
		m.finish()
		if next == nil {
			m.free(m.client)
			m.free(m.desk)
			return endedBy
		}
		m.change(ctx, next)
	}
}

// begin has the two talk.
func (m *meeting) begin(ctx context.Context) {
	m.idle = m.forwarding(ctx)
	if m.desk.ext == "" { // somebody outside
		return
	}
	m.answered()
	t := &talk{Talk: call.Talk{Extension: m.desk.ext, Employee: m.employeeAt(m.desk.ext), From: time.Now()}}
	var before *tape
	if n := len(m.talks); n > 0 {
		before = m.talks[n-1].tape
	}
	t.tape = m.tape(ctx, m.client.session, m.desk.session, before)
	m.talks = append(m.talks, t)
}

// answered tells the observer who talks with a trunk's caller.
func (m *meeting) answered() {
	if o := m.agent.Observer; o != nil && !m.invite.Peer.PBX {
		o.Answered(m.in.ID(), m.desk.ext)
	}
}

// finish ends the talk, where it has not ended before.
func (m *meeting) finish() {
	if n := len(m.talks); n > 0 && m.talks[n-1].Until.IsZero() {
		m.talks[n-1].Until = time.Now()
		m.talks[n-1].tape.end()
	}
}

// forwarding passes the requests of each on to the other until stop is called.
func (m *meeting) forwarding(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	client, desk := m.client, m.desk
	var both sync.WaitGroup
	both.Go(func() { m.forward(ctx, client, desk) })
	both.Go(func() { m.forward(ctx, desk, client) })
	return func() {
		cancel()
		both.Wait()
	}
}

// talk relays until somebody hangs up, and says who, or until the client has
// been handed on to a leg that has answered.
func (m *meeting) talk(ctx context.Context) (next *handover, endedBy string) {
	for {
		select {
		case <-m.client.leg.Done():
			m.hangUp(ctx, m.desk.leg, goneText(m.client.leg))
			return nil, m.client.name
		case <-m.desk.leg.Done():
			m.hangUp(ctx, m.client.leg, "")
			return nil, m.desk.name
		case err := <-m.joint.relayed:
			m.record.note("media: " + err.Error())
			m.hangUp(ctx, m.desk.leg, "")
			m.hangUp(ctx, m.client.leg, "")
			return nil, bySilence
		case r := <-m.refers:
			if next, endedBy = m.refer(ctx, r); next != nil || endedBy != "" {
				return next, endedBy
			}
		}
	}
}

// bySilence names what ended a call whose media stayed away.
const bySilence = "silence"

// goneText is why a leg is over.
func goneText(l *sip.Leg) string {
	if err := l.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// free lets go of a side's media. That of the caller's own leg is kept to the
// call's end.
func (m *meeting) free(s side) {
	if s.placed != nil {
		m.release(s.placed)
	}
}

// change puts the leg that has answered in the place of the desk, who is seen
// off beside the talk.
func (m *meeting) change(ctx context.Context, next *handover) {
	old, leg := m.desk, next.leg
	m.joint.stop()
	m.relay(ctx, leg, m.client.session)
	m.joint, m.desk, m.waiting = leg, leg.side(), false
	if leg.place.inside {
		m.desk.ext, m.desk.refers = leg.place.ext, m.refers
	}
	next.referral.Report(200)
	m.leaving.Go(func() {
		m.seeOff(ctx, old, next.referral)
		m.free(old)
	})
	if m.client.session.Media().Held() {
		m.leaving.Go(func() { m.resume(ctx) })
	}
}

// seeOff ends a leg whose REFER was followed, once it knows.
func (m *meeting) seeOff(ctx context.Context, s side, f *sip.Referral) {
	patience := time.NewTimer(goodbye)
	defer patience.Stop()
	select {
	case <-f.Told():
	case <-s.leg.Done():
	case <-patience.C:
	}
	m.hangUp(ctx, s.leg, "")
}

// A client who is on hold must be taken off it by us: whoever put them there is
// gone.
const (
	resumeTries = 4
	resumePause = 2500 * time.Millisecond // after a 491 (RFC 3261 section 14.1)
	resumeLimit = 10 * time.Second        // for an answer
)

func (m *meeting) resume(ctx context.Context) {
	for range resumeTries {
		again, err := m.offerClient(ctx)
		if !again {
			if err != nil && ctx.Err() == nil && m.client.leg.Err() == nil {
				m.record.note("not taken off hold: " + err.Error())
				m.log.Warn("the client is not taken off hold", "error", err)
			}
			return
		}
		select {
		case <-time.After(resumePause):
		case <-m.client.leg.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	m.log.Warn("the client is not taken off hold", "error", &statusError{491})
}

// offerClient offers the client to talk both ways; again tells that our offer
// has crossed another.
func (m *meeting) offerClient(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, resumeLimit, errNoAnswer)
	defer cancel()
	s := m.client.session
	res, err := m.client.leg.Do(ctx, sip.Message{Method: "INVITE", Body: sdp.OfferAgreed(s.Describe(), s.Media())})
	switch {
	case err != nil:
		return false, err
	case res.Code == 491:
		return true, nil
	case res.Code/100 != 2:
		return false, &statusError{res.Code}
	}
	answer, err := sdp.ParseAnswer(res.Body)
	if err != nil {
		return false, err
	}
	agreed, err := sdp.Accept(answer)
	if err != nil {
		return false, err
	}
	return false, s.Start(agreed, m.client.options)
}

var errNoDescription = errors.New("answered without a description")

// ready takes the description of a leg that has answered into use, so that it
// can be joined.
func (l *secondLeg) ready() error {
	if len(l.answer) == 0 {
		return errNoDescription
	}
	answer, err := sdp.ParseAnswer(l.answer)
	if err != nil {
		return err
	}
	return l.start(answer)
}

// waits is a leg's way while the two talk on: what it says before it answers is
// only reported.
func waits(client *media.Session, f *sip.Referral) way {
	return way{client: client, heard: func(_ context.Context, leg *secondLeg, res *sip.Response) {
		if hasDescription(res) {
			leg.answer = res.Body
		}
		f.Report(res.Code)
	}}
}
