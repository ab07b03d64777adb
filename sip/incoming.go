package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"frontdesk/call"

	gosip "github.com/emiago/sipgo/sip"
)

// Incoming is a call that came in. Its methods belong to the goroutine of
// Handler.ServeInvite; those of Leg to anybody.
type Incoming struct {
	*Leg
	received *message
	tx       *serverTx

	ringing response // the last provisional, repeated every minute
	repeat  timer
	rel     reliable
}

// newCall begins a call, or refuses it before there is anything to hold.
func (sh *shard) newCall(base context.Context, m *message, key txKey) {
	s := sh.stack
	if r := tooShort(m.req); r.code != 0 {
		sh.refuse(m, r.code, r.reason, r.headers...)
		return
	}
	if !s.admit() {
		s.stats.refused.Add(1)
		sh.refuse(m, 503, "Service Unavailable", retryAfter(5))
		return
	}
	in := sh.newIncoming(m, key)
	hello := response{code: 100, reason: "Trying"}
	if stamp := value(m.req.Headers(), "Timestamp"); stamp != "" {
		hello.headers = []Header{{"Timestamp", stamp}}
	}
	in.tx.respond(hello)
	ctx, cancel := context.WithCancelCause(base)
	in.cancel = cancel
	go s.serve(ctx, in)
}

func (sh *shard) newIncoming(m *message, key txKey) *Incoming {
	req := m.req
	id := call.NewID()
	l := newLeg(sh, legName{id: id, callID: callID(m), peer: *m.peer})
	l.dialog = dialog{
		local: req.To().Value() + ";tag=" + id, localTag: id,
		remote: req.From().Value(), remoteTag: tagOf(req.From()), remoteSeq: sequence(req),
		routes: routeSet(req.Headers()), contact: sh.stack.contact(m.flow), flow: m.flow,
		credentials: m.peer.Credentials,
	}
	l.retarget(req.Headers())
	in := &Incoming{Leg: l, received: m, tx: sh.newServerTx(m, key, id, id)}
	l.unwind = in.unanswered
	in.tx.canceled = func() { in.unanswered(ErrCanceled) }
	in.rel.required = hasOption(strings.Join(values(req.Headers(), "Require"), ","), "100rel")
	in.rel.next = in.sendReliably
	l.reliable = &in.rel
	sh.legs[id] = l
	return in
}

