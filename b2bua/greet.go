package b2bua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// voice is the caller's media, opened once, for a greeting or a bridge, and
// kept to the call's end.
type voice struct {
	session  *media.Session
	body     []byte // our description as the caller has it, in 183 and 200 alike
	agreed   bool   // the caller has an answer of ours, or we have one of theirs
	answered bool
}

var (
	errBargeIn  = errors.New("the caller dials")
	errNoEarly  = errors.New("an INVITE without an offer can hear nothing before the answer")
	errNoAnswer = errors.New("no answer")
)

const sdpType = "application/sdp"

// greet plays the greeting and returns the digits dialled meanwhile. Whatever
// is missing for it, the call goes on without.
func (c *conversation) greet(ctx context.Context) (digits string) {
	result := func(word string) { c.agent.metrics.greetings.WithLabelValues(word).Inc() }
	clip, err := c.prompt(ctx)
	if err != nil {
		result("no_prompt")
		c.record.note("no greeting: " + err.Error())
		c.log.Warn("no greeting", "error", err)
		return ""
	}
	if err := c.connect(ctx, c.set.Greeting.Answer && c.staysAnswered()); err != nil {
		result("no_media")
		c.record.note("no greeting: " + err.Error())
		c.log.Info("no greeting", "error", err)
		return ""
	}
	c.record.greeted()
	digits = c.listen(ctx, clip)
	switch {
	case ctx.Err() != nil:
		result("abandoned")
	case digits != "":
		result("interrupted")
	default:
		result("played")
	}
	return digits
}

// prompt is the greeting's audio, waited for no longer than the settings say.
func (c *conversation) prompt(ctx context.Context) (*media.Clip, error) {
	g := c.set.Greeting
	if g.Say == nil || c.agent.Prompts == nil || c.decision.Employee == nil {
		return nil, errors.New("nothing to play")
	}
	text, err := g.Say(*c.decision.Employee)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.Wait)
	defer cancel()
	return c.agent.Prompts.Prompt(ctx, text)
}

// staysAnswered reports whether the trunk can do anything with a call once it
// is answered. One that only redirects cannot.
func (c *conversation) staysAnswered() bool {
	for _, t := range c.trunk.Transfer {
		if t == call.TransferRefer || t == call.TransferBridge {
			return true
		}
	}
	return false
}

// connect lets the caller hear us: by early media (183), or by answering.
// A late offer can only be answered (RFC 3264 section 4: our offer in the 200,
// the caller's answer in the ACK).
func (c *conversation) connect(ctx context.Context, answer bool) error {
	switch {
	case c.voice.answered:
		return nil
	case len(c.invite.SDP) == 0 && !answer && !c.staysAnswered():
		return errNoEarly
	case len(c.invite.SDP) == 0:
		return c.answerLate(ctx)
	}
	if err := c.agree(); err != nil {
		return err
	}
	if answer {
		return c.answer(ctx)
	}
	c.record.note("183")
	return c.in.Progress(183, c.voice.body)
}

// agree answers the caller's offer with what frontdesk itself plays.
func (c *conversation) agree() error {
	if c.voice.agreed {
		return nil
	}
	offer, err := sdp.ParseOffer(c.invite.SDP)
	if err != nil {
		return err
	}
	if err := c.openVoice(); err != nil {
		return err
	}
	body, m, err := sdp.Answer(offer, c.voice.session.Describe(), c.set.Codecs)
	if err != nil {
		return err
	}
	c.voice.body = body
	return c.startVoice(m)
}

func (c *conversation) openVoice() error {
	if c.voice.session != nil {
		return nil
	}
	s, err := c.agent.Media.Open()
	if err != nil {
		return err
	}
	c.voice.session = s
	return nil
}

func (c *conversation) startVoice(m sdp.Media) error {
	if err := c.voice.session.Start(m, media.Options{NAT: c.trunk.NAT}); err != nil {
		return err
	}
	c.voice.agreed = true
	return nil
}

