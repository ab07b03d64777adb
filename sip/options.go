package sip

import (
	"context"
	"fmt"

	"frontdesk/call"

	gosip "github.com/emiago/sipgo/sip"
)

// options answers an OPTIONS that asks whether we are there (RFC 3261 section
// 11). While draining the answer is 503, so that trunks move away.
func (sh *shard) options(m *message) {
	if sh.stack.draining.Load() {
		sh.refuse(m, 503, "Service Unavailable", retryAfter(5))
		return
	}
	sh.refuse(m, 200, "OK", append(capabilities(),
		Header{"Accept", applicationSDP}, Header{"Contact", sh.stack.contact(m.flow)})...)
}

// contact is our address as the other side of f may reach it.
func (s *Stack) contact(f flow) string {
	uri := "<sip:" + s.sentBy(f)
	if n := f.network(); n != "udp" {
		uri += ";transport=" + n
	}
	return uri + ">"
}

// Options asks target, a SIP URI, whether it is there, and gives its final
// answer.
func (s *Stack) Options(ctx context.Context, target string) (*Response, error) {
	u, err := parseURI(target)
	if err != nil {
		return nil, fmt.Errorf("probing %q: %w", clean(target), err)
	}
	targets, err := s.resolve(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("probing: %w", err)
	}
	f, err := s.flowTo(ctx, targets[0].network, targets[0].addr)
	if err != nil {
		return nil, fmt.Errorf("probing: %w", err)
	}
	us := "<sip:" + s.sentBy(f) + ">"
	d := &draft{method: gosip.OPTIONS, uri: target, headers: []Header{{"Accept", applicationSDP}}, draftDialog: draftDialog{
		from: us + ";tag=" + call.NewID(), to: "<" + target + ">", callID: call.NewID(), cseq: 1,
		contact: s.contact(f), maxForwards: 70,
	}}
	got, err := s.ask(ctx, d, f)
	if err != nil {
		return nil, fmt.Errorf("probing %s: %w", f.remote(), err)
	}
	return newResponse(got.res), nil
}

// ask sends a request outside any dialog and waits for its final answer.
func (s *Stack) ask(ctx context.Context, d *draft, f flow) (*message, error) {
	sh := s.shardOf(d.callID)
	answers := make(chan *message, 1)
	sh.mu.Lock()
	tx := sh.newClientTx(d, f, newBranch(), func(got *message) {
		if got == nil || got.res.StatusCode >= 200 {
			answers <- got
		}
	})
	sh.mu.Unlock()
	select {
	case got := <-answers:
		if got == nil {
			return nil, ErrTransaction
		}
		return got, nil
	case <-ctx.Done():
		sh.mu.Lock()
		tx.end()
		sh.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}
