package b2bua

import (
	"sync"

	"frontdesk/call"
)

// passing counts the calls in progress by the number outside. It is safe for
// concurrent use.
type passing struct {
	mu    sync.Mutex
	calls map[call.Number]int
}

func (p *passing) add(n call.Number, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = map[call.Number]int{}
	}
	if p.calls[n] += by; p.calls[n] == 0 {
		delete(p.calls, n)
	}
}

// Passing reports whether a call of this number is in progress: from it, or
// from the PBX to it. A call counts until its record has been given to Log.
func (a *Agent) Passing(n call.Number) bool {
	a.passing.mu.Lock()
	defer a.passing.mu.Unlock()
	return a.passing.calls[n] > 0
}

// outside is the number that a call has outside.
func (c *conversation) outside() call.Number {
	if c.invite.Peer.PBX {
		return c.facts.DID
	}
	return c.facts.Caller
}