// answer sends the 200 with the description the caller already has.
func (c *conversation) answer(ctx context.Context) error {
	if c.voice.answered {
		return nil
	}
	c.voice.answered = true // whatever comes of it, no other final may follow
	c.record.answered()
	_, err := c.in.Answer(ctx, c.voice.body)
	return err
}

// answerLate answers an INVITE without an offer: ours goes in the 200.
func (c *conversation) answerLate(ctx context.Context) error {
	if err := c.openVoice(); err != nil {
		return err
	}
	c.voice.body = sdp.Offer(c.voice.session.Describe(), c.set.Codecs)
	c.voice.answered = true
	c.record.answered()
	ack, err := c.in.Answer(ctx, c.voice.body)
	if err != nil {
		return err
	}
	answer, err := sdp.ParseAnswer(ack)
	if err != nil {
		return fmt.Errorf("the ACK's description: %w", err)
	}
	m, err := sdp.Accept(answer, c.set.Codecs...)
	if err != nil {
		return fmt.Errorf("the ACK's description: %w", err)
	}
	return c.startVoice(m)
}

// listen plays the greeting while it collects digits. The first key stops the
// greeting; the keys dialled before it began count.
func (c *conversation) listen(ctx context.Context, clip *media.Clip) string {
	play, stop := context.WithCancelCause(ctx)
	played := make(chan error, 1)
	go func() { played <- c.voice.session.Play(play, clip) }()
	defer func() {
		stop(errBargeIn)
		if played != nil {
			<-played
		}
	}()

	keys := entry{plan: c.set.Digits, numbers: c.facts.Numbers}
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case key := <-c.voice.session.Digits():
			stop(errBargeIn)
			if keys.add(key) {
				return keys.String()
			}
			pause.Reset(c.set.Digits.Next)
		case err := <-played:
			played = nil
			if len(keys.keys) == 0 {
				pause.Reset(c.set.Digits.First)
			}
			c.log.Debug("greeting over", "error", err)
		case <-pause.C:
			if len(c.voice.session.Digits()) == 0 {
				return keys.String()
			}
			pause.Reset(0) // a key came in the same moment: it counts
		case r := <-c.in.Requests():
			c.attend(r)
		case <-ctx.Done():
			return ""
		}
	}
}

// attend answers an in-dialog request of the caller's while no second leg is
// there to answer it.
func (c *conversation) attend(r *sip.Request) {
	var err error
	switch r.Method {
	case "INFO":
		err = c.attendInfo(r)
	case "INVITE", "UPDATE":
		err = c.attendOffer(r)
	case "REFER": // a trunk must not choose where a call goes
		err = r.Respond(403)
	case "NOTIFY":
		err = r.Respond(481)
	default:
		err = r.Respond(405)
	}
	if err != nil {
		c.log.Debug("cannot answer the caller's request", "method", r.Method, "error", err)
	}
}

func (c *conversation) attendInfo(r *sip.Request) error {
	if len(r.Body) == 0 {
		return r.Respond(200)
	}
	digit, ok := infoDigit(r.ContentType, r.Body)
	if !ok {
		return r.Respond(415, sip.Header{Name: "Accept", Value: "application/dtmf-relay, application/dtmf"})
	}
	if c.voice.session != nil {
		c.voice.session.Inject(digit)
	}
	return r.Respond(200)
}

// attendOffer negotiates anew with a caller who re-INVITEs, to hold or to move
// its media, before anybody else is on the line (RFC 3264 section 8).
func (c *conversation) attendOffer(r *sip.Request) error {
	if !c.voice.agreed {
		return r.Respond(488)
	}
	if len(r.Body) == 0 {
		if r.Method == "UPDATE" { // a session refresh (RFC 4028)
			return r.Respond(200)
		}
		return r.RespondBody(200, sdpType, c.voice.body)
	}
	offer, err := sdp.ParseOffer(r.Body)
	if err != nil {
		return r.Respond(488)
	}
	body, m, err := sdp.Answer(offer, c.voice.session.Describe(), c.set.Codecs)
	if err != nil {
		return r.Respond(488)
	}
	if err := c.startVoice(m); err != nil {
		return r.Respond(500)
	}
	c.voice.body = body
	return r.RespondBody(200, sdpType, body)
}
