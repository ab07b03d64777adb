package sip

import (
	"context"
	"strconv"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// ownerPatience is how long an owner may take to answer a request of the
// other side, before it is answered for them: less than timer F.
const ownerPatience = 25 * time.Second

// Message is a request within a dialog.
type Message struct {
	Method      string
	ContentType string // of Body; for INVITE and UPDATE application/sdp where empty
	Body        []byte
	Headers     []Header

	// ACK makes the body of the ACK from the 2xx to an INVITE: the answer to
	// an offer that came in it. nil: none.
	ACK func(answer *Response) []byte
}

// Response is an answer to a request of ours.
type Response struct {
	Code        int
	Reason      string
	ContentType string
	Body        []byte
	Contacts    []string      // the URIs of its Contact headers, in order
	RetryAfter  time.Duration // 0: none given
	MadeUp      bool          // nobody answered; Code is 408
}

func newResponse(res *gosip.Response) *Response {
	hs := res.Headers()
	r := &Response{
		Code: res.StatusCode, Reason: res.Reason, ContentType: value(hs, "Content-Type"), Body: res.Body(),
	}
	for _, h := range hs {
		if c, ok := h.(*gosip.ContactHeader); ok && !c.Address.Wildcard {
			r.Contacts = append(r.Contacts, c.Address.String())
		}
	}
	if digits := leadingDigits(value(hs, "Retry-After")); digits != "" {
		if n, err := strconv.Atoi(digits); err == nil {
			r.RetryAfter = time.Duration(n) * time.Second
		}
	}
	return r
}

func leadingDigits(s string) string {
	i := 0
	for i < len(s) && i < 9 && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i]
}

// madeUp stands for the answer that never came.
func madeUp() *Response { return &Response{Code: 408, Reason: "Request Timeout", MadeUp: true} }

// Request is a request of the other side within the dialog. It wants exactly
// one final answer.
type Request struct {
	Method      string
	ContentType string
	Body        []byte

	leg    *Leg
	tx     *serverTx
	req    *gosip.Request
	answer *answer // of a re-INVITE that got a 2xx
	guard  timer
}

func newRequest(l *Leg, tx *serverTx, m *message) *Request {
	return &Request{
		Method: string(m.req.Method), ContentType: value(m.req.Headers(), "Content-Type"), Body: m.req.Body(),
		leg: l, tx: tx, req: m.req,
	}
}

// Header is the first header called name, empty if there is none.
func (r *Request) Header(name string) string { return value(r.req.Headers(), name) }

// Respond sends the final answer without a body. An error means that r was
// answered already, by its owner or for them.
func (r *Request) Respond(code int, headers ...Header) error {
	return r.RespondBody(code, "", nil, headers...)
}

// RespondBody sends the final answer with a body. The 2xx to a re-INVITE is
// sent again until its ACK comes; without one the session ends by BYE and
// ErrNoACK (RFC 3261 section 14.2).
func (r *Request) RespondBody(code int, contentType string, body []byte, headers ...Header) error {
	r.leg.sh.mu.Lock()
	defer r.leg.sh.mu.Unlock()
	res := response{code: code, reason: reasonOf(code), headers: headers, contentType: contentType, body: body}
	if code/100 == 2 && (r.Method == "INVITE" || r.Method == "UPDATE") {
		res.contact = r.leg.contact
		res.headers = append(capabilities(), headers...)
		res.headers = append(res.headers, r.leg.refreshed(r.req)...)
		r.leg.offers.sent(body)
	}
	if !r.finish(res) {
		return ErrEnded
	}
	if code/100 == 2 && r.Method == "INVITE" {
		r.answer = r.leg.awaitACK(r.tx, sequence(r.req))
	}
	return nil
}

// ACK waits for the ACK of a re-INVITE that was answered 2xx, and returns its
// body: the answer to an offer that went out in the 2xx.
func (r *Request) ACK(ctx context.Context) ([]byte, error) {
	r.leg.sh.mu.Lock()
	a := r.answer
	r.leg.sh.mu.Unlock()
	if a == nil {
		return nil, ErrEnded
	}
	return a.wait(ctx)
}

// finish sends the one final answer; it reports false after the first time.
func (r *Request) finish(res response) bool {
	r.leg.sh.wheel.stop(&r.guard)
	delete(r.leg.open, r)
	r.leg.offers.drop(r)
	return r.tx.respond(res)
}
