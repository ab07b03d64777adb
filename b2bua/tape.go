package b2bua

import (
	"context"
	"errors"
	"fmt"

	"frontdesk/media"
)

// Recorder keeps what is said in bridged calls.
type Recorder interface {
	// Record writes both sides until ctx ends, the client's on the left, and is
	// how the call's record names it. The call does not wait for it.
	Record(ctx context.Context, id string, client, employee *media.Session) (name string, err error)
}

// Recording says which bridged calls are recorded.
type Recording struct {
	On       bool
	Announce string // said to a caller before; where it cannot be, the call is not recorded
}

// prepareTape sees that a call can be recorded, before its second leg is
// called: that its codec is one that frontdesk hears, and that the caller is
// told.
func (c *conversation) prepareTape(ctx context.Context) {
	if !c.set.Record.On || c.agent.Recorder == nil {
		return
	}
	if err := c.announce(ctx); err != nil {
		if ctx.Err() == nil {
			c.record.note("not recorded: " + err.Error())
			c.log.Warn("the call is not recorded", "error", err)
		}
		return
	}
	c.taped = true
}

// announce agrees on the caller's codec, and tells a trunk's caller that the
// call is recorded.
func (c *conversation) announce(ctx context.Context) error {
	if len(c.invite.SDP) > 0 {
		if err := c.agree(); err != nil {
			return err
		}
	}
	text := c.set.Record.Announce
	if text == "" || c.invite.Peer.PBX {
		return nil
	}
	if c.agent.Prompts == nil {
		return errors.New("nothing can be said to the caller")
	}
	waiting, cancel := context.WithTimeout(ctx, c.set.Greeting.Wait)
	defer cancel()
	clip, err := c.agent.Prompts.Prompt(waiting, text)
	if err != nil {
		return fmt.Errorf("the announcement: %w", err)
	}
	if err := c.connect(ctx, c.set.Greeting.Answer); err != nil {
		return fmt.Errorf("the announcement: %w", err)
	}
	c.record.note("announcement")
	stop := c.attending(ctx)
	defer stop()
	return c.voice.session.Play(ctx, clip)
}

// tape records a bridged call from now on, until the function it returns is
// called, which is then how the record names the recording.
func (c *conversation) tape(ctx context.Context, leg *secondLeg) (stop func() string) {
	if !c.taped {
		return func() string { return "" }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	client, employee := c.voice.session, leg.session
	if c.invite.Peer.PBX {
		client, employee = employee, client
	}
	name := make(chan string, 1)
	go func() {
		kept, err := c.agent.Recorder.Record(ctx, c.in.ID(), client, employee)
		if err != nil {
			c.record.note("recording: " + err.Error())
			c.log.Error("the call is not recorded, or not whole", "error", err)
		}
		name <- kept
	}()
	return func() string {
		cancel()
		return <-name
	}
}
