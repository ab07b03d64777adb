package siptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// Call is a call of a Phone, placed by it or come in. It is safe for concurrent
// use.
type Call struct {
	phone  *Phone
	sound  *sound
	in     *sip.Incoming // nil in a call we placed
	invite sip.Invite
	early  []byte        // the description that went out with a 183
	opts   Options       // of a call we placed
	done   chan struct{} // closed when the call is over
	notice
	state // guarded by notice
}

// state is how far a call has come.
type state struct {
	leg     *sip.Leg
	out     *sip.Outgoing // nil in a call that came in
	callIDs []string
	codes   []int // every answer, in order
	final   *sip.Response
	over    bool
	err     error
	moved   *Call // the call a REFER made of this one
}

// ErrOver is wrapped where the call ended while something else was waited for.
var ErrOver = errors.New("the call is over")

// Invite is what the caller's INVITE said, in a call that came in.
func (c *Call) Invite() sip.Invite { return c.invite }

// Leg is the call's SIP session. It changes where a redirect is followed.
func (c *Call) Leg() (l *sip.Leg) {
	c.look(func() { l = c.leg })
	return l
}

// CallIDs are the Call-IDs of its INVITEs, redirects included.
func (c *Call) CallIDs() (ids []string) {
	c.look(func() { ids = slices.Clone(c.callIDs) })
	if c.in != nil {
		ids = []string{c.in.CallID()}
	}
	return ids
}

// Ladder is the call's messages.
func (c *Call) Ladder() []Step { return c.phone.ladder.Steps(c.CallIDs()...) }

// Codes are all answers to our INVITE so far but 100, in order.
func (c *Call) Codes() (codes []int) {
	c.look(func() { codes = slices.Clone(c.codes) })
	return codes
}

// Done is closed when the call is over and its port is free again.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err tells why the call is over, as sip.Leg's Err; nil while it is not.
func (c *Call) Err() (err error) {
	c.look(func() { err = c.err })
	return err
}

// end marks the call over.
func (c *Call) end(cause error) {
	if err := c.sound.close(); err != nil {
		c.phone.cfg.Logger.Error("closing the sound of a call", "error", err)
	}
	c.change(func() {
		c.over = true
		c.err = cause
		if cause == nil {
			c.err = sip.ErrEnded
		}
	})
	close(c.done)
}

// WaitDone waits until the call is over.
func (c *Call) WaitDone(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the end of the call: %w", context.Cause(ctx))
	}
}

// until waits for ready, or fails with ErrOver when the call ends first.
func (c *Call) until(ctx context.Context, what string, ready func() bool) error {
	met := false
	err := c.wait(ctx, func() bool {
		met = ready()
		return met || c.over
	})
	switch {
	case err != nil:
		return fmt.Errorf("waiting for %s (so far %v): %w", what, c.Codes(), err)
	case !met:
		return fmt.Errorf("waiting for %s: %w: answers %v, %w", what, ErrOver, c.Codes(), c.Err())
	}
	return nil
}

// hearing waits for something in what is heard, or for the call's end.
func (c *Call) hearing(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.done:
			cancel(ErrOver)
		case <-ctx.Done():
		}
	}()
	if err := c.sound.wait(ctx, ready); err != nil {
		return fmt.Errorf("waiting for %s: %w (%s)", what, err, c.impression())
	}
	return nil
}

// impression says in short what is heard, for errors.
func (c *Call) impression() (s string) {
	c.sound.look(func() {
		s = fmt.Sprintf("%.2f s heard, digits %q", float64(len(c.sound.pcm))/8000, c.sound.digits)
		if n := len(c.sound.pcm); n > 0 {
			s += fmt.Sprintf(", last at %.0f dBFS", media.Level(c.sound.pcm[max(0, n-1600):]))
		}
	})
	return s
}

// Heard is all the sound received so far, 8 kHz mono, without what was lost.
func (c *Call) Heard() (pcm []int16) {
	c.sound.look(func() { pcm = slices.Clone(c.sound.pcm) })
	return pcm
}

// Forget drops what was heard so far, to hear only what comes from now on.
func (c *Call) Forget() { c.sound.change(func() { c.sound.pcm, c.sound.digits = nil, nil }) }

// Digits are the keys the other side pressed so far.
func (c *Call) Digits() (digits string) {
	c.sound.look(func() { digits = string(c.sound.digits) })
	return digits
}

// WaitSound waits until so much was heard.
func (c *Call) WaitSound(ctx context.Context, d time.Duration) error {
	n := int(d * 8000 / time.Second)
	return c.hearing(ctx, fmt.Sprintf("%v of sound", d), func() bool { return len(c.sound.pcm) >= n })
}

// A tone must have been heard for so long. Each packet is judged by itself: one
// that is lost moves the phase.
const (
	toneFrame  = 160 // samples
	toneWindow = 10 * toneFrame
)

