package main

import (
	"context"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// lostRetry is between tries to read which calls were lost.
const lostRetry = 5 * time.Second

// lost ends the calls that went on when this node's last process was killed, and
// sees that those which had ended are settled. What became of them the PBX may
// tell, as of a call that was handed over to it.
func (s *state) lost(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.store.Waiting(ctx, func(r call.Record) error {
			if r.Started.Before(s.began) {
				s.left(r)
			}
			return nil
		})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(lostRetry):
		}
	}
	return nil
}

// left is a call that an earlier process has not settled.
func (s *state) left(r call.Record) {
	if r.Times.Ended.IsZero() {
		r.Times.Ended = lastSeen(r)
		s.show(r)
		s.calls.Keep(r)
	}
	if s.accounting == nil {
		s.settled(r, pbx.Note{})
	} else {
		s.accounting.left(r)
	}
}

// lastSeen is when the last thing happened in a call of which the end is not
// known.
func lastSeen(r call.Record) time.Time {
	if n := len(r.Timeline); n > 0 {
		return r.Timeline[n-1].At
	}
	return r.Started
}
