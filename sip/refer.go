package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How long a transfer may be silent (RFC 3515 sets no limit).
const (
	referSilence = 10 * time.Second // before anything is heard, and after a NOTIFY that says 100
	referRinging = time.Minute      // after one that says 18x
	referLinger  = time.Second      // for the last NOTIFY, once the other side has hung up
)

// referrals are our REFERs, of which there is one at a time, and theirs.
type referrals struct {
	open   *referral
	linger timer // keeps the dialog for a last NOTIFY
	theirs int   // so far
}

// referral is a REFER with its implicit subscription. It is registered before
// the REFER is sent: a NOTIFY may overtake the 202.
type referral struct {
	first  uint32        // the sequence number it was first sent under
	answer chan *message // to the REFER itself
	status chan int      // what NOTIFYs say; 0: the subscription ended without a final word

	accepted int // the code of that answer
	gone     bool
}

// Refer asks the other side to call to, a SIP URI (RFC 3515), and follows the
// NOTIFYs to the final status of that call, which it returns. Where the REFER
// itself is refused, that code is returned; where there will be no NOTIFY
// (Refer-Sub: false, RFC 4488), the code that accepted it. A BYE from the other
// side after it has accepted counts as 200 when no NOTIFY says otherwise within
// a second. ErrReferSilent: nothing final came within ten seconds of the last
// word, a minute where that was ringing, or until ctx ended.
func (l *Leg) Refer(ctx context.Context, to string, headers ...Header) (code int, err error) {
	if !strings.Contains(to, "<") {
		to = "<" + to + ">"
	}
	ref := &referral{answer: make(chan *message, 1), status: make(chan int, 16)}
	l.sh.mu.Lock()
	switch {
	case l.state != up:
		defer l.sh.mu.Unlock()
		return 0, l.ended()
	case l.refers.open != nil:
		l.sh.mu.Unlock()
		return 0, errors.New("a transfer is under way")
	}
	ref.first = l.localSeq + 1
	l.refers.open = ref
	l.sendMessage(Message{Method: "REFER", Headers: append([]Header{{"Refer-To", to}}, headers...)},
		func(got *message, _ uint32) { ref.answer <- got })
	l.sh.mu.Unlock()
	code, err = l.follow(ctx, ref)
	l.sh.mu.Lock()
	l.refers.open = nil
	l.sh.mu.Unlock()
	return code, err
}

// follow waits for the final word.
func (l *Leg) follow(ctx context.Context, ref *referral) (int, error) {
	silence := time.NewTimer(referSilence)
	defer silence.Stop()
	done, canceled := l.done, ctx.Done()
	for {
		select {
		case got := <-ref.answer:
			if code, over, err := ref.answered(got); over {
				return code, err
			}
			if !ref.gone {
				silence.Reset(referSilence)
			}
		case status := <-ref.status:
			switch {
			case status == 0:
				return 0, ErrReferSilent
			case status >= 200:
				return status, nil
			case !ref.gone && status > 100:
				silence.Reset(referRinging)
			case !ref.gone:
				silence.Reset(referSilence)
			}
		case <-done: // the last NOTIFY may be on its way
			done, canceled, ref.gone = nil, nil, true
			silence.Reset(referLinger)
		case <-canceled:
			if errors.Is(context.Cause(ctx), ErrHangup) { // the same, told by the call's context
				canceled = nil
				continue
			}
			return 0, fmt.Errorf("%w: %w", ErrReferSilent, context.Cause(ctx))
		case <-silence.C:
			return ref.silent(l)
		}
	}
}

// answered takes the answer to the REFER itself; over tells that there is
// nothing more to wait for.
func (ref *referral) answered(got *message) (code int, over bool, err error) {
	if got == nil {
		return 0, true, ErrTransaction
	}
	code = got.res.StatusCode
	if code >= 300 || strings.EqualFold(strings.TrimSpace(value(got.res.Headers(), "Refer-Sub")), "false") {
		return code, true, nil
	}
	ref.accepted = code
	return code, false, nil
}

// silent is the outcome when nothing more is heard.
func (ref *referral) silent(l *Leg) (int, error) {
	switch {
	case ref.gone && ref.accepted != 0 && errors.Is(l.Err(), ErrHangup):
		return 200, nil
	case ref.gone:
		return 0, l.Err()
	}
	return 0, ErrReferSilent
}

// notified takes a NOTIFY: of our REFER, or for the owner.
func (l *Leg) notified(tx *serverTx, m *message) {
	hs := m.req.Headers()
	event, params, _ := strings.Cut(value(hs, "Event"), ";")
	isRefer := strings.EqualFold(strings.TrimSpace(event), "refer")
	switch ref := l.refers.open; {
	case isRefer && ref != nil && ref.named(params):
		tx.respond(response{code: 200, reason: "OK"})
		ref.tell(value(hs, "Subscription-State"), m.req.Body())
	case isRefer || l.state == over:
		tx.respond(response{code: 481, reason: "Subscription Does Not Exist"})
	default:
		l.offer(newRequest(l, tx, m))
	}
}

// named reports whether the parameters of an Event header mean this REFER: its
// id is the sequence number, that of a challenged REFER a later one.
func (ref *referral) named(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, val, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "id") {
			continue
		}
		id, err := strconv.ParseUint(strings.TrimSpace(val), 10, 32)
		return err == nil && uint32(id) >= ref.first
	}
	return true
}

// tell passes on what a NOTIFY says. A status that does not fit in the queue
// is one of many provisional ones.
func (ref *referral) tell(state string, body []byte) {
	status := fragmentStatus(body)
	state, _, _ = strings.Cut(state, ";")
	if status < 200 && strings.EqualFold(strings.TrimSpace(state), "terminated") {
		status = 0
	} else if status == 0 {
		return
	}
	select {
	case ref.status <- status:
	default:
	}
}

// fragmentStatus is the status code of a message/sipfrag body, 0 where there
// is none.
func fragmentStatus(body []byte) int {
	line, _, _ := bytes.Cut(bytes.TrimLeft(body, "\r\n \t"), []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 2 || !bytes.EqualFold(fields[0], []byte("SIP/2.0")) {
		return 0
	}
	code, err := strconv.Atoi(string(fields[1]))
	if err != nil || code < 100 || code > 699 {
		return 0
	}
	return code
}
