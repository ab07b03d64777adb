package sip

import (
	"context"

	gosip "github.com/emiago/sipgo/sip"
)

// Bye ends the session and waits until the other side has confirmed it, or
// ctx ends; the BYE goes on without us. A session that still waits for the ACK
// of our answer gets its BYE after it (RFC 3261 section 15). Before the answer
// an incoming leg is refused with 487 and an outgoing one cancelled. It may be
// called again. reason is for the Reason header: a whole value such as
// "Q.850;cause=16", or words; empty for none.
func (l *Leg) Bye(ctx context.Context, reason string) error {
	l.sh.mu.Lock()
	l.hangup(reason, ErrEnded)
	l.sh.mu.Unlock()
	select {
	case <-l.bye.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendBye sends our BYE, once.
func (l *Leg) sendBye() {
	if l.bye.sent {
		return
	}
	l.bye.sent = true
	d := l.draft(gosip.BYE)
	d.headers = reasonHeader(l.bye.reason)
	l.sendDraft(d, &tried{}, func(*message, uint32) { l.forget() })
}

// hungUp takes the other side's BYE.
func (l *Leg) hungUp(tx *serverTx) {
	tx.respond(response{code: 200, reason: "OK"})
	switch l.state {
	case over: // both at once
		if l.bye.waiting {
			l.bye.waiting = false
			l.answer.finish(nil, ErrHangup)
			l.forget()
		}
		return
	case early:
		l.unwind(ErrHangup)
		return
	}
	l.end(ErrHangup)
	if l.answer != nil {
		l.answer.finish(nil, ErrHangup)
	}
	if l.refers.open != nil {
		l.refers.linger.fire = l.forget
		l.sh.after(&l.refers.linger, referLinger) // the last NOTIFY may be on its way
		return
	}
	l.forget()
}
