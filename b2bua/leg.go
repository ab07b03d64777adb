package b2bua

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// way is how a leg is placed.
type way struct {
	headers []sip.Header   // besides the usual ones
	nodes   []string       // of the PBX, in order; nil: those of the settings
	client  *media.Session // whose codec is offered; nil: the caller's

	// What is done while it is waited for: requests of the caller are attended,
	// provisional answers passed on.
	requests <-chan *sip.Request
	heard    func(context.Context, *secondLeg, *sip.Response)
}

// usual is the way while the caller waits for somebody to answer.
func (c *conversation) usual() way {
	return way{requests: c.in.Requests(), heard: c.progress}
}

// secondLeg is a leg that we placed, towards the PBX or a carrier, with its
// media and the relay that joins it to the other side's.
type secondLeg struct {
	place   place
	out     *sip.Outgoing
	session *media.Session
	answer  []byte // the description of its 200; empty where an earlier response took its media into use
	index   int    // in the record

	relayed chan error // why the relay ended, if not by stop
	stop    func()     // ends relay and ringback and waits for them; never nil
}

// release frees what a leg holds, once it is over.
func (c *conversation) release(l *secondLeg) {
	l.stop()
	if err := l.session.Close(); err != nil {
		c.log.Warn("cannot close media", "error", err)
	}
}

// attempt places one call and waits for its final word. The caller hears what
// the other side sends before the answer: its ringing, its early media.
func (c *conversation) attempt(ctx context.Context, p place) (*secondLeg, *sip.Response) {
	leg, err := c.dial(ctx, p)
	if err != nil {
		c.log.Warn("cannot call", "target", p.uri, "error", err)
		code := 503
		if errors.Is(err, sip.ErrTooManyHops) {
			code = 483
		}
		return nil, &sip.Response{Code: code}
	}
	res := c.await(ctx, leg)
	c.record.legCode(leg.index, res.Code)
	if res.Code/100 == 2 {
		if len(res.Body) > 0 {
			leg.answer = res.Body
		}
		return leg, res
	}
	c.release(leg)
	return nil, res
}

func (c *conversation) dial(ctx context.Context, p place) (*secondLeg, error) {
	session, err := c.agent.Media.Open()
	if err != nil {
		return nil, err
	}
	leg := &secondLeg{place: p, session: session, relayed: make(chan error, 1), stop: func() {}}
	offer, err := c.offerTo(session.Describe(), p.client)
	if err == nil {
		leg.out, err = c.agent.stack.Dial(ctx, c.dialling(p, offer))
	}
	if err != nil {
		c.release(leg)
		return nil, err
	}
	leg.index = c.record.leg(p.peer, leg.out.CallID(), p.uri)
	return leg, nil
}

// offerTo is what the second leg is offered: the codec already agreed with the
// client, or the caller's own offer with our address, or, where the caller
// made none, what we can play.
func (c *conversation) offerTo(local sdp.Local, client *media.Session) ([]byte, error) {
	switch {
	case client != nil:
		return sdp.OfferAgreed(local, client.Media()), nil
	case c.voice.agreed:
		return sdp.OfferAgreed(local, c.voice.session.Media()), nil
	case len(c.invite.SDP) > 0:
		return sdp.Rewrite(c.invite.SDP, local)
	default:
		return sdp.Offer(local, c.set.Codecs), nil
	}
}

// dialling is the INVITE of a second leg. The PBX learns the caller's number
// from From and P-Asserted-Identity, the name from the CRM where it knows one.
func (c *conversation) dialling(p place, offer []byte) sip.Dial {
	from, asserted, privacy := c.identity(p)
	to := sip.Address{User: string(p.ext), Host: hostPort(p.uri)}
	d := sip.Dial{
		Call: c.in.ID(), Target: p.uri, Caller: sip.Caller{From: from, To: &to, Asserted: asserted},
		MaxForwards: hopsLeft(c.invite.MaxForwards), Headers: p.headers, Body: offer, Credentials: p.credentials,
	}
	if privacy {
		d.Headers = append(slices.Clip(d.Headers), sip.Header{Name: "Privacy", Value: "id"})
	}
	return d
}