// WaitTone waits until 200 ms heard are a tone of hz: the last ones, or those
// that follow.
func (c *Call) WaitTone(ctx context.Context, hz int) error {
	from := -1
	return c.hearing(ctx, fmt.Sprintf("a tone of %d Hz", hz), func() bool {
		pcm := c.sound.pcm
		if from < 0 || from > len(pcm) { // at first, or Forget was called
			from = max(0, len(pcm)-toneWindow)
		}
		for ; len(pcm)-from >= toneWindow; from += toneFrame {
			if sounds(pcm[from:from+toneWindow], hz) {
				return true
			}
		}
		return false
	})
}

// sounds reports whether nearly all packets of pcm are a tone of hz.
func sounds(pcm []int16, hz int) bool {
	const most = toneWindow / toneFrame / 5
	others := 0
	for frame := range slices.Chunk(pcm, toneFrame) {
		if media.Level(frame) < -30 || media.Dominant(frame, float64(hz)) < 0.8 {
			others++
		}
	}
	return others <= most
}

// WaitDigits waits for n keys and returns all of them.
func (c *Call) WaitDigits(ctx context.Context, n int) (string, error) {
	err := c.hearing(ctx, fmt.Sprintf("%d digits", n), func() bool { return len(c.sound.digits) >= n })
	return c.Digits(), err
}

// Tone sends a tone of hz from now on; 0 sends silence.
func (c *Call) Tone(ctx context.Context, hz int) error { return c.sound.tone(ctx, hz) }

// Play sends 8 kHz samples and returns when all have left.
func (c *Call) Play(ctx context.Context, pcm []int16) error { return c.sound.play(ctx, pcm) }

// Dial presses keys: by RFC 4733, or in-band where it was not negotiated.
func (c *Call) Dial(ctx context.Context, digits string) error { return c.sound.press(ctx, digits) }

// DialINFO presses keys by SIP INFO of application/dtmf-relay.
func (c *Call) DialINFO(ctx context.Context, digits string) error {
	for _, d := range digits {
		res, err := c.Leg().Do(ctx, sip.Message{
			Method: "INFO", ContentType: "application/dtmf-relay", Body: fmt.Appendf(nil, "Signal=%c\r\nDuration=160\r\n", d),
		})
		if err != nil {
			return fmt.Errorf("sending INFO: %w", err)
		}
		if res.Code/100 != 2 {
			return fmt.Errorf("INFO was answered %d %s", res.Code, res.Reason)
		}
	}
	return nil
}

// Hold stops the other side's sound by re-INVITE; ours goes on, as music on
// hold does.
func (c *Call) Hold(ctx context.Context) error { return c.reinvite(ctx, sdp.SendOnly) }

// Resume ends Hold.
func (c *Call) Resume(ctx context.Context) error { return c.reinvite(ctx, sdp.SendRecv) }

// Reinvite offers the same again.
func (c *Call) Reinvite(ctx context.Context) error { return c.reinvite(ctx, sdp.SendRecv) }

func (c *Call) reinvite(ctx context.Context, d sdp.Direction) error {
	res, err := c.Leg().Do(ctx, sip.Message{Method: "INVITE", Body: c.sound.offer(d)})
	if err := refused("re-INVITE", res, err); err != nil {
		return err
	}
	return c.sound.accept(res.Body)
}

// ReinviteLate sends a re-INVITE without an offer and answers the other side's.
func (c *Call) ReinviteLate(ctx context.Context) error {
	var failed error
	res, err := c.Leg().Do(ctx, sip.Message{Method: "INVITE", ACK: func(r *sip.Response) []byte {
		body, err := c.sound.answer(r.Body, sdp.SendRecv)
		failed = err
		return body
	}})
	return errors.Join(refused("re-INVITE", res, err), failed)
}

// refused is the error of a request that was not accepted.
func refused(what string, res *sip.Response, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case res.Code/100 != 2:
		return fmt.Errorf("%s was answered %d %s", what, res.Code, res.Reason)
	}
	return nil
}

// Hangup ends the call in whatever phase it is: CANCEL, BYE, or 603. It returns
// when the call is over.
func (c *Call) Hangup(ctx context.Context) error {
	var out *sip.Outgoing
	var leg *sip.Leg
	c.look(func() { out, leg = c.out, c.leg })
	switch {
	case out != nil:
		if err := out.Cancel(ctx, ""); err != nil {
			return fmt.Errorf("hanging up: %w", err)
		}
		return c.WaitDone(ctx)
	case c.in.Reject(603, "") == nil:
		return nil
	}
	return leg.Bye(ctx, "")
}

// signal reads the key out of an INFO's body: "Signal=5" lines, or the key
// alone.
func signal(contentType string, body []byte) (byte, bool) {
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(strings.ToLower(contentType), "application/dtmf-relay") {
		for line := range strings.Lines(text) {
			if name, v, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
				text = strings.TrimSpace(v)
			}
		}
	}
	if len(text) != 1 || !strings.Contains("0123456789*#ABCD", text) {
		return 0, false
	}
	return text[0], true
}
