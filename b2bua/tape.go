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

// tape is the recording of one talk. A nil one is of none.
type tape struct {
	stop func()
	done chan struct{} // closed once it is kept
	name string        // by then: how the record names it
}

// tape records what two say from now on, once the tape before is kept.
func (c *conversation) tape(ctx context.Context, client, employee *media.Session, before *tape) *tape {
	if !c.taped {
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &tape{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		before.kept() // who is recorded is recorded once at a time
		// A talk that is over by now has a recording too: a moment of silence.
		name, err := c.agent.Recorder.Record(ctx, c.in.ID(), client, employee)
		if err != nil {
			c.record.note("recording: " + err.Error())
			c.log.Error("the call is not recorded, or not whole", "error", err)
		}
		t.name = name
	}()
	return t
}

// end stops the recording.
func (t *tape) end() {
	if t != nil {
		t.stop()
	}
}

// kept waits until a recording that has ended is kept, and is how the record
// names it.
func (t *tape) kept() string {
	if t == nil {
		return ""
	}
	<-t.done
	return t.name
}