// hopsLeft is the second leg's Max-Forwards (RFC 7332): one less, and negative,
// which refuses to go on, where nothing is left.
func hopsLeft(n int) int {
	if n <= 1 {
		return -1
	}
	return n - 1
}

// identity is who a leg is told that it is called by: the client, where it
// leads to the PBX. A carrier is given the extension, as the PBX gave it, or,
// since it takes no numbers but ours, the one that the client called.
func (c *conversation) identity(p place) (from sip.Address, asserted *sip.Address, private bool) {
	fromPBX := c.invite.Peer.PBX
	switch {
	case !p.inside && fromPBX:
		return sip.Address{Display: c.invite.From.Display, User: c.invite.From.User}, nil, false
	case !p.inside:
		return sip.Address{User: string(c.facts.DID)}, nil, false
	case fromPBX:
		from = sip.Address{User: string(c.facts.DID)}
		return from, &from, false
	case c.facts.Anonymous:
		return sip.Address{Display: "Anonymous", User: "anonymous", Host: "anonymous.invalid"}, nil, true
	}
	name := c.facts.CallerName
	if e := c.decision.Entity; e != nil && e.Name != "" {
		name = e.Name
	}
	from = sip.Address{Display: name, User: string(c.facts.Caller)}
	return from, &sip.Address{Display: name, User: string(c.facts.Caller)}, false
}

// await follows one INVITE to its final response. Silence of the node for the
// failover time counts as 408, the end of ctx (hung up, or nobody answered) as
// 487 or 480.
func (c *conversation) await(ctx context.Context, leg *secondLeg) *sip.Response {
	silence := time.NewTimer(c.set.PBX.Failover)
	defer silence.Stop()
	heard := leg.out.Heard()
	for {
		select {
		case <-heard:
			silence.Stop()
			heard = nil
		case res, ok := <-leg.out.Responses():
			silence.Stop()
			switch {
			case !ok:
				return &sip.Response{Code: 503}
			case res.Code >= 200:
				return res
			}
			leg.place.heard(ctx, leg, res)
		case <-silence.C:
			c.giveUp(leg, "")
			return &sip.Response{Code: 408}
		case r := <-leg.place.requests:
			c.attend(r)
		case <-ctx.Done():
			c.giveUp(leg, causeText(ctx))
			return &sip.Response{Code: 480}
		}
	}
}

// giveUp ends a call that is not wanted any more. Nobody waits for it: a node
// that is silent would hold the next attempt, and the signalling sees to the
// end of the transaction whatever happens.
func (c *conversation) giveUp(leg *secondLeg, reason string) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := leg.out.Cancel(now, reason); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Debug("cancelling", "target", leg.place.uri, "error", err)
	}
}

// progress passes a provisional response on while the caller is unanswered.
func (c *conversation) progress(ctx context.Context, leg *secondLeg, res *sip.Response) {
	if hasDescription(res) {
		if err := c.early(ctx, leg, res); err == nil {
			return
		} else {
			c.log.Warn("early media not passed on", "error", err)
		}
	}
	c.ringback(ctx, leg)
	if c.voice.answered {
		return
	}
	if err := c.in.Progress(res.Code, nil); err != nil {
		c.log.Debug("provisional not passed on", "code", res.Code, "error", err)
	}
}

func hasDescription(res *sip.Response) bool {
	return len(res.Body) > 0 && strings.HasPrefix(strings.ToLower(res.ContentType), sdpType)
}

// early lets the caller hear the second leg before it answers.
func (c *conversation) early(ctx context.Context, leg *secondLeg, res *sip.Response) error {
	if err := c.couple(ctx, leg, res.Body); err != nil {
		return err
	}
	if c.voice.answered {
		return nil
	}
	return c.in.Progress(res.Code, c.voice.body)
}

