package siptest

import (
	"context"
	"errors"
	"fmt"

	"frontdesk/media/sdp"
	"frontdesk/sip"
)

var errPlaced = errors.New("this call was placed by us")

// Ring sends 180.
func (c *Call) Ring() error { return c.progress(180, nil) }

// Early sends 183 with our description, and sound from then on. The caller must
// have made an offer.
func (c *Call) Early() error {
	body, err := c.ownAnswer()
	if err != nil {
		return err
	}
	return c.progress(183, body)
}

func (c *Call) progress(code int, body []byte) error {
	if c.in == nil {
		return errPlaced
	}
	return c.in.Progress(code, body)
}

// ownAnswer answers the INVITE's offer, once: what a 183 said the 200 repeats.
func (c *Call) ownAnswer() ([]byte, error) {
	if c.early == nil {
		body, err := c.sound.answer(c.invite.SDP, sdp.SendRecv)
		if err != nil {
			return nil, err
		}
		c.early = body
	}
	return c.early, nil
}

// Answer sends 200 and returns when it is acknowledged. Where the INVITE had no
// offer ours goes out, and the answer comes with the ACK. Without a common codec
// the call is refused with 488.
func (c *Call) Answer(ctx context.Context) error {
	if c.in == nil {
		return errPlaced
	}
	late := len(c.invite.SDP) == 0
	body := []byte(nil)
	if late {
		body = c.sound.offer(sdp.SendRecv)
	} else {
		var err error
		if body, err = c.ownAnswer(); err != nil {
			return errors.Join(fmt.Errorf("answering: %w", err), c.in.Reject(488, ""))
		}
	}
	ack, err := c.in.Answer(ctx, body)
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	if late {
		return c.sound.accept(ack)
	}
	return nil
}

// Reject refuses the call.
func (c *Call) Reject(code int, headers ...sip.Header) error {
	if c.in == nil {
		return errPlaced
	}
	return c.in.Reject(code, "", headers...)
}

// Redirect refers the caller elsewhere with 302.
func (c *Call) Redirect(contacts ...string) error {
	if c.in == nil {
		return errPlaced
	}
	return c.in.Redirect(contacts...)
}

// Transfer asks the other side to call uri in place of us (REFER) and returns
// what became of it, as sip.Leg's Refer.
func (c *Call) Transfer(ctx context.Context, uri string) (int, error) {
	return c.Leg().Refer(ctx, uri)
}