// serve is the call's goroutine.
func (s *Stack) serve(ctx context.Context, in *Incoming) {
	defer s.left()
	defer in.leave(ctx)
	defer func() {
		if v := recover(); v != nil {
			s.stats.panics.Add(1)
			s.log.Error("call ended by a panic", "call", in.id, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	s.handler.ServeInvite(ctx, in)
}

// left notes that a handler has returned.
func (s *Stack) left() {
	if s.calls.active.Add(-1) == 0 && s.draining.Load() {
		select {
		case s.calls.idle <- struct{}{}:
		default:
		}
	}
}

// leave ends what the handler left open.
func (in *Incoming) leave(ctx context.Context) {
	in.sh.mu.Lock()
	defer in.sh.mu.Unlock()
	if errors.Is(context.Cause(ctx), ErrShutdown) {
		in.hangup("", ErrShutdown)
	}
	if in.state == early {
		_ = in.refuse(response{code: 500, reason: "Server Internal Error"}, ErrEnded) // cannot fail: it is early
	}
	in.hangup("", ErrEnded)
	in.cancel(ErrEnded)
}

// Progress sends a provisional answer: 180, or 183 with a session description
// for early media. The last one is repeated every minute, so that no proxy
// gives up (RFC 3261 section 13.3.1.1). Where the caller requires reliable
// provisionals (RFC 3262) it is sent until it is acknowledged, one after the
// other.
func (in *Incoming) Progress(code int, body []byte) error {
	if code <= 100 || code > 199 {
		return fmt.Errorf("%d is no provisional answer", code)
	}
	in.sh.mu.Lock()
	defer in.sh.mu.Unlock()
	if in.state != early {
		return in.ended()
	}
	in.ringing = response{
		code: code, reason: reasonOf(code), contact: in.contact,
		headers: []Header{{"Allow", allow}}, contentType: sdpType(body), body: body,
	}
	in.offers.sent(body)
	in.provisional()
	return nil
}

func (in *Incoming) provisional() {
	if in.state != early {
		return
	}
	if in.rel.required {
		in.sendReliably(in.ringing)
	} else {
		in.tx.respond(in.ringing)
	}
	in.repeat.fire = in.provisional
	in.sh.after(&in.repeat, repeatRinging)
}

// Answer accepts the call with 200 and waits for the ACK, whose body it
// returns: the answer where body was the offer, because the INVITE had none.
// The 200 is sent again until the ACK comes; when none does for 32 seconds the
// session is ended by BYE and the error is ErrNoACK. A call that is over gives
// its cause, and nothing goes out.
func (in *Incoming) Answer(ctx context.Context, body []byte) (ack []byte, err error) {
	if err := in.settled(ctx); err != nil {
		return nil, err
	}
	in.sh.mu.Lock()
	if in.state != early {
		defer in.sh.mu.Unlock()
		return nil, in.ended()
	}
	in.quiet()
	in.offers.sent(body)
	in.tx.respond(response{
		code: 200, reason: "OK", contact: in.contact,
		headers:     append(capabilities(), in.refreshed(in.received.req)...),
		contentType: sdpType(body), body: body,
	})
	in.state = up
	a := in.awaitACK(in.tx, sequence(in.received.req))
	in.sh.mu.Unlock()
	return a.wait(ctx)
}

// Reject refuses the call with a final code from 300 up. The reason phrase
// defaults to the usual one.
func (in *Incoming) Reject(code int, reason string, headers ...Header) error {
	if code < 300 || code > 699 {
		return fmt.Errorf("%d refuses nothing", code)
	}
	if reason == "" {
		reason = reasonOf(code)
	}
	in.sh.mu.Lock()
	defer in.sh.mu.Unlock()
	return in.refuse(response{code: code, reason: reason, headers: headers}, ErrEnded)
}

// refuse sends a final answer that is no 2xx, and ends the session.
func (in *Incoming) refuse(r response, cause error) error {
	if in.state != early {
		return in.ended()
	}
	in.quiet()
	in.tx.respond(r)
	in.end(cause)
	in.forget()
	return nil
}

// unanswered ends a call that has no final answer yet.
func (in *Incoming) unanswered(cause error) {
	r := response{code: 487, reason: "Request Terminated"}
	if errors.Is(cause, ErrShutdown) {
		r = response{code: 503, reason: "Service Unavailable", headers: []Header{retryAfter(5)}}
	}
	_ = in.refuse(r, cause) // it fails only where there is nothing left to refuse
}

// quiet ends the repetition of provisionals.
func (in *Incoming) quiet() {
	in.sh.wheel.stop(&in.repeat)
	in.rel.stop(in.sh)
}

// ended is why the session takes no more answers.
func (l *Leg) ended() error {
	if l.err != nil {
		return l.err
	}
	return ErrEnded
}

// Invite is what an INVITE says. All of it is the caller's word.
type Invite struct {
	Received   time.Time // when it arrived
	Source     netip.AddrPort
	Peer       Peer
	RequestURI Address
	Parties
	Session

	UserAgent   string
	Supported   []string // option tags
	MaxForwards int      // what is left; 70 where none was given
	headers     []gosip.Header
}

// Parties are who calls whom, in the several ways in which an INVITE tells it.
type Parties struct {
	From, To    Address
	Asserted    []Address // P-Asserted-Identity
	RemoteParty *Address  // Remote-Party-ID
	Diversion   []Address // who was called before, the last first
	Privacy     []string  // values of the Privacy header
}

// Session is the body of an INVITE.
type Session struct {
	ContentType string
	SDP         []byte // the application/sdp body, or part of a multipart body; empty: a late offer is wanted
}

// Header is the first header called name, empty if there is none.
func (i Invite) Header(name string) string { return value(i.headers, name) }

// Invite is the INVITE that began the call.
func (in *Incoming) Invite() Invite {
	m := in.received
	hs := m.req.Headers()
	i := Invite{
		Received: m.at, Source: m.src, Peer: in.peer,
		RequestURI:  addressOf("", m.req.Recipient),
		UserAgent:   value(hs, "User-Agent"),
		Supported:   list(hs, "Supported"),
		MaxForwards: 70,
		headers:     hs,
	}
	if h := m.req.From(); h != nil {
		i.From = addressOf(h.DisplayName, h.Address)
	}
	if h := m.req.To(); h != nil {
		i.To = addressOf(h.DisplayName, h.Address)
	}
	if h := m.req.MaxForwards(); h != nil {
		i.MaxForwards = int(h.Val())
	}
	for _, v := range values(hs, "P-Asserted-Identity") {
		i.Asserted = append(i.Asserted, parseAddresses(v)...)
	}
	for _, v := range values(hs, "Diversion") {
		i.Diversion = append(i.Diversion, parseAddresses(v)...)
	}
	if a := parseAddresses(value(hs, "Remote-Party-ID")); len(a) > 0 {
		i.RemoteParty = &a[0]
	}
	for _, v := range values(hs, "Privacy") {
		for token := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			i.Privacy = append(i.Privacy, strings.ToLower(token))
		}
	}
	i.ContentType = value(hs, "Content-Type")
	i.SDP = sessionPart(i.ContentType, m.req.Body())
	return i
}