// couple takes the second leg's description and joins both legs' media.
func (c *conversation) couple(ctx context.Context, leg *secondLeg, body []byte) error {
	answer, err := sdp.ParseAnswer(body)
	if err != nil {
		return err
	}
	if err := c.tellCaller(answer, body); err != nil {
		return err
	}
	if err := leg.start(answer); err != nil {
		return err
	}
	if c.voice.agreed {
		c.relay(ctx, leg, c.voice.session)
	}
	return nil
}

// start takes the answer to our offer into use.
func (l *secondLeg) start(answer *sdp.Session) error {
	m, err := sdp.Accept(answer)
	if err != nil {
		return err
	}
	return l.session.Start(m, media.Options{})
}

// hears reports whether the leg's media is in use.
func (l *secondLeg) hears() bool { return l.session.Media().Addr.IsValid() }

// tellCaller makes the second leg's answer the caller's, where the caller has
// none yet.
func (c *conversation) tellCaller(answer *sdp.Session, body []byte) error {
	if c.voice.agreed || len(c.invite.SDP) == 0 {
		return nil
	}
	offer, err := sdp.ParseOffer(c.invite.SDP)
	if err != nil {
		return err
	}
	m, err := sdp.Agree(offer, answer)
	if err != nil {
		return err
	}
	if err := c.openVoice(); err != nil {
		return err
	}
	if c.voice.body, err = sdp.Rewrite(body, c.voice.session.Describe()); err != nil {
		return err
	}
	return c.startVoice(m)
}

// answerFor answers the caller since the second leg was answered.
func (c *conversation) answerFor(ctx context.Context, leg *secondLeg) error {
	late := len(c.invite.SDP) == 0 && !c.voice.answered
	if late {
		if err := c.answerLate(ctx); err != nil {
			return err
		}
	}
	if err := c.coupleFinal(ctx, leg); err != nil {
		return fmt.Errorf("joining the media: %w", err)
	}
	return c.answer(ctx)
}

// coupleFinal uses the description of the 200, or the one of the 183 where the
// 200 carries none.
func (c *conversation) coupleFinal(ctx context.Context, leg *secondLeg) error {
	if len(leg.answer) > 0 {
		return c.couple(ctx, leg, leg.answer)
	}
	if !leg.hears() {
		return sdp.ErrNoAudio
	}
	return nil
}

// relay joins the leg with the other side until leg.stop.
func (c *conversation) relay(ctx context.Context, leg *secondLeg, with *media.Session) {
	leg.beside(ctx, func(ctx context.Context) {
		if err := c.agent.Media.Relay(ctx, with, leg.session); err != nil && ctx.Err() == nil {
			leg.relayed <- err
		}
	})
}

// beside runs what the leg does with the caller's media, instead of what it
// did before, until stop.
func (l *secondLeg) beside(ctx context.Context, run func(context.Context)) {
	l.stop()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	l.stop = func() { cancel(); <-done }
}

// ringback lets a caller who already hears us hear the ringing too, until the
// second leg sounds itself.
func (c *conversation) ringback(ctx context.Context, leg *secondLeg) {
	if c.voice.agreed && !leg.hears() {
		c.ring(ctx, leg, c.voice.session)
	}
}

// ring has one of a leg's sides hear ringing, in place of the other one.
func (c *conversation) ring(ctx context.Context, leg *secondLeg, to *media.Session) {
	leg.beside(ctx, func(ctx context.Context) {
		for ctx.Err() == nil {
			if err := to.Play(ctx, c.agent.ringing); err != nil {
				return
			}
		}
	})
}

// ringbackTone is one ring of a Russian exchange: 425 Hz, one second on, four
// off (ITU-T E.180, supplement 2).
func ringbackTone() *media.Clip {
	pcm := media.Tone(425, time.Second)
	for i := range pcm {
		pcm[i] /= 4
	}
	return media.NewClip(append(pcm, make([]int16, 4*8000)...))
}

// trunkNames is the trunks in a fixed order.
func trunkNames(trunks map[string]Trunk) []string {
	return slices.Sorted(maps.Keys(trunks))
}

// outgoing marks the record as a call of the PBX to a trunk.
func (r *record) outgoing(trunk string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Trunk = trunk
	r.r.Direction = call.Out
}
