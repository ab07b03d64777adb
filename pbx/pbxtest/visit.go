package pbxtest

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// visit is the way of one call through the PBX: from stop to stop, in one SIP
// dialog.
type visit struct {
	pbx      *PBX
	c        *siptest.Call
	track    *Track
	answered bool // to the caller
	end      End  // what ended it, where the PBX did
}

// ringFor is how long a telephone rings where nothing else is said.
const ringFor = 20 * time.Second

// visit is the life of a call that has come in.
func (p *PBX) visit(ctx context.Context, c *Call) error {
	caller := Party{Number: c.Invite.From.User, Name: c.Invite.From.Display}
	if len(c.Invite.Asserted) > 0 && c.Invite.Asserted[0].User != "" {
		caller.Number = c.Invite.Asserted[0].User
	}
	v := &visit{pbx: p, c: c.Call, track: p.state.Begin(Inbound, caller, c.Number, p.trunk)}
	err := v.at(ctx, c.Number, Dialled)
	v.track.End(v.ending(err))
	return err
}

// ending tells who ended the call.
func (v *visit) ending(err error) End {
	switch {
	case v.end != "":
		return v.end
	case errors.Is(err, sip.ErrCanceled):
		return Cancelled
	case err != nil && v.answered:
		return BySource
	case err != nil:
		return Cancelled
	}
	return ByDestination
}

// at brings the call to a number and sees it from there to its end.
func (v *visit) at(ctx context.Context, number string, how How) error {
	switch b := v.pbx.behaviour(number); {
	case b.Poll != nil:
		return v.queue(ctx, number, *b.Poll, how)
	case b.Menu != nil:
		return v.menu(ctx, number, *b.Menu, how)
	default:
		return v.extension(ctx, number, b, how)
	}
}

// extension rings a telephone, and talks or goes elsewhere.
func (v *visit) extension(ctx context.Context, number string, b Behaviour, how How) error {
	v.track.Ring(number, v.pbx.state.stop(number), how)
	patience := time.Duration(0)
	if b.Forward != "" {
		patience = cmp.Or(b.Ring, ringFor)
	}
	code, err := v.ring(ctx, b, patience)
	switch {
	case err != nil:
		return err
	case code != 0 && b.Forward != "":
		return v.forward(ctx, number, b.Forward)
	case code != 0:
		return v.refuse(code)
	case b.Redirect != "":
		v.end = Redirected
		return v.c.Redirect(v.pbx.uri(b.Redirect))
	}
	if err := v.answer(ctx); err != nil {
		return err
	}
	v.track.Answer(number)
	return v.talk(ctx, number, b)
}

// ring rings a telephone for as long as it takes to decide, or patience where
// that is not 0, and returns the code with which it refuses, 0 if it answers.
func (v *visit) ring(ctx context.Context, b Behaviour, patience time.Duration) (code int, err error) {
	if b.Silent && !v.answered {
		return 0, rest(ctx, 0)
	}
	if !v.answered {
		if err := ring(ctx, b, v.c); err != nil {
			return 0, err
		}
	}
	switch {
	case b.NoAnswer || b.Silent:
		return 408, rest(ctx, patience) // without patience for ever
	case patience > 0 && b.Ring > patience:
		return 408, rest(ctx, patience)
	case b.Ring > 0:
		err = rest(ctx, b.Ring)
	}
	return b.Code, err
}

// refuse ends the call with a code, or, once it is answered, hangs up.
func (v *visit) refuse(code int) error {
	switch code {
	case 486:
		v.end = Busy
	case 603:
		v.end = Declined
	case 404:
		v.end = NotFound
	case 408, 480:
		v.end = TimedOut
	default:
		v.end = NoRoute
	}
	if v.answered {
		return nil
	}
	return v.c.Reject(code)
}

// forward sends the call on from a number that did not take it.
func (v *visit) forward(ctx context.Context, from, to string) error {
	v.track.Leave(from)
	if to != Mailbox {
		return v.at(ctx, to, Forwarded)
	}
	if err := v.answer(ctx); err != nil {
		return err
	}
	v.track.Ring(from, Voicemail, Forwarded)
	v.track.Answer(from)
	if err := v.c.Tone(ctx, MailboxTone); err != nil {
		return err
	}
	return rest(ctx, 0)
}

// answer answers the caller, once.
func (v *visit) answer(ctx context.Context) error {
	if v.answered {
		return nil
	}
	if err := v.c.Answer(ctx); err != nil {
		return err
	}
	v.answered = true
	return nil
}

