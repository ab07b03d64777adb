package sip

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// shard owns the transactions, dialogs and timers of its share of the
// Call-IDs. The readers come in with messages, in the order in which they
// arrived, the goroutines of calls with what they want, and its own goroutine
// with the timers. Whoever is in holds mu, briefly: no wait and no foreign code
// happens under it.
type shard struct {
	stack *Stack
	wake  chan struct{} // the wheel is no longer empty

	mu      sync.Mutex
	wheel   *wheel
	servers map[txKey]*serverTx
	merging map[mergeKey]*serverTx
	clients map[clientKey]*clientTx
	legs    map[string]*Leg // by our tag
}

func newShard(s *Stack) *shard {
	return &shard{
		stack:   s,
		wake:    make(chan struct{}, 1),
		wheel:   newWheel(time.Now()),
		servers: map[txKey]*serverTx{},
		merging: map[mergeKey]*serverTx{},
		clients: map[clientKey]*clientTx{},
		legs:    map[string]*Leg{},
	}
}

// run fires the shard's timers until ctx ends.
func (sh *shard) run(ctx context.Context) error {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sh.wake:
			tick.Reset(slot)
		case <-tick.C:
			if sh.tick() {
				tick.Reset(slot)
			}
		}
	}
}

// tick fires what is due, and reports whether anything is left to wait for.
func (sh *shard) tick() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.contain()
	sh.wheel.advance(time.Now())
	return sh.wheel.count > 0
}

// after sets t to fire d from now.
func (sh *shard) after(t *timer, d time.Duration) {
	if sh.wheel.count == 0 {
		select {
		case sh.wake <- struct{}{}:
		default:
		}
	}
	sh.wheel.start(t, time.Now(), d)
}

// contain keeps a panic over one message from ending the process.
func (sh *shard) contain() {
	if v := recover(); v != nil {
		sh.stack.stats.panics.Add(1)
		sh.stack.log.Error("panic over a SIP message", "panic", v, "stack", string(debug.Stack()))
	}
}

// receive acts on one message.
func (sh *shard) receive(base context.Context, m *message) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	defer sh.contain()
	if m.res != nil {
		sh.response(m)
		return
	}
	switch m.req.Method {
	case gosip.ACK:
		sh.ack(m)
	case gosip.CANCEL:
		sh.cancel(m)
	default:
		sh.request(base, m)
	}
}

func (sh *shard) response(m *message) {
	if tx := sh.clients[clientKeyOf(m.res)]; tx != nil {
		tx.receive(m)
	}
}

// request takes what is neither ACK nor CANCEL.
func (sh *shard) request(base context.Context, m *message) {
	key := serverKey(m.req, m.req.Method)
	if tx := sh.servers[key]; tx != nil {
		tx.replay()
		return
	}
	if tag := tagOf(m.req.To()); tag != "" {
		sh.inDialog(m, key, tag)
		return
	}
	if sh.merging[mergeKeyOf(m.req)] != nil { // RFC 3261 section 8.2.2.2
		sh.refuse(m, 482, "Loop Detected")
		return
	}
	switch m.req.Method {
	case gosip.INVITE:
		sh.newCall(base, m, key)
	case gosip.OPTIONS:
		sh.options(m)
	case gosip.BYE, gosip.INFO, gosip.UPDATE, gosip.PRACK, gosip.NOTIFY:
		sh.refuse(m, 481, "Call/Transaction Does Not Exist")
	default:
		sh.refuse(m, 405, "Method Not Allowed", Header{"Allow", allow})
	}
}

// refuse answers without a transaction.
func (sh *shard) refuse(m *message, code int, reason string, headers ...Header) {
	sh.stack.wire.answer(m, code, reason, headers)
}

// inDialog hands a request to the leg that our tag names.
func (sh *shard) inDialog(m *message, key txKey, tag string) {
	l := sh.legs[tag]
	if l == nil || !l.owns(m.req) {
		sh.refuse(m, 481, "Call/Transaction Does Not Exist")
		return
	}
	l.request(m, key)
}

// serves reports whether the call with this id came in on this shard.
func (sh *shard) serves(id string) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.legs[id]
	return l != nil && l.id == id
}

// shutdown ends every leg there is.
func (sh *shard) shutdown() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, l := range sh.legs {
		l.hangup("", ErrShutdown)
	}
}
