package media

import (
	"encoding/binary"
	"time"
)

// eventDigits are the digits by their event code (RFC 4733, table 3).
const eventDigits = "0123456789*#ABCD"

// Two packets of one key are never so far apart; see repeated.
const keyGap = 100 * time.Millisecond

// lateEnd is how late the end of a press may be repeated.
const lateEnd = time.Second

// segment is how long an event lasts before a sender must go on under a new
// timestamp (RFC 4733, section 2.5.1.3), less what lost packets may hide.
const segment = 60000

// event is one key press as its packets told it.
type event struct {
	ssrc, timestamp uint32
	code            uint8
	ended           bool
	duration        uint16
	at              time.Time // the last packet's arrival
}

// eventReceiver turns telephone-event packets (RFC 4733) into key presses.
// A press counts once, with the first packet of it that arrives, whichever it
// is: begin and end may be lost, repeated or out of order. A press is known
// by (SSRC, timestamp, code); the last few are remembered, so that packets
// late behind the next key do no harm.
type eventReceiver struct {
	recent [4]event
	next   int
}

// take reads a packet. digit is 0 for what is no digit; fresh is set with the
// first packet of a press.
func (r *eventReceiver) take(p packet, now time.Time) (digit byte, fresh bool) {
	if len(p.body) < 4 || int(p.body[0]) >= len(eventDigits) {
		return 0, false
	}
	e := event{
		ssrc: p.ssrc, timestamp: p.timestamp, code: p.body[0],
		ended: p.body[1]&0x80 != 0, duration: binary.BigEndian.Uint16(p.body[2:]), at: now,
	}
	digit = eventDigits[e.code]
	for i := range r.recent {
		old := &r.recent[i]
		if old.at.IsZero() || old.ssrc != e.ssrc || old.code != e.code {
			continue
		}
		if old.timestamp == e.timestamp {
			fresh = e.repeats(*old)
			old.update(e, fresh)
			return digit, fresh
		}
		if e.continues(*old) {
			*old = e
			return digit, false
		}
	}
	r.recent[r.next] = e
	r.next = (r.next + 1) % len(r.recent)
	return digit, true
}

// repeats reports whether e is a new press under an old timestamp, as some
// gateways send it: after a pause, with the old press ended or begun anew. An
// end sent again may be late, and is told by its duration.
func (e event) repeats(old event) bool {
	pause := e.at.Sub(old.at)
	if e.ended && old.ended && e.duration == old.duration && pause < lateEnd {
		return false
	}
	return pause > keyGap && (old.ended || e.duration < old.duration)
}

// continues reports whether e is the next segment of a key held for long.
func (e event) continues(old event) bool {
	step := e.timestamp - old.timestamp
	return !old.ended && old.duration >= segment && step >= segment && step <= 0xffff+keyStep && e.at.Sub(old.at) <= 2*keyGap
}

// keyStep is how far beyond a full segment the next one may begin.
const keyStep = 160

// update takes over what a further packet tells.
func (old *event) update(e event, fresh bool) {
	if fresh {
		*old = e
		return
	}
	old.at = e.at
	old.ended = old.ended || e.ended
	old.duration = max(old.duration, e.duration)
}

// codeOf returns the event code of a digit.
func codeOf(digit byte) (uint8, bool) {
	for i := range eventDigits {
		if eventDigits[i] == digit {
			return uint8(i), true
		}
	}
	return 0, false
}