// talk is what a number does with a caller whom it has answered.
func (v *visit) talk(ctx context.Context, number string, b Behaviour) error {
	if b.Mute {
		b.Tone = 0
	}
	if err := v.c.Tone(ctx, b.Tone); err != nil {
		return err
	}
	if b.Late {
		if err := v.c.ReinviteLate(ctx); err != nil {
			return err
		}
	}
	switch {
	case b.Refer != "":
		v.end = Redirected
		_, err := v.c.Transfer(ctx, v.pbx.uri(b.Refer))
		return err
	case b.Move == nil:
		return rest(ctx, b.HangUp)
	}
	if err := b.Move.due(ctx); err != nil {
		return err
	}
	if err := v.c.Tone(ctx, 0); err != nil {
		return err
	}
	target := v.pbx.behaviour(b.Move.To)
	switch {
	case target.Poll != nil || target.Menu != nil:
		v.track.Leave(number)
		return v.at(ctx, b.Move.To, Blind)
	case b.Move.Attended:
		return v.consult(ctx, number, b, target)
	}
	return v.move(ctx, number, b, target)
}

// due waits until it is time to transfer.
func (m *Move) due(ctx context.Context) error {
	switch {
	case m.When != nil:
		select {
		case <-m.When:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case m.After > 0:
		return rest(ctx, m.After)
	}
	return nil
}

// move transfers the call unseen. Where that fails the number has it back.
func (v *visit) move(ctx context.Context, number string, b, target Behaviour) error {
	to := b.Move.To
	v.track.Leave(number)
	v.track.Ring(to, Extension, Blind)
	code, err := v.ring(ctx, target, cmp.Or(b.Move.Patience, ringFor))
	switch {
	case err != nil:
		return err
	case code == 0:
		v.track.Answer(to)
		return v.talk(ctx, to, target)
	case target.Forward != "":
		return v.forward(ctx, to, target.Forward)
	}
	v.track.Fail(to)
	v.track.Back(number)
	b.Move = nil
	return v.talk(ctx, number, b)
}

// consult asks another number first, by a call of its own, while the caller
// waits; then the two are joined.
func (v *visit) consult(ctx context.Context, number string, b, target Behaviour) error {
	to := b.Move.To
	ask := v.pbx.state.Begin(Internal, Party{Number: number}, to, "")
	ask.Ring(to, Extension, Dialled)
	code, err := v.ring(ctx, target, cmp.Or(b.Move.Patience, ringFor))
	if err == nil && code == 0 {
		ask.Answer(to)
		if b.Move.Talk > 0 {
			err = rest(ctx, b.Move.Talk)
		}
	}
	switch {
	case err != nil:
		ask.End(BySource)
		return err
	case code != 0:
		ask.End(Busy)
		b.Move = nil
		return v.talk(ctx, number, b)
	}
	ask.End(Redirected)
	v.track.Leave(number)
	v.track.Ring(to, Extension, Attended)
	v.track.Answer(to)
	return v.talk(ctx, to, target)
}

// menu answers and waits for a key.
func (v *visit) menu(ctx context.Context, number string, m Menu, how How) error {
	v.track.Ring(number, IVR, how)
	if err := v.answer(ctx); err != nil {
		return err
	}
	v.track.Answer(number)
	if err := v.c.Tone(ctx, ToneOf(number)); err != nil {
		return err
	}
	to, why, err := v.key(ctx, m)
	if err != nil || to == "" {
		return err
	}
	v.track.Leave(number)
	return v.at(ctx, to, why)
}

// key waits for a key that leads somewhere, or for the end of the wait.
func (v *visit) key(ctx context.Context, m Menu) (to string, why How, err error) {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if m.Wait > 0 {
		waiting, cancel = context.WithTimeout(ctx, m.Wait)
	}
	defer cancel()
	for seen := strings.Count(v.c.Digits(), ""); ; seen++ { // one more than there are
		pressed, err := v.c.WaitDigits(waiting, seen)
		switch {
		case ctx.Err() != nil:
			return "", "", context.Cause(ctx)
		case waiting.Err() != nil:
			return m.Else, Forwarded, nil
		case err != nil:
			return "", "", err
		}
		if to := m.Keys[pressed[seen-1:seen]]; to != "" {
			return to, Chosen, nil
		}
	}
}
